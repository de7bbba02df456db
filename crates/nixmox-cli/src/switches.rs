//! Switches that every program of the family takes.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue};
use clap::{Args, Command, ValueEnum};

/// How a program reports: options of its top level, to be flattened into its own.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switches {
    /// Report as JSON on standard output, for scripts.
    #[arg(long, global = true)]
    pub json: bool,
    /// When to use colour; NO_COLOR and CLICOLOR_FORCE are respected.
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "WHEN")]
    pub color: Color,
}

/// When to use colour.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    /// On terminals.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl From<Color> for anstream::ColorChoice {
    fn from(color: Color) -> Self {
        match color {
            Color::Auto => Self::Auto,
            Color::Always => Self::Always,
            Color::Never => Self::Never,
        }
    }
}

impl Switches {
    /// Makes the choice of colour that of the whole process.
    pub fn apply(self) {
        crate::terminal::choose_color(self.color.into());
    }
}

/// Puts a command in front of the words unless one is named, or only help is asked for.
///
/// A value that is called as a command is taken for one, which clap then refuses: nothing is ever done by mistake.
pub fn with_command(mut words: Vec<OsString>, program: &Command, command: &str) -> Vec<OsString> {
    let named = first_word(&words, program).is_some_and(|word| {
        let is_command = program.get_subcommands().any(|own| own.get_name() == word);
        is_command || matches!(word.as_str(), "help" | "-h" | "--help" | "-V" | "--version")
    });
    if words.len() > 1 && !named {
        words.insert(1, command.into());
    }
    words
}

/// Returns the command that the first word may have been meant for, when it is none.
pub fn similar_command(words: &[OsString], program: &Command) -> Option<String> {
    let word = first_word(words, program)?;
    let line = [program.get_name(), &word];
    let error = program.clone().try_get_matches_from(line).err()?;
    match error.get(ContextKind::SuggestedSubcommand)? {
        ContextValue::Strings(near) => near.last().cloned(),
        ContextValue::String(near) => Some(near.clone()),
        _ => None,
    }
}

/// Returns the first word that is neither a switch of the whole program nor the value of one.
fn first_word(words: &[OsString], program: &Command) -> Option<String> {
    let valued: Vec<String> = program
        .get_arguments()
        .filter(|argument| argument.get_action().takes_values())
        .filter_map(|argument| Some(format!("--{}", argument.get_long()?)))
        .collect();
    let mut takes_value = false;
    for word in words.iter().skip(1).map(|word| word.to_string_lossy().into_owned()) {
        if std::mem::replace(&mut takes_value, valued.contains(&word)) {
            continue;
        }
        let helps = matches!(word.as_str(), "-h" | "--help" | "-V" | "--version");
        if helps || !word.starts_with('-') {
            return Some(word);
        }
    }
    None
}
