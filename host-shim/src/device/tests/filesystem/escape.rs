//! Attempts to get out of a directory. Outside of it is a file with a secret, which none may read or change, and
//! beside that a pipe and a device, which none may open.

use super::*;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

const SECRET: &[u8] = b"the secret that nobody may read";

/// A directory to be granted, and what is outside.
struct World {
    root: TempDir,
}

impl World {
    fn new() -> World {
        let world = World { root: tempfile::tempdir().unwrap() };
        let outside = world.outside();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret"), SECRET).unwrap();
        fs::create_dir(outside.join("folder")).unwrap();
        fs::write(outside.join("folder/secret"), SECRET).unwrap();
        let granted = world.granted();
        fs::create_dir(&granted).unwrap();
        fs::write(granted.join("own"), "own").unwrap();
        fs::create_dir_all(granted.join("folder/deeper")).unwrap();
        symlink(outside.join("secret"), granted.join("absolute")).unwrap();
        symlink("../outside/secret", granted.join("relative")).unwrap();
        symlink(&outside, granted.join("directory")).unwrap();
        symlink("../outside", granted.join("up")).unwrap();
        symlink("/", granted.join("root")).unwrap();
        symlink("..", granted.join("parent")).unwrap();
        symlink("/proc/self/mem", granted.join("memory")).unwrap();
        symlink("/dev/zero", granted.join("zero")).unwrap();
        symlink("missing", granted.join("dangling")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, granted.join("fifo"), rustix::fs::Mode::RWXU).unwrap();
        drop(std::os::unix::net::UnixListener::bind(granted.join("socket")).unwrap());
        world
    }

    fn granted(&self) -> PathBuf {
        self.root.path().join("granted")
    }

    fn outside(&self) -> PathBuf {
        self.root.path().join("outside")
    }

    fn client(&self, writable: bool) -> Client {
        Client::new(&self.granted(), writable)
    }

    /// Nothing outside has changed, or come or gone.
    fn check(&self) {
        let names = |path: &Path| {
            let names = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name());
            let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
            names.sort();
            names
        };
        assert_eq!(names(self.root.path()), ["granted", "outside"]);
        assert_eq!(names(&self.outside()), ["folder", "secret"]);
        assert_eq!(fs::read(self.outside().join("secret")).unwrap(), SECRET);
        assert_eq!(fs::read(self.outside().join("folder/secret")).unwrap(), SECRET);
        let mode = fs::metadata(self.outside().join("secret")).unwrap().mode();
        assert_eq!(mode & 0o7777, 0o644 & mode & 0o7777, "its rights are as they were");
    }
}

/// Names of which none is an entry of the directory.
const NAMES: [&str; 24] = [
    "",
    ".",
    "..",
    "/",
    "//",
    "/etc/passwd",
    "../outside/secret",
    "../outside",
    "./own",
    "./../outside/secret",
    "folder/../../outside/secret",
    "folder/..",
    "folder/deeper/../../../outside/secret",
    "own/",
    "folder/",
    "folder//deeper",
    "directory/secret",
    "up/secret",
    "root/etc/passwd",
    "parent/outside/secret",
    "../",
    "../..",
    "/proc/self/mem",
    "/proc/self/root",
];

