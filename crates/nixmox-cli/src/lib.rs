//! Terminal, editor, progress and exit codes of the nixmox programs.
