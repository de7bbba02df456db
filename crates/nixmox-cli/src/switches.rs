//! Switches that every program of the family takes.

use clap::{Args, ValueEnum};

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
