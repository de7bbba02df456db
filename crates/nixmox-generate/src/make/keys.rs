//! Key pairs.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bech32::{Bech32, Hrp};
use curve25519_dalek::MontgomeryPoint;
use nixmox_hostkey::HostKey;
use nixmox_tree::SecretString;
use rand_core::{CryptoRng, RngCore};
use zeroize::Zeroizing;

use super::random::{base64_of, bytes};

/// A private key and its public half.
type Pair = (SecretString, String);

/// Makes an SSH key whose comment tells where it stands.
pub(super) fn ssh(comment: &str, rng: &mut (impl RngCore + CryptoRng)) -> Pair {
    let key = HostKey::generate(rng);
    (key.to_openssh(comment), key.public().to_openssh(comment))
}

/// Makes a WireGuard key as `wg genkey` does: clamped before it is written.
pub(super) fn wireguard(rng: &mut (impl RngCore + CryptoRng)) -> Pair {
    let mut scalar = scalar(rng);
    if let [first, .., last] = scalar.as_mut_slice() {
        *first &= 248;
        *last = *last & 127 | 64;
    }
    (base64_of(scalar.as_slice()), BASE64_STANDARD.encode(public(&scalar)))
}

/// Makes an age identity and its recipient, as `age-keygen` does.
pub(super) fn age(rng: &mut (impl RngCore + CryptoRng)) -> Pair {
    let scalar = scalar(rng);
    let mut identity = Zeroizing::new(String::with_capacity(128));
    // 32 bytes always fit into bech32.
    let private = Hrp::parse_unchecked("age-secret-key-");
    let _ = bech32::encode_upper_to_fmt::<Bech32, _>(&mut *identity, private, &*scalar);
    let recipient = bech32::encode::<Bech32>(Hrp::parse_unchecked("age"), &public(&scalar));
    (SecretString::from(identity), recipient.unwrap_or_default())
}

fn scalar(rng: &mut (impl RngCore + CryptoRng)) -> Zeroizing<[u8; 32]> {
    let mut scalar = Zeroizing::new([0; 32]);
    scalar.copy_from_slice(&bytes(32, rng));
    scalar
}

fn public(scalar: &Zeroizing<[u8; 32]>) -> [u8; 32] {
    MontgomeryPoint::mul_base_clamped(**scalar).to_bytes()
}
