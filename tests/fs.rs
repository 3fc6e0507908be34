//! Files: what a guest can do in a directory that it was granted, and that it gets nowhere else.

use rustix::fs::{CWD, FileType, FlockOperation, Mode, RenameFlags, mknodat, renameat_with};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, PipeReader, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use tempfile::TempDir;
use vcpu_host::{Grant, Resource};
use vcpu_tests::{BackendKind, Ended, Guest, Live, again, on_every_backend};

/// A guest that does what it is told, a line each time.
struct Files {
    live: Live,
    answers: BufReader<PipeReader>,
}

/// What an operation came to: its result, or the kind of its error.
type Answer = Result<String, String>;

fn directory(name: &str, path: &Path, writable: bool) -> Grant {
    Grant {
        name: name.into(),
        resource: Resource::Directory { path: path.into(), writable, exclusive: false },
    }
}

/// A writable directory that is the guest's alone, or not.
fn own_directory(name: &str, path: &Path, exclusive: bool) -> Grant {
    Grant {
        name: name.into(),
        resource: Resource::Directory { path: path.into(), writable: true, exclusive },
    }
}

impl Files {
    fn start(grants: Vec<Grant>, backend: BackendKind) -> Files {
        let guest = Guest::new("guest-files", backend).with(|config| config.grants = grants);
        let live = guest.start();
        let answers = BufReader::new(live.output.try_clone().unwrap());
        Files { live, answers }
    }

    /// With one directory, granted as `d`.
    fn with(path: &Path, writable: bool, backend: BackendKind) -> Files {
        Files::start(vec![directory("d", path, writable)], backend)
    }

    fn ask_bytes(&mut self, operation: &str, arguments: &[&[u8]]) -> Result<Vec<u8>, String> {
        let mut line = operation.to_owned();
        for argument in arguments {
            line.push(' ');
            if argument.is_empty() {
                line.push('-');
            }
            argument.iter().for_each(|byte| line.push_str(&format!("{byte:02x}")));
        }
        line.push('\n');
        self.live.input.write_all(line.as_bytes()).unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        match answer.trim_end_matches('\n').split_once(' ') {
            Some(("ok", digits)) => {
                let pair = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
                Ok((0..digits.len()).step_by(2).map(pair).collect())
            }
            Some(("error", kind)) => Err(kind.into()),
            _ => panic!("the guest answered {answer:?} to {operation}"),
        }
    }

    fn ask(&mut self, operation: &str, arguments: &[&str]) -> Answer {
        let arguments: Vec<&[u8]> = arguments.iter().map(|argument| argument.as_bytes()).collect();
        self.ask_bytes(operation, &arguments).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Asserts what several operations come to.
    #[track_caller]
    fn check(&mut self, operations: &[(&str, &[&str], Result<&str, &str>)]) {
        for (operation, arguments, expected) in operations {
            let answer = self.ask(operation, arguments);
            assert_eq!(answer.as_deref().map_err(String::as_str), *expected, "{operation} {arguments:?}");
        }
    }

    /// Ends the guest, which must not have done so itself.
    fn end(self) -> Ended {
        let Files { live, answers } = self;
        drop(answers);
        let ended = live.end(b"");
        assert_eq!(ended.status(), 0, "{ended}");
        ended
    }
}

/// The rights of a new file, as this process's mask leaves them.
fn usual_rights() -> String {
    let file = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o666)).tempfile().unwrap();
    format!("{:o}", file.as_file().metadata().unwrap().mode() & 0o777)
}

fn files_are_written_read_moved_and_removed(backend: BackendKind) {
    let temporary = TempDir::new().unwrap();
    fs::write(temporary.path().join("there"), "from the host").unwrap();
    let mut files = Files::with(temporary.path(), true, backend);
    files.check(&[
        ("read-string", &["/d/there"], Ok("from the host")),
        ("read-string", &["d/there"], Ok("from the host")),
        ("write", &["/d/new", "from the guest"], Ok("")),
        ("read", &["/d/new"], Ok("from the guest")),
        ("write", &["/d/new", "shorter"], Ok("")),
        ("read", &["/d/new"], Ok("shorter")),
        ("append", &["/d/new", " and longer"], Ok("")),
        ("read", &["/d/new"], Ok("shorter and longer")),
        ("append", &["/d/appended", "begun"], Ok("")),
        ("create-new", &["/d/new", "x"], Err("AlreadyExists")),
        ("create-new", &["/d/newer", "x"], Ok("")),
        ("copy", &["/d/new", "/d/copy"], Ok("18")),
        ("read", &["/d/copy"], Ok("shorter and longer")),
        ("rename", &["/d/copy", "/d/moved"], Ok("")),
        ("exists", &["/d/copy"], Ok("false")),
        ("exists", &["/d/moved"], Ok("true")),
        ("rename", &["/d/moved", "/d/newer"], Ok("")),
        ("read", &["/d/newer"], Ok("shorter and longer")),
        ("remove-file", &["/d/newer"], Ok("")),
        ("remove-file", &["/d/newer"], Err("NotFound")),
        ("set-len", &["/d/new", "5"], Ok("")),
        ("read", &["/d/new"], Ok("short")),
        ("set-len", &["/d/new", "7"], Ok("")),
        ("read", &["/d/new"], Ok("short\0\0")),
        ("sync", &["/d/kept", "content"], Ok("")),
        ("write", &["/d/empty", ""], Ok("")),
        ("read", &["/d/empty"], Ok("")),
        ("list", &["/d"], Ok("appended\nempty\nkept\nnew\nthere")),
    ]);
    files.end();
    let content = |name| fs::read_to_string(temporary.path().join(name)).unwrap();
    assert_eq!((content("new"), content("kept")), ("short\0\0".into(), "content".into()));
}

