//! A private directory for plaintext: in memory, for one person, gone on every way out.
//!
//! [`Workspace::create`] makes a directory of mode 0700 in a file system that lives in memory, and holds a lock on it
//! for as long as the process lives. Whatever is in it is overwritten with zeros and removed when the workspace is
//! dropped, also by a panic, and when SIGINT, SIGTERM, SIGHUP or SIGQUIT ends the process. What a killed process left
//! behind is removed by the next [`Workspace::create`].
//!
//! Memory of such a file system may be written to swap space by the kernel; only encrypted swap guards against that.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nixmox_tree::SecretString;
use rustix::fs::{Mode, OFlags, openat};
use rustix::process::getuid;
use zeroize::Zeroizing;

mod directory;
mod places;
mod wipe;

pub(crate) use directory::Directory;
pub use places::Places;

use crate::guard::{Guard, Undo};

/// Largest text that is read back.
const LIMIT: u64 = 16 * 1024 * 1024;

/// Why there is no private place for plaintext, or why its file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlaintextError {
    /// No candidate is a directory in memory; a person may allow the disk explicitly.
    #[error("no directory in memory to keep plaintext in (tried {})", list(tried))]
    NoMemoryPlace {
        /// The directories that were looked at.
        tried: Vec<PathBuf>,
    },
    /// The system refused to make or lock the directory.
    #[error("cannot make a private directory in {}", path.display())]
    Create {
        /// Where it was to be made.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The name is not a plain file name.
    #[error("{name:?} is not a plain file name")]
    BadName {
        /// The refused name.
        name: String,
    },
    /// The file cannot be written.
    #[error("cannot write the private file {name}")]
    Write {
        /// Name of the file.
        name: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file cannot be read back.
    #[error("cannot read the private file {name} back")]
    Read {
        /// Name of the file.
        name: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is no longer a regular file.
    #[error("the private file {name} was replaced by something that is not a file")]
    NotAFile {
        /// Name of the file.
        name: String,
    },
    /// The text has grown beyond all sense.
    #[error("the private file {name} is larger than {limit} bytes")]
    TooLarge {
        /// Name of the file.
        name: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The text is not UTF-8.
    #[error("the private file {name} is not UTF-8")]
    NotUtf8 {
        /// Name of the file.
        name: String,
    },
}

fn list(paths: &[PathBuf]) -> String {
    let shown: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
}

/// Names the directories that killed processes left in these places.
pub fn stale(places: &Places) -> Vec<PathBuf> {
    places.all().flat_map(directory::stale).collect()
}

/// Wipes and removes what [`stale`] names.
pub fn remove_stale(places: &Places) {
    places.all().for_each(directory::remove_stale);
}

/// Overwrites a regular file with zeros and removes it; a link is not followed.
///
/// What a file system keeps of old versions is beyond it.
///
/// # Errors
///
/// What the system says; [`io::ErrorKind::InvalidInput`] for a path without a file name or to something else.
pub fn remove_file(path: &Path) -> io::Result<()> {
    let bad = || io::Error::from(io::ErrorKind::InvalidInput);
    let name = path.file_name().ok_or_else(bad)?;
    if !std::fs::symlink_metadata(path)?.is_file() {
        return Err(bad());
    }
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    let directory = File::open(above.unwrap_or(Path::new(".")))?;
    wipe::remove(&directory, std::os::unix::ffi::OsStrExt::as_bytes(name))
}

/// A private directory that holds one plaintext file.
pub struct Workspace {
    directory: Arc<Directory>,
    name: String,
    _guard: Guard,
}

impl Workspace {
    /// Makes the directory in the first place that will do, and writes `text` to a file of that name in it.
    ///
    /// Directories that killed processes left in any of the places are removed first.
    ///
    /// # Errors
    ///
    /// [`PlaintextError::NoMemoryPlace`], [`PlaintextError::Create`], [`PlaintextError::BadName`] and
    /// [`PlaintextError::Write`]; nothing stays behind.
    pub fn create(
        places: &Places,
        name: &str,
        text: &SecretString,
    ) -> Result<Self, PlaintextError> {
        Self::create_bytes(places, name, text.expose().as_bytes())
    }

    /// The same for content that need not be text.
    ///
    /// # Errors
    ///
    /// Those of [`create`](Self::create).
    pub fn create_bytes(places: &Places, name: &str, bytes: &[u8]) -> Result<Self, PlaintextError> {
        check_name(name)?;
        for place in places.all() {
            directory::remove_stale(place);
        }
        let directory = Arc::new(Directory::create(places.choose()?)?);
        let guard = Guard::new(Undo::Remove(Arc::clone(&directory)));
        let workspace = Self { directory, name: name.to_owned(), _guard: guard };
        workspace.write(bytes)?;
        Ok(workspace)
    }

    /// Returns the path of the file.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join(&self.name)
    }

    /// Returns the directory for temporary files of the editor: wiped together with the file.
    pub fn scratch(&self) -> PathBuf {
        self.directory.path().join(directory::SCRATCH)
    }

    /// Reads the file as it is now.
    ///
    /// # Errors
    ///
    /// [`PlaintextError::Read`], [`PlaintextError::NotAFile`], [`PlaintextError::TooLarge`] and
    /// [`PlaintextError::NotUtf8`].
    pub fn read(&self) -> Result<SecretString, PlaintextError> {
        let name = || self.name.clone();
        let failed = |source| PlaintextError::Read { name: name(), source };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = match openat(self.directory.fd(), &self.name, flags, Mode::empty()) {
            Err(rustix::io::Errno::LOOP) => return Err(PlaintextError::NotAFile { name: name() }),
            other => File::from(other.map_err(|errno| failed(errno.into()))?),
        };
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(PlaintextError::NotAFile { name: name() });
        }
        // Room for all of it from the start: a vector that grows leaves copies of its content behind.
        let room = usize::try_from(metadata.len().min(LIMIT)).unwrap_or(0).saturating_add(4096);
        let mut bytes = Zeroizing::new(Vec::with_capacity(room));
        file.take(LIMIT.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
        if u64::try_from(bytes.len()).is_ok_and(|len| len > LIMIT) {
            return Err(PlaintextError::TooLarge { name: name(), limit: LIMIT });
        }
        let text =
            std::str::from_utf8(&bytes).map_err(|_| PlaintextError::NotUtf8 { name: name() });
        text.map(SecretString::new)
    }

    /// Removes everything but the file, and returns the names of what was there.
    pub fn sweep(&self) -> Vec<String> {
        self.directory.sweep(&self.name)
    }

    fn write(&self, bytes: &[u8]) -> Result<(), PlaintextError> {
        let written = self.directory.create_file(&self.name).and_then(|mut file| {
            file.write_all(bytes)?;
            file.flush()
        });
        written.map_err(|source| PlaintextError::Write { name: self.name.clone(), source })
    }
}

/// Writes a new file that only its owner can read, and waits until it is on the disk.
///
/// This is for identities, which are meant to stay; a text to edit belongs into a [`Workspace`].
///
/// # Errors
///
/// Those of the system; [`io::ErrorKind::AlreadyExists`] when there is anything of that name, a link included.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn check_name(name: &str) -> Result<(), PlaintextError> {
    let plain = Path::new(name).file_name().is_some_and(|file| file == name)
        && name != directory::SCRATCH
        && name.len() <= 255
        && !name.chars().any(char::is_control);
    if plain { Ok(()) } else { Err(PlaintextError::BadName { name: name.to_owned() }) }
}

/// Tells whether a file with these owners is this person's.
fn is_mine(stat: &rustix::fs::Stat) -> bool {
    stat.st_uid == getuid().as_raw()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn places() -> (tempfile::TempDir, Places) {
        let base = tempfile::tempdir_in("/dev/shm").unwrap();
        let places = Places { memory: vec![base.path().to_owned()], disk: None };
        (base, places)
    }

    fn workspace(places: &Places) -> Workspace {
        Workspace::create(places, "secrets.nix", &SecretString::new("{ a = 1; }")).unwrap()
    }

    fn entries(path: &Path) -> usize {
        fs::read_dir(path).unwrap().count()
    }

    #[test]
    fn only_this_person_may_look() {
        let (base, places) = places();
        let workspace = workspace(&places);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&workspace.path()), 0o600);
        assert_eq!(mode(workspace.path().parent().unwrap()), 0o700);
        assert_eq!(mode(&workspace.scratch()), 0o700);
        assert!(workspace.path().starts_with(base.path()));
    }

    #[test]
    fn what_was_written_is_read_and_then_gone() {
        let (base, places) = places();
        let workspace = workspace(&places);
        assert_eq!(workspace.read().unwrap().expose(), "{ a = 1; }");
        fs::write(workspace.path(), "{ a = 2; }").unwrap();
        assert_eq!(workspace.read().unwrap().expose(), "{ a = 2; }");
        drop(workspace);
        assert_eq!(entries(base.path()), 0);
    }

    #[test]
    fn content_is_overwritten_before_it_is_unlinked() {
        let (_base, places) = places();
        let workspace = workspace(&places);
        let mut held = File::open(workspace.path()).unwrap();
        drop(workspace);
        let mut bytes = Vec::new();
        held.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, [0; 10]);
    }

    #[test]
    fn a_panic_removes_it() {
        let (base, places) = places();
        let result = std::panic::catch_unwind(|| {
            let _workspace = workspace(&places);
            panic!("while editing");
        });
        assert!(result.is_err());
        assert_eq!(entries(base.path()), 0);
    }

    #[test]
    fn leftovers_are_named_and_removed() {
        let (base, places) = places();
        let workspace = workspace(&places);
        let directory = workspace.path().parent().unwrap().to_owned();
        fs::write(directory.join(".secrets.nix.swp"), "plain").unwrap();
        fs::write(workspace.scratch().join("v123"), "plain").unwrap();
        fs::create_dir_all(directory.join("backup/deep")).unwrap();
        fs::write(directory.join("backup/deep/copy"), "plain").unwrap();
        symlink("/etc/passwd", directory.join("link")).unwrap();
        let names = workspace.sweep();
        assert_eq!(names, [".secrets.nix.swp", ".tmp/v123", "backup/", "link"]);
        assert_eq!(workspace.sweep(), [""; 0]);
        assert_eq!(workspace.read().unwrap().expose(), "{ a = 1; }");
        drop(workspace);
        assert_eq!(entries(base.path()), 0);
        assert!(Path::new("/etc/passwd").exists());
    }

    #[test]
    fn a_file_that_is_none_is_refused() {
        #[track_caller]
        fn check(replace: impl FnOnce(&Path)) {
            let (_base, places) = places();
            let workspace = workspace(&places);
            fs::remove_file(workspace.path()).unwrap();
            replace(&workspace.path());
            let error = workspace.read().unwrap_err();
            assert!(matches!(error, PlaintextError::NotAFile { .. }), "{error:?}");
        }
        check(|path| symlink("/etc/passwd", path).unwrap());
        check(|path| fs::create_dir(path).unwrap());
        check(|path| {
            let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
            assert!(made.success());
        });
    }

    #[test]
    fn sizes_and_encodings_are_checked() {
        let (_base, places) = places();
        let workspace = workspace(&places);
        fs::write(workspace.path(), b"\xff").unwrap();
        assert!(matches!(workspace.read(), Err(PlaintextError::NotUtf8 { .. })));
        let file = fs::File::options().write(true).open(workspace.path()).unwrap();
        file.set_len(LIMIT + 1).unwrap();
        assert!(matches!(workspace.read(), Err(PlaintextError::TooLarge { .. })));
    }

    #[test]
    fn identities_are_written_once_and_for_their_owner() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys.txt");
        write_private(&path, b"key").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read(&path).unwrap(), b"key");
        let dangling = directory.path().join("link");
        symlink(directory.path().join("elsewhere"), &dangling).unwrap();
        for taken in [path, dangling] {
            let error = write_private(&taken, b"other").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        }
    }

    #[test]
    fn names_are_plain() {
        #[track_caller]
        fn check(name: &str, good: bool) {
            assert_eq!(check_name(name).is_ok(), good, "{name:?}");
        }
        check("secrets.nix", true);
        check("secrets.yaml", true);
        for bad in ["", ".", "..", "a/b", "/a", "a/", ".tmp", "a\nb", "a\0"] {
            check(bad, false);
        }
        check(&"x".repeat(256), false);
    }

    #[test]
    fn stale_directories_go_and_living_ones_stay() {
        let (base, places) = places();
        let living = workspace(&places);
        let dead = base.path().join("nixmox-edit-dead");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join("secrets.nix"), "plain").unwrap();
        let foreign = base.path().join("somebody-elses");
        fs::create_dir(&foreign).unwrap();
        let second = workspace(&places);
        assert!(!dead.exists());
        assert!(foreign.exists());
        assert!(living.path().exists() && second.path().exists());
    }

    #[test]
    fn the_disk_is_used_only_when_allowed() {
        let disk = tempfile::tempdir_in("/var/tmp").unwrap();
        let mut places = Places { memory: vec![disk.path().to_owned()], disk: None };
        let text = SecretString::new("x");
        let refused = Workspace::create(&places, "a", &text);
        assert!(matches!(refused, Err(PlaintextError::NoMemoryPlace { .. })));
        places.disk = Some(disk.path().to_owned());
        let workspace = Workspace::create(&places, "a", &text).unwrap();
        assert!(workspace.path().starts_with(disk.path()));
    }
}
