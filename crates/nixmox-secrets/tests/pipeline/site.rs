//! A fleet in a temporary directory, and the people around it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use jiff::Timestamp;
use nixmox_hostkey::HostKey;
use nixmox_secrets::{
    Accept, Change, Checked, Due, Error, Fleet, Form, Generation, Options, Outcome, Reason,
    Renewal, Report, change, check, due, host_identities, renew,
};
use nixmox_sops::{DecryptedFile, EncryptedFile, Format, Identities};
use nixmox_tree::{SecretString, SecretTree, Value};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use tempfile::TempDir;

/// Somebody with an age key.
pub(crate) struct Person(HostKey);

/// Makes a person; the same number is the same person.
pub(crate) fn person(number: u8) -> Person {
    Person(HostKey::generate(&mut ChaCha20Rng::from_seed([number; 32])))
}

impl Person {
    pub(crate) fn recipient(&self) -> String {
        self.0.public().age_recipient()
    }

    pub(crate) fn identities(&self) -> Identities {
        Identities::from_age_secret(&self.0.age_identity()).unwrap()
    }

    /// Tells whether the person opens a sealed file.
    pub(crate) fn opens(&self, bytes: &[u8], format: Format) -> bool {
        EncryptedFile::parse(bytes, format).unwrap().open(&self.identities()).is_ok()
    }
}

/// A file as it lies on disk: content, inode and time of change.
pub(crate) type Seen = (Vec<u8>, u64, i64, i64);

/// A fleet and its admin.
pub(crate) struct Site {
    dir: TempDir,
    pub(crate) admin: Person,
    pub(crate) accept: Accept,
    pub(crate) form: Form,
    rng: ChaCha20Rng,
    clock: i64,
}

/// Nothing is accepted.
pub(crate) const NOTHING: Accept = Accept { admins: false, host_keys: false, roster: None };
/// The recipients are accepted.
pub(crate) const ADMINS: Accept = Accept { admins: true, host_keys: false, roster: None };
/// The host keys are accepted.
pub(crate) const KEYS: Accept = Accept { admins: false, host_keys: true, roster: None };
/// Both are accepted.
pub(crate) const BOTH: Accept = Accept { admins: true, host_keys: true, roster: None };

impl Site {
    /// Makes a fleet without nodes, whose files are sealed to one admin.
    pub(crate) fn bare(form: Form) -> Self {
        let site = Self {
            dir: tempfile::tempdir().unwrap(),
            admin: person(1),
            accept: NOTHING,
            form,
            rng: ChaCha20Rng::from_seed([42; 32]),
            clock: 1_700_000_000,
        };
        site.rules(&[&site.admin]);
        site
    }

    /// Makes the fleet that most tests use: `web` has `w1` and `w2`, `db` has `d1`, `x` stands alone.
    pub(crate) fn new(form: Form) -> Self {
        let site = Self::bare(form);
        site.group("web", &["w1", "w2"]);
        site.group("db", &["d1"]);
        site.write("nodes/x/host.nix", "{ }");
        site
    }

    /// Makes that fleet with secrets for `web` and for `w1`.
    pub(crate) fn with_secrets(form: Form) -> Self {
        let mut site = Self::new(form);
        site.edit(match form {
            Form::Nix => NIX,
            Form::Yaml => YAML,
        });
        site
    }

