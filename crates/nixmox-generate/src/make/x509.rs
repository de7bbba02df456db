//! An authority of one's own, and the certificates that it signs: ECDSA over P-256.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use nixmox_tree::SecretString;
use p256::SecretKey;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use p256::elliptic_curve::sec1::ToEncodedPoint;
use p256::pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding};
use rand_core::{CryptoRng, RngCore};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, SignatureAlgorithm,
};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use super::{Authority, Inputs, Made, parts_of};
use crate::error::GenerateError;
use crate::kind::Certificate;
use crate::span::Span;

/// Clocks of machines differ: what is signed now is valid a little before.
const EARLIER: SignedDuration = SignedDuration::from_hours(1);

/// A key as rcgen signs with it.
struct Key {
    signing: SigningKey,
    /// The public point, uncompressed.
    public: Vec<u8>,
}

impl Key {
    fn of(secret: &SecretKey) -> Self {
        let public = secret.public_key().to_encoded_point(false).as_bytes().to_vec();
        Self { signing: SigningKey::from(secret), public }
    }

    /// Returns the name of the key within certificates: the beginning of a digest of it.
    fn id(&self) -> Vec<u8> {
        Sha256::digest(&self.public).into_iter().take(20).collect()
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature: Signature = self.signing.sign(message);
        Ok(signature.to_der().as_bytes().to_vec())
    }
}

/// Makes an authority: a key, and a certificate signed with it that may sign others.
pub(super) fn authority(
    (name, valid): (Option<&str>, Span),
    inputs: &Inputs<'_>,
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<Made, GenerateError> {
    let failed = || inputs.unencodable();
    let secret = SecretKey::random(rng);
    let key = Key::of(&secret);
    let expires = whole(valid.after(inputs.now));
    let name = name.map_or_else(|| super::default_name(inputs.item), str::to_owned);
    let mut params = params(&key, (inputs.now, expires), rng).ok_or_else(failed)?;
    params.distinguished_name = common_name(&name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let cert = params.self_signed(&key).map_err(|_| failed())?;
    let value =
        parts_of([("cert", pem(cert.der())), ("key", private(&secret).ok_or_else(failed)?)]);
    Ok(Made { value, expires: Some(expires) })
}

/// Makes a key and a certificate that an authority signs.
pub(super) fn certificate(
    wanted: &Certificate,
    inputs: &Inputs<'_>,
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<Made, GenerateError> {
    let failed = || inputs.unencodable();
    let ca = inputs.authority.as_ref().ok_or_else(failed)?;
    if ca.expires <= inputs.now {
        return Err(GenerateError::CaExpired { item: inputs.item.clone() });
    }
    let secret = SecretKey::random(rng);
    let key = Key::of(&secret);
    // A certificate that outlives who signed it would only look valid.
    let expires = whole(wanted.valid.after(inputs.now)).min(ca.expires);
    let mut params = params(&key, (inputs.now, expires), rng).ok_or_else(failed)?;
    let names = names(wanted, inputs)?;
    if let Some(first) = names.first().filter(|name| name.len() <= super::MAX_NAME) {
        params.distinguished_name = common_name(first);
    }
    for name in &names {
        params.subject_alt_names.push(
            alternative(name)
                .ok_or_else(|| GenerateError::CertificateName { item: inputs.item.clone() })?,
        );
    }
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let usages = [
        (wanted.server, ExtendedKeyUsagePurpose::ServerAuth),
        (wanted.client, ExtendedKeyUsagePurpose::ClientAuth),
    ];
    let usages = usages.into_iter().filter(|(wanted, _)| *wanted);
    params.extended_key_usages = usages.map(|(_, usage)| usage).collect();
    let issuer = issuer(ca).ok_or_else(failed)?;
    let cert = params.signed_by(&key, &issuer).map_err(|_| failed())?;
    let value = parts_of([
        ("ca", ca.cert.clone()),
        ("cert", pem(cert.der())),
        ("key", private(&secret).ok_or_else(failed)?),
    ]);
    Ok(Made { value, expires: Some(expires) })
}

/// Rebuilds who signs from the authority's key and name.
fn issuer(ca: &Authority) -> Option<Issuer<'static, Key>> {
    let key = Key::of(&SecretKey::from_pkcs8_pem(ca.key.expose()).ok()?);
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(&ca.name);
    params.key_identifier_method = KeyIdMethod::PreSpecified(key.id());
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Some(Issuer::new(params, key))
}

fn params(
    key: &Key,
    (now, expires): (Timestamp, Timestamp),
    rng: &mut (impl RngCore + CryptoRng),
) -> Option<CertificateParams> {
    let moment = |at: Timestamp| OffsetDateTime::from_unix_timestamp(at.as_second()).ok();
    let mut serial = [0; 16];
    rng.fill_bytes(&mut serial);
    // Positive and never zero, as the standard wants it.
    serial[0] = serial[0] & 0x7f | 0x40;
    let mut params = CertificateParams::default();
    params.not_before = moment(now.checked_sub(EARLIER).ok()?)?;
    params.not_after = moment(expires)?;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.distinguished_name = DistinguishedName::new();
    params.key_identifier_method = KeyIdMethod::PreSpecified(key.id());
    Some(params)
}

fn common_name(name: &str) -> DistinguishedName {
    let mut full = DistinguishedName::new();
    full.push(DnType::CommonName, name);
    full
}

/// Fills in the names of a certificate.
fn names(wanted: &Certificate, inputs: &Inputs<'_>) -> Result<Vec<String>, GenerateError> {
    let host = inputs.item.host.as_deref().unwrap_or_default();
    let mut rest = inputs.secrets.as_slice();
    let fill = |(name, _): &(crate::template::Template, SecretString)| {
        let (own, after) = rest.split_at(name.references().count().min(rest.len()));
        rest = after;
        name.fill(host, own).expose().to_owned()
    };
    Ok(wanted.names.iter().map(fill).collect())
}

/// Reads a name as an address or a DNS name.
fn alternative(name: &str) -> Option<SanType> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Some(SanType::IpAddress(address));
    }
    let label = |label: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        (1..=63).contains(&label.len()) && label.chars().all(inner)
    };
    let plain = name.strip_prefix("*.").unwrap_or(name);
    let good = name.len() <= 253 && plain.split('.').all(label);
    good.then(|| name.to_owned().try_into().ok().map(SanType::DnsName)).flatten()
}

/// Certificates know whole seconds.
fn whole(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

fn private(secret: &SecretKey) -> Option<SecretString> {
    secret.to_pkcs8_pem(LineEnding::LF).ok().map(SecretString::from)
}

/// Writes a certificate in lines of 64 letters.
fn pem(der: &[u8]) -> SecretString {
    use base64::Engine;
    let text = base64::prelude::BASE64_STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    SecretString::new(pem)
}
