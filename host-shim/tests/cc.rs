//! `vcpu cc` and its companions behave as configure scripts, makefiles and their writers expect of a compiler that is
//! called `cc`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

const VCPU: &str = env!("CARGO_BIN_EXE_vcpu");

/// An empty directory, in which everything happens.
struct Place(TempDir);

/// What a command said.
#[derive(Debug)]
struct Said {
    status: Option<i32>,
    output: String,
    errors: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Said { status: output.status.code(), output: text(&output.stdout), errors: text(&output.stderr) }
    }
}

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().expect("a temporary directory"))
    }

    /// A place with the C library built, so that building it is not told where silence is expected.
    fn with(files: &[(&str, &str)]) -> Place {
        let place = Place::new();
        assert_eq!(place.vcpu("cc --print-flags").status, Some(0));
        for (name, text) in files {
            fs::write(place.0.path().join(name), text).expect("the file can be written");
        }
        place
    }

    fn has(&self, name: &str) -> bool {
        self.0.path().join(name).is_file()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    /// Runs `vcpu` with arguments that blanks separate.
    fn vcpu(&self, arguments: &str) -> Said {
        self.command(VCPU).args(arguments.split_whitespace()).output().expect("vcpu starts").into()
    }

    /// As [`vcpu`](Self::vcpu), for what succeeds and is silent about it; gives its output.
    #[track_caller]
    fn done(&self, arguments: &str) -> String {
        let said = self.vcpu(arguments);
        assert_eq!((said.status, said.errors.as_str()), (Some(0), ""), "vcpu {arguments}");
        said.output
    }

    /// Runs a shell script in which `vcpu` is the first of its name.
    fn shell(&self, script: &str) -> Said {
        let tools = Path::new(VCPU).parent().expect("it is in a directory").display().to_string();
        let path = format!("{tools}:{}", std::env::var("PATH").unwrap_or_default());
        self.command("sh").args(["-ec", script]).env("PATH", path).output().expect("a shell starts").into()
    }
}

#[test]
#[ignore = "wants clang"]
fn clang_can_be_behind_it_as_well_as_gcc() {
    let c = "#include <math.h>\n#include <pthread.h>\n#include <stdio.h>\n\
        static __thread int own = 3;\n\
        static void *f(void *sum) { own += 4; *(int *)sum = own; return 0; }\n\
        int main(int count, char **words) {\n\
            int sum; pthread_t thread;\n\
            pthread_create(&thread, 0, f, &sum); pthread_join(thread, 0);\n\
            printf(\"%d %d %.5f %.3Lf %s\\n\", own, sum, sqrt(count), 1.5L * count, words[1]);\n\
            return 0;\n}\n";
    let cpp = "#include <stdio.h>\nstruct A { A() { puts(\"begin\"); } ~A() { puts(\"end\"); } } a;\n\
        int main() { int *one = new int(1); int i = *one; delete one; return i; }\n";
    let place = Place::with(&[("a.c", c), ("b.cc", cpp)]);
    let said = place.shell(
        "export VCPU_CC=clang VCPU_CXX=clang++
        vcpu cc -O2 -Wall -Wextra -Werror -c a.c && vcpu cc -Werror -o a a.o -lm && vcpu run ./a -- word
        vcpu c++ -O2 -Wall -Werror -o b b.cc && vcpu run ./b",
    );
    assert_eq!((said.status, said.errors.as_str()), (Some(1), ""));
    assert_eq!(said.output, "3 7 1.41421 3.000 word\nbegin\nend\n");
}

const EMPTY: (&str, &str) = ("conftest.c", "int main(void) { return 0; }\n");

#[test]
fn outputs_have_the_names_that_a_compiler_gives() {
    let place = Place::with(&[EMPTY, ("a b.c", "int f(void) { return 1; }\n")]);
    place.done("cc conftest.c");
    assert!(place.has("a.out"));
    assert_eq!(place.done("run ./a.out"), "");
    place.done("cc -c conftest.c");
    assert!(place.has("conftest.o"));
    place.done("cc -oprogram conftest.o -lm -lpthread -ldl -lrt");
    assert!(place.has("program"));
    place.done("cc -S conftest.c");
    assert!(place.has("conftest.s"));
    place.done("cc -g -O2 -pipe -Wall -Werror -pthread -rdynamic -pie -o other conftest.c");
    assert!(place.has("other"));
}