#[test]
fn no_name_leads_out() {
    let world = World::new();
    let client = world.client(true);
    let own = client.lookup(ROOT, "own").unwrap();
    let folder = client.lookup(ROOT, "folder").unwrap();
    for parent in [ROOT, folder] {
        for name in NAMES {
            assert_eq!(client.lookup(parent, name), Err(libc::EINVAL), "{name:?}");
            assert_eq!(client.create(parent, name, libc::O_RDWR, 0o644), Err(libc::EINVAL), "{name:?}");
            let with = |head: Vec<u8>| [head, text(name)].concat();
            for (kind, body) in [
                (message::MKDIR, with(words(&[0o755, 0]))),
                (message::MKNOD, with(words(&[libc::S_IFREG | 0o644, 0, 0, 0]))),
                (message::UNLINK, text(name)),
                (message::RMDIR, text(name)),
                (message::RENAME, [longs(&[parent]), text("own"), text(name)].concat()),
                (message::RENAME, [longs(&[parent]), text(name), text("new")].concat()),
                (message::RENAME2, [longs(&[parent]), words(&[0, 0]), text(name), text("new")].concat()),
            ] {
                assert_eq!(client.ask(kind, parent, &body), Err(libc::EINVAL), "{kind} {name:?}");
            }
            assert_eq!(client.ask(message::LINK, parent, &with(longs(&[own]))), Err(libc::EPERM), "{name:?}");
            let both = [text(name), text("../outside/secret")].concat();
            assert_eq!(client.ask(message::SYMLINK, parent, &both), Err(libc::EPERM), "{name:?}");
        }
    }
    world.check();
}

#[test]
fn a_file_is_no_directory() {
    let world = World::new();
    let client = world.client(true);
    let own = client.lookup(ROOT, "own").unwrap();
    assert_eq!(client.lookup(own, "secret"), Err(libc::ENOTDIR));
    assert_eq!(client.create(own, "new", libc::O_RDWR, 0), Err(libc::ENOTDIR));
    assert_eq!(client.ask(message::OPENDIR, own, &words(&[0, 0])), Err(libc::ENOTDIR));
    let folder = client.lookup(ROOT, "folder").unwrap();
    for flags in [0, libc::O_RDWR, libc::O_TMPFILE | libc::O_RDWR, libc::O_PATH, libc::O_DIRECTORY] {
        assert_eq!(client.open(folder, flags), Err(libc::EISDIR), "{flags:#x}");
    }
    world.check();
}

#[test]
fn symbolic_links_are_read_and_never_followed() {
    let world = World::new();
    let client = world.client(true);
    for name in ["absolute", "relative", "directory", "up", "root", "parent", "memory", "zero", "dangling"] {
        let link = client.lookup(ROOT, name).unwrap();
        let target = client.ask(message::READLINK, link, &[]).unwrap();
        assert_eq!(target, fs::read_link(world.granted().join(name)).unwrap().as_os_str().as_encoded_bytes());
        for flags in [libc::O_RDONLY, libc::O_RDWR, libc::O_TRUNC, libc::O_PATH, libc::O_NOFOLLOW] {
            assert_eq!(client.open(link, flags), Err(libc::EACCES), "{name} {flags:#x}");
        }
        assert_eq!(client.ask(message::OPENDIR, link, &words(&[0, 0])), Err(libc::ENOTDIR), "{name}");
        assert_eq!(client.lookup(link, "secret"), Err(libc::ENOTDIR), "{name}");
        assert_eq!(client.create(link, "new", libc::O_RDWR, 0o644), Err(libc::ENOTDIR), "{name}");
        assert_eq!(client.create(ROOT, name, libc::O_RDWR, 0o644), Err(libc::EACCES), "{name}");
        let exclusive = libc::O_RDWR | libc::O_EXCL;
        assert_eq!(client.create(ROOT, name, exclusive, 0o644), Err(libc::EEXIST), "{name}");
        let make = [words(&[0o755, 0]), text("new")].concat();
        assert_eq!(client.ask(message::MKDIR, link, &make), Err(libc::ENOTDIR), "{name}");
        assert_eq!(client.ask(message::UNLINK, link, &text("secret")), Err(libc::ENOTDIR), "{name}");
        let rename = [longs(&[link]), text("own"), text("secret")].concat();
        assert_eq!(client.ask(message::RENAME, ROOT, &rename), Err(libc::ENOTDIR), "{name}");
        for valid in [1, 1 << 3, 1 << 4, 1 << 5, 1 << 7, 1 << 8] {
            assert_eq!(client.set(link, valid, 0, 0o777), Err(libc::EPERM), "{name} {valid}");
        }
    }
    world.check();
}

