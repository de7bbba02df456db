//! Histories of shells, read as what was typed.

use zeroize::Zeroizing;

/// A shell that keeps a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shell {
    /// bash, and others that write what was typed as it is.
    Bash,
    /// zsh, which writes some bytes as two.
    Zsh,
    /// fish, which writes backslashes and line ends as two characters.
    Fish,
}

/// What zsh puts before a byte that it changes.
const ZSH_META: u8 = 0x83;

impl Shell {
    /// Returns what was typed, in memory that is wiped; its lines are those of the file.
    pub fn read(self, file: &[u8]) -> Zeroizing<Vec<u8>> {
        let mut typed = Zeroizing::new(Vec::with_capacity(file.len()));
        let mut bytes = file.iter().copied();
        while let Some(byte) = bytes.next() {
            match (self, byte) {
                (Self::Zsh, ZSH_META) => typed.extend(bytes.next().map(|byte| byte ^ 0x20)),
                (Self::Fish, b'\\') => typed.extend(bytes.next().map(|byte| match byte {
                    // A line end here would move all lines that follow.
                    b'n' => b' ',
                    byte => byte,
                })),
                (_, byte) => typed.push(byte),
            }
        }
        typed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shell_is_read_in_its_own_way() {
        #[track_caller]
        fn check(shell: Shell, file: &[u8], typed: &[u8]) {
            assert_eq!(shell.read(file).as_slice(), typed);
        }
        check(Shell::Bash, b"a\\n\x83b\n", b"a\\n\x83b\n");
        check(Shell::Zsh, b"\xc3\x83\xbc\n", b"\xc3\x9c\n");
        check(Shell::Fish, b"- cmd: a\\\\b\\nc\n", b"- cmd: a\\b c\n");
        check(Shell::Zsh, b"x\x83", b"x");
        check(Shell::Fish, b"x\\", b"x");
    }
}
