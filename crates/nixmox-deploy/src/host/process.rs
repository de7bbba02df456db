//! Programs on this machine, and talking to any program.

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::process::{ExitStatus, Stdio};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::timeout;

use super::command::Stdin as Input;
use super::{HostError, Output, RemoteCommand};

/// ssh's own status when it is not the command's.
const SSH_FAILED: i32 = 255;

/// The three ends of a running command.
pub(super) struct Pipes<I, O, E> {
    pub(super) stdin: Option<I>,
    pub(super) stdout: Option<O>,
    pub(super) stderr: Option<E>,
}

/// Runs a program of this machine.
pub(super) async fn run(
    words: Vec<OsString>,
    command: &RemoteCommand,
) -> Result<Output, HostError> {
    let (status, stdout, stderr) = run_in_time(words, command).await?;
    let status = status.code().ok_or(HostError::Killed)?;
    Ok(Output { status, stdout, stderr })
}

/// Runs ssh, whose own failures are told from those of the command.
pub(super) async fn run_ssh(
    words: Vec<OsString>,
    command: &RemoteCommand,
) -> Result<Output, HostError> {
    let output = run(words, command).await?;
    if output.status == SSH_FAILED {
        return Err(HostError::of_ssh(&output.stderr));
    }
    Ok(output)
}

async fn run_in_time(
    words: Vec<OsString>,
    command: &RemoteCommand,
) -> Result<(ExitStatus, Vec<u8>, Vec<u8>), HostError> {
    let after = command.allowed_time();
    let running = timeout(after, run_to_end(words, command));
    running.await.unwrap_or(Err(HostError::TimedOut { after }))
}

async fn run_to_end(
    words: Vec<OsString>,
    command: &RemoteCommand,
) -> Result<(ExitStatus, Vec<u8>, Vec<u8>), HostError> {
    let mut words = words.into_iter();
    let program = words.next().unwrap_or_default();
    let mut child = Command::new(&program)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own: a Ctrl-C at the terminal is for whoever deploys, not for a connection under way.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| HostError::Start {
            program: program.to_string_lossy().into_owned(),
            source,
        })?;
    let pipes = Pipes {
        stdin: child.stdin.take(),
        stdout: child.stdout.take(),
        stderr: child.stderr.take(),
    };
    let (stdout, stderr) = exchange(pipes, command).await?;
    let status = child.wait().await.map_err(HostError::Io)?;
    Ok((status, stdout, stderr))
}

/// Writes what the command reads and reads what it writes, all at once, until it has closed its ends.
pub(super) async fn exchange<I, O, E>(
    pipes: Pipes<I, O, E>,
    command: &RemoteCommand,
) -> Result<(Vec<u8>, Vec<u8>), HostError>
where
    I: AsyncWrite + Unpin,
    O: AsyncRead + Unpin,
    E: AsyncRead + Unpin,
{
    let limit = command.allowed_bytes();
    let ((), stdout, stderr) = tokio::try_join!(
        feed(pipes.stdin, command.input()),
        drain(pipes.stdout, limit),
        drain(pipes.stderr, limit),
    )?;
    Ok((stdout, stderr))
}

async fn feed(stdin: Option<impl AsyncWrite + Unpin>, input: &Input) -> Result<(), HostError> {
    let Some(stdin) = stdin else { return Ok(()) };
    match input {
        Input::Bytes(bytes) => pour(stdin, bytes.as_slice()).await,
        Input::Secret(secret) => pour(stdin, secret.expose().as_bytes()).await,
        Input::File(path) => {
            let file = tokio::fs::File::open(path).await.map_err(HostError::Io)?;
            pour(stdin, file).await
        }
        Input::Program(words) => pour_from(stdin, words).await,
    }
}

/// Runs a program and passes on what it writes; a program that fails has not written everything.
async fn pour_from(stdin: impl AsyncWrite + Unpin, words: &[OsString]) -> Result<(), HostError> {
    let (program, arguments) = words.split_first().ok_or(HostError::Killed)?;
    let name = program.to_string_lossy().into_owned();
    let start = |source| HostError::Start { program: name.clone(), source };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(start)?;
    if let Some(output) = child.stdout.take() {
        pour(stdin, output).await?;
    }
    let status = child.wait().await.map_err(start)?;
    if status.success() { Ok(()) } else { Err(HostError::Source { program: name }) }
}

async fn pour(
    mut stdin: impl AsyncWrite + Unpin,
    mut from: impl AsyncRead + Unpin,
) -> Result<(), HostError> {
    let written = async {
        tokio::io::copy(&mut from, &mut stdin).await?;
        stdin.shutdown().await
    };
    match written.await {
        // Whoever has read enough may close; its status says whether it had.
        Err(error) if is_closed(&error) => Ok(()),
        other => other.map_err(HostError::Io),
    }
}

fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}

async fn drain(output: Option<impl AsyncRead + Unpin>, limit: usize) -> Result<Vec<u8>, HostError> {
    let Some(output) = output else { return Ok(Vec::new()) };
    let mut bytes = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    output.take(most).read_to_end(&mut bytes).await.map_err(HostError::Io)?;
    if bytes.len() > limit {
        return Err(HostError::TooMuch { limit });
    }
    Ok(bytes)
}
