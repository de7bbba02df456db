//! Builds, tests and measures this workspace: `cargo xtask test`, `machines`, `ci`, `bed`, `fuzz`, `bench`.

mod bed;
mod bench;
mod cargo;
mod check;
mod fuzz;
mod tools;

use std::io::{Write, stderr};
use std::process::ExitCode;

use cargo::Failed;

const USAGE: &str = "\
usage: cargo xtask test             install what the tests need, then run all of them but those of `machines`
       cargo xtask machines         install emulated machines, and deploy to one: three quarters of an hour
       cargo xtask ci               form, lints and documentation first, then the tests
       cargo xtask bed              build what hosts of tests are made of, unless it is current
       cargo xtask fuzz [SECONDS [TARGET]]
                                    run every fuzz target, or one (600 seconds each), and keep its corpus
       cargo xtask bench [secrets|manifest|deploy]
                                    measure, and renew the tables in docs/performance.md, or one of them
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["test"] => check::test(),
        ["machines"] => check::machines(),
        ["ci"] => check::ci(),
        ["bed"] => bed::build(),
        ["fuzz"] => fuzz::run(600, None),
        ["fuzz", seconds] | ["fuzz", seconds, _] => match seconds.parse() {
            Ok(seconds) => fuzz::run(seconds, words.get(2).copied()),
            Err(_) => Err(Failed::new(USAGE)),
        },
        ["bench"] => bench::run(None),
        ["bench", only @ ("secrets" | "manifest" | "deploy")] => bench::run(Some(only)),
        _ => Err(Failed::new(USAGE)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            say(&format!("xtask: {failed}"));
            ExitCode::FAILURE
        }
    }
}

/// Says what is being done.
fn say(what: &str) {
    // There is nobody left to tell when standard error is gone.
    let _ = writeln!(stderr(), "{what}");
}
