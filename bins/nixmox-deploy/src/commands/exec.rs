//! A command on many hosts.

use std::collections::BTreeSet;
use std::io::Write as _;

use nixmox_cli::terminal::escape;
use nixmox_cli::{Exit, Failure};
use nixmox_deploy::{HostError, Output, RemoteCommand, each};
use serde_json::json;

use crate::args::{Args, Exec};
use crate::which;

/// Runs a command on hosts, all at once; their answers come in the order of their names.
pub(crate) fn exec(args: &Args, exec: &Exec) -> Result<Exit, Failure> {
    let fleet = which::known(args, BTreeSet::new())?;
    let nodes = which::nodes(args, &fleet, &exec.which)?;
    let hosts = which::hosts(args, &fleet, &nodes)?;
    let script = match exec.command.as_slice() {
        [line] => line.clone(),
        words => shell_words::join(words),
    };
    let command = RemoteCommand::script(&script, [])
        .map_err(|error| Failure::from_error(Exit::Usage, error))?
        .timeout(exec.timeout);
    let answers = nixmox_fleet::runtime()?.block_on(each(hosts, args.connect.probe_jobs, |host| {
        let command = command.clone();
        async move {
            let answer = host.run(&command).await;
            host.close().await;
            answer
        }
    }));
    let mut worst = Exit::Ok;
    for (node, answer) in &answers {
        if !answer.as_ref().is_ok_and(Output::success) {
            worst = Exit::HostFailed;
        }
        if args.switches.json {
            super::print(format!("{}\n", as_json(node, answer)).as_bytes())?;
        } else {
            show(node, answer)?;
        }
    }
    Ok(worst)
}

fn show(node: &str, answer: &Result<Output, HostError>) -> Result<(), Failure> {
    super::print_with(|out| match answer {
        Err(error) => writeln!(out, "{node}: {}", escape(&error.to_string())),
        Ok(output) => {
            for stream in [&output.stdout, &output.stderr] {
                for line in String::from_utf8_lossy(stream).lines() {
                    writeln!(out, "{node}: {}", escape(line))?;
                }
            }
            if output.success() {
                Ok(())
            } else {
                writeln!(out, "{node}: ended with {}", output.status)
            }
        }
    })
}

fn as_json(node: &str, answer: &Result<Output, HostError>) -> serde_json::Value {
    match answer {
        Err(error) => json!({ "node": node, "error": error.to_string() }),
        Ok(output) => json!({
            "node": node,
            "status": output.status,
            "stdout": String::from_utf8_lossy(&output.stdout),
            "stderr": String::from_utf8_lossy(&output.stderr),
        }),
    }
}