    pub(crate) fn root(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    #[track_caller]
    pub(crate) fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    #[track_caller]
    pub(crate) fn text(&self, path: &str) -> String {
        String::from_utf8(self.read(path)).unwrap()
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        self.root().join(path).exists()
    }

    #[track_caller]
    pub(crate) fn remove(&self, path: &str) {
        fs::remove_file(self.root().join(path)).unwrap();
    }

    #[track_caller]
    pub(crate) fn rename(&self, from: &str, to: &str) {
        let to = self.root().join(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::rename(self.root().join(from), to).unwrap();
    }

    /// Writes creation rules that seal everything to some people.
    pub(crate) fn rules(&self, people: &[&Person]) {
        let names: Vec<String> = people.iter().map(|p| p.recipient()).collect();
        self.write(".sops.yaml", format!("creation_rules:\n  - age: {}\n", names.join(",")));
    }

    /// Writes creation rules, each for the paths of a pattern.
    pub(crate) fn rules_by_path(&self, rules: &[(&str, &[&Person])]) {
        let mut text = String::from("creation_rules:\n");
        for (pattern, people) in rules {
            let names: Vec<String> = people.iter().map(|p| p.recipient()).collect();
            text += &format!("  - path_regex: {pattern}\n    age: {}\n", names.join(","));
        }
        self.write(".sops.yaml", text);
    }

    pub(crate) fn group(&self, name: &str, members: &[&str]) {
        let members: String = members.iter().map(|m| format!("{m} = {{ }}; ")).collect();
        self.write(&format!("nodes/{name}/group.nix"), format!("{{ {members}}}"));
    }

    /// Changes the master to `text`.
    pub(crate) fn try_edit(&mut self, text: &str) -> Result<Report, Error> {
        self.try_change(&mut |_| SecretString::new(text)).map(|outcome| outcome.report.unwrap())
    }

    /// Changes the master to `text` and expects that to work.
    #[track_caller]
    pub(crate) fn edit(&mut self, text: &str) -> Report {
        self.try_edit(text).unwrap_or_else(|e| panic!("{e:?}"))
    }

    /// Changes the master to what it is.
    pub(crate) fn try_again(&mut self) -> Result<Report, Error> {
        self.try_change(&mut Clone::clone).map(|outcome| outcome.report.unwrap())
    }

    /// Changes the master to what it is and expects that to work.
    #[track_caller]
    pub(crate) fn again(&mut self) -> Report {
        self.try_again().unwrap_or_else(|e| panic!("{e:?}"))
    }

    /// Accepts something for one change.
    pub(crate) fn accepting(&mut self, accept: Accept) -> Result<Report, Error> {
        self.accept = accept;
        let result = self.try_again();
        self.accept = NOTHING;
        result
    }

    /// Changes the master by a function of its text; a problem ends the change.
    pub(crate) fn try_change(
        &mut self,
        write: &mut dyn FnMut(&SecretString) -> SecretString,
    ) -> Result<Outcome, Error> {
        self.clock += 60;
        let now = Timestamp::from_second(self.clock).unwrap();
        let identities = self.admin.identities();
        let fresh = SecretString::new("{ }");
        let options = options(&identities, self.accept, Some((self.form, &fresh)));
        let mut problem = None;
        let outcome = change(
            self.dir.path(),
            options,
            &mut |draft| match draft.problem {
                Some(error) => {
                    problem = Some(error);
                    None
                }
                None => Some(write(draft.text)),
            },
            &mut self.rng,
            now,
        )?;
        problem.map_or(Ok(outcome), Err)
    }

    /// Seals what the master says already, and renews what is asked for.
    pub(crate) fn renew(&mut self, renewal: &Renewal) -> Result<Report, Error> {
        self.clock += 60;
        let now = Timestamp::from_second(self.clock).unwrap();
        let identities = self.admin.identities();
        let options = options(&identities, self.accept, None);
        let outcome = renew(self.dir.path(), options, renewal, &mut self.rng, now)?;
        Ok(outcome.report.unwrap())
    }

    /// Lets days pass.
    pub(crate) fn later(&mut self, days: i64) {
        self.clock += days * 86_400;
    }

    /// Finds what is due.
    #[track_caller]
    pub(crate) fn due(&self) -> Due {
        let identities = self.admin.identities();
        let now = Timestamp::from_second(self.clock).unwrap();
        due(self.root(), &options(&identities, NOTHING, None), now).unwrap()
    }

    /// Checks the fleet with the admin's key.
    #[track_caller]
    pub(crate) fn check(&self) -> Checked {
        let identities = self.admin.identities();
        check(self.root(), &options(&identities, NOTHING, None)).unwrap_or_else(|e| panic!("{e:?}"))
    }

    /// Checks the fleet without any key.
    #[track_caller]
    pub(crate) fn check_from_outside(&self) -> Checked {
        check(self.root(), &options(&Identities::new(), NOTHING, None))
            .unwrap_or_else(|e| panic!("{e:?}"))
    }

    pub(crate) fn fleet(&self) -> Fleet {
        Fleet::open(self.root(), &|_| None).unwrap()
    }

    /// Opens a host's sealed file with the host's own key.
    #[track_caller]
    pub(crate) fn open(&self, host: &str, path: &str) -> DecryptedFile {
        let fleet = self.fleet();
        let key = host_identities(&fleet, host, &self.admin.identities()).unwrap();
        EncryptedFile::parse(&self.read(path), Format::Yaml).unwrap().open(&key).unwrap()
    }

    /// Reads the values that a host gets.
    #[track_caller]
    pub(crate) fn values(&self, host: &str, path: &str) -> SecretTree {
        self.open(host, path).documents().to_tree().unwrap()
    }

    /// Returns the data key of a file that admins open.
    #[track_caller]
    pub(crate) fn data_key(&self, path: &str, format: Format) -> [u8; 32] {
        let file = EncryptedFile::parse(&self.read(path), format).unwrap();
        *file.open_data_key(&self.admin.identities()).unwrap().expose()
    }

    /// Lists every file but the store's own.
    pub(crate) fn snapshot(&self) -> BTreeMap<String, Seen> {
        let mut found = BTreeMap::new();
        let mut dirs = vec![self.root().to_owned()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let at = entry.unwrap().path();
                let name = at.strip_prefix(self.root()).unwrap().to_str().unwrap().to_owned();
                if at.is_dir() {
                    dirs.push(at);
                } else if ![".nixmox/lock", ".nixmox/.gitignore"].contains(&name.as_str()) {
                    let meta = at.metadata().unwrap();
                    let seen =
                        (fs::read(&at).unwrap(), meta.ino(), meta.mtime(), meta.mtime_nsec());
                    found.insert(name, seen);
                }
            }
        }
        found
    }
}

pub(crate) const NIX: &str = r#"{ secrets, ... }: {
  domain = "example.org";
  nodes.web = { token = "group-token"; port = 443; url = "https://${secrets.domain}"; };
  nodes.w1 = { token = "own-token"; db.password = "hunter2"; _hidden = "never"; };
}
"#;

