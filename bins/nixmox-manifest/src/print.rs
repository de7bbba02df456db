//! Standard output, for people and for scripts.

use std::borrow::Cow;
use std::io::Write;

use nixmox_cli::terminal::escape;
use nixmox_cli::{Exit, Failure};
use serde_json::Value;

/// Prints a text whose hidden characters were dealt with.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = anstream::AutoStream::auto(std::io::stdout().lock());
    // A reader that went away is no failure of ours.
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Write, "cannot write to standard output").because(e))
        }
        _ => Ok(()),
    }
}

/// Prints a text of lines that a manifest has a part in.
pub(crate) fn print_escaped(text: &str) -> Result<(), Failure> {
    let lines: String = text.lines().map(|line| format!("{}\n", escape(line))).collect();
    print(&lines)
}

/// Prints JSON; what a terminal would obey or hide is written in JSON's own way of escaping.
pub(crate) fn print_json(value: &Value) -> Result<(), Failure> {
    let text = format!("{value:#}\n");
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        let hidden = c != '\n' && matches!(escape(c.encode_utf8(&mut [0; 4])), Cow::Owned(_));
        if hidden {
            let units = c
                .encode_utf16(&mut [0; 2])
                .iter()
                .map(|u| format!("\\u{u:04x}"))
                .collect::<String>();
            shown.push_str(&units);
        } else {
            shown.push(c);
        }
    }
    print(&shown)
}
