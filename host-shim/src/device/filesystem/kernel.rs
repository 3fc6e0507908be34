//! File systems that are no files, but ways to talk to the kernel. A guest that is granted a directory below
//! which one is mounted must not get there: to write `/proc/<pid>/mem` is to take over a process.

use std::io;
use std::os::fd::AsFd;

/// By their numbers in `linux/magic.h`.
const INTERFACES: [i64; 15] = [
    0x9fa0,      // proc
    0x6265_6572, // sysfs
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0x27_e0eb,   // cgroup
    0x6367_7270, // cgroup2
    0x7363_6673, // securityfs
    0xcafe_4a11, // bpf
    0x6265_6570, // configfs
    0xde5e_81e4, // efivarfs
    0x6165_676c, // pstore
    0xf97c_ff8c, // selinux
    0x4341_5d53, // smack
    0x6c6f_6f70, // binderfs
    0x6e73_6673, // nsfs
];

/// Whether a file or directory belongs to such a file system.
pub(super) fn is_interface(file: impl AsFd) -> io::Result<bool> {
    let kind = rustix::fs::fstatfs(file)?.f_type;
    Ok(INTERFACES.contains(&(kind as i64)))
}