#[test]
fn only_files_and_directories_are_opened() {
    let world = World::new();
    let client = world.client(true);
    for name in ["fifo", "socket"] {
        let inode = client.lookup(ROOT, name).unwrap();
        for flags in [libc::O_RDONLY, libc::O_WRONLY, libc::O_RDWR, libc::O_PATH, libc::O_NONBLOCK] {
            assert_eq!(client.open(inode, flags), Err(libc::EACCES), "{name} {flags:#x}");
        }
        assert_eq!(client.create(ROOT, name, libc::O_RDWR, 0o644), Err(libc::EACCES), "{name}");
        assert_eq!(client.ask(message::OPENDIR, inode, &words(&[0, 0])), Err(libc::ENOTDIR), "{name}");
        assert_eq!(client.set(inode, 1, 0, 0o777), Err(libc::EPERM), "{name}");
    }
    for kind in [libc::S_IFCHR, libc::S_IFBLK, libc::S_IFIFO, libc::S_IFSOCK, libc::S_IFLNK, libc::S_IFDIR] {
        let body = [words(&[kind | 0o666, 0x105, 0, 0]), text("new")].concat();
        assert_eq!(client.ask(message::MKNOD, ROOT, &body), Err(libc::EPERM), "{kind:#o}");
    }
    let device = Client::new(Path::new("/dev"), false);
    let zero = device.lookup(ROOT, "zero").unwrap();
    assert_eq!(device.open(zero, libc::O_RDONLY), Err(libc::EACCES));
    world.check();
}

#[test]
fn what_was_not_given_cannot_be_named() {
    let world = World::new();
    let client = world.client(true);
    let own = client.lookup(ROOT, "own").unwrap();
    let handle = client.open(own, libc::O_RDWR).unwrap();
    // The number that an inode outside would have.
    let inode = fs::metadata(world.outside().join("secret")).unwrap().ino();
    let outside = fs::metadata(world.outside()).unwrap().ino();
    let guesses = [inode, outside, own & !0x7fff_ffff_ffff | inode, own & !0x7fff_ffff_ffff | outside];
    for guess in guesses.into_iter().chain([0, 2, 3, own + 1, u64::MAX, 1 << 63]) {
        assert_eq!(client.open(guess, 0), Err(libc::EBADF), "{guess:#x}");
        assert_eq!(client.lookup(guess, "secret"), Err(libc::EBADF), "{guess:#x}");
        assert_eq!(client.ask(message::GETATTR, guess, &longs(&[0, 0])), Err(libc::EBADF));
        assert_eq!(client.ask(message::OPENDIR, guess, &words(&[0, 0])), Err(libc::EBADF));
        assert_eq!(client.read(guess, handle, 0, 100), Err(libc::EBADF));
        assert_eq!(client.set(guess, 1, 0, 0), Err(libc::EBADF));
    }
    for guess in [0, handle + 1, handle - 1, 3, 4, 5, u64::MAX] {
        assert_eq!(client.read(own, guess, 0, 100), Err(libc::EBADF), "{guess}");
        assert_eq!(client.write(own, guess, 0, b"x"), Err(libc::EBADF), "{guess}");
        let body = [longs(&[guess, 0]), words(&[4096, 0, 0, 0, 0, 0])].concat();
        assert_eq!(client.ask(message::READDIR, ROOT, &body), Err(libc::EBADF), "{guess}");
    }
    // Forgotten inodes are not given either.
    client.forget(own, 1);
    assert_eq!(client.open(own, 0), Err(libc::EBADF));
    assert_eq!(client.lookup(ROOT, "own"), Ok(own));
    world.check();
}

