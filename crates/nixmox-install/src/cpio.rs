//! Archives that a kernel unpacks as its first root: cpio in the form that `newc` names.

use std::fmt::Write as _;

use nixmox_tree::SecretString;
use zeroize::Zeroizing;

/// What a directory has among its permissions.
const DIRECTORY: u32 = 0o040_000;
/// What a plain file has.
const FILE: u32 = 0o100_000;

/// A file or a directory of an archive.
#[derive(Clone, Copy)]
pub(crate) struct Entry<'a> {
    name: &'a str,
    mode: u32,
    text: &'a str,
}

impl<'a> Entry<'a> {
    pub(crate) fn file(name: &'a str, permissions: u32, text: &'a str) -> Self {
        Self { name, mode: FILE | permissions, text }
    }

    pub(crate) fn directory(name: &'a str, permissions: u32) -> Self {
        Self { name, mode: DIRECTORY | permissions, text: "" }
    }
}

/// Writes an archive, which belongs to root and has no times. It may hold secrets.
pub(crate) fn archive(entries: &[Entry<'_>]) -> SecretString {
    // Never grown, so no part of it is left behind in a smaller allocation.
    let size: usize = entries.iter().map(|entry| 120 + entry.name.len() + entry.text.len()).sum();
    let mut text = Zeroizing::new(String::with_capacity(size + 256));
    for (entry, number) in entries.iter().zip(1..) {
        write(&mut text, entry, number);
    }
    write(&mut text, &Entry { name: "TRAILER!!!", mode: 0, text: "" }, 0);
    SecretString::from(text)
}

fn write(out: &mut String, entry: &Entry<'_>, number: u32) {
    let links = if entry.mode & DIRECTORY == DIRECTORY { 2 } else { 1 };
    let (size, name) = (entry.text.len(), entry.name.len() + 1);
    // Writing to a string cannot fail. Inode, mode, owner, group, links, time, size, four devices, name, sum.
    let _ = write!(
        out,
        "070701{number:08X}{:08X}{:08X}{:08X}{links:08X}{:08X}{size:08X}{:08X}{:08X}{:08X}{:08X}{name:08X}{:08X}",
        entry.mode, 0, 0, 0, 0, 0, 0, 0, 0
    );
    out.push_str(entry.name);
    out.push('\0');
    pad(out);
    out.push_str(entry.text);
    pad(out);
}

fn pad(out: &mut String) {
    while !out.len().is_multiple_of(4) {
        out.push('\0');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    /// busybox reads archives as the kernel does.
    #[test]
    fn others_read_what_is_written() {
        let entries = [
            Entry::directory("ssh", 0o700),
            Entry::file("ssh/key", 0o600, "private\n"),
            Entry::file("empty", 0o644, ""),
        ];
        let archive = archive(&entries);
        let directory = tempfile::tempdir().unwrap();
        let mut cpio = Command::new("busybox");
        cpio.args(["cpio", "-i", "-d"]).current_dir(directory.path());
        let mut cpio = cpio.stdin(Stdio::piped()).spawn().expect("busybox");
        cpio.stdin.take().unwrap().write_all(archive.expose().as_bytes()).unwrap();
        assert!(cpio.wait().unwrap().success());
        let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
        assert_eq!((read("ssh/key"), read("empty")), ("private\n".into(), String::new()));
        let mode = std::fs::metadata(directory.path().join("ssh/key")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&mode.permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
}
