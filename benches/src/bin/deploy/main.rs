//! Measures deployments to a bed of hosts, each beside what they cannot do without.
//!
//! | option | effect |
//! |---|---|
//! | `--tool PATH` | the program `nixmox-deploy`; without it that of this workspace, built as this was |
//! | `--hosts N` | that many hosts alone, instead of the usual 4, 16 and 50 |
//! | `--markdown` | for the page: N hosts here and 50 ms away, and what other tools take |
//! | `--rtt DELAY` | with that much more for a round trip (`50ms`); with `--hosts` |
//! | `--runs N` | takes N samples of each, 5 when left out |
//!
//! Needs what `docs/testbed.md` says, and root. Everything runs on this machine: deployer, network and hosts share its
//! cores.

mod fleet;
mod floor;
mod table;

use std::error::Error;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use fleet::Deployed;
use table::{Row, Table};

/// What went wrong; a benchmark only ever tells a person.
type Failure = Box<dyn Error>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match plan(&args).and_then(|plan| run(&plan)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

struct Plan {
    tool: PathBuf,
    fleets: Vec<(usize, Option<String>)>,
    runs: usize,
    markdown: bool,
}

fn plan(args: &[String]) -> Result<Plan, Failure> {
    let (mut tool, mut hosts, mut rtt, mut runs, mut markdown) = (None, None, None, 5, false);
    let mut rest = args.iter();
    while let Some(option) = rest.next() {
        if option == "--markdown" {
            markdown = true;
            continue;
        }
        let value = rest.next().ok_or_else(|| format!("{option} needs a value"))?;
        match option.as_str() {
            "--tool" => tool = Some(PathBuf::from(value).canonicalize()?),
            "--hosts" => hosts = Some(value.parse()?),
            "--rtt" => rtt = Some(value.clone()),
            "--runs" => runs = value.parse::<usize>()?.max(1),
            other => return Err(format!("no such option: {other}").into()),
        }
    }
    let usual = || vec![(4, None), (16, None), (16, Some("50ms".to_owned())), (50, None)];
    let mut fleets = hosts.map_or_else(usual, |hosts| vec![(hosts, rtt)]);
    if let (true, [(hosts, None)]) = (markdown, fleets.as_slice()) {
        fleets.push((*hosts, Some("50ms".to_owned())));
    }
    let tool = tool.unwrap_or_else(|| nixmox_tests::deploy_program().to_owned());
    Ok(Plan { tool, fleets, runs, markdown })
}

fn run(plan: &Plan) -> Result<(), Failure> {
    for (hosts, rtt) in &plan.fleets {
        let deployed = Deployed::up(&plan.tool, *hosts)?;
        if let Some(delay) = rtt {
            deployed.slow(delay);
        }
        let mut table = Table::new(*hosts, rtt.as_deref());
        table.push(unchanged(&deployed, plan.runs)?);
        table.push(evaluated_anew(&deployed, plan.runs)?);
        if rtt.is_none() {
            table.push(changed(&deployed, plan.runs)?);
            table.push(waiting(&deployed, plan.runs)?);
        }
        std::io::stdout().write_all(table.text().as_bytes())?;
    }
    if plan.markdown {
        std::io::stdout().write_all(table::PEERS.as_bytes())?;
    }
    Ok(())
}

/// Every host is as it should be, and the flake was evaluated before.
fn unchanged(deployed: &Deployed, runs: usize) -> Result<Row, Failure> {
    let mut row = Row::new("nothing to change");
    deployed.deploy()?;
    for _ in 0..runs {
        let (took, work) = deployed.work(|| deployed.deploy())?;
        row.time("job", took);
        row.work = Some(work);
        row.time("bare ssh to all at once", floor::parallel(deployed)?);
        row.time("bare ssh to one after the other", floor::serial(deployed)?);
    }
    row.processes = deployed.processes()?;
    row.connections = deployed.connections(|| deployed.deploy().map(drop))?;
    let (job, serial) = (row.median("job"), row.median("bare ssh to one after the other"));
    row.wanted = format!("under 2 s, 10 × faster than one after the other: {:.1} ×", serial / job);
    Ok(row)
}

/// Every host is as it should be, but another file of the flake has changed.
fn evaluated_anew(deployed: &Deployed, runs: usize) -> Result<Row, Failure> {
    let mut row = Row::new("nothing to change, the flake has");
    for _ in 0..runs {
        deployed.touch()?;
        row.time("job", deployed.deploy()?);
        deployed.touch()?;
        row.time("bare `nix eval` of all", floor::evaluation(deployed)?);
    }
    Ok(row)
}

/// Every host gets another system: two small store paths, and a unit that is restarted.
fn changed(deployed: &Deployed, runs: usize) -> Result<Row, Failure> {
    let mut row = Row::new("another system for each");
    for run in 0..runs {
        time_change(deployed, &mut row)?;
        if run == 0 {
            deployed.next_revision();
            row.connections = deployed.connections(|| deployed.deploy().map(drop))?;
        }
        deployed.next_revision();
        row.time("copied and switched by hand, all at once, unguarded", floor::by_hand(deployed)?);
    }
    row.wanted = beside_one(&row);
    Ok(row)
}

/// The same, where hosts are busy with it for a while without the processors of this machine: like those that have their
/// own.
fn waiting(deployed: &Deployed, runs: usize) -> Result<Row, Failure> {
    const WAIT: u32 = 30;
    let mut row = Row::new(&format!("another system for each, whose activation waits {WAIT} s"));
    deployed.wait_in_activation(WAIT);
    for _ in 0..runs {
        time_change(deployed, &mut row)?;
    }
    row.wanted = beside_one(&row);
    Ok(row)
}

const CLOSURES: &str = "its closures alone, over bare ssh to all at once";

fn time_change(deployed: &Deployed, row: &mut Row) -> Result<(), Failure> {
    let before = deployed.systems();
    deployed.next_revision();
    let (took, work) = deployed.work(|| deployed.deploy())?;
    row.time("job", took);
    row.work = Some(work);
    row.time(CLOSURES, floor::bandwidth(deployed, &before)?);
    deployed.next_revision();
    row.time("one host alone", deployed.deploy_one()?);
    Ok(())
}

fn beside_one(row: &Row) -> String {
    let (job, one, closures) =
        (row.median("job"), row.median("one host alone"), row.median(CLOSURES));
    format!("1.3 × one host alone beside its closures: {:.2} ×", (job - closures) / one)
}
