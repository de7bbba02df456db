//! What we seal, opened by readers that others made.
//!
//! | reader | judges | does not judge |
//! |---|---|---|
//! | `rops` 0.1 (Rust) | YAML and JSON, every value's type, AAD, the MAC, selection rules, MAC over sealed values | empty strings, times, comments in lists, several documents |
//! | `sops-age` 4 (npm) | YAML and JSON, lists, empty values, comments on lines of maps, binary's envelope, AAD | the MAC, comments in lists |
//! | `sops-age` 4 (npm) | dotenv: values, the flat metadata | comments, the MAC |
//! | `shamir-secret-sharing` (npm) | the shares of several key groups | how they are wrapped, which is `age`'s to judge |
//! | `age` (Debian) | each wrapped data key: armor, header, payload of 32 bytes, for x25519 and ssh keys | the values |
//!
//! No reader of ini by others could be found: neither of these has it, nor do the registries of crates and of npm. What
//! sops itself recorded is the judge there.
//!
//! The recorded files in `nixmox-sops`' own tests judge the other direction. `age`, `node` and `npm` must be installed;
//! the npm package is installed from its lock file into the target directory.

#![expect(clippy::expect_used, reason = "a test says what it expects by failing")]
#![expect(clippy::panic, reason = "a missing reader fails the test")]
#![expect(clippy::indexing_slicing, reason = "what is not where it should be fails the test")]

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use nixmox_sops::{
    DecryptError, Documents, EncryptedFile, Format, Identities, Keep, KeyGroups, KeyText,
    Recipient, Rule, SealOptions, seal,
};
use nixmox_tree::{SecretBytes, SecretString};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use serde_json::{Value, json};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/sops/identities");
const READERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/readers/sops-age");

fn key_path(name: &str) -> PathBuf {
    Path::new(FIXTURES).join(name)
}

fn secret(name: &str) -> String {
    let text = std::fs::read_to_string(key_path(name)).expect("key");
    text.lines().find(|line| line.starts_with("AGE-SECRET-KEY-")).expect("a key line").to_owned()
}

fn identity(name: &str) -> Identities {
    let bytes = SecretBytes::new(std::fs::read(key_path(name)).expect("key"));
    Identities::parse_keys(&bytes, KeyText::Lines, None).expect("keys")
}

fn ssh_identity(name: &str) -> Identities {
    let pem = std::fs::read_to_string(key_path(name)).expect("key");
    Identities::parse_ssh(&SecretString::new(pem), None).expect("ssh key")
}

fn recipient() -> Recipient {
    identity("age1.txt").recipients()[0].clone()
}

fn sealed(docs: &Documents, format: Format, options: &SealOptions) -> String {
    let mut rng = ChaCha20Rng::seed_from_u64(11);
    let now = "2026-01-02T03:04:05Z".parse().expect("time");
    let bytes = seal(docs, (format, options), Keep::Nothing, &mut rng, now).expect("seals");
    String::from_utf8(bytes).expect("text")
}

/// Runs a program with the text as its input; what it prints, or what it complains about.
fn run(command: &mut Command, input: &str) -> Result<Vec<u8>, String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let mut stdin = child.stdin.take().expect("stdin");
    // A reader that gives up early closes its input; what it says matters then.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let out = child.wait_with_output().expect("ends");
    match out.status.success() {
        true => Ok(out.stdout),
        false => Err(String::from_utf8_lossy(&out.stderr).into_owned()),
    }
}

fn rops(text: &str, key: &str) -> Result<Value, String> {
    let out = run(Command::new(env!("CARGO_BIN_EXE_rops-reader")).env("ROPS_AGE", key), text)?;
    serde_json::from_slice(&out).map_err(|e| e.to_string())
}

/// Installs the npm reader once for each version of its files; several test processes may do so at a time.
fn npm_home() -> &'static Path {
    static HOME: OnceLock<PathBuf> = OnceLock::new();
    HOME.get_or_init(|| {
        let files = ["package.json", "package-lock.json", "read.mjs", "combine.mjs"];
        let mut version = DefaultHasher::new();
        for file in files {
            std::fs::read(Path::new(READERS).join(file)).expect("reader").hash(&mut version);
        }
        let above = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let home = above.join(format!("sops-age-{:016x}", version.finish()));
        if !home.exists() {
            let fresh = tempfile::tempdir_in(above).expect("directory");
            for file in files {
                let from = Path::new(READERS).join(file);
                std::fs::copy(from, fresh.path().join(file)).expect("copies");
            }
            let mut npm = Command::new("npm");
            npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
            run(npm.current_dir(fresh.path()), "").unwrap_or_else(|e| panic!("npm ci: {e}"));
            // Who comes second finds the directory there and uses it.
            let moved = std::fs::rename(fresh.path(), &home);
            assert!(moved.is_ok() || home.exists(), "{moved:?}");
        }
        home
    })
}