#[test]
fn dependencies_are_told_as_make_wants_them() {
    let place = Place::with(&[("a.c", "#include \"a.h\"\n#include <stdio.h>\n"), ("a.h", "\n")]);
    assert!(place.done("cc -E a.c").contains("int printf(const char"));
    let all = place.done("cc -M a.c");
    assert!(all.starts_with("a.o: a.c") && all.contains("include/stdio.h"), "{all}");
    assert!(!all.contains("/usr/include"), "a header of the machine's: {all}");
    assert_eq!(place.done("cc -MM a.c"), "a.o: a.c a.h\n");
    place.done("cc -MMD -MP -MF deps -c a.c");
    assert_eq!(fs::read_to_string(place.0.path().join("deps")).unwrap(), "a.o: a.c a.h\na.h:\n");
}

#[test]
fn what_it_is_is_told() {
    let place = Place::with(&[EMPTY]);
    assert_eq!(place.done("cc -dumpmachine"), "x86_64-vcpu\n");
    assert!(place.done("cc --version").contains("Free Software Foundation"));
    assert!(place.vcpu("cc -v").errors.contains("gcc version"));
    let macros = place.done("cc -dM -E conftest.c");
    let has = |name: &str| macros.contains(&format!("#define {name} "));
    assert!(has("__vcpu__") && has("__unix__") && has("__x86_64__"), "{macros}");
    for name in ["__linux__", "__linux", "linux", "__gnu_linux__", "__GLIBC__"] {
        assert!(!has(name), "{name}");
    }
}

#[test]
fn what_fails_has_the_compilers_status_and_its_words() {
    let place = Place::with(&[
        ("wrong.c", "int main(void) { nothing }\n"),
        ("undefined.c", "int nowhere(void);\nint main(void) { return nowhere(); }\n"),
    ]);
    for (arguments, said) in [
        ("cc -c wrong.c", "wrong.c:1"),
        ("cc undefined.c", "undefined reference to `nowhere'"),
        ("cc missing.c", "missing.c"),
        ("cc", "no input files"),
        ("cc -no-such-option wrong.c", "no-such-option"),
    ] {
        let found = place.vcpu(arguments);
        assert_eq!(found.status, Some(1), "{arguments}: {found:?}");
        assert!(found.errors.contains(said), "{arguments}: {found:?}");
    }
    let shared = place.vcpu("cc -shared -o liba.so undefined.c");
    assert_eq!(shared.status, Some(125));
    assert_eq!(shared.errors.lines().count(), 1, "{shared:?}");
    assert!(shared.errors.starts_with("error: -shared: there are no shared libraries"), "{shared:?}");
}

#[test]
fn a_program_can_come_from_standard_input_and_a_response_file() {
    let place = Place::with(&[("name with blanks.c", "int main(void) { return NUMBER; }\n")]);
    let said =
        place.shell("echo 'int main(void) { return 7; }' | vcpu cc -x c - -o seven && vcpu run ./seven");
    assert_eq!((said.status, said.errors.as_str()), (Some(7), ""));
    let response = "-DNUMBER=9 'name with blanks.c'\n-o \"nine\"";
    fs::write(place.0.path().join("response"), response).unwrap();
    place.done("cc @response");
    assert_eq!(place.vcpu("run ./nine").status, Some(9));
}

#[test]
fn what_is_absent_is_named_when_strict_and_fails_when_called_otherwise() {
    let place = Place::with(&[(
        "fork.c",
        "#include <errno.h>\n#include <unistd.h>\nint main(void) { return fork() == -1 && errno == ENOSYS ? 3 : 0; }\n",
    )]);
    let strict = place.vcpu("cc --strict fork.c -o program");
    assert_eq!(strict.status, Some(1));
    assert!(strict.errors.contains("undefined reference to `fork'"), "{strict:?}");
    place.done("cc fork.c -o program");
    assert_eq!(place.vcpu("run ./program").status, Some(3));
}

