//! Signatures of hardware tokens, built here byte by byte as OpenSSH's `PROTOCOL.u2f` and `PROTOCOL.sshsig` say; OpenSSH
//! judges them too. Needs `ssh-keygen` (Debian package openssh-client).

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests and their helpers fail by panicking")]
#![expect(clippy::disallowed_methods, reason = "the judge is a program that reads files")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::Signer as _;
use nixmox_signing::{AllowedSigners, DELIVERY, PublicKey, ROSTER, Signature};
use sha2::{Digest, Sha256, Sha512};
use tempfile::TempDir;

const ED25519: &str = "sk-ssh-ed25519@openssh.com";
const ECDSA: &str = "sk-ecdsa-sha2-nistp256@openssh.com";
/// What the token is told that it signs for.
const APPLICATION: &str = "ssh:";
/// Somebody touched the token, and the token knew him.
const TOUCHED: u8 = 1;
const VERIFIED: u8 = 4;

fn string(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap();
    [&length.to_be_bytes(), bytes].concat()
}

/// A number as SSH writes it: without leading zeros, but for one where it would be negative.
fn mpint(bytes: &[u8]) -> Vec<u8> {
    let bytes: Vec<u8> = bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
    let negative = bytes.first().is_some_and(|byte| *byte >= 0x80);
    let zero: &[u8] = if negative { &[0] } else { &[] };
    string(&[zero, &bytes].concat())
}

enum Token {
    Ed25519(ed25519_dalek::SigningKey),
    Ecdsa(p256::ecdsa::SigningKey),
}

impl Token {
    fn new(kind: &str, seed: u8) -> Self {
        match kind {
            ED25519 => Self::Ed25519(ed25519_dalek::SigningKey::from_bytes(&[seed; 32])),
            _ => Self::Ecdsa(p256::ecdsa::SigningKey::from_slice(&[seed; 32]).unwrap()),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => ED25519,
            Self::Ecdsa(_) => ECDSA,
        }
    }

    fn blob(&self) -> Vec<u8> {
        let key = match self {
            Self::Ed25519(key) => string(key.verifying_key().as_bytes()),
            Self::Ecdsa(key) => {
                let point = key.verifying_key().to_encoded_point(false);
                [string(b"nistp256"), string(point.as_bytes())].concat()
            }
        };
        [string(self.kind().as_bytes()), key, string(APPLICATION.as_bytes())].concat()
    }

    fn public(&self) -> PublicKey {
        PublicKey::parse(&format!("{} {}", self.kind(), STANDARD.encode(self.blob()))).unwrap()
    }

    fn raw(&self, data: &[u8]) -> Vec<u8> {
        match self {
            Self::Ed25519(key) => key.sign(data).to_bytes().to_vec(),
            Self::Ecdsa(key) => {
                let signature: p256::ecdsa::Signature = key.sign(data);
                let (r, s) = signature.split_bytes();
                [mpint(&r), mpint(&s)].concat()
            }
        }
    }
}

/// What a token signs, and what is written beside its signature.
#[derive(Clone, Copy)]
struct Signed<'a> {
    namespace: &'a str,
    message: &'a [u8],
    application: &'a str,
    flags: u8,
    counter: u32,
    /// What the signature says of flags and counter, if something else.
    claims: Option<(u8, u32)>,
}

const GOOD: Signed<'_> = Signed {
    namespace: ROSTER,
    message: b"words\n",
    application: APPLICATION,
    flags: TOUCHED,
    counter: 7,
    claims: None,
};

impl Signed<'_> {
    fn by(self, token: &Token) -> Vec<u8> {
        let frame = [string(self.namespace.as_bytes()), string(b""), string(b"sha512")].concat();
        let hash = string(&Sha512::digest(self.message));
        let inner = [b"SSHSIG", &frame[..], &hash].concat();
        let data = [
            &Sha256::digest(self.application)[..],
            &[self.flags],
            &self.counter.to_be_bytes(),
            &Sha256::digest(inner),
        ]
        .concat();
        let (flags, counter) = self.claims.unwrap_or((self.flags, self.counter));
        let signature = [
            &string(token.kind().as_bytes())[..],
            &string(&token.raw(&data)),
            &[flags],
            &counter.to_be_bytes(),
        ]
        .concat();
        let version = 1_u32.to_be_bytes();
        let whole =
            [b"SSHSIG", &version[..], &string(&token.blob()), &frame, &string(&signature)].concat();
        armor(&whole)
    }
}

