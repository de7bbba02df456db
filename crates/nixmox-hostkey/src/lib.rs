//! Ed25519 SSH host keys and their age forms.
//!
//! Every host is known by one SSH host key. Its public half also receives the host's secrets: as an age X25519
//! recipient, converted the way `ssh-to-age` and sops-nix do it. The private half, converted likewise, is the age
//! identity with which the machine opens them.
//!
//! | job | function |
//! |---|---|
//! | make a host key | [`HostKey::generate`] |
//! | read and write `ssh_host_ed25519_key` | [`HostKey::from_openssh`], [`HostKey::to_openssh`] |
//! | open what was sealed to the host | [`HostKey::age_identity`] |
//! | read and write `ssh_host_ed25519_key.pub` | [`HostPublicKey::parse`], [`HostPublicKey::to_openssh`] |
//! | seal to the host | [`HostPublicKey::age_recipient`] |
//! | compare with what `ssh` shows | [`HostPublicKey::fingerprint`] |
//! | check that two files belong together | [`HostPublicKey::matches`] |
//!
//! Public keys come from repositories that others write to, so a point that ssh-to-age would convert without a
//! question is refused when it is in a small subgroup, has a part in one, or is not in its one true encoding.
//!
//! What it does not do: it encrypts and decrypts nothing (`nixmox-sops` does), knows no key type but ed25519, asks
//! for no passphrase, and has no randomness but what [`HostKey::generate`] is given. Reading and writing pass
//! through buffers of the `ssh-key` crate, which wipes key bytes but not all of its base64 text.
//!
//! ```
//! use nixmox_hostkey::{HostKey, HostPublicKey};
//! use rand_core::SeedableRng;
//!
//! // A test's generator; a program takes the system's.
//! let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(1);
//! let key = HostKey::generate(&mut rng);
//! let line = key.public().to_openssh("root@web");
//!
//! let public = HostPublicKey::parse(&line)?;
//! assert!(public.matches(&key));
//! assert!(public.age_recipient().starts_with("age1"));
//! assert!(public.fingerprint().starts_with("SHA256:"));
//! # Ok::<(), nixmox_hostkey::HostKeyError>(())
//! ```

mod error;
mod private;
mod public;

pub use error::HostKeyError;
pub use private::HostKey;
pub use public::HostPublicKey;

/// The longest text that is taken for a key, in bytes: comments may be long, keys are not.
const MAX_TEXT: usize = 16 * 1024;

/// Keeps a comment on its line.
fn one_line(comment: &str) -> String {
    comment.chars().filter(|c| !c.is_control()).collect()
}
