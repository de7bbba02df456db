//! Questions to a person at the terminal, and values piped in.
//!
//! [`secret`] asks for a value without showing it, [`confirm`] asks yes or no; both talk to `/dev/tty`, so they work
//! while standard input and output are redirected. [`read_secret_stdin`] takes a value from a pipe instead.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::sync::Arc;

use nixmox_tree::SecretString;
use rustix::fd::OwnedFd;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::guard::{Guard, Undo, question_begins};
use crate::terminal::escape;

/// Longest value that can be typed or pasted.
const TYPED_LIMIT: usize = 64 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PromptError {
    /// The process has no terminal, so there is nobody to ask.
    #[error("there is no terminal to ask at")]
    NoTerminal(#[source] io::Error),
    /// The terminal failed.
    #[error("cannot talk to the terminal")]
    Terminal(#[source] io::Error),
    /// The person ended the input without an answer.
    #[error("no answer was given")]
    Ended,
    /// More than one line came at once: something was pasted that a prompt cannot take.
    #[error("more than one line was entered; pipe the value in instead")]
    ManyLines,
    /// A control character was typed, such as that of an arrow key.
    #[error("the value holds a control character; pipe it in instead")]
    ControlCharacter,
    /// The value is too long.
    #[error("the value is longer than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// The value is not UTF-8.
    #[error("the value is not UTF-8")]
    NotUtf8,
    /// Standard input is a terminal, where the value would show.
    #[error("standard input is a terminal, not a pipe or a file")]
    NotPiped,
    /// Standard input failed.
    #[error("cannot read standard input")]
    Stdin(#[source] io::Error),
}

/// What happens to a newline at the end of piped input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Newline {
    /// It belongs to the value.
    Keep,
    /// One is taken off, as `echo` adds one.
    StripOne,
}

/// Asks for a value, which is not shown while it is typed.
///
/// The terminal gets its settings back however this ends, also by Ctrl-C. A line ends the value; Ctrl-U starts over.
///
/// # Errors
///
/// All of [`PromptError`] but those of standard input.
pub fn secret(question: &str) -> Result<SecretString, PromptError> {
    question_begins();
    let mut terminal = open_terminal()?;
    let hidden = hide(&terminal)?;
    let answer = write!(terminal, "{}: ", escape(question))
        .and_then(|()| terminal.flush())
        .map_err(PromptError::Terminal)
        .and_then(|()| read_hidden(&mut terminal));
    drop(hidden);
    answer
}

/// Asks a question that is answered with `y` or `yes`; anything else means no.
///
/// # Errors
///
/// [`PromptError::NoTerminal`], [`PromptError::Terminal`] and [`PromptError::Ended`].
pub fn confirm(question: &str) -> Result<bool, PromptError> {
    question_begins();
    let mut terminal = open_terminal()?;
    write!(terminal, "{} [y/N] ", escape(question))
        .and_then(|()| terminal.flush())
        .map_err(PromptError::Terminal)?;
    let mut answer = String::new();
    // A terminal's line has at most 4,096 bytes; the bound is for what is none.
    let read = BufReader::new(terminal.take(8192)).read_line(&mut answer);
    match read.map_err(PromptError::Terminal)? {
        0 => Err(PromptError::Ended),
        _ => Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str())),
    }
}

/// Asks for a line, which shows while it is typed.
///
/// # Errors
///
/// [`PromptError::NoTerminal`], [`PromptError::Terminal`] and [`PromptError::Ended`].
pub fn line(question: &str) -> Result<String, PromptError> {
    question_begins();
    let mut terminal = open_terminal()?;
    write!(terminal, "{}: ", escape(question))
        .and_then(|()| terminal.flush())
        .map_err(PromptError::Terminal)?;
    let mut answer = String::new();
    // A terminal's line has at most 4,096 bytes; the bound is for what is none.
    let read = BufReader::new(terminal.take(8192)).read_line(&mut answer);
    match read.map_err(PromptError::Terminal)? {
        0 => Err(PromptError::Ended),
        _ => Ok(answer.trim().to_owned()),
    }
}

/// Reads a value of at most `limit` bytes from standard input, which must not be a terminal.
///
/// # Errors
///
/// [`PromptError::NotPiped`], [`PromptError::Stdin`], [`PromptError::TooLong`] and [`PromptError::NotUtf8`].
pub fn read_secret_stdin(limit: usize, newline: Newline) -> Result<SecretString, PromptError> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return Err(PromptError::NotPiped);
    }
    // Not through the buffer of `Stdin`, which nobody wipes.
    let fd = rustix::io::dup(&stdin).map_err(|errno| PromptError::Stdin(errno.into()))?;
    read_secret(File::from(fd), limit, newline)
}

fn read_secret(
    input: impl Read,
    limit: usize,
    newline: Newline,
) -> Result<SecretString, PromptError> {
    // Room for all of it from the start: a vector that grows leaves copies of its content behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit.saturating_add(64)));
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    input.take(most).read_to_end(&mut bytes).map_err(PromptError::Stdin)?;
    if bytes.len() > limit {
        return Err(PromptError::TooLong { limit });
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| PromptError::NotUtf8)?;
    Ok(SecretString::new(match newline {
        Newline::Keep => text,
        Newline::StripOne => text.strip_suffix('\n').unwrap_or(text),
    }))
}

fn open_terminal() -> Result<File, PromptError> {
    File::options().read(true).write(true).open("/dev/tty").map_err(PromptError::NoTerminal)
}

