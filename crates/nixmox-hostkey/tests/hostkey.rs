//! Host keys as their users see them, against what OpenSSH and ssh-to-age made.

#![expect(clippy::disallowed_methods, reason = "the recorded keys are files")]
#![expect(clippy::expect_used, reason = "a fixture that does not parse fails the test")]
#![expect(clippy::panic, reason = "a fixture that cannot be read fails the test")]
#![expect(clippy::indexing_slicing, reason = "what is not where it should be fails the test")]

use nixmox_hostkey::{HostKey, HostKeyError, HostPublicKey};
use nixmox_tree::SecretString;
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use serde_json::Value as Json;

fn fixture(name: &str) -> String {
    let path = format!("{}/../../fixtures/ssh-to-age/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn generated(seed: u64) -> HostKey {
    HostKey::generate(&mut ChaCha20Rng::seed_from_u64(seed))
}

#[test]
fn recorded_keys_convert_as_ssh_to_age_converts_them() {
    let golden: Vec<Json> = serde_json::from_str(&fixture("golden.json")).expect("JSON");
    assert_eq!(golden.len(), 5);
    for (at, entry) in golden.iter().enumerate() {
        let text = |key: &str| entry[key].as_str().expect("text");
        let key = HostKey::from_openssh(&SecretString::new(fixture(&format!("key{}", at + 1))))
            .expect("a sound key");
        let line = fixture(&format!("key{}.pub", at + 1));
        let public = HostPublicKey::parse(&line).expect("a sound key");
        assert!(public.matches(&key));
        assert_eq!(HostPublicKey::parse(text("ssh_public")), Ok(public));
        assert_eq!(public.age_recipient(), text("age_recipient"));
        assert_eq!(key.age_identity().expose(), text("age_identity"));
        assert_eq!(public.to_openssh(&format!("k{}", at + 1)), line.trim_end());
    }
}

#[test]
fn generation_uses_the_generator_alone() {
    assert_eq!(generated(1), generated(1));
    assert_ne!(generated(1), generated(2));
    assert_eq!(generated(1).to_openssh("c"), generated(1).to_openssh("c"));
    assert!(!generated(1).public().matches(&generated(2)));
}

#[test]
fn debug_shows_no_key() {
    assert_eq!(format!("{:?}", generated(1)), "HostKey");
    assert!(format!("{:?}", generated(1).public()).starts_with("HostPublicKey(SHA256:"));
}

#[test]
fn comments_stay_on_their_line() {
    let line = generated(1).public().to_openssh("root@web\nssh-ed25519 AAAA evil\r\0");
    assert_eq!(line.lines().count(), 1);
    assert!(line.ends_with(" root@webssh-ed25519 AAAA evil"));
    assert!(HostPublicKey::parse(&line).is_ok());
    let key = HostKey::from_openssh(&generated(1).to_openssh("a\nb")).expect("our own key");
    assert_eq!(key, generated(1));
}

/// Writes a public key line around any 32 bytes, as a forger would.
fn line_of(point: [u8; 32]) -> String {
    let good = generated(1).public().to_openssh("");
    let (_, base64) = good.split_once(' ').expect("two words");
    // 51 bytes: the type and the lengths are 19, the point is the rest.
    let mut blob = unbase64(base64);
    blob.splice(19.., point);
    format!("ssh-ed25519 {}", base64_of(&blob))
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn unbase64(text: &str) -> Vec<u8> {
    let value = |c: u8| ALPHABET.iter().position(|a| *a == c).expect("base64");
    let groups = text.as_bytes().chunks_exact(4);
    let number = |group: &[u8]| group.iter().fold(0, |n, c| n << 6 | value(*c));
    groups.flat_map(|group| number(group).to_be_bytes().into_iter().skip(5)).collect()
}

fn base64_of(bytes: &[u8]) -> String {
    let number = |group: &[u8]| group.iter().fold(0usize, |n, byte| n << 8 | usize::from(*byte));
    let digits = |n: usize| [18, 12, 6, 0].map(|shift| char::from(ALPHABET[n >> shift & 63]));
    bytes.chunks_exact(3).flat_map(|group| digits(number(group))).collect()
}

#[track_caller]
fn refused_point(hex: &str, why: HostKeyError) {
    let byte = |at: usize| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hex");
    assert_eq!(HostPublicKey::parse(&line_of(std::array::from_fn(byte))), Err(why));
}

#[test]
fn points_that_no_key_has_are_refused() {
    let zeros = "00".repeat(30);
    // The identity, the point of order two, and those of orders four and eight.
    refused_point(&format!("01{zeros}00"), HostKeyError::WeakPoint);
    refused_point(&format!("ec{}7f", "ff".repeat(30)), HostKeyError::WeakPoint);
    refused_point(&format!("00{zeros}00"), HostKeyError::WeakPoint);
    refused_point(&format!("00{zeros}80"), HostKeyError::WeakPoint);
    let eighth = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05";
    refused_point(eighth, HostKeyError::WeakPoint);
    refused_point(
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        HostKeyError::WeakPoint,
    );
    // The same points with y not reduced, or with a sign that zero does not have.
    refused_point(&format!("ee{}7f", "ff".repeat(30)), HostKeyError::NotCanonical);
    refused_point(&format!("ed{}7f", "ff".repeat(30)), HostKeyError::NotCanonical);
    refused_point(&format!("01{zeros}80"), HostKeyError::NotCanonical);
    // No point of the curve at all.
    refused_point(&format!("02{zeros}00"), HostKeyError::NotCanonical);
}

#[test]
fn a_point_with_a_part_in_a_small_subgroup_is_refused() {
    let good = line_of(point_of(&generated(1)));
    assert_eq!(HostPublicKey::parse(&good), Ok(generated(1).public()));
    let with_torsion = curve25519_dalek::edwards::CompressedEdwardsY(point_of(&generated(1)))
        .decompress()
        .map(|point| point + curve25519_dalek::constants::EIGHT_TORSION[1])
        .expect("a point");
    let line = line_of(with_torsion.compress().to_bytes());
    assert_eq!(HostPublicKey::parse(&line), Err(HostKeyError::WeakPoint));
}

fn point_of(key: &HostKey) -> [u8; 32] {
    let line = key.public().to_openssh("");
    let blob = unbase64(line.split_once(' ').expect("two words").1);
    blob[19..].try_into().expect("32 bytes")
}

#[track_caller]
fn refused_line(line: &str, why: HostKeyError) {
    assert_eq!(HostPublicKey::parse(line), Err(why));
}

#[test]
fn lines_that_are_no_ed25519_key_are_refused() {
    let good = generated(1).public().to_openssh("c");
    assert!(HostPublicKey::parse(&format!("  {good}\r\n")).is_ok());
    refused_line("", HostKeyError::Malformed);
    refused_line("ssh-ed25519", HostKeyError::Malformed);
    refused_line("ssh-ed25519 ????", HostKeyError::Malformed);
    refused_line(&format!("{good}\n{good}"), HostKeyError::Malformed);
    refused_line(&good.replacen("ssh-ed25519", "ssh-rsa", 1), HostKeyError::NotEd25519);
    refused_line(&format!("{good}{}", " x".repeat(9000)), HostKeyError::TooLong);
}

#[test]
fn private_texts_that_are_no_such_key_are_refused() {
    let refused = |text: &str| HostKey::from_openssh(&SecretString::new(text)).expect_err("no key");
    assert_eq!(refused(""), HostKeyError::Malformed);
    assert_eq!(refused(&fixture("key1.pub")), HostKeyError::Malformed);
    assert_eq!(refused(&"x".repeat(20_000)), HostKeyError::TooLong);
}

proptest! {
    #[test]
    fn keys_survive_being_written_and_read(seed: u64, comment in "[ -~]{0,40}") {
        let key = generated(seed);
        let text = key.to_openssh(&comment);
        prop_assert_eq!(&HostKey::from_openssh(&text).expect("our own key"), &key);
        prop_assert_eq!(HostPublicKey::parse(&key.public().to_openssh(&comment)), Ok(key.public()));
    }

    #[test]
    fn a_damaged_key_is_never_another_key(seed: u64, at: prop::sample::Index, to in "[A-Za-z0-9+/]") {
        let key = generated(seed);
        let text = key.to_openssh("c");
        let mut lines: Vec<String> = text.expose().lines().map(str::to_owned).collect();
        let body = lines.len() - 2;
        let line = &mut lines[1 + at.index(body)];
        let at = at.index(line.len());
        line.replace_range(at..=at, &to);
        if let Ok(read) = HostKey::from_openssh(&SecretString::new(lines.join("\n") + "\n")) {
            prop_assert_eq!(read, key);
        }
    }

    #[test]
    fn nothing_makes_the_readers_panic(line in ".{0,200}", blob: [u8; 32]) {
        let _ = HostPublicKey::parse(&line);
        let _ = HostPublicKey::parse(&line_of(blob));
        let _ = HostKey::from_openssh(&SecretString::new(line));
    }
}