fn a_file_has_places(backend: BackendKind) {
    let temporary = TempDir::new().unwrap();
    fs::write(temporary.path().join("digits"), "0123456789").unwrap();
    let mut files = Files::with(temporary.path(), true, backend);
    files.check(&[
        ("seek", &["/d/digits"], Ok("369.01 InvalidInput")),
        ("read", &["/d/digits"], Ok("01xy456789")),
        ("read-at", &["/d/digits", "2", "4"], Ok("xy45")),
        ("read-at", &["/d/digits", "8", "4"], Err("UnexpectedEof")),
        ("write-at", &["/d/digits", "9", "abc"], Ok("12")),
        ("read", &["/d/digits"], Ok("01xy45678abc")),
    ]);
    files.end();
}

fn options_say_how_a_file_is_opened(backend: BackendKind) {
    let temporary = TempDir::new().unwrap();
    fs::write(temporary.path().join("file"), "content").unwrap();
    fs::create_dir(temporary.path().join("directory")).unwrap();
    let rights = usual_rights();
    let mut files = Files::with(temporary.path(), true, backend);
    files.check(&[
        ("open", &["/d/file", "r"], Ok("")),
        ("open", &["/d/file", ""], Err("InvalidInput")),
        ("open", &["/d/file", "rc"], Err("InvalidInput")),
        ("open", &["/d/file", "rt"], Err("InvalidInput")),
        ("open", &["/d/file", "at"], Err("InvalidInput")),
        ("open", &["/d/file", "wn"], Err("AlreadyExists")),
        ("open", &["/d/none", "w"], Err("NotFound")),
        ("open", &["/d/none", "r"], Err("NotFound")),
        ("open", &["/d/file", "w"], Ok("")),
        ("read", &["/d/file"], Ok("content")),
        ("open", &["/d/file", "rwt"], Ok("")),
        ("read", &["/d/file"], Ok("")),
        ("open", &["/d/directory", "r"], Err("IsADirectory")),
        ("open", &["/d", "r"], Err("IsADirectory")),
        ("open", &["/", "r"], Err("IsADirectory")),
        ("open", &["/d/file/", "r"], Err("NotADirectory")),
        // A file that is open to be read cannot be written, and the other way round.
        ("hold", &["/d/file", "r"], Ok("")),
        ("held-write", &["x"], Err("Other")),
        ("hold", &["/d/file", "w"], Ok("")),
        ("held-read", &[], Err("Other")),
        // An open file stays, whatever becomes of its name.
        ("write", &["/d/file", "still there"], Ok("")),
        ("hold", &["/d/file", "r"], Ok("")),
        ("remove-file", &["/d/file"], Ok("")),
        ("held-read", &[], Ok("still there")),
        ("held-metadata", &[], Ok(&format!("file 11 {rights}"))),
        ("drop", &[], Ok("")),
    ]);
    files.end();
}

fn directories_are_made_listed_and_removed(backend: BackendKind) {
    let temporary = TempDir::new().unwrap();
    let mut files = Files::with(temporary.path(), true, backend);
    files.check(&[("create-dir-all", &["/d/a/b/c"], Ok(""))]);
    symlink("../a", temporary.path().join("a/b/link")).unwrap();
    files.check(&[
        ("create-dir", &["/d/one"], Ok("")),
        ("create-dir", &["/d/one"], Err("AlreadyExists")),
        ("create-dir", &["/d/slash/"], Ok("")),
        ("create-dir", &["/d/no/way"], Err("NotFound")),
        ("create-dir-all", &["/d/a/b/c/"], Ok("")),
        ("create-dir-all", &["/d"], Ok("")),
        ("write", &["/d/a/file", "x"], Ok("")),
        ("write", &["/d/a/b/file", "x"], Ok("")),
        ("create-dir-all", &["/d/a/file/x"], Err("NotADirectory")),
        ("list-types", &["/d/a"], Ok("/d/a/b directory b\n/d/a/file file file")),
        (
            "list-types",
            &["/d/a/b/"],
            Ok("/d/a/b/c directory c\n/d/a/b/file file file\n/d/a/b/link link link"),
        ),
        ("list", &["/d/a/file"], Err("NotADirectory")),
        ("list", &["/d/none"], Err("NotFound")),
        ("remove-dir", &["/d/a"], Err("DirectoryNotEmpty")),
        ("remove-dir", &["/d/a/file"], Err("NotADirectory")),
        ("remove-file", &["/d/a"], Err("IsADirectory")),
        ("remove-dir", &["/d/a/b/c/"], Ok("")),
        ("rename", &["/d/a", "/d/one/two"], Ok("")),
        ("rename", &["/d/one", "/d/one/two/three"], Err("InvalidInput")),
        ("remove-dir-all", &["/d/one/two/file"], Err("NotADirectory")),
        ("remove-dir-all", &["/d/one"], Ok("")),
        ("remove-dir-all", &["/d/one"], Err("NotFound")),
        ("list", &["/d"], Ok("slash")),
        ("remove-dir", &["/d/"], Err("InvalidInput")),
        ("remove-dir", &["/"], Err("ResourceBusy")),
        ("create-dir", &["/"], Err("AlreadyExists")),
        ("create-dir", &["/elsewhere"], Err("NotFound")),
        ("write", &["/file", "x"], Err("NotFound")),
    ]);
    files.end();
}

