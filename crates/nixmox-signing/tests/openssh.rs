//! OpenSSH judges what is signed here, and what it signs is verified here: needs `ssh-keygen` (Debian package
//! openssh-client).

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]
#![expect(clippy::disallowed_methods, reason = "the judge is a program that reads files")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use nixmox_signing::{
    AllowedSigners, DELIVERY, Delivered, DeliveryError, KeyError, KeyFile, PublicKey, ROSTER,
    Signature, SignatureError, SignedDelivery, Signer,
};
use nixmox_tree::SecretString;
use tempfile::TempDir;

/// Runs `ssh-keygen` in a directory with a message on standard input.
fn keygen(dir: &TempDir, args: &[&str], message: &[u8]) -> (bool, Vec<u8>) {
    let mut child = Command::new("ssh-keygen")
        .args(args)
        .current_dir(dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("ssh-keygen: {error}"));
    child.stdin.take().unwrap().write_all(message).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.success(), output.stdout)
}

/// Makes a key of some type and returns its public half.
fn key(dir: &TempDir, name: &str, kind: &[&str]) -> PublicKey {
    let args: Vec<&str> = ["-q", "-N", "", "-C", "somebody", "-f", name, "-t"]
        .into_iter()
        .chain(kind.iter().copied())
        .collect();
    assert!(keygen(dir, &args, b"").0, "{kind:?}");
    PublicKey::parse(&fs::read_to_string(dir.path().join(format!("{name}.pub"))).unwrap()).unwrap()
}

fn key_file(dir: &TempDir, name: &str) -> Result<KeyFile, KeyError> {
    KeyFile::parse(&SecretString::new(fs::read_to_string(dir.path().join(name)).unwrap()))
}

#[test]
fn openssh_verifies_what_is_signed_here() {
    let dir = tempfile::tempdir().unwrap();
    let public = key(&dir, "k", &["ed25519"]);
    let signer = key_file(&dir, "k").unwrap();
    assert_eq!(signer.public(), &public);
    let allowed = AllowedSigners::new(&BTreeMap::from([(public, "alice".to_owned())]));
    fs::write(dir.path().join("allowed"), allowed.to_string()).unwrap();
    fs::write(dir.path().join("sig"), signer.sign(ROSTER, b"words\n").unwrap().to_string())
        .unwrap();
    let judge = |namespace: &str, message: &[u8]| {
        let args = ["-Y", "verify", "-f", "allowed", "-I", "alice", "-n", namespace, "-s", "sig"];
        keygen(&dir, &args, message).0
    };
    assert!(judge(ROSTER, b"words\n"));
    assert!(!judge(ROSTER, b"wordz\n"));
    assert!(!judge(DELIVERY, b"words\n"));
    let read = AllowedSigners::parse(allowed.to_string().as_bytes()).unwrap();
    assert_eq!(read, allowed);
}

#[test]
fn what_openssh_signs_is_verified_here() {
    let dir = tempfile::tempdir().unwrap();
    for (name, kind) in
        [("e", &["ed25519"][..]), ("c", &["ecdsa", "-b", "256"]), ("r", &["rsa", "-b", "2048"])]
    {
        let public = key(&dir, name, kind);
        let (signed, armor) =
            keygen(&dir, &["-Y", "sign", "-q", "-f", name, "-n", ROSTER], b"words\n");
        assert!(signed, "{name}");
        let signature = Signature::parse(&armor).unwrap();
        assert_eq!(signature.key().as_ref(), Ok(&public));
        assert_eq!(signature.verify(&public, ROSTER, b"words\n"), Ok(()), "{name}");
        assert_eq!(signature.verify(&public, ROSTER, b"wordz\n"), Err(SignatureError::Wrong));
        assert_eq!(signature.verify(&public, DELIVERY, b"words\n"), Err(SignatureError::Namespace));
    }
    let [e, r] = ["e", "r"].map(|name| {
        PublicKey::parse(&fs::read_to_string(dir.path().join(format!("{name}.pub"))).unwrap())
            .unwrap()
    });
    let (_, armor) = keygen(&dir, &["-Y", "sign", "-q", "-f", "e", "-n", ROSTER], b"words\n");
    let signature = Signature::parse(&armor).unwrap();
    assert_eq!(signature.verify(&r, ROSTER, b"words\n"), Err(SignatureError::Key));
    // Any flipped byte is refused, or is not one of the signature's.
    for at in 0..armor.len() {
        let mut flipped = armor.clone();
        flipped[at] ^= 1;
        let fine =
            Signature::parse(&flipped).is_ok_and(|s| s.verify(&e, ROSTER, b"words\n").is_ok());
        assert!(!fine, "byte {at}");
    }
}