#[test]
fn messages_that_are_not_needed_are_not_served() {
    let world = World::new();
    let client = world.client(true);
    let own = client.lookup(ROOT, "own").unwrap();
    let handle = client.open(own, libc::O_RDWR).unwrap();
    let attribute = [words(&[1, 0]), text("user.a"), b"x".to_vec()].concat();
    let ioctl = [longs(&[handle]), words(&[0, 0x5412]), longs(&[0]), words(&[0, 0])].concat();
    for (kind, body) in [
        (message::SETXATTR, attribute),
        (message::GETXATTR, [words(&[100, 0]), text("security.capability")].concat()),
        (message::REMOVEXATTR, text("user.a")),
        (message::READDIRPLUS, [longs(&[handle, 0]), words(&[4096, 0, 0, 0, 0, 0])].concat()),
        (message::COPY_FILE_RANGE, longs(&[handle, 0, own, handle, 0, 4, 0])),
        (4711, vec![]),
    ] {
        assert_eq!(client.ask(kind, own, &body), Err(libc::ENOSYS), "{kind}");
    }
    assert_eq!(client.ask(message::IOCTL, own, &ioctl), Err(libc::ENOTTY));
    assert_eq!(client.ask(message::SETUPMAPPING, own, &longs(&[handle, 0, 4096, 0, 0])), Err(libc::EINVAL));
    // It says nothing about the host's disk.
    assert!(client.ask(message::STATFS, own, &[]).unwrap()[..40].iter().all(|byte| *byte == 0));
    for mode in [1, 2, 8, 16, 32] {
        let body = [longs(&[handle, 0, 4096]), words(&[mode, 0])].concat();
        assert_eq!(client.ask(message::FALLOCATE, own, &body), Err(libc::EOPNOTSUPP), "{mode}");
    }
    for flags in [2, 4, 6] {
        let body = [longs(&[ROOT]), words(&[flags, 0]), text("own"), text("folder")].concat();
        assert_eq!(client.ask(message::RENAME2, ROOT, &body), Err(libc::EINVAL), "{flags}");
    }
    world.check();
}

#[test]
fn the_kernels_interfaces_are_not_files() {
    // As if somebody had granted everything.
    let client = Client::new(Path::new("/"), false);
    assert_eq!(client.lookup(ROOT, "proc"), Err(libc::EACCES));
    assert_eq!(client.lookup(ROOT, "sys"), Err(libc::EACCES));
    client.lookup(ROOT, "usr").unwrap();
    let pages = Arc::new(MachinePages::new(&[]).unwrap().0);
    let nobody = rustix::event::eventfd(0, EventfdFlags::CLOEXEC).unwrap();
    let events = Arc::new(Events::new(pages, Arc::new(nobody)));
    let view = View::of(&[(RAM_BASE, 4096)]).unwrap();
    for path in ["/proc", "/proc/self/fd", "/nowhere/at/all", "/etc/passwd"] {
        let resource = Resource::Directory { path: path.into(), writable: true, exclusive: false };
        let grant = Grant { name: "it".to_owned(), resource };
        let error = Devices::with(vec![grant], &view, &events).unwrap_err().to_string();
        assert!(error.contains("\"it\""), "{error}");
    }
}

#[test]
fn a_granted_symbolic_link_is_the_directory_that_it_names() {
    let world = World::new();
    let link = world.root.path().join("link");
    symlink(world.granted(), &link).unwrap();
    let client = Client::new(&link, false);
    fs::remove_file(&link).unwrap();
    client.lookup(ROOT, "own").unwrap();
    assert_eq!(client.lookup(ROOT, ".."), Err(libc::EINVAL));
    world.check();
}

/// Runs the guest's side of a race for a while, against what the host's side does again and again.
fn race(host: impl Fn() + Sync, guest: impl Fn()) {
    /// Says so also if the guest's part panics, which would not be seen otherwise: the scope waits.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, SeqCst);
        }
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        scope.spawn(|| {
            while !stop.load(SeqCst) {
                host();
            }
        });
        let begin = std::time::Instant::now();
        while begin.elapsed() < std::time::Duration::from_millis(300) {
            guest();
        }
    });
}

/// Swaps two names, in one step.
fn swap(directory: &Path, a: &str, b: &str) {
    let directory = fs::File::open(directory).unwrap();
    let flags = rustix::fs::RenameFlags::EXCHANGE;
    rustix::fs::renameat_with(&directory, a, &directory, b, flags).unwrap();
}