#[test]
fn what_runs_before_and_after_main_has_the_order_of_linux() {
    let place = Place::with(&[(
        "order.c",
        r#"
        #include <stdio.h>
        #include <stdlib.h>
        static __thread int number = 5;
        __attribute__((constructor(101))) static void first(void) { puts("first"); }
        __attribute__((constructor(102))) static void second(void) { puts("second"); }
        __attribute__((constructor)) static void third(void) { printf("third %d\n", number++); }
        __attribute__((destructor)) static void seventh(void) { puts("seventh"); }
        __attribute__((destructor(101))) static void eighth(void) { puts("eighth"); }
        static void fifth(void) { puts("fifth"); }
        static void sixth(void) { puts("sixth"); }
        int main(void)
        {
            atexit(sixth);
            atexit(fifth);
            printf("main %d\n", number);
            return 0;
        }"#,
    )]);
    place.done("cc -Wall -Werror order.c -o order");
    let expected = "first second third 5 main 6 fifth sixth seventh eighth";
    assert_eq!(place.done("run ./order").replace('\n', " ").trim_end(), expected);
}

#[test]
fn a_smashed_stack_ends_the_program_in_a_sentence() {
    let place = Place::with(&[(
        "smash.c",
        r#"
        #include <string.h>
        __attribute__((noinline)) static void copy(const char *text)
        {
            char room[8];
            strcpy(room, text);
            __asm__ volatile("" : : "r"(room) : "memory");
        }
        int main(int count, char **arguments)
        {
            copy(arguments[count - 1]);
            return 4;
        }"#,
    )]);
    place.done("cc -O2 -D_FORTIFY_SOURCE=2 smash.c -o smash");
    assert_eq!(place.vcpu("run ./smash -- short").status, Some(4));
    let smashed = place.vcpu("run ./smash -- aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    assert!(
        smashed.errors.contains("stack smashing detected: a function wrote beyond its array"),
        "{smashed:?}"
    );
    assert!(smashed.errors.contains("error: the guest aborted"), "{smashed:?}");
    assert_ne!(smashed.status, Some(4));
}

#[test]
fn a_crash_is_told_with_the_lines_of_the_source() {
    let place = Place::with(&[(
        "crash.c",
        "static int length(const char *text) { return text[0]; }\n\
         int main(int count, char **arguments) { return length(count > 9 ? arguments[1] : 0); }\n",
    )]);
    place.done("cc -g -O0 crash.c -o crash");
    let crashed = place.vcpu("run ./crash");
    assert_eq!(crashed.status, Some(123));
    for part in
        ["page fault at address 0x0", "length\n            at crash.c:1", "main\n            at crash.c:2"]
    {
        assert!(crashed.errors.contains(part), "no {part:?} in {}", crashed.errors);
    }
}

#[test]
fn the_freestanding_part_of_cxx_works() {
    let place = Place::with(&[(
        "program.cpp",
        r#"
        #include <stddef.h>
        #include <stdio.h>
        struct Shape {
            virtual int corners() const { return 0; }
            virtual ~Shape() { puts("~Shape"); }
        };
        struct Square : Shape {
            int corners() const override { return 4; }
            ~Square() override { puts("~Square"); }
        };
        struct Global {
            const char *name;
            explicit Global(const char *name) : name(name) { printf("+%s\n", name); }
            ~Global() { printf("-%s\n", name); }
        };
        static Global global("global");
        template <typename T> T largest(T a, T b) { return a < b ? b : a; }
        int main()
        {
            static Global local("local");
            Shape *shape = new Square;
            printf("%d\n", shape->corners());
            delete shape;
            int *numbers = new int[3]{1, 2, 3};
            auto sum = [&](int from) { return from + numbers[2]; };
            printf("%d\n", largest(sum(1), 3));
            delete[] numbers;
        }"#,
    )]);
    place.done("c++ -std=c++17 -O1 -Wall -Werror program.cpp -o program");
    let expected = "+global +local 4 ~Square ~Shape 4 -local -global";
    assert_eq!(place.done("run ./program").replace('\n', " ").trim_end(), expected);
}

#[test]
fn archives_and_objects_of_nasm_are_linked() {
    let place = Place::with(&[
        ("nine.asm", "section .text\nglobal nine\nnine: mov eax, 9\n ret\n"),
        ("nine.c", "int nine(void) { return 9; }\n"),
        ("main.c", "int nine(void);\nint main(void) { return nine(); }\n"),
    ]);
    place.done("cc -c nine.c");
    place.done("ar rc libnine.a nine.o");
    place.done("ranlib libnine.a");
    assert!(place.done("nm libnine.a").contains(" T nine"));
    place.done("cc main.c -L. -lnine -o program");
    place.done("strip program");
    assert_eq!(place.vcpu("run ./program").status, Some(9));

    if Command::new("nasm").arg("-v").stdout(Stdio::null()).status().is_err() {
        eprintln!("nasm is not installed: its objects are not tested");
        return;
    }
    assert!(
        place
            .command("nasm")
            .args(["-f", "elf64", "nine.asm", "-o", "assembled.o"])
            .status()
            .unwrap()
            .success()
    );
    place.done("cc main.c assembled.o -o assembled");
    assert_eq!(place.vcpu("run ./assembled").status, Some(9));
}

