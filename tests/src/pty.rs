use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::TestEnv;

/// How long a terminal may be silent before a test gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// A terminal with `nixmox-secrets` running in it, made by `script`.
pub struct Pty {
    child: Child,
    keyboard: Option<ChildStdin>,
    screen: Receiver<Vec<u8>>,
    shown: String,
    read: usize,
}

impl TestEnv {
    /// Runs `nixmox-secrets` on a terminal of so many columns.
    ///
    /// # Panics
    ///
    /// When `script` is missing.
    pub fn terminal(&self, columns: u16, args: &[&str]) -> Pty {
        let program = self.program().display().to_string();
        let words: Vec<String> = std::iter::once(program.as_str())
            .chain(args.iter().copied())
            .map(|word| format!("'{}'", word.replace('\'', r"'\''")))
            .collect();
        let line = format!("stty cols {columns} rows 24; exec {}", words.join(" "));
        let mut command = Command::new("script");
        self.prepare(command.args(["-q", "-e", "-c", &line, "/dev/null"]));
        let term = self.vars().get("TERM").cloned();
        command.env("TERM", term.as_deref().unwrap_or("xterm")).env("SHELL", "/bin/sh");
        let mut child = command.stdin(Stdio::piped()).spawn().expect("script cannot be run");
        let (keyboard, mut output) = (child.stdin.take(), child.stdout.take().unwrap());
        let (sender, screen) = channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                let some = bytes.get(..count).unwrap_or_default().to_vec();
                if sender.send(some).is_err() {
                    break;
                }
            }
        });
        Pty { child, keyboard, screen, shown: String::new(), read: 0 }
    }
}

impl Pty {
    /// Waits until the screen shows `text` after what was waited for before.
    ///
    /// # Panics
    ///
    /// When it never does.
    #[track_caller]
    pub fn expect(&mut self, text: &str) {
        let end = Instant::now() + PATIENCE;
        loop {
            let unread = self.shown.get(self.read..).unwrap_or_default();
            if let Some(at) = unread.find(text) {
                self.read += at + text.len();
                return;
            }
            let left = end.saturating_duration_since(Instant::now());
            match self.screen.recv_timeout(left) {
                Ok(bytes) => self.shown.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("{text:?} does not come:\n{}", self.shown),
            }
        }
    }

    /// Types.
    ///
    /// # Panics
    ///
    /// When the terminal is gone.
    pub fn send(&mut self, keys: &str) {
        let keyboard = self.keyboard.as_mut().unwrap();
        keyboard.write_all(keys.as_bytes()).and_then(|()| keyboard.flush()).unwrap();
    }

    /// Waits for the program's end, and returns its code (128 + the number of a signal) and all that was shown.
    ///
    /// # Panics
    ///
    /// When it does not end.
    pub fn end(mut self) -> (i32, String) {
        while let Ok(bytes) = self.screen.recv_timeout(PATIENCE) {
            self.shown.push_str(&String::from_utf8_lossy(&bytes));
        }
        drop(self.keyboard.take());
        let status = self.child.wait().unwrap();
        (status.code().expect("script was killed"), self.shown.replace("\r\n", "\n"))
    }

    /// Takes the terminal away from the program.
    ///
    /// # Panics
    ///
    /// When `script` cannot be ended.
    pub fn hang_up(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
