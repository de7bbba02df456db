//! Installations: shown, agreed to, and done.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;

use nixmox_cli::{Exit, Failure, prompt};
use nixmox_fleet::Fleet;
use nixmox_install::{Order, Survey};
use nixmox_topology::NodeName;

use crate::args::{Args, Install};
use crate::report::{self, Surveys};
use crate::{advice, orders, run, systems};

/// Installs machines, or goes on with what was begun.
pub(crate) fn install(args: &Args, install: &Install, resume: bool) -> Result<Exit, Failure> {
    let extra = systems::listed(&install.systems, &install.which.selectors)?;
    let fleet = Fleet::open(args.repo.as_deref(), &extra)?;
    let nodes = fleet.select(&install.which.selectors).map_err(|failure| match &args.meant {
        Some(command) => failure.hint(format!("did you mean the command `{command}`?")),
        None => failure,
    })?;
    if !install.danger_skip_check {
        nixmox_fleet::check_sealed(&fleet, args.reach.nix)
            .map_err(|failure| failure.with_exit(Exit::InstallPlan))?;
    }
    let wanted = systems::wanted(&fleet, &install.systems, &nodes)?;
    let reach = &args.reach;
    let named = [
        &reach.target,
        &reach.installer_host,
        &reach.node_host,
        &reach.installer_key,
        &install.wipe,
        &install.disk,
    ];
    orders::check_names(&named, &wanted)?;
    let roots = run::runs(args, &fleet)?.path(&nixmox_fleet::new_run()?).join("roots");
    let there =
        |node: &&NodeName| fleet.settings.get(*node).is_some_and(|own| own.install.build_on_remote);
    let there = wanted.keys().filter(there).cloned().collect();
    systems::build(&install.systems, &wanted, &there, &roots)?;
    let identities = nixmox_keyring::load().identities;
    let context = run::context(args, &fleet, nixmox_fleet::nix(&install.systems.option))?;
    let mut all = Vec::new();
    for (node, one) in &wanted {
        let mut order = orders::asked(args, install, &fleet, (node, one), &identities)?;
        order.rules.only_resume = resume;
        all.push(order);
    }
    let surveys = run::surveys(&all, &context)?;
    if install.dry_run {
        report::surveys(&surveys, args.switches.json)?;
        return Ok(dry_exit(&surveys));
    }
    agree(args, &mut all, &surveys)?;
    run::execute(args, &fleet, all, context, install.parallel)
}

/// Lets a person at the terminal agree to erase disks, by typing the node's name.
fn agree(args: &Args, orders: &mut [Order], surveys: &Surveys) -> Result<(), Failure> {
    let asks = |order: &&mut Order| {
        let survey = surveys.get(&order.node).and_then(|survey| survey.as_ref().ok());
        order.consent.is_none() && survey.is_some_and(|survey| survey.token.is_some())
    };
    let alone = args.switches.json || !std::io::stdin().is_terminal();
    for order in orders.iter_mut().filter(asks) {
        let Some(Ok(survey)) = surveys.get(&order.node) else { continue };
        // Whoever cannot be asked is told the token when the machine refuses.
        if alone || survey.findings.iter().any(|finding| finding.grave) {
            continue;
        }
        let shown: BTreeMap<_, Result<Survey, _>> =
            [(order.node.clone(), Ok(survey.clone()))].into();
        report::surveys(&shown, false)?;
        let question = format!("Type {} to erase this", order.node);
        if prompt::line(&question).is_ok_and(|answer| answer == order.node.as_str()) {
            order.consent.clone_from(&survey.token);
        }
    }
    Ok(())
}

/// Says how a look at machines ends: as an installation would that fails at once.
fn dry_exit(surveys: &Surveys) -> Exit {
    let one = |survey: &Result<Survey, _>| match survey {
        Err(error) => advice::exit(error),
        Ok(survey) if survey.findings.iter().any(|finding| finding.grave) => Exit::InstallRefused,
        Ok(_) => Exit::Ok,
    };
    let mut exits: Vec<Exit> = surveys.values().map(one).collect();
    exits.dedup();
    match exits.as_slice() {
        [exit] => *exit,
        [] => Exit::Failure,
        _ => Exit::InstallMixed,
    }
}
