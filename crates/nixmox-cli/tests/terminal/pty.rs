//! A program behind a terminal of its own.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

/// Long enough for any machine; nothing waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(60);

/// Path of the example program, beside this test, where cargo builds it together with all tests of the workspace.
///
/// It is not built here: with one package selected its dependencies would be compiled again with other features. An
/// old one must not be judged.
pub(crate) fn example() -> &'static str {
    static FOUND: OnceLock<String> = OnceLock::new();
    FOUND.get_or_init(|| {
        // target/debug/deps/TEST
        let test = std::env::current_exe().unwrap();
        let path = test.ancestors().nth(2).unwrap().join("examples/ask");
        let modified = |path: &Path| fs::metadata(path).and_then(|found| found.modified()).ok();
        let sources = fs::read_to_string(path.with_extension("d")).unwrap_or_default();
        let mut sources = sources.split_whitespace().skip(1).map(Path::new);
        let built = modified(&path);
        assert!(
            built.is_some() && sources.all(|source| modified(source).is_some_and(|at| Some(at) <= built)),
            "{} is missing or older than its sources: run the tests with `cargo nextest run --workspace`, or build \
             it with `cargo build --workspace --examples`",
            path.display()
        );
        path.to_str().unwrap().to_owned()
    })
}

/// A running program, its terminal, and what it has shown.
pub(crate) struct Pty {
    controller: Option<File>,
    terminal: OwnedFd,
    child: Child,
    output: Receiver<Vec<u8>>,
    shown: Vec<u8>,
    /// Where to look next.
    seen: usize,
}

/// How a program ended.
pub(crate) struct End {
    pub(crate) code: Option<i32>,
    pub(crate) shown: String,
    pub(crate) echoes: bool,
}

impl Pty {
    pub(crate) fn run(program: &str, arguments: &[&str]) -> Self {
        let controller =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let size = Winsize { ws_row: 24, ws_col: 400, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&controller, size).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let terminal = open(name.as_c_str(), flags, Mode::empty()).unwrap();
        let side = || Stdio::from(terminal.try_clone().unwrap());
        let child = Command::new("setsid")
            .args(["--ctty", program])
            .args(arguments)
            .env("TERM", "xterm")
            .env("NO_COLOR", "1")
            .stdin(side())
            .stdout(side())
            .stderr(side())
            .spawn()
            .unwrap();
        let controller = File::from(controller);
        let mut reader = controller.try_clone().unwrap();
        let (sender, output) = channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = reader.read(&mut bytes) {
                if sender.send(bytes[..n].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { controller: Some(controller), terminal, child, output, shown: Vec::new(), seen: 0 }
    }

    /// Waits until the terminal shows `text`.
    #[track_caller]
    pub(crate) fn expect(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let unseen = &self.shown[self.seen..];
            if let Some(at) = unseen.windows(text.len()).position(|w| w == text.as_bytes()) {
                self.seen += at + text.len();
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.shown.extend(bytes),
                Err(_) => panic!("no {text:?} in {:?}", String::from_utf8_lossy(&self.shown)),
            }
        }
    }

    pub(crate) fn send(&mut self, keys: &str) {
        self.controller.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Tells whether the terminal shows what is typed.
    pub(crate) fn echoes(&self) -> bool {
        tcgetattr(&self.terminal)
            .unwrap()
            .local_modes
            .contains(LocalModes::ECHO | LocalModes::ICANON)
    }

    /// Ends the session as a closed window does, and waits for the program.
    pub(crate) fn hang_up(&mut self) {
        self.signal(Signal::HUP);
        self.controller = None;
        self.wait();
    }

    #[track_caller]
    pub(crate) fn end(&mut self) -> End {
        let code = self.wait();
        // What was shown before the end may still be under way.
        while let Ok(bytes) = self.output.recv_timeout(Duration::from_millis(100)) {
            self.shown.extend(bytes);
        }
        let shown = String::from_utf8_lossy(&self.shown).into_owned();
        End { code, shown, echoes: self.echoes() }
    }

    #[track_caller]
    fn wait(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(
                Instant::now() < deadline,
                "still running: {:?}",
                String::from_utf8_lossy(&self.shown)
            );
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Pty {
    /// Waits, so that nothing of a test runs on after it.
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}