pub(crate) const YAML: &str = "\
# The token comes from the provider.
domain: example.org
nodes:
    web:
        token: group-token
        port: 443
        url: https://example.org
    w1:
        # rotated in May
        token: own-token
        db:
            password: hunter2
        _hidden: never
";

pub(crate) const W1: &str = "nodes/web/w1/secrets.yaml";
pub(crate) const W2: &str = "nodes/web/w2/secrets.yaml";
pub(crate) const W1_KEY: &str = "nodes/web/w1/ssh_host_ed25519_key";
pub(crate) const W1_PUB: &str = "nodes/web/w1/ssh_host_ed25519_key.pub";
pub(crate) const DIGESTS: &str = ".nixmox/digests.json";
pub(crate) const MASTER: &str = "secrets.yaml";

pub(crate) fn options<'a>(
    identities: &'a Identities,
    accept: Accept,
    fresh: Option<(Form, &'a SecretString)>,
) -> Options<'a> {
    Options {
        identities,
        accept,
        ask_nix: &|_| None,
        real_nix: None,
        interaction: None,
        generation: Generation::default(),
        signer: None,
        fresh,
    }
}

/// Makes a tree of strings.
pub(crate) fn tree(leaves: &[(&str, &str)]) -> SecretTree {
    let mut tree = SecretTree::new();
    for (path, value) in leaves {
        let path: Vec<&str> = path.split('.').collect();
        tree.insert_at(&path, Value::string(*value)).unwrap();
    }
    tree
}

/// Names the files that differ between two snapshots.
pub(crate) fn changed<'a>(
    before: &'a BTreeMap<String, Seen>,
    after: &'a BTreeMap<String, Seen>,
) -> BTreeSet<&'a str> {
    let names = before.keys().chain(after.keys());
    names.filter(|name| before.get(*name) != after.get(*name)).map(String::as_str).collect()
}

/// Finds what a report says about a host.
#[track_caller]
pub(crate) fn host<'a>(report: &'a Report, name: &str) -> (Change, &'a [Reason]) {
    let found = report.hosts.iter().find(|(host, _)| host.as_ref() == name);
    let (_, host) = found.unwrap_or_else(|| panic!("nothing about {name}: {report:?}"));
    (host.change, &host.reasons)
}
