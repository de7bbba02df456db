//! The sandbox that declared commands run in: bubblewrap (`bwrap`).

use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use nixmox_generate::{Job, Sandbox, SandboxError};
use nixmox_tree::SecretBytes;
use zeroize::Zeroizing;

/// How much a command may print.
const LIMIT: usize = 64 * 1024;
/// Where the program is looked for; nowhere else, because PATH may name anything.
const PLACES: [&str; 4] =
    ["/usr/bin/bwrap", "/run/current-system/sw/bin/bwrap", "/bin/bwrap", "/usr/local/bin/bwrap"];
/// What a command sees of the machine, read-only.
const SEEN: [&str; 3] = ["/usr", "/nix/store", "/run/current-system/sw"];
/// What are links into `/usr` on most machines, and directories on others.
const LINKS: [&str; 4] = ["bin", "lib", "lib64", "sbin"];
/// Where a command looks for programs.
const PATH: &str = "/run/current-system/sw/bin:/usr/bin:/bin";

/// Runs commands in bubblewrap: no network, no files but programs, no environment, nothing open but its own pipes.
pub(crate) struct Bubblewrap {
    /// How long a command may take.
    seconds: u64,
}

/// The sandbox of every command.
pub(crate) const SANDBOX: Bubblewrap = Bubblewrap { seconds: 60 };

impl Sandbox for Bubblewrap {
    fn run(&self, job: &Job<'_>) -> Result<SecretBytes, SandboxError> {
        let program =
            PLACES.iter().find(|place| Path::new(place).exists()).ok_or(SandboxError::Missing)?;
        let mut command = closed(program).map_err(SandboxError::Start)?;
        command.args(arguments());
        command.arg("--").args(job.command.iter().map(|word| word.expose()));
        command.current_dir("/").env_clear().stdin(Stdio::piped()).stdout(Stdio::piped());
        // What it says about an error may quote what it read.
        command.stderr(Stdio::null());
        let mut child = command.spawn().map_err(SandboxError::Start)?;
        let result = converse(&mut child, &job.input, self.seconds);
        if result.is_err() {
            // bubblewrap takes everything in the sandbox along when it ends.
            let _ = child.kill();
            let _ = child.wait();
        }
        result
    }
}

/// Prepares bubblewrap so that no file stays open in it: it would hand them on to the command.
///
/// What this program opens closes by itself; what it was started with need not. A shell that is told the numbers
/// closes those, and hands on nothing of its own environment.
fn closed(program: &str) -> io::Result<Command> {
    let inherited = inherited()?;
    if inherited.is_empty() {
        return Ok(Command::new(program));
    }
    let closing: String = inherited.iter().map(|fd| format!(" {fd}>&-")).collect();
    let mut command = Command::new("/bin/bash");
    command.args([
        "--norc",
        "--noprofile",
        "-c",
        &format!("exec{closing}; exec -c \"$@\""),
        "bash",
    ]);
    command.arg(program);
    Ok(command)
}

/// Lists the files beyond the standard ones that a child would inherit.
fn inherited() -> io::Result<Vec<u32>> {
    const CLOEXEC: u32 = 0o2_000_000;
    let mut inherited = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fdinfo")? {
        let entry = entry?;
        let number = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        // The one of this very listing is gone when it is asked about.
        let Ok(info) = std::fs::read_to_string(entry.path()) else { continue };
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
        if let (Some(number @ 3..), Some(flags)) = (number, flags)
            && flags & CLOEXEC == 0
        {
            inherited.push(number);
        }
    }
    Ok(inherited)
}