fn metadata_says_what_a_file_is(backend: BackendKind) {
    let temporary = TempDir::new().unwrap();
    let path = temporary.path().join("file");
    fs::write(&path, "content").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    symlink("file", temporary.path().join("link")).unwrap();
    fs::create_dir(temporary.path().join("directory")).unwrap();
    fs::set_permissions(temporary.path().join("directory"), fs::Permissions::from_mode(0o750)).unwrap();
    let modified = fs::metadata(&path).unwrap().mtime().to_string();
    let mut files = Files::with(temporary.path(), true, backend);
    files.check(&[
        ("metadata", &["/d/file"], Ok("file 7 640")),
        ("metadata", &["/d/link"], Ok("file 7 640")),
        ("symlink-metadata", &["/d/link"], Ok("link 4 777")),
        ("metadata", &["/d/directory"], Ok("directory 0 750")),
        ("metadata", &["/d/directory/../directory/."], Ok("directory 0 750")),
        ("metadata", &["/"], Ok("directory 0 555")),
        ("metadata", &["/d/none"], Err("NotFound")),
        ("modified", &["/d/file"], Ok(&modified)),
        ("created", &["/d/file"], Err("Unsupported")),
        ("canonicalize", &["d//directory/.././link"], Ok("/d/file")),
        ("canonicalize", &["/d/directory/"], Ok("/d/directory")),
        ("canonicalize", &["/d/.."], Ok("/")),
        ("copy", &["/d/file", "/d/copy"], Ok("7")),
        ("metadata", &["/d/copy"], Ok("file 7 640")),
    ]);
    files.end();
}

fn links_lead_where_they_say(backend: BackendKind) {
    let temporary = TempDir::new().unwrap();
    let path = |name: &str| temporary.path().join(name);
    fs::create_dir_all(path("a/b")).unwrap();
    fs::create_dir(path("doomed")).unwrap();
    fs::write(path("a/b/file"), "deep").unwrap();
    for (target, name) in [
        ("b/file", "a/near"),
        ("../a/near", "a/again"),
        ("/d/a/b", "absolute"),
        ("new", "dangling"),
        ("loop", "loop"),
        ("pong", "ping"),
        ("ping", "pong"),
        ("../a", "doomed/link"),
        ("a", "to-a"),
    ] {
        symlink(target, path(name)).unwrap();
    }
    fs::hard_link(path("a/b/file"), path("hard")).unwrap();
    let mut files = Files::with(temporary.path(), true, backend);
    files.check(&[
        ("read", &["/d/a/near"], Ok("deep")),
        ("read", &["/d/a/again"], Ok("deep")),
        ("read", &["/d/absolute/file"], Ok("deep")),
        ("list", &["/d/absolute"], Ok("file")),
        ("read-link", &["/d/a/again"], Ok("../a/near")),
        ("read-link", &["/d/a/b/file"], Err("InvalidInput")),
        ("read-link", &["/d/none"], Err("NotFound")),
        ("read-link", &["/d"], Err("InvalidInput")),
        ("read", &["/d/loop"], Err("FilesystemLoop")),
        ("read", &["/d/ping"], Err("FilesystemLoop")),
        ("read", &["/d/ping/pong"], Err("FilesystemLoop")),
        ("read", &["/d/dangling"], Err("NotFound")),
        ("exists", &["/d/dangling"], Ok("false")),
        ("create-new", &["/d/dangling", "x"], Err("AlreadyExists")),
        ("write", &["/d/dangling", "made"], Ok("")),
        ("read", &["/d/new"], Ok("made")),
        ("write", &["/d/hard", "both"], Ok("")),
        ("read", &["/d/a/b/file"], Ok("both")),
        ("rename", &["/d/absolute", "/d/moved"], Ok("")),
        ("read-link", &["/d/moved"], Ok("/d/a/b")),
        ("remove-file", &["/d/moved"], Ok("")),
        ("list", &["/d/a/b"], Ok("file")),
        // A directory is removed with the links in it, not with what they lead to.
        ("remove-dir-all", &["/d/doomed"], Ok("")),
        ("remove-dir-all", &["/d/to-a"], Ok("")),
        ("read", &["/d/a/b/file"], Ok("both")),
        // The host's programs would follow what the guest makes.
        ("symlink", &["x", "/d/made"], Err("PermissionDenied")),
        ("symlink", &["x", "/d/loop"], Err("AlreadyExists")),
        ("hard-link", &["/d/a/b/file", "/d/made"], Err("PermissionDenied")),
        ("hard-link", &["/d/a/b/file", "/d/hard"], Err("AlreadyExists")),
        ("hard-link", &["/d/none", "/d/made"], Err("NotFound")),
    ]);
    // As many as are followed, and one more.
    symlink("a/b/file", path("step-0")).unwrap();
    for step in 1..=40 {
        symlink(format!("step-{}", step - 1), path(&format!("step-{step}"))).unwrap();
    }
    files.check(&[("read", &["/d/step-39"], Ok("both")), ("read", &["/d/step-40"], Err("FilesystemLoop"))]);
    files.end();
}

fn several_directories_have_names_of_their_own(backend: BackendKind) {
    let (one, two) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    fs::write(one.path().join("file"), "of one").unwrap();
    symlink("/one/file", two.path().join("link")).unwrap();
    let grants = vec![directory("one", one.path(), true), directory("two", two.path(), true)];
    let mut files = Files::start(grants, backend);
    files.check(&[
        ("list-types", &["/"], Ok("/one directory one\n/two directory two")),
        ("list", &["/one/.."], Ok("one\ntwo")),
        ("rename", &["/one/file", "/two/file"], Err("CrossesDevices")),
        ("hard-link", &["/one/file", "/two/file"], Err("CrossesDevices")),
        ("copy", &["/one/file", "/two/copy"], Ok("6")),
        ("read", &["/one/../two/copy"], Ok("of one")),
        ("read", &["/two/link"], Ok("of one")),
        ("read", &["/three/file"], Err("NotFound")),
    ]);
    files.end();
}

