use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use crate::program;

/// A place of its own for one test: home, runtime directory, temporary directory and fleet, all on a tmpfs.
pub struct TestEnv {
    program: PathBuf,
    root: TempDir,
    logs: TempDir,
    vars: BTreeMap<String, String>,
}

/// How a run ended and what it said.
#[derive(Debug, Clone)]
pub struct Ran {
    /// The exit code, if it was not killed.
    pub code: Option<i32>,
    /// The signal that killed it, if one did.
    pub signal: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ran {
    /// Returns what a finished process said and how it ended.
    pub fn new(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            signal: output.status.signal(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Demands an exit code.
    ///
    /// # Panics
    ///
    /// When it was another one.
    #[track_caller]
    pub fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }
}

impl Default for TestEnv {
    fn default() -> Self {
        Self::new()
    }
}

impl TestEnv {
    /// Makes empty directories; the program is built when it is not current.
    ///
    /// # Panics
    ///
    /// Without a tmpfs on `/dev/shm`, and when the program does not build.
    pub fn new() -> Self {
        Self::of(program())
    }

    /// The same for a given program: cargo tells the tests of its own package where it is.
    ///
    /// # Panics
    ///
    /// Without a tmpfs on `/dev/shm`.
    pub fn of(program: &Path) -> Self {
        let here = || tempfile::tempdir_in("/dev/shm").expect("no /dev/shm to work in");
        let (root, logs) = (here(), here());
        for name in ["home", "run", "tmp", "fleet", "given"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        let private = fs::Permissions::from_mode(0o700);
        fs::set_permissions(root.path().join("run"), private).unwrap();
        let mut env = Self { program: program.to_owned(), root, logs, vars: BTreeMap::new() };
        let path = std::env::var("PATH").unwrap();
        env.var("PATH", &path).var("LANG", "C.UTF-8").var("GIT_CONFIG_NOSYSTEM", "1");
        for (name, directory) in [("HOME", "home"), ("XDG_RUNTIME_DIR", "run"), ("TMPDIR", "tmp")] {
            let directory = env.path(directory).display().to_string();
            env.var(name, &directory);
        }
        env
    }

    /// Returns the path of something in the test's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Returns a path where nothing is searched for secrets: logs that hold everything go there.
    pub fn log(&self, name: &str) -> PathBuf {
        self.logs.path().join(name)
    }

    /// Sets a variable of every later run.
    pub fn var(&mut self, name: &str, value: &str) -> &mut Self {
        self.vars.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Takes a variable away from every later run.
    pub fn without(&mut self, name: &str) -> &mut Self {
        self.vars.remove(name);
        self
    }

    /// Writes a file of the test's own, below `given/`, and returns its path.
    ///
    /// # Panics
    ///
    /// When it cannot be written.
    pub fn give(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path("given").join(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    /// Makes a shell script the editor of every later run: `$f` is the file, `$d` its directory, `$given` a place for
    /// notes.
    ///
    /// The shell reads it as data: a script that some other thread's child still holds open could not be started.
    pub fn editor(&mut self, script: &str) -> &mut Self {
        let given = self.path("given");
        let head = format!("f=$1\nd=$(dirname \"$f\")\ngiven={}\n", given.display());
        let path = self.give("editor.sh", format!("{head}{script}\n"));
        self.var("EDITOR", &format!("sh {path}"))
    }

    /// Makes an editor that replaces the whole text.
    pub fn types(&mut self, text: &str) -> &mut Self {
        let typed = self.give("typed", text);
        self.editor(&format!("cat {typed} >\"$f\""))
    }

    /// Prepares a run of any program in the fleet's directory: in a session of its own, so that nobody's terminal is
    /// asked anything.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("setsid");
        command.arg(program);
        self.prepare(&mut command);
        command
    }

    /// Gives a command the environment, the fleet's directory, and pipes.
    pub(crate) fn prepare(&self, command: &mut Command) {
        command.env_clear().envs(&self.vars).current_dir(self.path("fleet"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    }

    /// Starts `nixmox-secrets`.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub fn start(&self, args: &[&str]) -> Child {
        self.command(&self.program).args(args).spawn().expect("setsid cannot be run")
    }

    /// Runs `nixmox-secrets` with nothing on standard input.
    pub fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, "")
    }

    /// Runs `nixmox-secrets` with something on standard input.
    pub fn run_with(&self, args: &[&str], stdin: impl AsRef<[u8]>) -> Ran {
        let mut command = self.command(&self.program);
        feed(command.args(args), stdin.as_ref())
    }

    /// Runs another program and demands that it succeeds; returns what it printed.
    ///
    /// # Panics
    ///
    /// When it fails or is missing.
    #[track_caller]
    pub fn tool(&self, program: &str, args: &[&str]) -> String {
        let output = self.command(Path::new(program)).args(args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {args:?}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Returns the path of `nixmox-secrets`.
    pub fn program(&self) -> &Path {
        &self.program
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn vars(&self) -> &BTreeMap<String, String> {
        &self.vars
    }
}

/// Runs a command to its end with `stdin` on its standard input.
pub(crate) fn feed(command: &mut Command, stdin: &[u8]) -> Ran {
    if stdin.is_empty() {
        return Ran::new(&command.output().expect("setsid cannot be run"));
    }
    let mut child = command.stdin(Stdio::piped()).spawn().expect("setsid cannot be run");
    let mut pipe = child.stdin.take().unwrap();
    let stdin = stdin.to_owned();
    // A program that ends without reading all of it is no failure of the test.
    let feeder = std::thread::spawn(move || drop(pipe.write_all(&stdin)));
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    Ran::new(&output)
}