#[test]
fn pkg_config_sees_no_package_of_the_machine() {
    if Command::new("pkg-config").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("pkg-config is not installed: not tested");
        return;
    }
    let place = Place::with(&[(
        "own.pc",
        "Name: own\nDescription: own\nVersion: 2\nLibs: -lown\nLibs.private: -lm\nCflags: -I/own\n",
    )]);
    assert_eq!(place.done("pkg-config --list-all"), "");
    let said = place.shell("PKG_CONFIG_PATH=. vcpu pkg-config --libs own");
    assert_eq!((said.status, said.output.trim()), (Some(0), "-lown -lm"), "{said:?}");
}

#[test]
fn the_flags_make_images_by_the_plain_compiler() {
    let place = Place::with(&[("hello.c", "#include <stdio.h>\nint main(void) { puts(\"hello\"); }\n")]);
    let script = "vcpu cc --print-flags | sed 's/=\\(.*\\)/=\"\\1\"/' > flags; . ./flags
                  gcc $CFLAGS -O2 -c hello.c; gcc $LDFLAGS hello.o $LIBS -o hello; vcpu run ./hello";
    let said = place.shell(script);
    assert_eq!((said.status, said.output.as_str(), said.errors.as_str()), (Some(0), "hello\n", ""));
}

/// What autoconf's scripts do, in few lines: is there a compiler, does it make programs that run here, what is there.
const CONFIGURE: &str = r##"#!/bin/sh
host=
for argument; do
    case $argument in --host=*) host=${argument#--host=};; esac
done
: ${CC=cc}
echo 'int main(void) { return 0; }' > conftest.c
rm -f a.out conftest
$CC $CFLAGS conftest.c 2> conftest.err || { echo "C compiler cannot create executables"; exit 77; }
test -s conftest.err && cat conftest.err >&2
test -f a.out && echo "default output: a.out"
if (./a.out; exit $?) > /dev/null 2>&1; then echo "runs here"
elif test -z "$host"; then echo "cannot run programs; use --host"; exit 1
else echo "cross compiling to $host"; fi
try() {
    if $CC $CFLAGS -o conftest conftest.c $LIBS 2> /dev/null && test -s conftest; then echo yes; else echo no; fi
}
for function in strlcpy pthread_create nanosleep strtod_nonsense; do
    printf 'char %s(void);\nint main(void) { return %s(); }\n' $function $function > conftest.c
    echo "$function $(try)"
done
for header in stdint.h sys/stat.h windows.h; do
    echo "#include <$header>" > conftest.c
    if $CC -E conftest.c > /dev/null 2>&1; then echo "$header yes"; else echo "$header no"; fi
done
printf 'int a[sizeof(long) == 8 ? 1 : -1];\n' > conftest.c
$CC -c conftest.c 2> /dev/null && echo "long 8"
rm -f conftest* a.out
printf 'CC = %s\nprogram: main.c\n\t$(CC) -O2 -o $@ main.c\n' "$CC" > Makefile
"##;

#[test]
fn a_configure_script_finds_out_what_is_there() {
    let place = Place::with(&[("configure", CONFIGURE), ("main.c", "int main(void) { return 6; }\n")]);
    fs::set_permissions(place.0.path().join("configure"), fs::Permissions::from_mode(0o755)).unwrap();
    let without = place.shell("CC='vcpu cc' ./configure");
    assert_eq!(without.status, Some(1), "{without:?}");
    assert!(without.output.ends_with("cannot run programs; use --host\n"), "{without:?}");

    let said = place.shell("CC='vcpu cc' ./configure --host=x86_64-vcpu && make -s && vcpu run ./program");
    let expected = "default output: a.out\ncross compiling to x86_64-vcpu\nstrlcpy yes\npthread_create yes\n\
                    nanosleep yes\nstrtod_nonsense no\nstdint.h yes\nsys/stat.h yes\nwindows.h no\nlong 8\n";
    assert_eq!((said.status, said.output.as_str(), said.errors.as_str()), (Some(6), expected, ""));
}