/// Reads through `folder/<name>` if there is a way.
fn try_to_read(client: &Client, name: &str) -> Option<Vec<u8>> {
    let folder = client.lookup(ROOT, "folder").ok()?;
    let result = client.lookup(folder, name).and_then(|inode| {
        let read = client.open(inode, libc::O_RDONLY).and_then(|handle| {
            let bytes = client.read(inode, handle, 0, 100);
            let release = [longs(&[handle]), words(&[0, 0]), longs(&[0])].concat();
            client.ask(message::RELEASE, inode, &release).unwrap();
            bytes
        });
        client.forget(inode, 1);
        read
    });
    client.forget(folder, 1);
    result.ok()
}

#[test]
fn a_directory_that_becomes_a_link_during_lookups_leads_nowhere() {
    let world = World::new();
    let client = world.client(true);
    fs::write(world.granted().join("folder/secret"), "own").unwrap();
    race(
        || swap(&world.granted(), "folder", "directory"),
        || assert_ne!(try_to_read(&client, "secret").as_deref(), Some(SECRET)),
    );
    world.check();
}

#[test]
fn a_file_that_becomes_a_link_during_opening_leads_nowhere() {
    let world = World::new();
    let client = world.client(true);
    let folder = world.granted().join("folder");
    fs::write(folder.join("file"), "own").unwrap();
    symlink(world.outside().join("secret"), folder.join("link")).unwrap();
    race(
        || swap(&folder, "file", "link"),
        || assert_ne!(try_to_read(&client, "file").as_deref(), Some(SECRET)),
    );
    world.check();
}

#[test]
fn a_file_that_becomes_a_link_while_it_is_created_changes_nothing_outside() {
    let world = World::new();
    let client = world.client(true);
    let granted = world.granted();
    race(
        || {
            let _ = fs::remove_file(granted.join("new"));
            let _ = symlink(world.outside().join("secret"), granted.join("new"));
            let _ = fs::remove_file(granted.join("new"));
        },
        || {
            if let Ok((inode, handle)) = client.create(ROOT, "new", libc::O_RDWR | libc::O_TRUNC, 0o666) {
                let _ = client.write(inode, handle, 0, b"overwritten");
                assert_ne!(client.read(inode, handle, 0, 100).as_deref(), Ok(SECRET));
                let release = [longs(&[handle]), words(&[0, 0]), longs(&[0])].concat();
                let _ = client.ask(message::RELEASE, inode, &release);
                let _ = client.set(inode, 1, 0, 0o777);
                client.forget(inode, 1);
            }
        },
    );
    world.check();
}

#[test]
fn a_parent_that_becomes_a_link_while_files_are_made_changes_nothing_outside() {
    let world = World::new();
    let client = world.client(true);
    race(
        || swap(&world.granted(), "folder", "directory"),
        || {
            if let Ok(folder) = client.lookup(ROOT, "folder") {
                let _ = client.create(folder, "made", libc::O_RDWR, 0o666);
                let _ = client.ask(message::MKDIR, folder, &[words(&[0o777, 0]), text("made2")].concat());
                let _ = client.ask(message::UNLINK, folder, &text("secret"));
                let rename = [longs(&[folder]), text("own"), text("secret")].concat();
                let _ = client.ask(message::RENAME, ROOT, &rename);
                client.forget(folder, u64::MAX);
            }
            client.machine.start(0);
            client.init();
        },
    );
    world.check();
}

#[test]
fn a_directory_that_is_moved_out_while_it_is_listed_shows_only_itself() {
    let world = World::new();
    let client = world.client(false);
    fs::write(world.granted().join("folder/own2"), "").unwrap();
    race(
        || swap(&world.granted(), "folder", "directory"),
        || {
            if let Ok(folder) = client.lookup(ROOT, "folder") {
                if let Ok(names) = client.names(folder) {
                    assert!(!names.contains(&"secret".to_owned()), "{names:?}");
                }
                client.forget(folder, u64::MAX);
            }
            client.machine.start(0);
            client.init();
        },
    );
    world.check();
}
