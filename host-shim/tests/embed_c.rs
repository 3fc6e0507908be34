//! Libraries in C for a host program, by `vcpu/embed.h`.

use std::path::Path;
use std::process::Command;
use vcpu_host::embed::{CallError, Slice};
use vcpu_host::{Image, Sandbox};

/// Builds `tests/c/embed.c`.
fn image(to: &Path) -> Image {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/c/embed.c");
    let mut compiler = Command::new(env!("CARGO_BIN_EXE_vcpu"));
    compiler.args(["cc", "-O1", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror"]).arg(source);
    let output = compiler.arg("-o").arg(to).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Image::open(to).unwrap()
}

#[test]
fn functions_in_c_take_and_give_values_and_call_the_host() {
    let directory = tempfile::tempdir().unwrap();
    let image = image(&directory.path().join("image"));
    let mut exports = image.exports().to_vec();
    exports.sort();
    assert_eq!(exports, ["add", "ask", "negate", "paint", "reverse"]);

    let mut sandbox = Sandbox::builder(&image)
        .try_function("double", |number: u64| number.checked_mul(2).ok_or("this is too much"))
        .build()
        .unwrap();
    for (a, b) in [(0u64, 0u64), (127, 1), (300, 70_000), (u64::MAX - 5, 5), (1 << 63, (1 << 63) - 1)] {
        assert_eq!(sandbox.call::<_, u64>("add", &(a, b)).unwrap(), a + b);
    }
    for number in [0i64, 1, -1, 63, 64, -64, -65, i64::MAX, i64::MIN + 1] {
        assert_eq!(sandbox.call::<_, i64>("negate", &number).unwrap(), -number);
    }
    for text in ["", "a", "forwards", &"long ".repeat(200)] {
        let reversed: String = text.chars().rev().collect();
        assert_eq!(sandbox.call::<_, String>("reverse", text).unwrap(), reversed);
    }
    for byte in [1u32, 77] {
        let slice: Slice = sandbox.call("paint", &byte).unwrap();
        assert_eq!(sandbox.to_vec(slice).unwrap(), [byte as u8; 4096]);
    }
    assert_eq!(sandbox.call::<_, u64>("ask", &21u64).unwrap(), 42);

    let refused = sandbox.call::<_, u64>("ask", &u64::MAX).unwrap_err();
    assert!(matches!(&refused, CallError::Failed(why) if why == "this is too much"), "{refused:?}");
    let refused = sandbox.call::<_, String>("reverse", &"x".repeat(1001)).unwrap_err();
    assert!(matches!(&refused, CallError::Failed(why) if why == "the text is too long"), "{refused:?}");
    // Too little, too much, and a number of 65 bits.
    for argument in [&[1][..], &[1, 2, 3], &[0xff; 9], &[255, 255, 255, 255, 255, 255, 255, 255, 255, 2, 0]] {
        let refused = sandbox.call_encoded("add", argument).unwrap_err();
        assert!(matches!(refused, CallError::BadArgument(_)), "{argument:?}: {refused:?}");
    }
    let refused = sandbox.call_encoded("reverse", &[200, 1, 2]).unwrap_err();
    assert!(matches!(refused, CallError::BadArgument(_)), "{refused:?}");
    assert!(matches!(sandbox.call::<_, u64>("divide", &1u64), Err(CallError::NoSuchFunction { .. })));
    assert_eq!(sandbox.call::<_, u64>("add", &(1u64, 1u64)).unwrap(), 2);
}
