//! The rules of sops-install-secrets, held against one host's outline.

use std::collections::BTreeMap;

use nixmox_sops::{Format, Outline};
use nixmox_topology::NodeName;

use super::{Misfit, MisfitKind, Obstacle, Secret};

/// How many keys are offered for one that is missing.
const MAX_NEAR: usize = 3;

/// One comparison in progress.
pub(super) struct Judge {
    outline: Outline,
    /// Every place of the outline where sops-nix could stop, by its key, and whether a secret asks for it.
    used: BTreeMap<String, bool>,
    /// Values that no key reaches.
    hidden: Vec<(String, MisfitKind)>,
    formats: BTreeMap<String, String>,
    found: Vec<Misfit>,
}

impl Judge {
    pub(super) fn new(outline: Outline) -> Self {
        let mut judge = Self {
            used: BTreeMap::new(),
            hidden: Vec::new(),
            formats: BTreeMap::new(),
            found: Vec::new(),
            outline: Outline::Map(BTreeMap::new()),
        };
        judge.list(&outline, "", None);
        Self { outline, ..judge }
    }

    /// Judges a secret that comes from the host's own file, which is YAML.
    pub(super) fn own(&mut self, secret: &Secret) {
        self.mode(secret);
        self.format(secret, "", Format::Yaml);
        if secret.key.is_empty() {
            self.used.values_mut().for_each(|used| *used = true);
            self.hidden.clear();
            return;
        }
        match reach(&self.outline, &secret.key, Format::Yaml) {
            Ok(()) => drop(self.used.insert(secret.key.clone(), true)),
            Err(kind) => {
                // What is there and cannot be taken is told once, with the secret that asks for it.
                let hidden = self.hidden.iter().position(|(key, _)| *key == secret.key);
                let hidden = hidden.map(|at| self.hidden.swap_remove(at).1);
                let kind = match (kind, hidden) {
                    (MisfitKind::Missing(_), Some(why)) => why,
                    (MisfitKind::Missing(_), None) => {
                        MisfitKind::Missing(nearest(&secret.key, self.used.keys()))
                    }
                    (kind, _) => kind,
                };
                self.misfit(secret, kind);
            }
        }
    }

    /// Judges a secret that comes from another file, whose outline is known when it lies in the repository.
    pub(super) fn other(
        &mut self,
        secret: &Secret,
        (file, of): (String, Option<NodeName>),
        outline: Option<(Format, Outline)>,
    ) {
        self.mode(secret);
        if let Some((format, outline)) = outline {
            self.format(secret, &file, format);
            if let Err(kind) = reach_in(&outline, secret, format) {
                self.misfit(secret, kind);
            }
        }
        self.misfit(secret, MisfitKind::OtherFile { file, of });
    }

    /// Returns everything that was found, in order.
    pub(super) fn finish(mut self) -> Vec<Misfit> {
        let unused = self.used.into_iter().filter(|(_, used)| !used);
        let unused = unused.map(|(key, _)| (key, MisfitKind::Unused));
        for (key, kind) in unused.chain(self.hidden) {
            self.found.push(Misfit { secret: None, key, kind });
        }
        self.found.sort();
        self.found
    }

    fn misfit(&mut self, secret: &Secret, kind: MisfitKind) {
        let (name, key) = (Some(secret.name.clone()), secret.key.clone());
        self.found.push(Misfit { secret: name, key, kind });
    }

    /// Lists what a file offers: values by key, and values that no key reaches.
    fn list(&mut self, outline: &Outline, above: &str, obstacle: Option<Obstacle>) {
        for (name, shape) in outline.entries() {
            let key = if above.is_empty() { name.to_owned() } else { format!("{above}/{name}") };
            let obstacle = obstacle.or(match name {
                "" => Some(Obstacle::EmptyName),
                name if name.contains('/') => Some(Obstacle::Slash),
                _ => None,
            });
            match (shape, obstacle) {
                (Outline::Map(_), _) => self.list(shape, &key, obstacle),
                (_, Some(why)) => self.hidden.push((key, MisfitKind::Unaddressable(why))),
                (Outline::List(_), None) => {
                    self.hidden.push((key, MisfitKind::NotAString("list")));
                }
                (Outline::Leaf("string"), None) => drop(self.used.insert(key, false)),
                (Outline::Leaf(kind), None) => {
                    self.hidden.push((key, MisfitKind::NotAString(kind)));
                }
            }
        }
    }

