//! Hashes of another secret, each in the form that its reader takes.

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use hmac::{Hmac, Mac};
use nixmox_tree::SecretString;
use rand_core::{CryptoRng, RngCore};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::Inputs;
use crate::error::GenerateError;

fn salt(rng: &mut (impl RngCore + CryptoRng)) -> [u8; 16] {
    let mut salt = [0; 16];
    rng.fill_bytes(&mut salt);
    salt
}

/// Draws a salt of letters that every reader of hashes takes, six bits each.
fn letters(count: usize, rng: &mut (impl RngCore + CryptoRng)) -> String {
    const LETTERS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let letter = |byte: &u8| LETTERS.get(usize::from(byte & 63)).copied().map(char::from);
    super::random::bytes(count, rng).iter().filter_map(letter).collect()
}

/// Hashes as `htpasswd -B` does.
pub(super) fn bcrypt(
    inputs: &Inputs<'_>,
    cost: u32,
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<SecretString, GenerateError> {
    let secret = inputs.secret();
    if secret.contains('\0') {
        return Err(inputs.unhashable("it holds a NUL"));
    }
    // One byte of the 72 is the NUL behind the text.
    let parts = bcrypt::non_truncating_hash_with_salt(secret, cost, salt(rng))
        .map_err(|_| inputs.unhashable("bcrypt takes no more than 71 bytes"))?;
    Ok(SecretString::new(parts.format_for_version(bcrypt::Version::TwoY)))
}

/// Hashes with Argon2id into a PHC string.
pub(super) fn argon2id(
    inputs: &Inputs<'_>,
    (memory, passes, lanes): (u32, u32, u32),
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<SecretString, GenerateError> {
    // Text, so that the reference program can be given it; 22 letters are 132 bits.
    let salt = letters(22, rng);
    let mut hash = [0; 32];
    let failed = |_| inputs.unhashable("the parameters do not fit each other");
    let params = Params::new(memory, passes, lanes, Some(hash.len())).map_err(failed)?;
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(inputs.secret().as_bytes(), salt.as_bytes(), &mut hash)
        .map_err(failed)?;
    let [salt, hash] =
        [salt.as_bytes(), &hash[..]].map(|bytes| BASE64_STANDARD_NO_PAD.encode(bytes));
    Ok(SecretString::new(format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${hash}")))
}

/// Hashes as `mkpasswd -m sha-512` does.
pub(super) fn sha512_crypt(
    inputs: &Inputs<'_>,
    rounds: usize,
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<SecretString, GenerateError> {
    let secret = inputs.secret();
    if secret.contains('\0') {
        return Err(inputs.unhashable("it holds a NUL"));
    }
    let salt = letters(16, rng);
    let failed = |_| inputs.unhashable("the number of rounds is out of bounds");
    let params = sha_crypt::Sha512Params::new(rounds).map_err(failed)?;
    let hash =
        sha_crypt::sha512_crypt_b64(secret.as_bytes(), salt.as_bytes(), &params).map_err(failed)?;
    Ok(SecretString::new(format!("$6$rounds={rounds}${salt}${hash}")))
}

/// Makes the verifier that PostgreSQL keeps instead of a password.
pub(super) fn scram(
    inputs: &Inputs<'_>,
    iterations: u32,
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<SecretString, GenerateError> {
    let secret = inputs.secret();
    if secret.is_empty() || secret.chars().any(|c| !c.is_ascii() || c.is_ascii_control()) {
        // Others are normalised first, by rules that clients follow or do not.
        return Err(inputs.unhashable("it has characters other than printable ASCII"));
    }
    let salt = salt(rng);
    let failed = || inputs.unencodable();
    let salted = salted(secret, &salt, iterations).ok_or_else(failed)?;
    let client = keyed(salted.as_slice(), &[b"Client Key"]).ok_or_else(failed)?;
    let server = keyed(salted.as_slice(), &[b"Server Key"]).ok_or_else(failed)?;
    let [salt, stored, server] =
        [&salt[..], &Sha256::digest(client.as_slice())[..], server.as_slice()]
            .map(|bytes| BASE64_STANDARD.encode(bytes));
    Ok(SecretString::new(format!("SCRAM-SHA-256${iterations}:{salt}${stored}:{server}")))
}

/// PBKDF2 with HMAC-SHA-256, of which SCRAM takes the first block alone.
fn salted(secret: &str, salt: &[u8], iterations: u32) -> Option<Zeroizing<[u8; 32]>> {
    let mut last = keyed(secret.as_bytes(), &[salt, &1u32.to_be_bytes()])?;
    let mut sum = last.clone();
    for _ in 1..iterations {
        last = keyed(secret.as_bytes(), &[last.as_slice()])?;
        sum.iter_mut().zip(last.iter()).for_each(|(sum, byte)| *sum ^= byte);
    }
    Some(sum)
}

fn keyed(key: &[u8], parts: &[&[u8]]) -> Option<Zeroizing<[u8; 32]>> {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).ok()?;
    parts.iter().for_each(|part| mac.update(part));
    Some(Zeroizing::new(mac.finalize().into_bytes().into()))
}