fn a_directory_may_be_granted_by_a_path(backend: BackendKind) {
    let (build, inner, plain) = (TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap());
    fs::write(build.path().join("file"), "of build").unwrap();
    fs::create_dir(build.path().join("in")).unwrap();
    fs::write(build.path().join("in/hidden"), "").unwrap();
    fs::write(inner.path().join("file"), "of inner").unwrap();
    symlink("/home/u/build/file", plain.path().join("link")).unwrap();
    let grants = vec![
        directory("/home/u/build", build.path(), true),
        directory("/home/u/build/in", inner.path(), false),
        directory("/home/other", plain.path(), true),
        directory("plain", plain.path(), true),
    ];
    let mut files = Files::start(grants, backend);
    files.check(&[
        ("list", &["/"], Ok("home\nplain")),
        ("list", &["/home"], Ok("other\nu")),
        ("list", &["/home/u/"], Ok("build")),
        ("list", &["/home/u/build"], Ok("file\nin")),
        ("list", &["/home/u/build/in"], Ok("file")),
        ("list", &["/home/none"], Err("NotFound")),
        ("list", &["/hom"], Err("NotFound")),
        ("read", &["/home/u/build/file"], Ok("of build")),
        ("read", &["home/u/./build/in/file"], Ok("of inner")),
        ("read", &["/home/u/build/in/../file"], Ok("of build")),
        ("read", &["/home/u/build/../../u/build/in/file"], Ok("of inner")),
        ("read", &["/home/../plain/link"], Ok("of build")),
        ("read", &["/home/u"], Err("IsADirectory")),
        ("write", &["/home/u/build/in/new", "x"], Err("ReadOnlyFilesystem")),
        ("write", &["/home/new", "x"], Err("NotFound")),
        ("canonicalize", &["/home/u/build/in/.."], Ok("/home/u/build")),
        ("canonicalize", &["/home/u/build/.."], Ok("/home/u")),
        ("canonicalize", &["/home/u/build/in/file"], Ok("/home/u/build/in/file")),
    ]);
    files.end();
}

fn what_was_granted_to_be_read_is_not_changed(backend: BackendKind) {
    let temporary = TempDir::new().unwrap();
    fs::write(temporary.path().join("file"), "content").unwrap();
    fs::create_dir(temporary.path().join("directory")).unwrap();
    let mut files = Files::with(temporary.path(), false, backend);
    let denied = Err("ReadOnlyFilesystem");
    files.check(&[
        ("read", &["/d/file"], Ok("content")),
        ("write", &["/d/file", "x"], denied),
        ("write", &["/d/new", "x"], denied),
        ("append", &["/d/file", "x"], denied),
        ("create-new", &["/d/new", "x"], denied),
        ("open", &["/d/file", "rw"], denied),
        ("set-len", &["/d/file", "1"], denied),
        ("create-dir", &["/d/new"], denied),
        ("remove-file", &["/d/file"], denied),
        ("remove-dir", &["/d/directory"], denied),
        ("rename", &["/d/file", "/d/new"], denied),
        ("hard-link", &["/d/file", "/d/new"], denied),
        ("symlink", &["file", "/d/new"], denied),
        ("remove-dir-all", &["/d/directory"], denied),
        ("list", &["/d"], Ok("directory\nfile")),
        ("read", &["/d/file"], Ok("content")),
    ]);
    files.end();
    assert_eq!(fs::read(temporary.path().join("file")).unwrap(), b"content");
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 2);
}

fn a_directory_that_vanishes_is_an_ordinary_error(backend: BackendKind) {
    let temporary = TempDir::new().unwrap();
    let granted = temporary.path().join("granted");
    fs::create_dir(&granted).unwrap();
    fs::write(granted.join("file"), "content").unwrap();
    let mut files = Files::with(&granted, true, backend);
    files.check(&[("read", &["/d/file"], Ok("content")), ("hold", &["/d/file", "r"], Ok(""))]);
    fs::remove_dir_all(&granted).unwrap();
    files.check(&[
        ("read", &["/d/file"], Err("NotFound")),
        ("write", &["/d/new", "x"], Err("NotFound")),
        ("create-dir", &["/d/new"], Err("NotFound")),
        ("held-read", &[], Ok("content")),
        ("drop", &[], Ok("")),
    ]);
    // Another directory of that name is not what was granted.
    fs::create_dir(&granted).unwrap();
    fs::write(granted.join("file"), "another").unwrap();
    files.check(&[("read", &["/d/file"], Err("NotFound"))]);
    files.end();
}

fn files_may_be_large(backend: BackendKind) {
    let temporary = TempDir::new().unwrap();
    let (five_gib, far) = ((5_u64 << 30).to_string(), (1_u64 << 40).to_string());
    let mut files = Files::with(temporary.path(), true, backend);
    let (end, rights) = (((5_u64 << 30) + 4).to_string(), usual_rights());
    files.check(&[
        ("write-at", &["/d/sparse", &five_gib, "here"], Ok(&end)),
        ("read-at", &["/d/sparse", &five_gib, "4"], Ok("here")),
        ("read-at", &["/d/sparse", "4294967296", "4"], Ok("\0\0\0\0")),
        ("set-len", &["/d/sparse", &far], Ok("")),
        ("metadata", &["/d/sparse"], Ok(&format!("file 1099511627776 {rights}"))),
        // More than there is memory for.
        ("read", &["/d/sparse"], Err("OutOfMemory")),
        ("remove-file", &["/d/sparse"], Ok("")),
        ("large", &["/d/large", "5000003"], Ok("true")),
        // One request moves a whole MiB.
        ("one-read", &["/d/large", "1048576"], Ok("1048576")),
        ("one-read", &["/d/large", "3000000"], Ok("1048576")),
    ]);
    files.end();
}