    fn mode(&mut self, secret: &Secret) {
        let octal = |mode: &str| u32::from_str_radix(mode, 8).is_ok();
        if let Some(mode) = secret.mode.as_ref().filter(|mode| !octal(mode)) {
            self.misfit(secret, MisfitKind::BadMode(mode.clone()));
        }
    }

    /// Checks the format that a secret reads a file in: against the file, and against other secrets of that file.
    fn format(&mut self, secret: &Secret, file: &str, actual: Format) {
        let declared = secret.format.clone().unwrap_or_else(|| "yaml".to_owned());
        let first = self.formats.entry(file.to_owned()).or_insert_with(|| declared.clone());
        let actual = actual.name();
        if declared != actual || declared != *first {
            self.misfit(secret, MisfitKind::WrongFormat { declared, actual });
        }
    }
}

/// Follows a secret's key in a file of any format.
fn reach_in(outline: &Outline, secret: &Secret, format: Format) -> Result<(), MisfitKind> {
    match format {
        _ if secret.key.is_empty() => Ok(()),
        Format::Yaml | Format::Json => reach(outline, &secret.key, format),
        // Of these the whole file is delivered, whatever the key says.
        _ => Ok(()),
    }
}

/// Follows a key as sops-install-secrets does: name by name, through sets, to a string.
fn reach(outline: &Outline, key: &str, format: Format) -> Result<(), MisfitKind> {
    let mut names = key.split('/').peekable();
    let mut at = outline;
    while let Some(name) = names.next() {
        let Outline::Map(map) = at else {
            let why = match at {
                Outline::List(_) => Obstacle::InList,
                _ => Obstacle::ThroughValue,
            };
            return Err(MisfitKind::Unaddressable(why));
        };
        let below = map.get(name).ok_or(MisfitKind::Missing(Vec::new()))?;
        if names.peek().is_some() && format == Format::Json && matches!(below, Outline::Map(_)) {
            return Err(MisfitKind::Unaddressable(Obstacle::NestedInJson));
        }
        at = below;
    }
    match at {
        Outline::Leaf("string") => Ok(()),
        Outline::Leaf(kind) => Err(MisfitKind::NotAString(kind)),
        Outline::List(_) => Err(MisfitKind::NotAString("list")),
        Outline::Map(_) => Err(MisfitKind::NotAString("set")),
    }
}

