//! Values that are declared instead of written: which of them are made anew, and by whom.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use jiff::Timestamp;
use nixmox_generate::Sandbox;
use nixmox_topology::NodeName;
use rand_core::{CryptoRng, RngCore};

use crate::Error;
use crate::edit::{Options, Outcome, change};

/// Which generated values are made anew although nothing about them has changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Regenerate {
    /// None: they stay as they are.
    #[default]
    Nothing,
    /// Those that are older than their declaration allows, and certificates that end soon.
    Due,
    /// Those at or below these paths: `web.token`, `web`, or a host's own at `w1.wg`.
    Paths(BTreeSet<String>),
    /// Everything that a host is given.
    ReadBy(NodeName),
}

/// What becomes of generated values.
#[derive(Clone, Copy)]
pub struct Generation<'a> {
    /// Which are made anew.
    pub again: &'a Regenerate,
    /// Runs the commands that make values; without it a declared command is an error.
    pub sandbox: Option<&'a dyn Sandbox>,
    /// Takes the generated values as they lie in the repository, though nothing vouches for them.
    pub accept: bool,
}

impl Default for Generation<'_> {
    fn default() -> Self {
        Self { again: &Regenerate::Nothing, sandbox: None, accept: false }
    }
}

impl fmt::Debug for Generation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Generation({:?})", self.again)
    }
}

/// Makes generated values anew, and seals what follows from it; the master's text stays.
///
/// Which, and who runs commands, is in the options. What was made from one of these values is made again too.
///
/// # Errors
///
/// As [`change`], and any [`Error`] of the plan.
pub fn regenerate(
    root: &Path,
    options: Options<'_>,
    rng: &mut (impl RngCore + CryptoRng),
    now: Timestamp,
) -> Result<Outcome, Error> {
    let mut problem = None;
    let outcome = change(
        root,
        options,
        &mut |draft| match draft.problem {
            Some(error) => {
                problem = Some(error);
                None
            }
            None => Some(draft.text.clone()),
        },
        rng,
        now,
    )?;
    problem.map_or(Ok(outcome), Err)
}