fn names_may_be_long_and_of_any_bytes(backend: BackendKind) {
    let temporary = TempDir::new().unwrap();
    let mut files = Files::with(temporary.path(), true, backend);
    let (longest, too_long) = ("n".repeat(255), "n".repeat(256));
    let (path, bad_path) = (format!("/d/{longest}"), format!("/d/{too_long}"));
    let deep = format!("/d{}", "/x".repeat(3000));
    files.check(&[
        ("write", &[&path, "long"], Ok("")),
        ("read", &[&path], Ok("long")),
        ("list", &["/d"], Ok(&longest)),
        ("write", &[&bad_path, "x"], Err("InvalidFilename")),
        ("read", &[&bad_path], Err("InvalidFilename")),
        ("read", &[&deep], Err("InvalidFilename")),
        ("read", &["/d/zero\0byte"], Err("InvalidInput")),
        ("read", &[""], Err("NotFound")),
        ("write", &["/d/Ünïcödé \\ \n", "name"], Ok("")),
        ("read", &["/d/Ünïcödé \\ \n"], Ok("name")),
        ("remove-file", &[&path], Ok("")),
        ("remove-file", &["/d/Ünïcödé \\ \n"], Ok("")),
    ]);
    let name: &[u8] = b"not \xff\xfe UTF-8";
    assert_eq!(files.ask_bytes("write", &[&[b"/d/", name].concat(), b"x"]), Ok(Vec::new()));
    assert_eq!(files.ask_bytes("list", &[b"/d"]), Ok(name.to_vec()));
    files.end();
    let entry = fs::read_dir(temporary.path()).unwrap().next().unwrap().unwrap();
    assert_eq!(entry.file_name().into_vec(), name);
}

fn a_directory_may_hold_many_files(backend: BackendKind) {
    let temporary = TempDir::new().unwrap();
    for number in 0..10_000 {
        File::create(temporary.path().join(format!("file number {number}"))).unwrap();
    }
    let mut files = Files::with(temporary.path(), true, backend);
    assert_eq!(files.ask("count", &["/d"]), Ok("10000".into()));
    let names = files.ask("list", &["/d"]).unwrap();
    let names: BTreeSet<&str> = names.lines().collect();
    assert_eq!(names.len(), 10_000);
    assert!((0..10_000).all(|number| names.contains(format!("file number {number}").as_str())));
    // More than the host would hold for a guest: each is given back at once.
    let described = files.ask("list-types", &["/d"]).unwrap();
    assert_eq!(described.lines().filter(|line| line.contains(" file file number ")).count(), 10_000);
    files.end();
}

fn threads_use_one_directory(backend: BackendKind) {
    let temporary = TempDir::new().unwrap();
    let mut files = Files::with(temporary.path(), true, backend);
    files.check(&[("threads", &["/d"], Ok("200")), ("list", &["/d"], Ok(""))]);
    files.end();
}

fn what_a_guest_does_in_its_own_directory_it_sees_at_once(backend: BackendKind) {
    let (a, b) = ("a".repeat(10_000), "b".repeat(5000));
    let size = |size: u64| format!("file {size} {}", usual_rights());
    for exclusive in [false, true] {
        let temporary = TempDir::new().unwrap();
        let mut files = Files::start(vec![own_directory("d", temporary.path(), exclusive)], backend);
        files.check(&[
            ("hold", &["/d/f", "rwc"], Ok("")),
            ("held-read-at", &["0", "10"], Ok("")),
            ("held-metadata", &[], Ok(&size(0))),
            ("held-write-at", &["0", &a], Ok("")),
            ("held-read-at", &["8190", "4"], Ok("aaaa")),
            ("held-metadata", &[], Ok(&size(10_000))),
            ("held-lock", &[], Ok("None")),
            // The end, and behind it.
            ("held-read-at", &["9998", "10"], Ok("aa")),
            ("held-read-at", &["10000", "10"], Ok("")),
            // By another handle, by path, across pages, by the file's end.
            ("write-at", &["/d/f", "4090", "0123456789"], Ok("10000")),
            ("held-read-at", &["4088", "14"], Ok("aa0123456789aa")),
            ("held-write-at", &["6000", &b], Ok("")),
            ("held-metadata", &[], Ok(&size(11_000))),
            ("held-read-at", &["5998", "4"], Ok("aabb")),
            ("read-at", &["/d/f", "10998", "2"], Ok("bb")),
            ("set-len", &["/d/f", "4092"], Ok("")),
            ("held-metadata", &[], Ok(&size(4092))),
            ("held-set-len", &["4097"], Ok("")),
            ("held-read-at", &["4090", "10"], Ok("01\0\0\0\0\0")),
            ("append", &["/d/f", "xyz"], Ok("")),
            ("held-read-at", &["4090", "20"], Ok("01\0\0\0\0\0xyz")),
            ("write", &["/d/f", "short"], Ok("")),
            ("held-read-at", &["0", "20"], Ok("short")),
            // Names.
            ("exists", &["/d/g"], Ok("false")),
            ("exists", &["/d/g"], Ok("false")),
            ("read", &["/d/g"], Err("NotFound")),
            ("rename", &["/d/f", "/d/g"], Ok("")),
            ("exists", &["/d/f"], Ok("false")),
            ("read", &["/d/g"], Ok("short")),
            ("create-dir", &["/d/f"], Ok("")),
            ("exists", &["/d/f"], Ok("true")),
            ("write", &["/d/f/g", "inner"], Ok("")),
            ("remove-dir-all", &["/d/f"], Ok("")),
            ("exists", &["/d/f"], Ok("false")),
            ("create-new", &["/d/f", "new"], Ok("")),
            ("held-read-at", &["0", "20"], Ok("short")),
            ("remove-file", &["/d/g"], Ok("")),
            ("held-read-at", &["0", "20"], Ok("short")),
            ("threads", &["/d"], Ok("200")),
            ("large", &["/d/large", "300000"], Ok("true")),
            ("drop", &[], Ok("")),
            ("list", &["/d"], Ok("f\nlarge")),
        ]);
        files.end();
    }
}