fn sops_age(text: &str, kind: &str, key: &str) -> Result<Value, String> {
    let mut node = Command::new("node");
    node.args(["read.mjs", kind]).current_dir(npm_home()).env("SOPS_AGE_KEY", key);
    let out = run(&mut node, text)?;
    serde_json::from_slice(&out).map_err(|e| e.to_string())
}

/// Values of every type that both readers take, and keys that are hard to write.
fn values() -> Value {
    json!({
        "plain": "hunter2",
        "number_as_text": "0123",
        "truth_as_text": "yes",
        "unicode": "grüße 😀 \u{2028}",
        "several": "line 1\n  line 2\n\nend\n",
        "quotes": "it's \"q\" \\ \t \r",
        "int": 42,
        "negative": -9_007_199_254_740_991_i64,
        "float": 2.5,
        "small": 1.5e-9,
        "yes": true,
        "no": false,
        "a b: c # d": "odd key",
        "nested": { "deep": { "deeper": { "x": "y" } }, "null": "n" },
        "list": ["a", 1, true, ["b", ["c"]], { "k": "v", "l": ["m"] }],
    })
}

fn check_both(plain: &Value, options: &SealOptions) {
    let key = secret("age1.txt");
    let docs = Documents::parse(plain.to_string().as_bytes(), Format::Json).expect("JSON");
    for (format, kind) in [(Format::Yaml, "yaml"), (Format::Json, "json")] {
        let text = sealed(&docs, format, options);
        assert_eq!(rops(&text, &key).as_ref(), Ok(plain), "rops, {kind}:\n{text}");
        assert_eq!(sops_age(&text, kind, &key).as_ref(), Ok(plain), "sops-age, {kind}:\n{text}");
    }
}

#[test]
fn both_readers_open_every_type() {
    check_both(&values(), &SealOptions::new([recipient()]));
}

#[test]
fn both_readers_open_a_flat_file_of_a_host() {
    let flat: serde_json::Map<_, _> =
        (0..50).map(|n| (format!("secret-{n:02}"), json!(format!("value {n}")))).collect();
    let mut options = SealOptions::new([recipient(), identity("age2.txt").recipients()[0].clone()]);
    options.strict = true;
    check_both(&flat.into(), &options);
}

#[test]
fn rops_reads_the_selection_rules() {
    let plain = json!({ "data": { "a": "s", "n": 1 }, "kind": "clear", "x_enc": "e" });
    for (rule, mac_only) in [
        (Rule::UnencryptedSuffix("ind".to_owned()), false),
        (Rule::EncryptedSuffix("_enc".to_owned()), true),
        (Rule::EncryptedRegex("^data$".to_owned()), false),
        (Rule::EncryptedRegex("^data$".to_owned()), true),
        (Rule::UnencryptedRegex("^kind$".to_owned()), false),
    ] {
        let mut options = SealOptions::new([recipient()]);
        (options.rule, options.mac_only_encrypted) = (rule, mac_only);
        let docs = Documents::parse(plain.to_string().as_bytes(), Format::Json).expect("JSON");
        let text = sealed(&docs, Format::Yaml, &options);
        assert_eq!(rops(&text, &secret("age1.txt")).as_ref(), Ok(&plain), "{text}");
    }
}

#[test]
fn rops_checks_the_mac_that_we_write() {
    let docs = Documents::parse(b"l: [a, b]\n", Format::Yaml).expect("YAML");
    let text = sealed(&docs, Format::Yaml, &SealOptions::new([recipient()]));
    let key = secret("age1.txt");
    assert_eq!(rops(&text, &key), Ok(json!({ "l": ["a", "b"] })));
    let mut lines: Vec<_> = text.lines().collect();
    lines.swap(1, 2);
    let swapped = lines.join("\n");
    assert!(rops(&swapped, &key).is_err_and(|e| e.to_lowercase().contains("mac")), "{swapped}");
    let later = text.replace("2026-01-02", "2026-01-03");
    assert!(rops(&later, &key).is_err());
    assert!(rops(&text, &secret("stranger.txt")).is_err());
}

#[test]
fn sops_age_reads_comments_and_empty_values() {
    let plain = "# top\na: 1 # behind\nl:\n  - x\n  - \"\"\ne: \"\"\nn: null\nm: {}\n";
    let docs = Documents::parse(plain.as_bytes(), Format::Yaml).expect("YAML");
    let text = sealed(&docs, Format::Yaml, &SealOptions::new([recipient()]));
    let found = sops_age(&text, "yaml", &secret("age1.txt")).expect("opens");
    assert_eq!(
        (&found["a"], &found["e"], &found["n"], &found["m"]),
        (&json!(1), &json!(""), &Value::Null, &json!({}))
    );
    let binary = Documents::binary(SecretBytes::new(*b"any text\n"));
    let text = sealed(&binary, Format::Binary, &SealOptions::new([recipient()]));
    let found = sops_age(&text, "json", &secret("age1.txt"));
    assert_eq!(found, Ok(json!({ "data": "any text\n" })));
    assert!(sops_age(&text, "json", &secret("stranger.txt")).is_err());
}

