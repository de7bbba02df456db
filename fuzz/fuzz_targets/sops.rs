//! sops files from anyone: read, audited, opened, sealed again and opened again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nixmox_sops::{
    CreationRules, Documents, EncryptedFile, Format, Identities, Indent, Keep, KeyGroups, Recipient,
    NewValue, SealOptions, TreePath, detect, seal,
};
use nixmox_tree::SecretString;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

/// The fixtures' throw-away key.
const KEY: &str = "AGE-SECRET-KEY-1F25QHFTUQA8VPCNKXE8KSJX8XM3KQ8PAKE2PKZRN96SZ7NG5WLJSTVA09K";

fuzz_target!(|data: &[u8]| {
    let format = detect(data);
    for format in [Format::Yaml, Format::Json, Format::Dotenv, Format::Ini] {
        plain(data, format);
    }
    if let Some(format) = format {
        sealed(data, format);
    }
    if let Ok(rules) = CreationRules::parse(data) {
        let _ = rules.rule_for("hosts/a/secrets.yaml");
    }
    let _ = NewValue::parse(data);
    if let Some(path) = std::str::from_utf8(data).ok().and_then(|text| TreePath::parse(text).ok()) {
        let docs = Documents::parse(b"a: [b]\n", Format::Yaml).expect("YAML");
        let _ = docs.extract(&path);
    }
});

/// What reads as plain text prints, and reads again.
fn plain(data: &[u8], format: Format) {
    let Ok(docs) = Documents::parse(data, format) else { return };
    let Ok(text) = docs.to_bytes(format, Indent::default()) else { return };
    let again = Documents::parse(text.expose(), format);
    // Not everything that ini can say when it is read can be said when it is written, in sops no more than here.
    assert!(again.is_ok() || format == Format::Ini, "{:?}", text.as_str());
}

fn sealed(data: &[u8], format: Format) {
    let Ok(file) = EncryptedFile::parse(data, format) else { return };
    let _ = file.audit();
    let Ok(keys) = Identities::from_age_secret(&SecretString::new(KEY)) else { return };
    // Without the MAC the fuzzer gets further; what it checks is tested elsewhere.
    let Ok(opened) = file.danger_open_ignoring_mac(&keys) else { return };
    let docs = opened.documents();
    let mut options = SealOptions::new(keys.recipients().iter().cloned());
    options.recipients.extend(file.recipients().first().and_then(|r| Recipient::parse(r).ok()));
    options.recipients.retain(|recipient| recipient.plugin().is_none());
    if file.metadata().key_groups() > 1 {
        let groups = vec![options.recipients.clone(), keys.recipients().to_vec()];
        options.key_groups = KeyGroups::new(groups, None).ok();
        options.recipients.clear();
    }
    options.rule = file.metadata().rule().clone();
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let keep = Keep::Everything(&opened);
    let Ok(bytes) = seal(docs, (format, &options), keep, &mut rng, jiff::Timestamp::UNIX_EPOCH)
    else {
        return;
    };
    let again = EncryptedFile::parse(&bytes, format).expect("what we sealed reads");
    let again = again.open(&keys).expect("what we sealed opens");
    // An ini file always has the section DEFAULT, and values without types are text.
    if matches!(format, Format::Yaml | Format::Json | Format::Binary) {
        assert_eq!(docs.to_tree().ok(), again.documents().to_tree().ok());
    }
    let _ = file.rewrap(opened.data_key(), &options, &mut rng);
}