/// Finds keys that a mistyped one may have meant, the likeliest first.
fn nearest<'a>(mistyped: &str, keys: impl Iterator<Item = &'a String>) -> Vec<String> {
    if mistyped.len() > 256 {
        return Vec::new();
    }
    let allowed = (mistyped.len() / 3).max(1);
    let last = |key: &str| key.rsplit('/').next().unwrap_or_default().to_owned();
    let wanted = mistyped.to_ascii_lowercase();
    let distance = |key: &str| {
        // Dots and dashes are what people write for slashes.
        let same = |c: char| if "/.-_".contains(c) { '/' } else { c };
        let words = |text: &str| text.to_ascii_lowercase().chars().map(same).collect::<String>();
        match () {
            () if words(key) == words(mistyped) || last(key) == mistyped => 0,
            () => strsim::osa_distance(&wanted, &key.to_ascii_lowercase()),
        }
    };
    let mut near: Vec<(usize, &String)> = keys
        .filter(|key| key.len() <= 512)
        .map(|key| (distance(key), key))
        .filter(|(distance, _)| *distance <= allowed)
        .collect();
    near.sort();
    near.into_iter().take(MAX_NEAR).map(|(_, key)| key.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nixmox_tree::{SecretTree, Value};

    fn tree(entries: &[(&str, Value)]) -> SecretTree {
        entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    /// What a host gets in every test here.
    fn outline() -> Outline {
        let text = || Value::string("x");
        let db = tree(&[("user", text()), ("password", text())]);
        Outline::of(&tree(&[
            ("token", text()),
            ("db", db.into()),
            ("a/b", text()),
            ("list", Value::List(vec![text()])),
        ]))
    }

    fn secret(key: &str) -> Secret {
        Secret {
            name: key.to_owned(),
            key: key.to_owned(),
            file: None,
            hash: None,
            format: None,
            mode: None,
        }
    }

    #[track_caller]
    fn check(key: &str, code: &str, says: &str) {
        let mut judge = Judge::new(outline());
        judge.own(&secret(key));
        let found = judge.finish();
        let about: Vec<_> = found.iter().filter(|m| m.secret.as_deref() == Some(key)).collect();
        let [one] = about.as_slice() else { panic!("{key}: {found:?}") };
        assert_eq!((one.kind.code(), &*one.kind.to_string()), (code, says), "{key}");
    }

    #[test]
    fn each_misfit_is_named() {
        let string = |kind: &str| format!("is a {kind}, and sops-nix takes strings only");
        check("tokem", "missing", "nothing is delivered under it; did you mean token?");
        check("db.user", "missing", "nothing is delivered under it; did you mean db/user?");
        check("user", "missing", "nothing is delivered under it; did you mean db/user?");
        check("zzzzzz", "missing", "nothing is delivered under it");
        check("db", "not-a-string", &string("set"));
        check("list", "not-a-string", &string("list"));
        check("list/0", "unaddressable", "sops-nix cannot reach it: it stands in a list");
        check(
            "token/x",
            "unaddressable",
            "sops-nix cannot reach it: a value on the way is not a set",
        );
        check(
            "a/b",
            "unaddressable",
            "sops-nix cannot reach it: a name has a `/`, where it splits keys",
        );
    }

    #[test]
    fn what_nobody_asks_for_is_told() {
        let mut judge = Judge::new(outline());
        judge.own(&secret("token"));
        judge.own(&secret("db/user"));
        let found = judge.finish();
        let short: Vec<_> = found.iter().map(|m| (&*m.key, m.kind.code())).collect();
        let expect =
            [("a/b", "unaddressable"), ("db/password", "unused"), ("list", "not-a-string")];
        assert_eq!(short, expect);
        let mut judge = Judge::new(outline());
        judge.own(&secret(""));
        assert_eq!(judge.finish(), []);
    }

    #[test]
    fn formats_and_modes_are_judged() {
        let mut judge = Judge::new(Outline::of(&tree(&[("token", Value::string("x"))])));
        let json =
            Secret { format: Some("json".into()), mode: Some("0999".into()), ..secret("token") };
        judge.own(&json);
        let codes: Vec<_> = judge.finish().into_iter().map(|m| m.kind.code()).collect();
        assert_eq!(codes, ["wrong-format", "bad-mode"]);
        for (key, code) in [("db/user", "unaddressable"), ("db", "not-a-string"), ("x", "missing")]
        {
            let reached = reach(&outline(), key, Format::Json).unwrap_err();
            assert_eq!(reached.code(), code, "{key}");
        }
        assert_eq!(reach(&outline(), "token", Format::Json), Ok(()));
    }

    /// What the real program says, by the code that it means here.
    const SAYINGS: [(&str, &str); 5] = [
        ("is not a string", "not-a-string"),
        ("cannot be found", "missing"),
        ("does not refer to a dictionary", "unaddressable"),
        ("invalid number in mode", "bad-mode"),
        ("defined the format of", "wrong-format"),
    ];

    #[test]
    fn verdicts_are_those_of_sops_install_secrets() {
        let recorded = include_str!("../../../../fixtures/sops-nix/cases.json");
        let recorded: serde_json::Value = serde_json::from_str(recorded).unwrap();
        let plain = recorded["s.yaml"].as_str().unwrap();
        let plain = nixmox_sops::Documents::parse(plain.as_bytes(), Format::Yaml).unwrap();
        let outline = Outline::of(&plain.to_tree().unwrap());
        let mut judged = 0;
        for case in recorded["cases"].as_array().unwrap() {
            let said = case["stderr"].as_str().unwrap();
            let expect = SAYINGS.iter().find(|(words, _)| said.contains(words));
            let expect = expect.map(|(_, code)| *code);
            // What it says of keys and MACs is not about what is declared.
            if case["exit"] != 0 && expect.is_none() {
                continue;
            }
            let mut judge = Judge::new(outline.clone());
            for secret in &super::super::Declared::from_json_of(case).secrets {
                let file = secret.file.clone().unwrap();
                match file.rsplit('/').next().unwrap() {
                    "s.yaml" => judge.own(secret),
                    "j.json" => {
                        let there = Some((Format::Json, outline.clone()));
                        judge.other(secret, (file, None), there);
                    }
                    _ => continue,
                }
                judged += 1;
            }
            let found = judge.finish();
            let declared = |m: &&Misfit| m.secret.is_some() && m.kind.code() != "other-file";
            let codes: Vec<_> = found.iter().filter(declared).map(|m| m.kind.code()).collect();
            let expect: Vec<_> = expect.into_iter().collect();
            assert_eq!(codes, expect, "{}", case["id"]);
        }
        assert!(judged >= 20, "{judged}");
    }
}
