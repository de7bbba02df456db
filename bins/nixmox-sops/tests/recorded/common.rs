//! What the tests share: the recorded cases, and the program in an environment of its own.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// Where the recorded files are.
pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/sops").canonicalize().unwrap()
}

pub(crate) fn fixture(path: &str) -> Vec<u8> {
    fs::read(fixtures().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

pub(crate) fn cases(part: &str) -> Vec<Value> {
    let manifest: Value = serde_json::from_slice(&fixture("manifest.json")).unwrap();
    manifest[part].as_array().unwrap().clone()
}

pub(crate) fn text<'v>(case: &'v Value, field: &str) -> &'v str {
    case.get(field).and_then(Value::as_str).unwrap_or_else(|| panic!("{field} in {case}"))
}

pub(crate) fn words(case: &Value, field: &str) -> Vec<String> {
    let words = case.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
    words.iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

/// A secret key of the throw-away ones.
pub(crate) fn secret(name: &str) -> String {
    let text = String::from_utf8(fixture(&format!("identities/{name}.txt"))).unwrap();
    text.lines().find(|line| line.starts_with("AGE-SECRET-KEY-")).unwrap().to_owned()
}

/// A recipient of the throw-away ones.
pub(crate) fn recipient(name: &str) -> String {
    let text = String::from_utf8(fixture(&format!("identities/{name}.txt"))).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("# public key: "));
    line.unwrap().to_owned()
}

/// How a run ended and what it said.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i64,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

/// A directory of its own, in memory, with a home and a place for plaintext.
pub(crate) struct Place {
    pub(crate) dir: TempDir,
    pub(crate) vars: BTreeMap<String, String>,
    pub(crate) cwd: PathBuf,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        for name in ["home", "run", "tmp", "cwd"] {
            fs::create_dir(path(name)).unwrap();
        }
        fs::set_permissions(path("run"), fs::Permissions::from_mode(0o700)).unwrap();
        let vars = [
            ("PATH", std::env::var("PATH").unwrap()),
            ("HOME", path("home")),
            ("XDG_RUNTIME_DIR", path("run")),
            ("TMPDIR", path("tmp")),
        ];
        let vars = vars.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { cwd: dir.path().join("cwd"), dir, vars }
    }

    /// The same with one of the recorded identities.
    pub(crate) fn with(kind: &str, identity: &str) -> Self {
        let mut place = Self::new();
        place.identity(kind, identity);
        place
    }

    pub(crate) fn identity(&mut self, kind: &str, identity: &str) {
        let name = match kind {
            "ssh-private-key-file" => "SOPS_AGE_SSH_PRIVATE_KEY_FILE",
            "age-key-file" => "SOPS_AGE_KEY_FILE",
            other => panic!("{other}"),
        };
        self.var(name, &fixtures().join(identity).display().to_string());
    }

    pub(crate) fn var(&mut self, name: &str, value: &str) {
        self.vars.insert(name.to_owned(), value.to_owned());
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    /// Runs the program with nothing on standard input, in a session without terminal.
    pub(crate) fn run<S: AsRef<str>>(&self, args: &[S]) -> Ran {
        let mut command = Command::new("setsid");
        command.arg("--wait").arg(env!("CARGO_BIN_EXE_nixmox-sops"));
        command.args(args.iter().map(AsRef::as_ref)).current_dir(&self.cwd);
        let command = command.env_clear().envs(&self.vars).stdin(Stdio::null());
        let output = command.output().unwrap();
        Ran {
            code: i64::from(output.status.code().unwrap_or(-1)),
            out: output.stdout,
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Demands that nothing is left where plaintext may be.
    #[track_caller]
    pub(crate) fn is_clean(&self) {
        for name in ["run", "tmp"] {
            let left: Vec<_> = fs::read_dir(self.path(name)).unwrap().collect();
            assert!(left.is_empty(), "{left:?}");
        }
    }
}

/// Gathers what is wrong over many cases, so that one run shows all of it.
#[derive(Default)]
pub(crate) struct Report {
    wrong: Vec<String>,
    pub(crate) run: usize,
}

impl Report {
    pub(crate) fn check(&mut self, right: bool, say: impl FnOnce() -> String) {
        if !right {
            self.wrong.push(say());
        }
    }

    #[track_caller]
    pub(crate) fn end(self, run: usize) {
        assert!(self.wrong.is_empty(), "{} wrong:\n{}", self.wrong.len(), self.wrong.join("\n"));
        assert_eq!(self.run, run);
    }
}
