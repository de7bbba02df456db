//! Activates one system on one host of a bed and says what happens: a deployer that tests can stop and kill.
//!
//! Its one argument is a JSON object; see `tests/src/deployment.rs`. It prints a line for each event and then how it
//! ended. At the first that begins with `stop_at` it stays for ever.

#![expect(clippy::indexing_slicing, reason = "what is not in a JSON object reads as null")]

use std::error::Error;
use std::io::{Write as _, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use nixmox_deploy::{
    Address, EventSink, Goal, Happening, Host, Request, SshFiles, SshSettings, StorePath, Target,
    abort, activate, probe,
};
use nixmox_hostkey::HostPublicKey;
use nixmox_topology::NodeName;
use serde_json::Value;

/// What may go wrong before there is anything to tell.
type Problem = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    let said =
        std::env::args().nth(1).ok_or_else(|| "no argument".into()).and_then(|text| run(&text));
    match said {
        Ok(line) => say(&line),
        Err(problem) => {
            let mut text = format!("error {problem}");
            let mut source = problem.source();
            while let Some(error) = source {
                text.push_str(&format!(": {error}"));
                source = error.source();
            }
            say(&text);
        }
    }
    ExitCode::SUCCESS
}

fn run(text: &str) -> Result<String, Problem> {
    let order: Value = serde_json::from_str(text)?;
    let host = host(&order)?;
    let request = request(&order)?;
    let stop_at = order["stop_at"].as_str().map(str::to_owned);
    let events = EventSink::new(move |event| {
        let line = describe(&event.what);
        say(&line);
        if stop_at.as_deref().is_some_and(|begin| line.starts_with(begin)) {
            loop {
                std::thread::park();
            }
        }
    });
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = if order["abort"].as_bool().unwrap_or_default() {
        runtime.block_on(async {
            let last = probe(&host).await?.last.ok_or("there is nothing to abort")?;
            Ok::<_, Problem>(abort(&host, &last.transaction, &request, &events).await?)
        })?
    } else {
        runtime.block_on(activate(&host, &request, &events))?
    };
    Ok(format!("outcome {outcome:?}"))
}

fn describe(what: &Happening) -> String {
    match what {
        Happening::Phase(phase) => format!("phase {phase:?}"),
        Happening::Log(line) => format!("log {line}"),
        Happening::Confirmed { count, of } => format!("confirmed {count} of {of}"),
        Happening::ConnectionLost => "connection lost".to_owned(),
        other => format!("{other:?}"),
    }
}

fn host(order: &Value) -> Result<Host, Problem> {
    let node = NodeName::parse(word(order, "node")?)?;
    let sudo = order["sudo"].as_bool().unwrap_or_default();
    if order["local"].as_bool().unwrap_or_default() {
        return Ok(Host::local(node, sudo));
    }
    let mut target = Target::new(node, Address::parse(word(order, "address")?)?);
    target.host_keys.push(HostPublicKey::parse(word(order, "host_key")?)?);
    target.use_remote_sudo = sudo;
    let include = vec![PathBuf::from(word(order, "ssh_config")?)];
    let settings = SshSettings { include, ..SshSettings::default() };
    let files = SshFiles::write(std::slice::from_ref(&target), &settings)?;
    Ok(Host::ssh(&target, Arc::new(files)))
}

fn request(order: &Value) -> Result<Request, Problem> {
    let mut request = Request::switch(StorePath::parse(word(order, "toplevel")?)?);
    request.expected = order["expected"].as_str().map(StorePath::parse).transpose()?;
    request.goal = match order["goal"].as_str() {
        None => Goal::Switch,
        Some("boot") => Goal::Boot,
        Some("test") => Goal::Test,
        Some(goal) => return Err(format!("no goal {goal}").into()),
    };
    let patience = &mut request.patience;
    for (name, field) in [
        ("activation", &mut patience.activation),
        ("confirmation", &mut patience.confirmation),
        ("dwell", &mut patience.dwell),
        ("commit", &mut patience.commit),
        ("rollback", &mut patience.rollback),
    ] {
        if let Some(seconds) = order[name].as_u64() {
            *field = Duration::from_secs(seconds);
        }
    }
    patience.failed_units = order["failed_units"].as_bool().unwrap_or_default();
    patience.reboot_on_failed_rollback = order["may_reboot"].as_bool().unwrap_or_default();
    Ok(request)
}

fn word<'a>(order: &'a Value, name: &str) -> Result<&'a str, Problem> {
    order[name].as_str().ok_or_else(|| format!("the order has no {name}").into())
}

fn say(line: &str) {
    // Nobody may be reading any more.
    let _ = writeln!(stdout(), "{line}");
}
