//! The layout of images, which is the same for both kinds of target: these tests run on images of either.

use vcpu_abi::call::Access;
use vcpu_abi::layout::{PAGE_SIZE, RAM_BASE};
use vcpu_abi::note::BuildFlags;
use vcpu_host::Image;
use vcpu_tests::image;

const READ: Access = Access::READ;
const WRITE: Access = Access::READ.union(Access::WRITE);
const EXECUTE: Access = Access::READ.union(Access::EXECUTE);

#[test]
fn text_constants_stacks_and_data_have_segments_of_their_own() {
    for name in ["hello", "faults", "gunzip"] {
        let image = Image::open(image(name)).unwrap();
        let access: Vec<Access> = image.segments().iter().map(|segment| segment.access).collect();
        assert_eq!(access, [EXECUTE, READ, WRITE, WRITE, WRITE], "{name}");
        assert_eq!(image.segments()[0].address, RAM_BASE, "{name}");
    }
}

#[test]
fn a_page_without_access_lies_below_each_stack_and_the_data() {
    let image = Image::open(image("hello")).unwrap();
    for pair in image.segments()[1..].windows(2) {
        assert!(pair[1].address >= pair[0].page_end() + PAGE_SIZE, "{pair:x?}");
    }
}

#[test]
fn stacks_take_no_room_in_the_file_and_have_the_sizes_that_were_asked_for() {
    let image = Image::open(image("hello")).unwrap();
    let sizes = |index: usize| {
        let segment = image.segments()[index];
        (segment.file_size, segment.memory_size)
    };
    assert_eq!(sizes(2), (0, 32 << 10));
    assert_eq!(sizes(3), (0, 256 << 10));
}

#[test]
fn the_note_says_what_the_image_was_built_for() {
    let image = Image::open(image("hello")).unwrap();
    let requirements = image.requirements();
    assert_eq!(requirements.version, vcpu_abi::INTERFACE_VERSION);
    assert_eq!(requirements.memory, 64 << 20);
    let custom = BuildFlags::from_bits_truncate(requirements.flags).contains(BuildFlags::CUSTOM_TARGET);
    match std::env::var("VCPU_TARGET_SPEC").as_deref() {
        Ok("custom") => assert!(custom),
        Ok("stock") => assert!(!custom),
        _ => {}
    }
    assert!(
        image.toolchain().iter().any(|line| line.starts_with("rustc version")),
        "{:?}",
        image.toolchain()
    );
}