fn what_may_not_be_read_is_not_read_from_what_is_kept_either(backend: BackendKind) {
    let temporary = TempDir::new().unwrap();
    fs::write(temporary.path().join("file"), [b'a'; 5000]).unwrap();
    let mut files = Files::start(vec![own_directory("d", temporary.path(), true)], backend);
    files.check(&[
        ("hold", &["/d/file", "r"], Ok("")),
        ("held-read-at", &["0", "2"], Ok("aa")),
        ("hold", &["/d/file", "w"], Ok("")),
    ]);
    assert!(files.ask("held-read-at", &["0", "2"]).is_err());
    files.end();
}

fn only_of_its_own_directory_a_guest_keeps_what_it_was_told(backend: BackendKind) {
    for exclusive in [false, true] {
        let temporary = TempDir::new().unwrap();
        let (file, other) = (temporary.path().join("file"), temporary.path().join("other"));
        fs::write(&file, [b'a'; 5000]).unwrap();
        let mut files = Files::start(vec![own_directory("d", temporary.path(), exclusive)], backend);
        let rights = format!("{:o}", fs::metadata(&file).unwrap().mode() & 0o777);
        let (before, after) = (format!("file 5000 {rights}"), format!("file 6000 {rights}"));
        files.check(&[
            ("hold", &["/d/file", "rw"], Ok("")),
            ("held-read-at", &["4000", "2"], Ok("aa")),
            ("held-metadata", &[], Ok(&before)),
            ("exists", &["/d/other"], Ok("false")),
            ("held-lock", &[], Ok("None")),
        ]);
        fs::write(&file, [b'b'; 6000]).unwrap();
        fs::write(&other, "other").unwrap();
        let (bytes, described, there) =
            if exclusive { ("aa", &before, "false") } else { ("bb", &after, "true") };
        files.check(&[
            ("held-read-at", &["4000", "2"], Ok(bytes)),
            ("held-metadata", &[], Ok(described)),
            ("exists", &["/d/other"], Ok(there)),
        ]);
        // Others see the guest's locks, unless it is alone.
        let file = File::options().write(true).open(&file).unwrap();
        let lock = rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive);
        assert_eq!(lock.is_ok(), exclusive);
        drop(file);
        // With the last file that is open, everything is forgotten.
        files.check(&[
            ("drop", &[], Ok("")),
            ("exists", &["/d/other"], Ok("true")),
            ("read-at", &["/d/file", "4000", "2"], Ok("bb")),
            ("metadata", &["/d/file"], Ok(&after)),
        ]);
        files.end();
    }
}

fn a_full_disk_is_an_ordinary_error(backend: BackendKind) {
    let can_mount = || Command::new("unshare").args(["-Urm", "true"]).status();
    if again::is_other() {
        let temporary = TempDir::new().unwrap();
        let path = temporary.path().to_str().unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "full", path]).status();
        assert!(mounted.unwrap().success());
        let mut files = Files::with(temporary.path(), true, backend);
        files.check(&[
            ("large", &["/d/file", "1000000"], Err("StorageFull")),
            ("remove-file", &["/d/file"], Ok("")),
            ("large", &["/d/file", "100000"], Ok("true")),
        ]);
        files.end();
        assert!(Command::new("umount").arg(path).status().unwrap().success());
    } else if can_mount().is_ok_and(|status| status.success()) {
        let this = std::env::current_exe().unwrap();
        let mut command = Command::new("unshare");
        command.arg("-Urm").arg(this).args(["--exact", "--nocapture", "--test-threads=1"]);
        command.arg(again::test("a_full_disk_is_an_ordinary_error", backend));
        let output = again::in_other(&mut command).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    } else {
        eprintln!("not tried: nobody may mount a small file system here");
    }
}

const SECRET: &str = "SECRET-OUTSIDE";

/// A directory to be granted, and beside it one that must not be reached.
struct Prison {
    temporary: TempDir,
}

impl Prison {
    fn new() -> Prison {
        let temporary = TempDir::new().unwrap();
        let prison = Prison { temporary };
        let (inside, outside) = (prison.inside(), prison.outside());
        fs::create_dir_all(inside.join("directory/deeper")).unwrap();
        fs::create_dir_all(outside.join("directory")).unwrap();
        fs::write(outside.join("secret"), SECRET).unwrap();
        fs::write(outside.join("directory/secret"), SECRET).unwrap();
        fs::write(inside.join("directory/secret"), "inside").unwrap();
        let link = |target: &Path, name: &str| symlink(target, inside.join(name)).unwrap();
        link(&outside, "absolute");
        link(&outside.join("secret"), "absolute-secret");
        link(Path::new("../outside"), "relative");
        link(Path::new("../outside/secret"), "relative-secret");
        link(Path::new("directory/../../outside/secret"), "winding");
        link(Path::new("./../outside"), "dotted");
        link(Path::new("../inside/../outside/secret"), "in-and-out");
        link(Path::new("relative"), "chain-1");
        link(Path::new("chain-1/secret"), "chain-2");
        link(Path::new("directory/up/.."), "chain-3");
        link(Path::new(".."), "parent");
        link(Path::new("../.."), "grandparent");
        link(Path::new("/"), "root");
        link(Path::new("/proc/self/cwd"), "process-directory");
        link(Path::new("/proc/self/root"), "process-root");
        link(Path::new("/proc/self/fd/0"), "process-input");
        link(Path::new("/dev/zero"), "zeros");
        symlink("../..", inside.join("directory/up")).unwrap();
        symlink("../../../outside/secret", inside.join("directory/deeper/secret")).unwrap();
        symlink(format!("{}/", outside.display()), inside.join("slash")).unwrap();
        mknodat(CWD, inside.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
        fs::set_permissions(inside.join("fifo"), fs::Permissions::from_mode(0o644)).unwrap();
        prison
    }

    fn inside(&self) -> std::path::PathBuf {
        self.temporary.path().join("inside")
    }

    fn outside(&self) -> std::path::PathBuf {
        self.temporary.path().join("outside")
    }

    /// All that is outside of what was granted, with its content.
    fn picture(&self) -> Vec<(std::path::PathBuf, Vec<u8>)> {
        fn look(path: &Path, picture: &mut Vec<(std::path::PathBuf, Vec<u8>)>) {
            for entry in fs::read_dir(path).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    picture.push((path.clone(), Vec::new()));
                    look(&path, picture);
                } else {
                    picture.push((path.clone(), fs::read(&path).unwrap()));
                }
            }
        }
        let mut picture = Vec::new();
        look(&self.outside(), &mut picture);
        for entry in fs::read_dir(self.temporary.path()).unwrap() {
            picture.push((entry.unwrap().path(), Vec::new()));
        }
        picture.sort();
        picture
    }
}

