//! Switches that a run is begun with, and that whoever goes on with it takes again.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args as _, Command};

use super::{Connect, How, NixOptions};

/// Settings of Nix whose values are secrets, and which are not kept.
const SECRET: [&str; 2] = ["access-tokens", "extra-access-tokens"];
/// What is about this run's record, and not about the run.
const PLACES: [&str; 1] = ["runs"];

/// Every switch that is remembered.
fn remembered() -> Vec<Arg> {
    let command =
        NixOptions::augment_args(How::augment_args(Connect::augment_args(Command::new(""))));
    let arguments = command.get_arguments();
    arguments.filter(|arg| !PLACES.contains(&arg.get_id().as_str())).cloned().collect()
}

/// Returns what was said on the command line, each switch with its values for each time.
pub(super) fn switches(matches: &ArgMatches) -> BTreeMap<String, Vec<Vec<String>>> {
    let mut leaf = matches;
    while let Some((_, below)) = leaf.subcommand() {
        leaf = below;
    }
    let switch = |arg: Arg| {
        let id = arg.get_id().as_str();
        let known = leaf.try_contains_id(id).is_ok();
        let said = known && leaf.value_source(id) == Some(ValueSource::CommandLine);
        let times = said.then(|| times(&arg, leaf))?;
        Some((arg.get_long()?.to_owned(), times)).filter(|(_, times)| !times.is_empty())
    };
    remembered().into_iter().filter_map(switch).collect()
}

fn times(arg: &Arg, matches: &ArgMatches) -> Vec<Vec<String>> {
    let id = arg.get_id().as_str();
    if !arg.get_action().takes_values() {
        return vec![Vec::new()];
    }
    let text = |value: &OsStr| {
        let text = value.to_string_lossy().into_owned();
        if id == "ssh_config" { whole(text) } else { text }
    };
    let times = matches.get_raw_occurrences(id).into_iter().flatten();
    let times = times.map(|values| values.map(text).collect::<Vec<_>>());
    times.filter(|values| !values.first().is_some_and(|v| SECRET.contains(&v.as_str()))).collect()
}

/// A file's path from wherever the run is gone on with.
fn whole(file: String) -> String {
    let whole = Path::new(&file).canonicalize();
    whole.map_or(file, |path| path.display().to_string())
}

/// Writes the switches of a run as words, without those that are said anew.
pub(super) fn words(
    remembered: &BTreeMap<String, Vec<Vec<String>>>,
    anew: &BTreeMap<String, Vec<Vec<String>>>,
) -> Vec<String> {
    let mut words = Vec::new();
    for (name, times) in remembered.iter().filter(|(name, _)| !anew.contains_key(*name)) {
        for values in times {
            match values.as_slice() {
                [value] => words.push(format!("--{name}={value}")),
                values => {
                    words.push(format!("--{name}"));
                    words.extend(values.iter().cloned());
                }
            }
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::super::{Args, Command};

    fn parsed(line: &str) -> Args {
        Args::of(line.split(' ').map(Into::into).collect())
            .unwrap_or_else(|e| panic!("{line}: {e}"))
    }

    #[test]
    fn a_run_is_gone_on_with_as_it_was_begun() {
        let begun = parsed(
            "x --probe-jobs 3 web --canary 10% --batch 1 --batch 2 --ephemeral --dwell 1 --runs /r --json \
             --option cores 2 --option access-tokens secret --option builders @/x --check cmd:a",
        );
        let mut line = "x resume --dwell 7 --check unit:b".to_owned();
        let anew = parsed(&line);
        for word in super::words(&begun.given, &anew.given) {
            line.extend([" ", &word]);
        }
        let given = |line: &str| {
            let args = parsed(line);
            let Command::Resume(resume) = args.command else { panic!("{line}") };
            assert_eq!(args.connect.probe_jobs.get(), 3);
            (resume.how, resume.from.nix.option)
        };
        let (how, option) = given(&line);
        assert_eq!(option, ["cores", "2", "builders", "@/x"]);
        assert_eq!((how.dwell.as_secs(), how.ephemeral, how.batch.len()), (7, true, 2));
        assert_eq!(how.check, ["unit:b"]);
        assert_eq!(format!("{:?}", how.canary), "Some(Percent(10))");
        let forgotten =
            |args: &Args| !args.given.contains_key("runs") && !args.given.contains_key("json");
        assert!(forgotten(&begun), "{:?}", begun.given);
    }
}
