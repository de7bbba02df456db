use std::fmt::Write;

use nixmox_cli::terminal::plural;
use nixmox_cli::{Exit, Failure};
use nixmox_manifest::{OnFailure, Phase, Plan, Step};

use super::{load, sound};
use crate::args::Args;
use crate::print::{print_escaped, print_json};

/// Shows what a deployment would do, in order.
pub(crate) fn show(args: &Args) -> Result<(), Failure> {
    let loaded = load(args)?;
    let plan = Plan::new(sound(&loaded)?);
    if args.switches.json {
        let json = serde_json::to_value(&plan);
        let json = json.map_err(|e| Failure::from_error(Exit::Failure, e))?;
        return print_json(&json);
    }
    print_escaped(&text(&plan))
}

fn text(plan: &Plan) -> String {
    let mut out = String::new();
    for (at, phase) in (1..).zip(&plan.phases) {
        head(&mut out, at, phase);
        for (at, wave) in (1..).zip(&phase.waves) {
            let _ = writeln!(out, "  wave {at}");
            wave.iter().for_each(|step| line(&mut out, step));
        }
    }
    let patience = &plan.patience;
    let steps = plural(plan.steps(), "step");
    let rollback = if patience.rollback { "undone" } else { "left as it is" };
    let _ = writeln!(
        out,
        "{steps}; a step that fails is tried {} more times, every {} s, then {rollback}",
        patience.retry_attempts, patience.retry_delay
    );
    out
}

fn head(out: &mut String, at: usize, phase: &Phase) {
    let failure = match phase.on_failure {
        OnFailure::Halt => "a failure halts",
        OnFailure::SkipDependents => "a failure skips what needs it",
    };
    let words = phase.stage.words();
    let nothing = if phase.waves.is_empty() { "; nothing to do" } else { "" };
    let _ = writeln!(out, "{at}. {} ({words}; {failure}{nothing})", phase.stage.phase());
}

fn line(out: &mut String, step: &Step) {
    let needs: Vec<&str> = step.needs.iter().map(String::as_str).collect();
    let after =
        if needs.is_empty() { String::new() } else { format!(", after {}", needs.join(", ")) };
    let gate = match &step.gate {
        Some(gate) => match &gate.command {
            Some(command) => format!(", until `{command}` within {} s", gate.timeout),
            None => ", without a health check".to_owned(),
        },
        None => String::new(),
    };
    let _ = writeln!(out, "    {}{after}{gate}", step.service);
}
