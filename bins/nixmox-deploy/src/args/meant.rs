//! Runs and hosts, which are told apart by how they are written.

use clap::Args as ClapArgs;

use super::Which;

/// A run from here, or hosts, whoever works on them.
#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct RunOrHosts {
    /// A run from here; or nodes, groups and selectors: what was begun on those hosts, on whichever machine. Without
    /// any, the last run from here.
    #[arg(value_name = "RUN|NODE|GROUP|SELECTOR")]
    words: Vec<String>,
    /// What was begun on any host.
    #[arg(long, conflicts_with = "words")]
    all: bool,
}

/// What is meant by such words.
pub(crate) enum Meant {
    /// A run by its name, or the last one.
    Run(Option<String>),
    /// Hosts.
    Hosts(Which),
}

impl RunOrHosts {
    /// Says which of the two is meant: runs are named after the time when they began.
    pub(crate) fn meant(&self) -> Meant {
        match self.words.as_slice() {
            [] if !self.all => Meant::Run(None),
            [name] if is_run(name) => Meant::Run(Some(name.clone())),
            words => {
                Meant::Hosts(Which { selectors: words.to_vec(), all: self.all, failed: false })
            }
        }
    }
}

/// Tells whether a word is written as names of runs are: a day, a time of day, and a number.
fn is_run(word: &str) -> bool {
    let digits = |part: &str| part.chars().all(|c| c.is_ascii_digit());
    match word.split('-').collect::<Vec<_>>().as_slice() {
        [day, time, number] => {
            (day.len(), time.len()) == (8, 6)
                && !number.is_empty()
                && [day, time, number].into_iter().all(|part| digits(part))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_named_after_the_time() {
        for (word, expect) in [
            ("20261128-113850-23350", true),
            ("20261128-113850-", false),
            ("20261128-113850", false),
            ("2026112-113850-1", false),
            ("20261128-11385x-1", false),
            ("web-113850-1", false),
            ("web", false),
            ("*", false),
        ] {
            assert_eq!(is_run(word), expect, "{word}");
        }
    }
}