fn arguments() -> Vec<String> {
    let mut words: Vec<String> =
        ["--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"]
            .map(str::to_owned)
            .into();
    let mut add = |option: &str, values: &[&str]| {
        words.push(option.to_owned());
        words.extend(values.iter().map(|value| (*value).to_owned()));
    };
    for place in SEEN.into_iter().filter(|place| Path::new(place).exists()) {
        add("--ro-bind", &[place, place]);
    }
    for name in LINKS {
        let place = format!("/{name}");
        match std::fs::read_link(&place) {
            Ok(target) => add("--symlink", &[&target.to_string_lossy(), &place]),
            Err(_) if Path::new(&place).is_dir() => add("--ro-bind", &[&place, &place]),
            Err(_) => {}
        }
    }
    if Path::new("/etc/alternatives").is_dir() {
        add("--ro-bind", &["/etc/alternatives", "/etc/alternatives"]);
    }
    add("--dev", &["/dev"]);
    add("--proc", &["/proc"]);
    add("--tmpfs", &["/tmp"]);
    add("--chdir", &["/tmp"]);
    add("--setenv", &["PATH", PATH]);
    add("--setenv", &["LANG", "C.UTF-8"]);
    words
}

/// Writes the input, reads the output, and waits, all within the time.
fn converse(
    child: &mut Child,
    input: &SecretBytes,
    seconds: u64,
) -> Result<SecretBytes, SandboxError> {
    let end = Instant::now() + Duration::from_secs(seconds);
    let timed_out = || SandboxError::TimedOut { seconds };
    if let Some(mut stdin) = child.stdin.take() {
        let input = input.clone();
        // A command that does not read its input is no failure; one that never does ends this with itself.
        std::thread::spawn(move || drop(stdin.write_all(input.expose())));
    }
    let printed = match output(child).recv_timeout(end.saturating_duration_since(Instant::now())) {
        Ok(printed) => printed.map_err(SandboxError::Start)?,
        Err(RecvTimeoutError::Timeout) => return Err(timed_out()),
        Err(RecvTimeoutError::Disconnected) => SecretBytes::new(Vec::new()),
    };
    if printed.len() > LIMIT {
        return Err(SandboxError::TooMuch { limit: LIMIT });
    }
    loop {
        match child.try_wait().map_err(SandboxError::Start)? {
            Some(status) if status.success() => return Ok(printed),
            Some(status) => return Err(SandboxError::Failed { status: words(status) }),
            None if Instant::now() >= end => return Err(timed_out()),
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Reads what the command prints, and one byte more than it may, in memory that is wiped.
fn output(child: &mut Child) -> Receiver<io::Result<SecretBytes>> {
    let (sender, receiver) = channel();
    if let Some(stdout) = child.stdout.take() {
        std::thread::spawn(move || {
            let mut text = Zeroizing::new(Vec::with_capacity(LIMIT + 1));
            let most = u64::try_from(LIMIT + 1).unwrap_or(u64::MAX);
            let read = stdout.take(most).read_to_end(&mut text);
            // Nobody listens any more when the time was up.
            let _ = sender.send(read.map(|_| SecretBytes::from(text)));
        });
    }
    receiver
}

fn words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no exit code".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use nixmox_tree::SecretString;

    use super::*;

    fn run(script: &str) -> Result<String, SandboxError> {
        let command = ["sh", "-c", script].map(SecretString::new);
        let job = Job { command: &command, input: SecretBytes::new(*b"{}\n") };
        let printed = Bubblewrap { seconds: 2 }.run(&job)?;
        Ok(printed.as_str().unwrap_or("not text").to_owned())
    }

    #[test]
    fn time_and_output_end() {
        assert_eq!(run("cat").ok().as_deref(), Some("{}\n"));
        assert_eq!(run("exec <&-; echo deaf").ok().as_deref(), Some("deaf\n"));
        let start = Instant::now();
        assert!(matches!(run("sleep 30"), Err(SandboxError::TimedOut { seconds: 2 })));
        // Neither one that has closed its output nor its children go on.
        assert!(matches!(run("exec >&-; sleep 30"), Err(SandboxError::TimedOut { seconds: 2 })));
        assert!(matches!(run("sleep 30 & sleep 30"), Err(SandboxError::TimedOut { .. })));
        assert!(start.elapsed() < Duration::from_secs(20));
        assert!(matches!(run("yes"), Err(SandboxError::TooMuch { limit: LIMIT })));
        assert!(
            matches!(run("exit 3"), Err(SandboxError::Failed { status }) if status == "exit code 3")
        );
    }
}