#[test]
fn fingerprints_are_those_of_openssh() {
    let dir = tempfile::tempdir().unwrap();
    let public = key(&dir, "k", &["ed25519"]);
    let (_, said) = keygen(&dir, &["-l", "-f", "k.pub"], b"");
    assert!(String::from_utf8(said).unwrap().contains(&public.fingerprint()));
}

#[test]
fn keys_that_do_not_sign_in_this_process_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    key(&dir, "rsa", &["rsa", "-b", "2048"]);
    assert_eq!(key_file(&dir, "rsa").err(), Some(KeyError::Type));
    let args = ["-q", "-t", "ed25519", "-N", "worthless", "-f", "locked"];
    assert!(keygen(&dir, &args, b"").0);
    assert_eq!(key_file(&dir, "locked").err(), Some(KeyError::Encrypted));
    let (made, _) = keygen(&dir, &["-q", "-t", "ecdsa", "-b", "521", "-N", "", "-f", "p521"], b"");
    assert!(made);
    let p521 = fs::read_to_string(dir.path().join("p521.pub")).unwrap();
    assert_eq!(PublicKey::parse(&p521).err(), Some(KeyError::Type));
    assert_eq!(PublicKey::parse("hello").err(), Some(KeyError::Malformed));
}

#[test]
fn openssh_verifies_the_last_line_of_a_delivery_against_the_whole_file() {
    let dir = tempfile::tempdir().unwrap();
    let public = key(&dir, "k", &["ed25519"]);
    let signers = BTreeMap::from([(public, "alice".to_owned())]);
    let fleet = "00112233445566778899aabbccddeeff".parse().unwrap();
    let statement = nixmox_signing::Delivery::new(
        (fleet, "w1", "nodes/web/w1/secrets.yaml"),
        b"sealed",
        (["age1x".to_owned()].into(), nixmox_signing::Hash::of(b"values")),
    );
    let bytes = statement.sign(&key_file(&dir, "k").unwrap()).unwrap().to_bytes();
    fs::write(dir.path().join("allowed"), AllowedSigners::new(&signers).to_string()).unwrap();
    fs::write(dir.path().join("secrets.yaml.sig"), &bytes).unwrap();
    let text = String::from_utf8(bytes.clone()).unwrap();
    let line = format!("{}\n", text.lines().last().unwrap());
    let args =
        ["-Y", "verify", "-f", "allowed", "-I", "alice", "-n", DELIVERY, "-s", "secrets.yaml.sig"];
    assert!(keygen(&dir, &args, line.as_bytes()).0);

    let read = SignedDelivery::parse(&bytes).unwrap();
    let nobody = BTreeMap::new();
    let judge = |change: &dyn Fn(&mut Delivered<'_>), signers, former| {
        let mut delivered = Delivered {
            fleet: Some(fleet),
            host: "w1",
            path: Some("nodes/web/w1/secrets.yaml"),
            file: b"sealed",
        };
        change(&mut delivered);
        read.verify(&delivered, signers, former).map(|(name, _)| name.to_owned())
    };
    assert_eq!(judge(&|_| {}, &signers, &nobody), Ok("alice".to_owned()));
    let host = judge(&|d| d.host = "w2", &signers, &nobody);
    assert_eq!(host, Err(DeliveryError::Host { found: "w1".to_owned() }));
    let path = judge(&|d| d.path = Some("elsewhere"), &signers, &nobody);
    assert!(matches!(path, Err(DeliveryError::Path { .. })));
    let content = judge(&|d| d.file = b"other", &signers, &nobody);
    assert!(matches!(content, Err(DeliveryError::Content { .. })));
    let id = "ff112233445566778899aabbccddeeff".parse().unwrap();
    let other = judge(&|d| d.fleet = Some(id), &signers, &nobody);
    assert_eq!(other, Err(DeliveryError::Fleet { found: fleet }));
    let stranger = judge(&|_| {}, &nobody, &nobody);
    assert!(matches!(stranger, Err(DeliveryError::Stranger { .. })));
    let former = judge(&|_| {}, &nobody, &signers);
    assert_eq!(former, Err(DeliveryError::Former { name: "alice".to_owned() }));
    // A statement that says something else is no longer what was signed.
    let forged = text.replace("\"host\":\"w1\"", "\"host\":\"w2\"");
    let forged = SignedDelivery::parse(forged.as_bytes()).unwrap();
    let delivered = Delivered { fleet: None, host: "w2", path: None, file: b"sealed" };
    assert_eq!(
        forged.verify(&delivered, &signers, &nobody).err(),
        Some(DeliveryError::Signature(SignatureError::Wrong))
    );
}
