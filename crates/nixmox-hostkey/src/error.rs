//! What can be wrong with a host key.

use thiserror::Error;

/// Why a text is no host key that can be used.
///
/// No variant holds anything of the text: it may be a private key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HostKeyError {
    /// The text is far too long for a key.
    #[error("the text is too long for an SSH key")]
    TooLong,
    /// The text is not in OpenSSH's format, or is damaged.
    #[error("the text is not an SSH key in OpenSSH's format, or is damaged")]
    Malformed,
    /// The private key is under a passphrase, which no host can type.
    #[error("the private key is encrypted with a passphrase")]
    Encrypted,
    /// The key is of another type.
    #[error("the key is not an ed25519 key")]
    NotEd25519,
    /// The public half within a private key file belongs to another key.
    #[error("the private key does not belong to the public key beside it")]
    Mismatched,
    /// The public key is no point of the curve, or one in an encoding that is not its own.
    #[error("the public key is not a canonical point of the curve")]
    NotCanonical,
    /// The public key is in a small subgroup or has a part in one, so anybody could open what is sealed to it.
    #[error("the public key is a weak point of the curve")]
    WeakPoint,
}
