use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::Exit;
use crate::terminal::{DIM, ERROR, HINT, columns, escape};

/// A place in a source text, with its line as a person may see it.
///
/// The line is printed as given: whoever makes a snippet has masked the values in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snippet {
    /// Name of the file.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// How many characters are meant; at least one is marked.
    pub length: usize,
    /// The line, with secrets masked.
    pub text: String,
    /// What is wrong here; may be empty.
    pub label: String,
}

/// Why a program ends without having done its work, and what a person can do about it.
///
/// ```
/// use nixmox_cli::{Exit, Failure};
///
/// let cause = std::io::Error::other("disk full");
/// let failure = Failure::new(Exit::Write, "cannot write nodes/db").because(cause).hint("free some space");
/// let mut out = anstream::StripStream::new(Vec::new());
/// failure.write(&mut out).unwrap();
/// let text = String::from_utf8(out.into_inner()).unwrap();
/// assert_eq!(text, "error: cannot write nodes/db\n  caused by: disk full\n  hint: free some space\n");
/// ```
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
    snippets: Vec<Snippet>,
    hints: Vec<String>,
}

impl Failure {
    /// Makes a failure that says `message`.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            source: None,
            snippets: Vec::new(),
            hints: Vec::new(),
        }
    }

    /// Makes a failure whose message is that of `error`; what caused it follows.
    pub fn from_error(exit: Exit, error: impl Error + Send + Sync + 'static) -> Self {
        let message = error.to_string();
        Self { source: Some(Box::new(Headless(Box::new(error)))), ..Self::new(exit, message) }
    }

    /// Adds the error that caused this failure; its own causes are shown below it.
    #[must_use]
    pub fn because(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// Ends in another way than was thought where it was made.
    #[must_use]
    pub fn with_exit(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }

    /// Adds something that a person can do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds the place in a source text that is meant.
    #[must_use]
    pub fn snippet(mut self, snippet: Snippet) -> Self {
        self.snippets.push(snippet);
        self
    }

    /// Says of which file the passages are that were added.
    #[must_use]
    pub fn in_file(mut self, name: &str) -> Self {
        self.snippets.iter_mut().for_each(|snippet| name.clone_into(&mut snippet.file));
        self
    }

    /// Returns how the program ends.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// Returns what is said first.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Writes message, causes, snippets and hints, escaped and with styles.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{ERROR}error:{ERROR:#} {}", escape(&self.message))?;
        for cause in self.causes() {
            writeln!(out, "  {DIM}caused by:{DIM:#} {}", escape(&cause))?;
        }
        for snippet in &self.snippets {
            snippet.write(out)?;
        }
        for hint in &self.hints {
            writeln!(out, "  {HINT}hint:{HINT:#} {}", escape(hint))?;
        }
        Ok(())
    }

    /// Writes to standard error and returns the code to end with.
    ///
    /// When standard error is gone, the code still tells.
    pub fn report(&self) -> ExitCode {
        let _ = self.write(&mut anstream::stderr().lock());
        self.exit.into()
    }

    /// Lists the causes, leaving out one that only repeats what was said above it.
    fn causes(&self) -> Vec<String> {
        let mut causes = Vec::new();
        let mut said = self.message.clone();
        let mut next: Option<&dyn Error> = match &self.source {
            Some(source) => Some(source.as_ref()),
            None => None,
        };
        while let Some(error) = next {
            let text = error.to_string();
            if !text.is_empty() && text != said {
                causes.push(text.clone());
                said = text;
            }
            next = error.source();
            if causes.len() > 32 {
                break;
            }
        }
        causes
    }
}

impl Snippet {
    /// Writes the place, the line and a caret under the meant characters.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let number = self.line.to_string();
        let gutter = number.len();
        writeln!(
            out,
            "  {:gutter$}{DIM}-->{DIM:#} {}:{}:{}",
            "",
            escape(&self.file),
            self.line,
            self.column
        )?;
        writeln!(out, "  {DIM}{number} |{DIM:#} {}", escape(&self.text))?;
        let skipped = self.column.saturating_sub(1);
        let before: String = self.text.chars().take(skipped).collect();
        let meant: String = self.text.chars().skip(skipped).take(self.length.max(1)).collect();
        let pad = columns(&escape(&before));
        let carets = "^".repeat(columns(&escape(&meant)).max(1));
        let label = escape(&self.label);
        let space = if label.is_empty() { "" } else { " " };
        writeln!(
            out,
            "  {:gutter$} {DIM}|{DIM:#} {:pad$}{ERROR}{carets}{space}{label}{ERROR:#}",
            "", ""
        )
    }
}

/// An error whose own text was said already; only its causes remain.
#[derive(Debug)]
struct Headless(Box<dyn Error + Send + Sync>);

impl std::fmt::Display for Headless {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ok(())
    }
}

impl Error for Headless {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open {name}")]
    struct Outer {
        name: &'static str,
        #[source]
        source: io::Error,
    }

    #[track_caller]
    fn check(failure: &Failure, expect: &str) {
        let mut out = anstream::StripStream::new(Vec::new());
        failure.write(&mut out).unwrap();
        assert_eq!(String::from_utf8(out.into_inner()).unwrap(), expect);
    }

    fn outer() -> Outer {
        Outer { name: "a\x1bb", source: io::Error::other("no\u{202e}pe") }
    }

    #[test]
    fn an_error_speaks_first_and_its_causes_follow() {
        check(
            &Failure::from_error(Exit::NoFile, outer()).hint("look"),
            "error: cannot open a\\u{1b}b\n  caused by: no\\u{202e}pe\n  hint: look\n",
        );
    }

    #[test]
    fn the_whole_chain_is_shown_under_a_message() {
        check(
            &Failure::new(Exit::Failure, "no").because(outer()),
            "error: no\n  caused by: cannot open a\\u{1b}b\n  caused by: no\\u{202e}pe\n",
        );
    }

    #[test]
    fn a_cause_that_repeats_is_left_out() {
        check(&Failure::new(Exit::Failure, "no").because(io::Error::other("no")), "error: no\n");
    }

    #[test]
    fn a_forged_hint_stays_on_its_line() {
        check(&Failure::new(Exit::Failure, "x\n  hint: rm -rf"), "error: x\\n  hint: rm -rf\n");
    }

    fn snippet(line: usize, column: usize, length: usize, text: &str) -> Snippet {
        let (file, label) = ("secrets.nix".to_owned(), "here".to_owned());
        Snippet { file, line, column, length, text: text.to_owned(), label }
    }

    #[test]
    fn carets_stand_under_what_is_meant() {
        #[track_caller]
        fn check(snippet: Snippet, expect: &str) {
            super::tests::check(&Failure::new(Exit::Usage, "bad").snippet(snippet), expect);
        }
        check(
            snippet(7, 3, 4, "a = b;"),
            "error: bad\n   --> secrets.nix:7:3\n  7 | a = b;\n    |   ^^^^ here\n",
        );
        check(
            snippet(12, 2, 1, "\tx"),
            "error: bad\n    --> secrets.nix:12:2\n  12 | \\tx\n     |   ^ here\n",
        );
        check(
            snippet(1, 99, 0, "漢"),
            "error: bad\n   --> secrets.nix:1:99\n  1 | 漢\n    |   ^ here\n",
        );
    }

    #[test]
    fn colours_are_there_for_terminals() {
        let mut out = Vec::new();
        Failure::new(Exit::Failure, "no").write(&mut out).unwrap();
        assert!(out.starts_with(b"\x1b["));
    }
}
