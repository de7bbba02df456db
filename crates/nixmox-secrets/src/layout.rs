//! Where the generated files of a fleet lie.

use nixmox_topology::NodeName;

use crate::store::{PathError, RelPath};

/// Name of the overlay directory that takes every generated file when it exists.
pub const PRIVATE: &str = "private";

/// Name of the private key that a host is to get.
pub(crate) const NEXT_KEY: &str = "ssh_host_ed25519_key.next";

/// The arrangement of a host's generated files within its directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Arrangement {
    /// `secrets.yaml`, `ssh_host_ed25519_key` and `ssh_host_ed25519_key.pub` side by side: the default.
    #[default]
    Flat,
    /// Nixverse's newer one: `secrets/default.yaml`, `secrets/fs/etc/ssh/…` and `fs/etc/ssh/….pub`.
    Nested,
}

/// The paths of every file that is generated for one fleet, relative to its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// How a host's files are arranged.
    pub arrangement: Arrangement,
    /// Whether everything generated goes below `private/`.
    pub private: bool,
}

/// The three generated files of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPaths {
    /// The values, sealed to the host's key alone.
    pub sealed: RelPath,
    /// The host's private SSH key, sealed to the admins.
    pub key: RelPath,
    /// The host's public SSH key, in the clear.
    pub public: RelPath,
}

impl Layout {
    /// Returns the master file's path.
    ///
    /// # Errors
    ///
    /// Never in practice: the names are constants that [`RelPath`] accepts.
    pub fn master(&self) -> Result<RelPath, PathError> {
        self.below_area("secrets.yaml")
    }

    /// Returns the path of the keyed digests.
    ///
    /// # Errors
    ///
    /// As for [`Layout::master`].
    pub fn digests(&self) -> Result<RelPath, PathError> {
        self.below_area(".nixmox/digests.json")
    }

    /// Returns the path of the signed roster.
    ///
    /// # Errors
    ///
    /// As for [`Layout::master`].
    pub fn roster(&self) -> Result<RelPath, PathError> {
        self.below_area(".nixmox/roster.json")
    }

    /// Returns the path of the sealed values that were generated.
    ///
    /// # Errors
    ///
    /// As for [`Layout::master`].
    pub fn generated(&self) -> Result<RelPath, PathError> {
        self.below_area(".nixmox/generated.yaml")
    }

    /// Returns the path of the public parts of a host whose directory (`nodes/…`) is `directory`, for Nix to read.
    ///
    /// # Errors
    ///
    /// [`PathError`] when the directory is not a plain path below the fleet.
    pub fn public_parts(&self, directory: &str) -> Result<RelPath, PathError> {
        self.below_area(&format!("{directory}/{}", crate::generated::public::NAME))
    }

    /// Returns the path of the record of the values' ages.
    pub(crate) fn ages(&self) -> Result<RelPath, PathError> {
        self.below_area(".nixmox/ages.json")
    }

    /// Returns the paths of a host whose directory (`nodes/…`) is `directory`.
    ///
    /// # Errors
    ///
    /// [`PathError`] when the directory is not a plain path below the fleet.
    pub fn host(&self, directory: &str) -> Result<HostPaths, PathError> {
        let (sealed, key, public) = self.names();
        let path = |file: &str| self.below_area(&format!("{directory}/{file}"));
        Ok(HostPaths { sealed: path(sealed)?, key: path(key)?, public: path(public)? })
    }

    /// Returns the paths of the key pair that a host is to get, private and public, while its key is being replaced.
    ///
    /// It lies in the host's own directory in every arrangement: what is below `fs/` is copied to machines.
    pub(crate) fn next(&self, directory: &str) -> Result<(RelPath, RelPath), PathError> {
        let path = |ending: &str| self.below_area(&format!("{directory}/{NEXT_KEY}{ending}"));
        Ok((path("")?, path(".pub")?))
    }

    /// Returns the same layout outside `private/`: where files lay before the overlay was made.
    pub fn public_twin(&self) -> Self {
        Self { private: false, ..self.clone() }
    }

    /// Returns the same layout with the other arrangement.
    pub(crate) fn rearranged(&self) -> Self {
        let arrangement = match self.arrangement {
            Arrangement::Flat => Arrangement::Nested,
            Arrangement::Nested => Arrangement::Flat,
        };
        Self { arrangement, ..self.clone() }
    }

    /// Names the sealed file, the sealed key and the public key within a host's directory.
    pub(crate) fn names(&self) -> (&'static str, &'static str, &'static str) {
        match self.arrangement {
            Arrangement::Flat => {
                ("secrets.yaml", "ssh_host_ed25519_key", "ssh_host_ed25519_key.pub")
            }
            Arrangement::Nested => (
                "secrets/default.yaml",
                "secrets/fs/etc/ssh/ssh_host_ed25519_key",
                "fs/etc/ssh/ssh_host_ed25519_key.pub",
            ),
        }
    }

    pub(crate) fn below_area(&self, file: &str) -> Result<RelPath, PathError> {
        if self.private {
            RelPath::parse(&format!("{PRIVATE}/{file}"))
        } else {
            RelPath::parse(file)
        }
    }
}

/// Returns the comment that a host's SSH key carries.
pub(crate) fn key_comment(host: &NodeName) -> String {
    format!("root@{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(arrangement: Arrangement, private: bool, expect: [&str; 3]) {
        let layout = Layout { arrangement, private };
        let paths = layout.host("nodes/web/w1").expect("a plain path");
        assert_eq!([&paths.sealed, &paths.key, &paths.public].map(ToString::to_string), expect);
    }

    #[test]
    fn files_lie_side_by_side_by_default() {
        check(
            Arrangement::Flat,
            false,
            [
                "nodes/web/w1/secrets.yaml",
                "nodes/web/w1/ssh_host_ed25519_key",
                "nodes/web/w1/ssh_host_ed25519_key.pub",
            ],
        );
    }

    #[test]
    fn the_nested_arrangement_and_the_overlay_combine() {
        check(
            Arrangement::Nested,
            true,
            [
                "private/nodes/web/w1/secrets/default.yaml",
                "private/nodes/web/w1/secrets/fs/etc/ssh/ssh_host_ed25519_key",
                "private/nodes/web/w1/fs/etc/ssh/ssh_host_ed25519_key.pub",
            ],
        );
    }

    #[test]
    fn the_master_follows_the_overlay() {
        let layout = Layout { arrangement: Arrangement::Flat, private: true };
        assert_eq!(layout.master().expect("a plain path").to_string(), "private/secrets.yaml");
        let twin = layout.public_twin().master().expect("a plain path");
        assert_eq!(twin.to_string(), "secrets.yaml");
    }
}
