//! Files that the command line names.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use nixmox_cli::{Exit, Failure};
use nixmox_tree::{SecretBytes, SecretString};

/// Reads a text of so many bytes at most; what it is read from may be a pipe, or never end.
pub(crate) fn text(path: &Path, limit: u32) -> Result<SecretString, Failure> {
    let fail = |error: io::Error| {
        Failure::new(Exit::NoFile, format!("cannot read {}", path.display())).because(error)
    };
    let limit = u64::from(limit);
    let file = File::open(path).map_err(fail)?;
    let length = file.metadata().map_err(fail)?.len().min(limit);
    // Reserved before: a buffer that grows leaves behind what it held.
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default() + 64);
    let read = file.take(limit + 1).read_to_end(&mut bytes);
    let bytes = SecretBytes::new(bytes);
    if u64::try_from(read.map_err(fail)?).is_ok_and(|read| read <= limit) {
        let text = bytes.as_str().ok_or_else(|| fail(io::ErrorKind::InvalidData.into()))?;
        return Ok(SecretString::new(text));
    }
    let message = format!("{} is too large: more than {limit} bytes", path.display());
    Err(Failure::new(Exit::Usage, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_ends_is_not_read_to_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(text(&path, 5).unwrap().expose(), "12345");
        assert!(text(&path, 4).is_err());
        assert!(text(Path::new("/dev/zero"), 1 << 10).is_err());
        assert!(text(directory.path(), 5).is_err());
        std::fs::write(&path, [0xff]).unwrap();
        assert!(text(&path, 5).is_err());
    }
}
