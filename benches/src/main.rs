//! Benchmarks of `nixmox-secrets`, each beside its floor.
//!
//! Every sample is a process of its own, as the tool is: it does one job to a fleet that lies ready, checks that it
//! did it, and says how long it took and how much memory it needed. The floor of a job is the cryptography and the
//! files that it cannot do without, done bare and on as many threads; both are measured in turn, so that a busy
//! machine slows both.
//!
//! | option | effect |
//! |---|---|
//! | `--markdown` | prints the text for `docs/performance.md` |
//! | `--quick` | a small fleet, one sample each: shows that everything still runs, measures nothing |
//! | `--runs N` | takes N samples of each |
//! | `--dir PATH` | makes the fleets there instead of in the directory for temporary files |
//! | `--tool PATH` | times the program `nixmox-secrets` at PATH instead of the one that lies beside this, if any |
//!
//! For a profiler: `make ROOT SHAPE` makes a fleet without secrets, and `sample JOB ROOT SHAPE RUN` does one job to it
//! in this process. A shape is `10x100x5x35x10`: groups, hosts of each, secrets of each host, of each group, of all.

mod fleet;
mod floor;
mod job;
mod readers;
mod report;
mod sample;

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use report::Plan;

/// What went wrong; a benchmark only ever tells a person.
type Failure = Box<dyn Error>;

/// What the programs have: it is part of what is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["make", root, shape] => make(root, shape),
        ["sample", what, root, shape, run] => sample::take((what, root), shape, run),
        options => plan(options).and_then(|plan| report::run(&plan)),
    };
    // Standard output and error may be closed; there is nobody left to tell then.
    match done {
        Ok(text) => {
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn make(root: &str, shape: &str) -> Result<String, Failure> {
    fleet::make(root.as_ref(), shape.parse()?).map(|()| String::new())
}

fn plan(options: &[&str]) -> Result<Plan, Failure> {
    let mut plan = Plan { markdown: false, quick: false, runs: 9, dir: None, tool: None };
    let mut rest = options.iter();
    while let Some(option) = rest.next() {
        let mut value = || rest.next().ok_or_else(|| format!("{option} needs a value"));
        match *option {
            "--markdown" => plan.markdown = true,
            "--quick" => plan.quick = true,
            "--runs" => plan.runs = value()?.parse::<usize>()?.max(1),
            "--dir" => plan.dir = Some(PathBuf::from(value()?)),
            "--tool" => plan.tool = Some(PathBuf::from(value()?).canonicalize()?),
            other => return Err(format!("no such option: {other}").into()),
        }
    }
    if plan.tool.is_none() && !plan.quick {
        let beside = std::env::current_exe()?.with_file_name("nixmox-secrets");
        plan.tool = beside.is_file().then_some(beside);
    }
    Ok(plan)
}