/// Paths that would lead outside if the host, or a careless client, walked them.
fn escapes(prison: &Prison) -> Vec<Vec<u8>> {
    let paths = [
        "/d/../outside/secret",
        "/d/../../outside/secret",
        "/../outside/secret",
        "../outside/secret",
        "d/../outside/secret",
        "/d/./../outside/secret",
        "/d//..//outside//secret",
        "/d/directory/../../outside/secret",
        "/d/directory/deeper/../../../outside/secret",
        "/d/directory/deeper/../../../../../../../../etc/passwd",
        "/d/none/../../outside/secret",
        "/d/directory/secret/../../../outside/secret",
        "/d/fifo/../../outside/secret",
        "/d/absolute/secret",
        "/d/absolute-secret",
        "/d/relative/secret",
        "/d/relative-secret",
        "/d/relative/../outside/secret",
        "/d/relative/directory/secret",
        "/d/winding",
        "/d/dotted/secret",
        "/d/in-and-out",
        "/d/chain-1/secret",
        "/d/chain-2",
        "/d/chain-3/outside/secret",
        "/d/parent/outside/secret",
        "/d/parent/inside/../outside/secret",
        "/d/grandparent/outside/secret",
        "/d/root/etc/passwd",
        "/d/process-directory/secret",
        "/d/process-root/etc/passwd",
        "/d/process-input",
        "/d/zeros",
        "/d/directory/up/outside/secret",
        "/d/directory/up/inside/directory/secret",
        "/d/directory/deeper/secret",
        "/d/slash/secret",
        "/d/slash",
        "/d/fifo",
        "/d/..",
        "/d/../d/../outside/secret",
        "/etc/passwd",
        "/proc/self/mem",
        "/proc/self/environ",
        "/d/..\\outside\\secret",
        "/d/%2e%2e/outside/secret",
        "/d/..;/outside/secret",
        "/d/.../outside/secret",
        "/d/relative-secret/",
        "/d/relative-secret/.",
        "/d/directory/.../secret",
        "\\d\\..\\outside\\secret",
        "~/secret",
        "/outside/secret",
        "/d/\u{ff0e}\u{ff0e}/outside/secret",
    ];
    let mut paths: Vec<Vec<u8>> = paths.iter().map(|path| path.as_bytes().to_vec()).collect();
    let outside = prison.outside();
    paths.push(outside.join("secret").as_os_str().as_bytes().to_vec());
    paths.push([b"/d", outside.join("secret").as_os_str().as_bytes()].concat());
    paths.push(b"/d/\xc0\xae\xc0\xae/outside/secret".to_vec());
    paths.push(b"/d/..\0/outside/secret".to_vec());
    paths.push(b"/d/directory\0/../../outside/secret".to_vec());
    paths.push([b"/d/", "../".repeat(1000).as_bytes(), b"outside/secret"].concat());
    paths.push([b"/d/".to_vec(), b"./".repeat(1000), b"../outside/secret".to_vec()].concat());
    paths
}

fn no_path_leads_outside(backend: BackendKind) {
    let prison = Prison::new();
    let before = prison.picture();
    let mut files = Files::with(&prison.inside(), true, backend);
    let escapes = escapes(&prison);
    assert!(escapes.len() >= 40);
    let reads = ["read", "list", "read-link", "metadata", "copy"];
    let changes = ["write", "append", "create-dir", "remove-file", "remove-dir", "set-len"];
    for path in &escapes {
        for operation in reads {
            let answer = files.ask_bytes(operation, &[path, b"/d/copied"]);
            let text = String::from_utf8_lossy(answer.as_deref().unwrap_or_default()).into_owned();
            let path = String::from_utf8_lossy(path);
            assert!(!text.contains(SECRET), "{operation} {path}: {text}");
            assert!(!text.contains("root:"), "{operation} {path}: {text}");
            if operation == "list" {
                assert!(["", "d", "secret"].contains(&text.as_str()) || answer.is_err(), "{path}: {text}");
            }
        }
        let copied = fs::read(prison.inside().join("copied")).unwrap_or_default();
        assert!(!copied.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()));
        for operation in changes {
            let _ = files.ask_bytes(operation, &[path, b"1"]);
        }
        let _ = files.ask_bytes("remove-dir-all", &[path]);
        for other in [b"/d/directory/secret".as_slice(), b"/d/moved"] {
            let _ = files.ask_bytes("rename", &[path, other]);
            let _ = files.ask_bytes("rename", &[other, path]);
            let _ = files.ask_bytes("hard-link", &[path, other]);
            let _ = files.ask_bytes("hard-link", &[other, path]);
        }
        assert_eq!(prison.picture(), before, "{}", String::from_utf8_lossy(path));
    }
    files.end();
}

