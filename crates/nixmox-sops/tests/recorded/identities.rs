//! Which texts are identities, as sops takes them.

use age::secrecy::SecretString as AgeSecret;
use nixmox_sops::{
    Documents, EncryptedFile, Format, Identities, IdentityError, Interaction, Keep, KeyText,
    SealOptions, seal,
};
use nixmox_tree::{SecretBytes, SecretString};

use crate::common::*;

fn key(name: &str) -> String {
    let text = fixture_text(&format!("identities/{name}.txt"));
    text.lines().find(|line| line.starts_with("AGE-SECRET-KEY-1")).expect("key").to_owned()
}

fn parse(text: &str, form: KeyText) -> Result<Identities, IdentityError> {
    Identities::parse_keys(&SecretBytes::new(text), form, None)
}

/// Checks a recorded case: what the source holds, and whether sops opened the file with it.
#[track_caller]
fn check(id: &str, text: &str, form: KeyText) {
    let manifest = manifest();
    let case = cases(&manifest, "identity_loading").iter().find(|case| text_of(case) == id);
    let case = case.unwrap_or_else(|| panic!("{id} is not recorded"));
    let file = EncryptedFile::parse(&fixture(crate::common::text(case, "encrypted")), Format::Yaml);
    let opened = parse(text, form).is_ok_and(|keys| file.expect("a sops file").open(&keys).is_ok());
    assert_eq!(opened, case["exit"] == 0, "{id}");
}

fn text_of(case: &serde_json::Value) -> &str {
    text(case, "id")
}

#[test]
fn key_texts_are_taken_as_sops_takes_them() {
    let (ours, stranger) = (key("age1"), key("stranger"));
    check("identity/key-env", &ours, KeyText::Words);
    check("identity/key-env-two-space", &format!("{stranger} {ours}"), KeyText::Words);
    check("identity/key-env-comment", &format!("# c\n\n{ours}"), KeyText::Words);
    check("identity/key-env-inline-comment", &format!("{ours} # mine"), KeyText::Words);
    check("identity/key-env-empty", "", KeyText::Words);
    check("identity/key-file", &format!("# c\n{ours}\n"), KeyText::Lines);
    check("identity/key-file-bad-line", &format!("{ours}\nbad\n"), KeyText::Lines);
    check("identity/key-file-leading-space", &format!(" {ours}\n"), KeyText::Lines);
    check("identity/key-file-crlf", &format!("# c\r\n{ours}\r\n"), KeyText::Lines);
    check("identity/key-file-two-on-line", &format!("{stranger} {ours}\n"), KeyText::Lines);
    // An ssh key is not taken from a key file, whatever it could open.
    let ssh = fixture_text("identities/ssh_user_ed25519_key");
    assert!(matches!(parse(&ssh, KeyText::Lines), Err(IdentityError::UnknownLine { line: 1 })));
}

#[test]
fn ssh_keys_open_what_is_sealed_to_them() {
    let docs = Documents::parse(b"a: b\n", Format::Yaml).expect("YAML");
    for (name, file) in
        [("ssh_user_ed25519_key", None), ("ssh_user_rsa_key", Some("keys/ssh-rsa-raw"))]
    {
        let keys = identities("ssh-private-key-file", &format!("identities/{name}"));
        let public = fixture_text(&format!("identities/{name}.pub"));
        assert!(public.starts_with(keys.recipients()[0].as_str()), "{name}");
        let options = SealOptions::new(keys.recipients().iter().cloned());
        let sealed = seal(&docs, (Format::Yaml, &options), Keep::Nothing, &mut rng(1), now());
        let sealed = EncryptedFile::parse(&sealed.expect("seals"), Format::Yaml).expect("parses");
        assert!(sealed.audit().is_empty());
        assert!(sealed.open(&keys).is_ok_and(|opened| *opened.documents() == docs));
        if let Some(file) = file {
            let bytes = fixture(&format!("{file}/enc.yaml"));
            let file = EncryptedFile::parse(&bytes, Format::Yaml).expect("a sops file");
            assert!(file.open(&keys).is_ok());
        }
    }
    let garbage = Identities::parse_ssh(&SecretString::new("garbage"), None);
    assert!(matches!(garbage, Err(IdentityError::Ssh)));
}

#[test]
fn errors_name_the_line_and_never_the_key() {
    let ours = key("age1");
    let broken = format!("{}x", &ours[..ours.len() - 1]);
    let error = parse(&format!("# c\n{broken}"), KeyText::Lines).expect_err("broken");
    assert!(matches!(error, IdentityError::Malformed { line: 2 }));
    assert!(!format!("{error:?} {error}").contains(&ours[20..30]));
    let quantum = fixture("identities/pq1.txt");
    let error = Identities::parse_keys(&SecretBytes::new(quantum), KeyText::Lines, None);
    assert!(matches!(error, Err(IdentityError::PostQuantum { .. })));
    assert!(matches!(
        parse("AGE-PLUGIN-X-1", KeyText::Lines),
        Err(IdentityError::Malformed { .. })
    ));
    assert!(matches!(parse("# only\n", KeyText::Lines), Err(IdentityError::Empty)));
}

#[derive(Clone)]
struct Person(&'static str);

impl age::Callbacks for Person {
    fn display_message(&self, _: &str) {}

    fn confirm(&self, _: &str, _: &str, _: Option<&str>) -> Option<bool> {
        None
    }

    fn request_public_string(&self, _: &str) -> Option<String> {
        None
    }

    fn request_passphrase(&self, _: &str) -> Option<AgeSecret> {
        Some(AgeSecret::from(self.0.to_owned()))
    }
}

#[test]
fn a_protected_key_file_asks_for_its_passphrase() {
    let mut scrypt = age::scrypt::Recipient::new(AgeSecret::from("correct horse".to_owned()));
    scrypt.set_work_factor(4);
    let text = fixture("identities/age1.txt");
    let plain = age::encrypt(&scrypt, &text).expect("encrypts");
    let armored = age::encrypt_and_armor(&scrypt, &text).expect("encrypts").into_bytes();
    for file in [plain, armored] {
        let file = SecretBytes::new(file);
        let open = |interaction: Option<&Interaction>| {
            Identities::parse_keys(&file, KeyText::Lines, interaction)
        };
        let right = Interaction::new(Person("correct horse"));
        assert_eq!(open(Some(&right)).expect("opens").len(), 1);
        let wrong = Interaction::new(Person("wrong"));
        assert!(matches!(open(Some(&wrong)), Err(IdentityError::Protected(Some(_)))));
        assert!(matches!(open(None), Err(IdentityError::Interaction)));
    }
}