#[test]
fn age_opens_each_wrapped_data_key() {
    let mut recipients: Vec<_> = ["age1.txt", "age2.txt"]
        .iter()
        .map(|name| identity(name).recipients()[0].clone())
        .collect();
    let keys = ["age1.txt", "age2.txt", "ssh_user_ed25519_key", "ssh_user_rsa_key"];
    for name in &keys[2..] {
        recipients.push(ssh_identity(name).recipients()[0].clone());
    }
    let docs = Documents::parse(b"a: b\n", Format::Yaml).expect("YAML");
    let text = sealed(&docs, Format::Json, &SealOptions::new(recipients));
    let file = EncryptedFile::parse(text.as_bytes(), Format::Json).expect("parses");
    assert!(file.audit().is_empty());
    let expect = file.open_data_key(&identity("age1.txt")).expect("opens");
    let tree: Value = serde_json::from_str(&text).expect("JSON");
    let home = tempfile::tempdir().expect("directory");
    for (index, name) in keys.iter().enumerate() {
        // ssh keys are refused when others may read them.
        let private = home.path().join(name);
        std::fs::copy(key_path(name), &private).expect("copies");
        let only_me = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&private, only_me).expect("mode");
        let enc = tree["sops"]["age"][index]["enc"].as_str().expect("enc");
        let found = run(Command::new("age").args(["-d", "-i"]).arg(&private), enc);
        assert_eq!(found.as_deref(), Ok(expect.expose().as_slice()), "{name}");
        let other = key_path("stranger.txt");
        assert!(run(Command::new("age").args(["-d", "-i"]).arg(other), enc).is_err());
    }
}

#[test]
fn sops_age_reads_dotenv() {
    let plain = "# a comment\nA=1\nLINES=a\\nb\nQUOTED=\"q\" # kept\nGREETING=gr\u{fc}\u{df}e\n";
    let docs = Documents::parse(plain.as_bytes(), Format::Dotenv).expect("dotenv");
    let text = sealed(&docs, Format::Dotenv, &SealOptions::new([recipient()]));
    let found = sops_age(&text, "env", &secret("age1.txt")).expect("opens");
    for (name, value) in
        [("A", "1"), ("LINES", "a\nb"), ("QUOTED", "\"q\" # kept"), ("GREETING", "gr\u{fc}\u{df}e")]
    {
        assert_eq!(found[name], value, "{found}\n{text}");
    }
    assert!(sops_age(&text, "env", &secret("stranger.txt")).is_err());
}

/// Opens the share of each group with Debian's `age` and combines them with somebody else's arithmetic.
#[test]
fn shares_of_key_groups_make_the_data_key_elsewhere() {
    let names = ["age1.txt", "age2.txt", "age3.txt", "age4.txt"];
    let groups: Vec<Vec<Recipient>> =
        names.iter().map(|name| vec![identity(name).recipients()[0].clone()]).collect();
    for threshold in [2, 3, 4] {
        let groups = KeyGroups::new(groups.clone(), Some(threshold)).expect("groups");
        let docs = Documents::parse(b"a: b\n", Format::Yaml).expect("YAML");
        let text = sealed(&docs, Format::Json, &SealOptions::with_groups(groups));
        let tree: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(tree["sops"]["shamir_threshold"], threshold);
        let shares: Vec<String> = names
            .iter()
            .enumerate()
            .map(|(index, name)| {
                let enc = &tree["sops"]["key_groups"][index]["age"][0]["enc"];
                let mut age = Command::new("age");
                let enc = enc.as_str().expect("enc");
                let share = run(age.args(["-d", "-i"]).arg(key_path(name)), enc).expect("opens");
                assert_eq!((share.len(), usize::from(share[32])), (33, index + 1));
                base64(&share)
            })
            .collect();
        let file = EncryptedFile::parse(text.as_bytes(), Format::Json).expect("parses");
        let mut all = Identities::new();
        names.iter().for_each(|name| all.extend(identity(name)));
        let key = base64(file.open_data_key(&all).expect("opens").expose());
        let combine = |shares: &[String]| {
            let mut node = Command::new("node");
            let made = run(node.arg("combine.mjs").current_dir(npm_home()), &shares.join("\n"));
            String::from_utf8(made.expect("combines")).expect("text")
        };
        assert_eq!(combine(&shares[..threshold]), key);
        assert_eq!(combine(&shares[4 - threshold..]), key);
        if threshold > 2 {
            assert_ne!(combine(&shares[..threshold - 1]), key, "fewer must not do");
        }
        let one = file.open(&identity("age1.txt"));
        assert!(matches!(one, Err(DecryptError::Shares { have: 1, need }) if need == threshold));
    }
}

fn base64(bytes: &[u8]) -> String {
    base64::Engine::encode(&base64::prelude::BASE64_STANDARD, bytes)
}