/// Turns off echo and line editing until the guard is dropped.
///
/// Line editing is done here because the kernel's cuts lines at 4,096 bytes without a word.
fn hide(terminal: &File) -> Result<Guard, PromptError> {
    let failed = |errno: rustix::io::Errno| PromptError::Terminal(errno.into());
    let old = tcgetattr(terminal).map_err(failed)?;
    let fd: OwnedFd = terminal.try_clone().map_err(PromptError::Terminal)?.into();
    let mut hidden = old.clone();
    hidden.local_modes -= LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON;
    hidden.special_codes[SpecialCodeIndex::VMIN] = 1;
    hidden.special_codes[SpecialCodeIndex::VTIME] = 0;
    // A stopped program would leave the shell without echo.
    hidden.special_codes[SpecialCodeIndex::VSUSP] = 0;
    let guard = Guard::new(Undo::Prompt(Arc::new(fd), Box::new(old)));
    tcsetattr(terminal, OptionalActions::Flush, &hidden).map_err(failed)?;
    Ok(guard)
}

fn read_hidden(terminal: &mut File) -> Result<SecretString, PromptError> {
    let mut line = Line::new();
    loop {
        let mut byte = [0];
        let ended = matches!(terminal.read(&mut byte).map_err(PromptError::Terminal)?, 0);
        let done = if ended { Err(PromptError::Ended) } else { line.take(byte[0]) };
        if done? {
            break;
        }
    }
    // Whoever pastes several lines would have the rest of them run by the shell.
    match rustix::io::ioctl_fionread(&*terminal) {
        Ok(waiting) if waiting > 0 => Err(PromptError::ManyLines),
        _ => line.finish(),
    }
}

/// A line as it is typed, in memory that is wiped and never moves.
struct Line(Zeroizing<Vec<u8>>);

impl Line {
    fn new() -> Self {
        Self(Zeroizing::new(Vec::with_capacity(TYPED_LIMIT)))
    }

    /// Takes a typed byte, and tells whether it ends the line.
    fn take(&mut self, byte: u8) -> Result<bool, PromptError> {
        match byte {
            b'\n' | b'\r' => return Ok(true),
            0x04 if self.0.is_empty() => return Err(PromptError::Ended),
            0x04 => return Ok(true),
            0x15 => self.0.clear(),
            0x08 | 0x7f => self.erase(),
            b'\t' | 0x20.. if self.0.len() < TYPED_LIMIT => self.0.push(byte),
            b'\t' | 0x20.. => return Err(PromptError::TooLong { limit: TYPED_LIMIT }),
            _ => return Err(PromptError::ControlCharacter),
        }
        Ok(false)
    }

    /// Takes off the last character, all bytes of it.
    fn erase(&mut self) {
        while self.0.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
    }

    fn finish(self) -> Result<SecretString, PromptError> {
        std::str::from_utf8(&self.0).map(SecretString::new).map_err(|_| PromptError::NotUtf8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typed_lines() {
        #[track_caller]
        fn check(typed: &[u8], expect: &str) {
            let mut line = Line::new();
            let end = typed.iter().position(|byte| line.take(*byte).unwrap());
            assert_eq!(end, Some(typed.len() - 1));
            assert_eq!(line.finish().unwrap().expose(), expect);
        }
        check(b"hunter2\n", "hunter2");
        check(b"hunter2\r", "hunter2");
        check(b"\n", "");
        check(b"ab\x7f\x7f\x7fc\n", "c");
        check("aü\u{7f}漢\u{8}b\n".as_bytes(), "ab");
        check(b"wrong\x15right\n", "right");
        check(b"a\tb\x04", "a\tb");
    }

    #[test]
    fn lines_that_are_refused() {
        #[track_caller]
        fn check(typed: &[u8], expect: &str) {
            let mut line = Line::new();
            let error = typed.iter().find_map(|byte| line.take(*byte).err());
            assert_eq!(error.map(|e| e.to_string()).as_deref(), Some(expect));
        }
        check(b"\x04", "no answer was given");
        check(b"a\x1b[A", "the value holds a control character; pipe it in instead");
        check(&[b'x'; TYPED_LIMIT + 1], "the value is longer than 65536 bytes");
    }

    #[test]
    fn a_line_never_moves_in_memory() {
        let mut line = Line::new();
        let before = line.0.as_ptr();
        for _ in 0..TYPED_LIMIT {
            line.take(b'x').unwrap();
        }
        assert_eq!(line.0.as_ptr(), before);
    }

    #[test]
    fn piped_values() {
        #[track_caller]
        fn check(input: &[u8], newline: Newline, expect: &str) {
            assert_eq!(read_secret(input, 8, newline).unwrap().expose(), expect);
        }
        check(b"a\n", Newline::Keep, "a\n");
        check(b"a\n", Newline::StripOne, "a");
        check(b"a\n\n", Newline::StripOne, "a\n");
        check(b"a\r\n", Newline::StripOne, "a\r");
        check(b"", Newline::StripOne, "");
        check(b"12345678", Newline::Keep, "12345678");
    }

    #[test]
    fn piped_values_that_are_refused() {
        let error = |input: &[u8]| read_secret(input, 8, Newline::StripOne).unwrap_err();
        assert!(matches!(error(b"123456789"), PromptError::TooLong { limit: 8 }));
        assert!(matches!(error(b"12345678\n"), PromptError::TooLong { limit: 8 }));
        assert!(matches!(error(b"\xff"), PromptError::NotUtf8));
    }
}
