use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat, unlinkat};

/// Directories nested deeper than this are not descended into; they then keep their parents from being removed.
const DEPTH: usize = 32;

/// Names in `directory`, without `.` and `..`, in order.
pub(super) fn names(directory: impl AsFd) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Removes `name` from `directory`: files are overwritten with zeros, directories are emptied, links not followed.
pub(super) fn remove(directory: impl AsFd, name: &[u8]) -> io::Result<()> {
    remove_at(directory.as_fd(), name, DEPTH)
}

/// Empties `directory`, going on after a failure and reporting the first.
pub(super) fn empty(directory: impl AsFd) -> io::Result<()> {
    empty_at(directory.as_fd(), DEPTH)
}

fn remove_at(directory: rustix::fd::BorrowedFd<'_>, name: &[u8], depth: usize) -> io::Result<()> {
    let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            if let Some(depth) = depth.checked_sub(1) {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let inner = openat(directory, name, flags, Mode::empty())?;
                empty_at(inner.as_fd(), depth)?;
            }
            Ok(unlinkat(directory, name, AtFlags::REMOVEDIR)?)
        }
        FileType::RegularFile => {
            // A file that cannot be overwritten is removed all the same.
            let _ = zero(directory, name);
            Ok(unlinkat(directory, name, AtFlags::empty())?)
        }
        _ => Ok(unlinkat(directory, name, AtFlags::empty())?),
    }
}

fn empty_at(directory: rustix::fd::BorrowedFd<'_>, depth: usize) -> io::Result<()> {
    let mut result = Ok(());
    for name in names(directory)? {
        let removed = remove_at(directory, &name, depth);
        // Somebody else removed it: what was wanted.
        let gone = matches!(&removed, Err(error) if error.kind() == io::ErrorKind::NotFound);
        if result.is_ok() && !gone {
            result = removed;
        }
    }
    result
}

/// Overwrites a file in place. One with a second name is left alone: that name was made on purpose.
fn zero(directory: rustix::fd::BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = openat(directory, name, flags, Mode::empty())?;
    let stat: Stat = fstat(&fd)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_nlink > 1 {
        return Ok(());
    }
    let mut file = File::from(fd);
    let mut left = usize::try_from(stat.st_size).unwrap_or(0);
    let zeros = [0; 8192];
    while left > 0 {
        let chunk = zeros.get(..left.min(zeros.len())).unwrap_or(&zeros);
        file.write_all(chunk)?;
        left = left.saturating_sub(chunk.len());
    }
    // Does nothing in memory, and makes the zeros reach a disk.
    file.sync_data()
}