fn wherever_a_link_points_it_leads_nowhere_else(backend: BackendKind) {
    let prison = Prison::new();
    let mut links = Vec::new();
    for (number, path) in escapes(&prison).into_iter().enumerate() {
        // As it is, and as it would be from inside.
        let relative = path.strip_prefix(b"/d/").map(<[u8]>::to_vec);
        for (kind, target) in [Some(path.clone()), relative].into_iter().flatten().enumerate() {
            let name = format!("made-{number}-{kind}");
            // Not all of them can be the target of a link.
            if symlink(OsStr::from_bytes(&target), prison.inside().join(&name)).is_ok() {
                links.push(name);
            }
        }
    }
    assert!(links.len() >= 40);
    let before = prison.picture();
    let mut files = Files::with(&prison.inside(), true, backend);
    for link in links {
        for path in [format!("/d/{link}"), format!("/d/{link}/secret"), format!("/d/{link}/outside/secret")] {
            for operation in ["read", "list"] {
                let answer = files.ask(operation, &[&path]).unwrap_or_default();
                assert!(!answer.contains(SECRET) && !answer.contains("root:"), "{path}: {answer}");
                assert!(!answer.contains("outside"), "{path}: {answer}");
            }
            for operation in ["write", "create-dir", "set-len", "remove-dir-all"] {
                let _ = files.ask(operation, &[&path, "1"]);
            }
        }
    }
    files.end();
    assert_eq!(prison.picture(), before);
}

fn what_is_no_file_is_not_opened(backend: BackendKind) {
    let prison = Prison::new();
    let mut files = Files::with(&prison.inside(), true, backend);
    // A FIFO without a writer would be waited for, for ever.
    for letters in ["r", "w", "rw", "a"] {
        assert_eq!(files.ask("open", &["/d/fifo", letters]), Err("Unsupported".into()));
    }
    files.check(&[("metadata", &["/d/fifo"], Ok("other 0 644"))]);
    // A device node, where somebody may make one.
    let null = prison.inside().join("null");
    if mknodat(CWD, &null, FileType::CharacterDevice, Mode::from_raw_mode(0o666), 0x105).is_ok() {
        files.check(&[
            ("read", &["/d/null"], Err("Unsupported")),
            ("write", &["/d/null", "x"], Err("Unsupported")),
        ]);
    }
    files.end();
}

/// The host exchanges a directory and a link to the outside, over and over, while the guest walks.
fn nothing_that_changes_on_the_way_leads_outside(backend: BackendKind) {
    let prison = Prison::new();
    let (inside, before) = (prison.inside(), prison.picture());
    let mut files = Files::with(&inside, true, backend);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let exchange = |one: &str, other: &str| {
                let (one, other) = (inside.join(one), inside.join(other));
                renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).unwrap();
            };
            while !done.load(Relaxed) {
                exchange("directory", "relative");
                exchange("relative", "absolute");
                thread::yield_now();
                exchange("relative", "absolute");
                exchange("directory", "relative");
            }
        });
        let paths = [
            ("/d/directory/secret", "/d/directory/written"),
            ("/d/directory", "/d/directory/deeper/written"),
            ("/d/directory/../relative/secret", "/d/relative/written"),
            ("/d/absolute/deeper/../secret", "/d/absolute/deeper/../written"),
        ];
        let seen = paths.map(|(path, written)| files.ask("walk-often", &[path, written, "400"]).unwrap());
        done.store(true, Relaxed);
        assert!(!seen.iter().any(|seen| seen.contains(SECRET)), "{seen:?}");
        // The way was there now and then.
        assert!(seen.iter().any(|seen| seen.contains("inside")), "{seen:?}");
    });
    files.end();
    assert_eq!(prison.picture(), before);
}

fn messages_that_no_client_sends_reach_nothing(backend: BackendKind) {
    let prison = Prison::new();
    fs::write(prison.inside().join("link-file"), "inside").unwrap();
    symlink("../outside/secret", prison.inside().join("link-to-secret")).unwrap();
    symlink("../outside", prison.inside().join("link-to-outside")).unwrap();
    symlink(prison.outside().join("secret"), prison.inside().join("absolute-link")).unwrap();
    let before = prison.picture();
    for writable in [false, true] {
        let guest = Guest::new("guest-hostile-devices", backend).arguments(["fuse"]);
        let grants = vec![directory("d", &prison.inside(), writable)];
        guest.with(|config| config.grants = grants).run().assert_output("0 secrets, works\n");
        assert_eq!(prison.picture(), before);
    }
}

on_every_backend!(
    files_are_written_read_moved_and_removed,
    a_file_has_places,
    options_say_how_a_file_is_opened,
    directories_are_made_listed_and_removed,
    metadata_says_what_a_file_is,
    links_lead_where_they_say,
    several_directories_have_names_of_their_own,
    a_directory_may_be_granted_by_a_path,
    what_was_granted_to_be_read_is_not_changed,
    a_directory_that_vanishes_is_an_ordinary_error,
    files_may_be_large,
    names_may_be_long_and_of_any_bytes,
    a_directory_may_hold_many_files,
    threads_use_one_directory,
    what_a_guest_does_in_its_own_directory_it_sees_at_once,
    what_may_not_be_read_is_not_read_from_what_is_kept_either,
    only_of_its_own_directory_a_guest_keeps_what_it_was_told,
    a_full_disk_is_an_ordinary_error,
    no_path_leads_outside,
    wherever_a_link_points_it_leads_nowhere_else,
    what_is_no_file_is_not_opened,
    nothing_that_changes_on_the_way_leads_outside,
    messages_that_no_client_sends_reach_nothing,
);
