use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use super::switches::Kind;
use super::{EditorError, os_strings};

/// Variables that name an editor; the first that is set wins.
const VARIABLES: [&str; 3] = ["SOPS_EDITOR", "VISUAL", "EDITOR"];
/// Programs to look for when no variable is set.
const USUAL: [&str; 4] = ["vim", "nano", "vi", "nvim"];

/// A program that edits a file, with the switches that keep it from leaving copies of the text behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Editor {
    program: PathBuf,
    arguments: Vec<OsString>,
    kind: Kind,
}

impl Editor {
    /// Takes the command from `$SOPS_EDITOR`, `$VISUAL` or `$EDITOR`, else the first of vim, nano, vi and nvim.
    ///
    /// # Errors
    ///
    /// [`EditorError::NoEditor`], [`EditorError::BadCommand`] and [`EditorError::NotFound`].
    pub fn from_env() -> Result<Self, EditorError> {
        let path = env::var_os("PATH").unwrap_or_default();
        for name in VARIABLES {
            let command = env::var(name).unwrap_or_default();
            if !command.trim().is_empty() {
                return Self::parse(&command, name, &path);
            }
        }
        let program = USUAL.iter().find_map(|name| find(Path::new(name), &path));
        program.map(|program| Self::new(program, Vec::new())).ok_or(EditorError::NoEditor)
    }

    /// Takes a command line, split into words as a shell would, without a shell.
    ///
    /// # Errors
    ///
    /// [`EditorError::NoEditor`], [`EditorError::BadCommand`] and [`EditorError::NotFound`].
    pub fn from_command(command: &str) -> Result<Self, EditorError> {
        Self::parse(command, "the command line", &env::var_os("PATH").unwrap_or_default())
    }

    /// Returns what a person should know before trusting this editor with secrets, if anything.
    pub fn warning(&self) -> Option<&'static str> {
        self.kind.warning()
    }

    /// Returns the path of the program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    pub(super) fn arguments(&self) -> &[OsString] {
        &self.arguments
    }

    pub(super) fn takes_scratch(&self) -> bool {
        self.kind.takes_scratch()
    }

    fn parse(command: &str, from: &'static str, path: &OsStr) -> Result<Self, EditorError> {
        let words = shell_words::split(command)
            .map_err(|source| EditorError::BadCommand { from, source })?;
        let (first, rest) = words.split_first().ok_or(EditorError::NoEditor)?;
        let program = find(Path::new(first), path)
            .ok_or_else(|| EditorError::NotFound { program: first.into() })?;
        Ok(Self::new(program, os_strings(rest)))
    }

    fn new(program: PathBuf, mut arguments: Vec<OsString>) -> Self {
        let kind = Kind::of(&program);
        arguments.extend(os_strings(kind.switches(&arguments)));
        Self { program, arguments, kind }
    }
}

/// Finds a program as a shell would, except that relative parts of the search path do not count.
fn find(program: &Path, path: &OsStr) -> Option<PathBuf> {
    let runs = |file: &PathBuf| {
        file.is_file() && rustix::fs::access(file.as_path(), Access::EXEC_OK).is_ok()
    };
    if program.components().count() > 1 {
        return Some(program.to_owned()).filter(runs);
    }
    let directories = env::split_paths(path).filter(|directory| directory.is_absolute());
    directories.map(|directory| directory.join(program)).find(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_split_without_a_shell() {
        #[track_caller]
        fn check(command: &str, program: &str, arguments: &[&str]) {
            let editor = Editor::parse(command, "test", OsStr::new("/usr/bin:/bin")).unwrap();
            assert_eq!(editor.program.file_name().unwrap(), program);
            assert_eq!(editor.arguments, os_strings(arguments));
        }
        check("cat", "cat", &[]);
        check("  cat -u  'a b' \"c d\" $(x) ;", "cat", &["-u", "a b", "c d", "$(x)", ";"]);
        check("/bin/cat", "cat", &[]);
    }

    #[test]
    fn what_cannot_run_is_refused() {
        #[track_caller]
        fn check(command: &str, path: &str, expect: &str) {
            let error = Editor::parse(command, "$EDITOR", OsStr::new(path)).unwrap_err();
            assert_eq!(error.to_string(), expect);
            assert_eq!(error.exit().code(), 201);
        }
        let no_editor = "no editor: set $SOPS_EDITOR, $VISUAL or $EDITOR";
        check("", "/bin", no_editor);
        check("vim 'a", "/bin", "cannot understand the editor command in $EDITOR");
        check("no-such-editor -x", "/bin", "editor no-such-editor not found");
        check("cat", "bin:.:", "editor cat not found");
        check("/etc/passwd", "/bin", "editor /etc/passwd not found");
        check("/bin", "/bin", "editor /bin not found");
    }
}