fn armor(bytes: &[u8]) -> Vec<u8> {
    let text = STANDARD.encode(bytes);
    let lines: Vec<&str> =
        text.as_bytes().chunks(70).map(|line| std::str::from_utf8(line).unwrap()).collect();
    let (begin, end) = ("-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----");
    format!("{begin}\n{}\n{end}\n", lines.join("\n")).into_bytes()
}

/// OpenSSH and this crate, which have to be of one opinion.
struct Judges {
    dir: TempDir,
    public: PublicKey,
}

impl Judges {
    fn of(token: &Token) -> Self {
        let (dir, public) = (tempfile::tempdir().unwrap(), token.public());
        let allowed = BTreeMap::from([(public.clone(), "alice".to_owned())]);
        let allowed = AllowedSigners::new(&allowed).to_string();
        fs::write(dir.path().join("allowed"), allowed).unwrap();
        Self { dir, public }
    }

    fn openssh(&self, armor: &[u8], namespace: &str, message: &[u8]) -> bool {
        fs::write(self.dir.path().join("sig"), armor).unwrap();
        let mut child = Command::new("ssh-keygen")
            .args(["-Y", "verify", "-f", "allowed", "-I", "alice", "-n", namespace, "-s", "sig"])
            .current_dir(self.dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("ssh-keygen: {error}"));
        // It may have ended before it reads the message.
        let _ = child.stdin.take().unwrap().write_all(message);
        child.wait().unwrap().success()
    }

    fn here(&self, armor: &[u8], namespace: &str, message: &[u8]) -> bool {
        let signature = Signature::parse(armor);
        signature.is_ok_and(|s| s.verify(&self.public, namespace, message).is_ok())
    }

    #[track_caller]
    fn check(&self, (armor, namespace, message): (&[u8], &str, &[u8]), good: bool, what: &str) {
        assert_eq!(self.openssh(armor, namespace, message), good, "OpenSSH: {what}");
        assert_eq!(self.here(armor, namespace, message), good, "here: {what}");
    }
}

#[track_caller]
fn both_judge_alike(kind: &str) {
    let token = Token::new(kind, 7);
    let judges = Judges::of(&token);
    let check = |signed: Signed<'_>, good, what: &str| {
        judges.check((&signed.by(&token), ROSTER, b"words\n"), good, what);
    };
    check(GOOD, true, "as it is");
    check(Signed { flags: TOUCHED | VERIFIED, counter: u32::MAX, ..GOOD }, true, "a known person");
    check(Signed { claims: Some((TOUCHED, 8)), ..GOOD }, false, "another counter");
    check(Signed { claims: Some((TOUCHED | VERIFIED, 7)), ..GOOD }, false, "other flags");
    check(Signed { application: "ssh:other", ..GOOD }, false, "for another application");
    check(Signed { application: "https://example.org", ..GOOD }, false, "for a web site");
    check(Signed { message: b"wordz\n", ..GOOD }, false, "another message");
    check(Signed { namespace: DELIVERY, ..GOOD }, false, "in another namespace");
    let other = GOOD.by(&Token::new(kind, 8));
    judges.check((&other, ROSTER, b"words\n"), false, "by another token");
    judges.check((&GOOD.by(&token), DELIVERY, b"words\n"), false, "asked in another namespace");
}

#[test]
fn tokens_of_both_types_are_verified_as_openssh_does() {
    both_judge_alike(ED25519);
    both_judge_alike(ECDSA);
}

#[test]
fn a_signature_of_a_token_has_one_text() {
    for kind in [ED25519, ECDSA] {
        let token = Token::new(kind, 7);
        let (judges, armor) = (Judges::of(&token), GOOD.by(&token));
        let signature = Signature::parse(&armor).unwrap();
        assert_eq!(signature.to_string().as_bytes(), armor, "{kind}");
        assert_eq!(signature.key().as_ref(), Ok(&judges.public), "{kind}");
        for at in 0..armor.len() {
            let mut flipped = armor.clone();
            flipped[at] ^= 1;
            assert!(!judges.here(&flipped, ROSTER, b"words\n"), "{kind}: byte {at}");
        }
    }
}

/// Nobody touched the token: OpenSSH leaves it to whoever made the key (`-O no-touch-required`), and so it is here.
#[test]
fn a_signature_that_nobody_touched_the_token_for() {
    for kind in [ED25519, ECDSA] {
        let token = Token::new(kind, 7);
        let judges = Judges::of(&token);
        let signed = Signed { flags: 0, ..GOOD }.by(&token);
        judges.check((&signed, ROSTER, b"words\n"), true, "untouched");
    }
}
