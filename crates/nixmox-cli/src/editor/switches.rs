use std::ffi::OsString;
use std::fs;
use std::path::Path;

/// Said to vim and nvim after their start files, so that it wins over them.
const VIM_SETTINGS: &str = "set nobackup nowritebackup noswapfile noundofile";
/// The same for Emacs.
const EMACS_SETTINGS: &str = "(progn (setq make-backup-files nil auto-save-default nil \
     auto-save-list-file-prefix nil create-lockfiles nil backup-inhibited t) \
     (setq-default backup-inhibited t buffer-auto-save-file-name nil))";

/// Editors that keep copies of what they edit unless told otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Vim,
    Nano,
    Emacs,
    EmacsClient,
    Code,
    Other,
}

impl Kind {
    /// Tells by the name of the program, and of what it is a link to: `vi` is often vim.
    pub(super) fn of(program: &Path) -> Self {
        let by_name =
            |path: &Path| Self::named(&path.file_name().unwrap_or_default().to_string_lossy());
        match by_name(program) {
            Self::Other => fs::canonicalize(program).map_or(Self::Other, |real| by_name(&real)),
            known => known,
        }
    }

    fn named(name: &str) -> Self {
        // Debian's vim is vim.basic, its Emacs emacs-nox or emacs-28.2.
        match name.split(['.', '-']).next().unwrap_or(name) {
            "vim" | "nvim" | "gvim" | "rvim" | "vimx" => Self::Vim,
            "nano" | "rnano" => Self::Nano,
            "emacs" => Self::Emacs,
            "emacsclient" => Self::EmacsClient,
            "code" | "codium" | "vscodium" | "cursor" => Self::Code,
            _ => Self::Other,
        }
    }

    /// Lists what to add to the arguments that a person gave.
    pub(super) fn switches(self, given: &[OsString]) -> Vec<&'static str> {
        let has = |switch: &str| given.iter().any(|argument| argument == switch);
        match self {
            // No swap file; no history of registers and searches.
            Self::Vim => vec!["-n", "-i", "NONE", "-c", VIM_SETTINGS],
            // Restricted: reads and writes no file but the named one; no backup, no history.
            Self::Nano => vec!["-R"],
            Self::Emacs => vec!["--eval", EMACS_SETTINGS],
            Self::Code if !has("--wait") && !has("-w") => vec!["--wait"],
            Self::Code | Self::EmacsClient | Self::Other => Vec::new(),
        }
    }

    /// Tells whether temporary files of this editor may be sent to the private directory.
    ///
    /// A program that only talks to a running server looks for its socket there, and would not find it.
    pub(super) fn takes_scratch(self) -> bool {
        !matches!(self, Self::EmacsClient | Self::Code)
    }

    pub(super) fn warning(self) -> Option<&'static str> {
        match self {
            Self::Code => Some(
                "this editor keeps a local history of every file it saves, and extensions read all it opens; \
                 turn workbench.localHistory.enabled off",
            ),
            Self::EmacsClient => Some(
                "the running Emacs decides itself about backups and auto-saved copies of the text",
            ),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn editors_are_known_by_name() {
        #[track_caller]
        fn check(program: &str, expect: Kind) {
            assert_eq!(Kind::of(Path::new(program)), expect, "{program}");
        }
        check("/usr/bin/vim", Kind::Vim);
        check("/usr/bin/vim.basic", Kind::Vim);
        check("/nix/store/x-neovim/bin/nvim", Kind::Vim);
        check("nano", Kind::Nano);
        check("emacs", Kind::Emacs);
        check("emacs-nox", Kind::Emacs);
        check("emacsclient", Kind::EmacsClient);
        check("/usr/bin/code", Kind::Code);
        check("code-insiders", Kind::Code);
        check("hx", Kind::Other);
        check("vimdiff", Kind::Other);
    }

    #[test]
    fn a_link_to_vim_is_vim() {
        let directory = tempfile::tempdir().unwrap();
        let (real, link) = (directory.path().join("vim.tiny"), directory.path().join("vi"));
        fs::write(&real, "").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert_eq!(Kind::of(&link), Kind::Vim);
    }

    #[test]
    fn code_waits_once() {
        assert_eq!(Kind::Code.switches(&[]), ["--wait"]);
        assert_eq!(Kind::Code.switches(&["-w".into()]), [""; 0]);
        assert!(Kind::Code.warning().is_some());
    }
}
