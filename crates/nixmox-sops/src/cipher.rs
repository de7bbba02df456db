//! One sealed value: `ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]`.

use aes_gcm::aead::consts::{U12, U16, U32};
use aes_gcm::aead::generic_array::{ArrayLength, GenericArray};
use aes_gcm::aes::Aes256;
use aes_gcm::{AeadInPlace, AesGcm, KeyInit};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rand_core::{CryptoRng, RngCore};
use zeroize::Zeroizing;

use crate::node::Kind;

const PREFIX: &str = "ENC[AES256_GCM,data:";

/// The key that seals the values of one file; `{:?}` prints the name alone.
#[derive(Clone)]
pub struct DataKey(pub(crate) Zeroizing<[u8; 32]>);

impl DataKey {
    /// Draws a new key.
    pub fn generate(rng: &mut (impl RngCore + CryptoRng)) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        rng.fill_bytes(key.as_mut());
        Self(key)
    }

    /// Takes a key that was derived from another.
    pub fn from_bytes(key: Zeroizing<[u8; 32]>) -> Self {
        Self(key)
    }

    /// Returns the key itself. Every use of it is a place to audit.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DataKey")
    }
}

/// A nonce as sops draws it.
pub(crate) type Iv = [u8; 32];

/// The parts of a sealed value, still in base64.
pub(crate) struct Sealed<'a> {
    data: &'a str,
    iv: &'a str,
    tag: &'a str,
    kind: &'a str,
    /// Whether text follows the closing bracket, which sops ignores.
    pub(crate) trailing: bool,
}

/// Why one value does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// The value should be sealed and is not of the form `ENC[…]`.
    #[error("not a sealed value")]
    NotSealed,
    /// A part between the brackets is not base64.
    #[error("malformed base64 in a sealed value")]
    Base64,
    /// The word after `type:` is unknown.
    #[error("unknown type of a sealed value")]
    UnknownType,
    /// The nonce has a length that sops never writes; 12, 16 and 32 bytes are read.
    #[error("unsupported nonce length in a sealed value")]
    NonceLength,
    /// The authentication tag is wrong: another key, another place in the file, or changed bytes.
    #[error("authentication of a sealed value failed")]
    Authentication,
    /// The plaintext does not fit the type that the value claims.
    #[error("a sealed value is not of the type it claims")]
    Type,
}

/// Tells whether a text looks like a sealed value.
pub(crate) fn looks_sealed(text: &[u8]) -> bool {
    text.starts_with(PREFIX.as_bytes())
}

impl<'a> Sealed<'a> {
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let line = text.split('\n').next()?;
        let (body, after) = line.strip_prefix(PREFIX)?.rsplit_once(']')?;
        let (body, kind) = rsplit_part(body, "type:")?;
        let (body, tag) = rsplit_part(body, "tag:")?;
        let (data, iv) = rsplit_part(body, "iv:")?;
        let empty = data.is_empty() || iv.is_empty() || tag.is_empty() || kind.is_empty();
        let trailing = !after.is_empty() || line.len() != text.len();
        (!empty).then_some(Self { data, iv, tag, kind, trailing })
    }

    /// Returns the type, when it is a known one.
    pub(crate) fn kind(&self) -> Option<Kind> {
        Kind::from_word(self.kind)
    }

    fn nonce(&self) -> Result<Vec<u8>, ValueError> {
        BASE64_STANDARD.decode(self.iv).map_err(|_| ValueError::Base64)
    }

    /// Returns the nonce for a later sealing of the same value, when it has sops' own length.
    pub(crate) fn iv(&self) -> Option<Iv> {
        self.nonce().ok()?.try_into().ok()
    }
}

/// Splits a text at the last comma that `name` follows.
fn rsplit_part<'a>(text: &'a str, name: &str) -> Option<(&'a str, &'a str)> {
    let mut end = text.len();
    loop {
        let (before, _) = text.get(..end)?.rsplit_once(',')?;
        end = before.len();
        if let Some(part) = text.get(end + 1..)?.strip_prefix(name) {
            return Some((before, part));
        }
    }
}

/// Appends bytes in base64.
fn push_base64(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    if let Some(room) = out.get_mut(start..) {
        // The room is exactly as large as the text.
        let _ = BASE64_STANDARD.encode_slice(bytes, room);
    }
}

/// AES-256-GCM under one data key, its key schedule made once.
pub(crate) struct Cipher {
    aes: Aes256,
    gcm: AesGcm<Aes256, U32>,
    /// Where a value is sealed before its text is made.
    scratch: Vec<u8>,
}

impl Cipher {
    pub(crate) fn new(key: &DataKey) -> Self {
        let aes = Aes256::new(GenericArray::from_slice(key.expose()));
        Self { gcm: AesGcm::from(aes.clone()), aes, scratch: Vec::new() }
    }

    /// Seals `plain`; an empty value must not come here, sops cannot read it back.
    pub(crate) fn seal(&mut self, plain: &[u8], aad: &[u8], kind: Kind, iv: &Iv) -> String {
        let data = &mut self.scratch;
        data.clear();
        // Room that is left behind by growing is not wiped: there is no plaintext in it at that moment.
        data.reserve(plain.len());
        data.extend_from_slice(plain);
        let nonce = GenericArray::from_slice(iv);
        // Encryption fails only beyond 64 GiB, far above every limit here; the tag of nothing opens nothing.
        let tag = self.gcm.encrypt_in_place_detached(nonce, aad, data).unwrap_or_default();
        let mut out = Vec::with_capacity(data.len() / 3 * 4 + 136);
        for (name, part) in [(PREFIX, data.as_slice()), (",iv:", iv), (",tag:", &tag)] {
            out.extend_from_slice(name.as_bytes());
            push_base64(part, &mut out);
        }
        out.extend_from_slice(b",type:");
        out.extend_from_slice(kind.word().as_bytes());
        out.push(b']');
        // All of it is ASCII.
        String::from_utf8(out).unwrap_or_default()
    }

    /// Opens a sealed value and returns its plaintext bytes; their fit to the type is the caller's to check.
    pub(crate) fn open(
        &self,
        sealed: &Sealed<'_>,
        aad: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, ValueError> {
        let decode = |text| BASE64_STANDARD.decode(text).map_err(|_| ValueError::Base64);
        let mut data = Zeroizing::new(decode(sealed.data)?);
        let tag = decode(sealed.tag)?;
        let nonce = sealed.nonce()?;
        if tag.len() != 16 {
            return Err(ValueError::Authentication);
        }
        let tag = GenericArray::from_slice(&tag);
        let opened = match nonce.len() {
            32 => self.gcm.decrypt_in_place_detached(
                GenericArray::from_slice(&nonce),
                aad,
                &mut data,
                tag,
            ),
            16 => self.open_with::<U16>(&nonce, aad, &mut data, tag),
            12 => self.open_with::<U12>(&nonce, aad, &mut data, tag),
            _ => return Err(ValueError::NonceLength),
        };
        opened.map_err(|_| ValueError::Authentication)?;
        Ok(data)
    }

    fn open_with<N: ArrayLength<u8>>(
        &self,
        nonce: &[u8],
        aad: &[u8],
        data: &mut [u8],
        tag: &GenericArray<u8, U16>,
    ) -> Result<(), aes_gcm::Error> {
        AesGcm::<Aes256, N>::from(self.aes.clone()).decrypt_in_place_detached(
            GenericArray::from_slice(nonce),
            aad,
            data,
            tag,
        )
    }
}
