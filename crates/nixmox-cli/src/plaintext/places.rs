use std::env;
use std::path::{Path, PathBuf};

use rustix::process::getuid;

use super::PlaintextError;

/// Where plaintext may be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// Directories to try, each used only if it lives in memory.
    pub memory: Vec<PathBuf>,
    /// Directory to fall back to although it is on a disk; a person has allowed it.
    pub disk: Option<PathBuf>,
}

impl Places {
    /// Lists the usual places: `$XDG_RUNTIME_DIR`, `/run/user/UID` and `/dev/shm`; with `allow_disk` also the
    /// directory for temporary files.
    pub fn from_env(allow_disk: bool) -> Self {
        let mut memory: Vec<_> =
            env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).into_iter().collect();
        memory.push(format!("/run/user/{}", getuid().as_raw()).into());
        memory.push("/dev/shm".into());
        memory.retain(|place| place.is_absolute());
        memory.dedup();
        Self { memory, disk: allow_disk.then(env::temp_dir) }
    }

    /// Lists every place, also those that will not do.
    pub(super) fn all(&self) -> impl Iterator<Item = &Path> {
        self.memory.iter().chain(&self.disk).map(PathBuf::as_path)
    }

    /// Picks the first place in memory that can be written to, else the disk if it is allowed.
    pub(super) fn choose(&self) -> Result<&Path, PlaintextError> {
        let usable = |place: &&PathBuf| {
            let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
            is_in_memory(place) && rustix::fs::access(place.as_path(), access).is_ok()
        };
        let place = self.memory.iter().find(usable).or(self.disk.as_ref());
        let refused = || PlaintextError::NoMemoryPlace { tried: self.memory.clone() };
        place.map(PathBuf::as_path).ok_or_else(refused)
    }
}

/// Tells whether `place` is on tmpfs or ramfs.
#[cfg(target_os = "linux")]
fn is_in_memory(place: &Path) -> bool {
    const TMPFS: i128 = 0x0102_1994;
    const RAMFS: i128 = 0x8584_58f6;
    // The field's width and sign differ between machines; the magic numbers have 32 bits.
    let kind = rustix::fs::statfs(place).map(|stat| i128::from(stat.f_type) & 0xffff_ffff);
    matches!(kind, Ok(TMPFS | RAMFS))
}

/// No file system in memory can be told from another one here.
#[cfg(not(target_os = "linux"))]
fn is_in_memory(_: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_from_disk() {
        #[track_caller]
        fn check(place: &str, expect: bool) {
            assert_eq!(is_in_memory(Path::new(place)), expect, "{place}");
        }
        check("/dev/shm", true);
        check("/proc", false);
        check("/sys", false);
        check("/no/such/place", false);
    }

    #[test]
    fn the_first_place_that_will_do_is_chosen() {
        let places =
            Places { memory: vec!["/no".into(), "/proc".into(), "/dev/shm".into()], disk: None };
        assert_eq!(places.choose().unwrap(), Path::new("/dev/shm"));
    }

    #[test]
    fn disk_is_listed_only_on_demand() {
        assert_eq!(Places::from_env(false).disk, None);
        assert!(Places::from_env(true).disk.is_some());
    }
}
