use nixmox_cli::{Exit, Failure};
use nixmox_manifest::{Inventory, Outputs, secret};
use serde::Serialize;
use serde_json::{Value, json};

use super::{load, sound};
use crate::args::Args;
use crate::print::{print_escaped, print_json};

fn value(of: &impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(of).map_err(|e| Failure::from_error(Exit::Failure, e))
}

/// Prints what each host is given.
pub(crate) fn json(args: &Args, host: Option<&str>) -> Result<(), Failure> {
    let loaded = load(args)?;
    let outputs = Outputs::new(sound(&loaded)?);
    let Some(host) = host else { return print_json(&value(&outputs)?) };
    let Some(document) = outputs.hosts.get(host) else {
        let names: Vec<&str> = outputs.hosts.keys().map(String::as_str).collect();
        return Err(Failure::new(Exit::BadPath, format!("there is no enabled host `{host}`"))
            .hint(format!("there are {}", names.join(", "))));
    };
    print_json(&value(document)?)
}

/// Lists the names of the secrets that the manifest needs.
pub(crate) fn secrets(args: &Args) -> Result<(), Failure> {
    let loaded = load(args)?;
    let secrets = secret::implied(sound(&loaded)?);
    if args.switches.json {
        let list = secrets.iter().map(|s| json!({ "name": s.name, "hosts": s.hosts }));
        return print_json(&list.collect());
    }
    let line = |s: &secret::Secret| format!("{}  for {}\n", s.name, s.hosts.join(", "));
    print_escaped(&secrets.iter().map(line).collect::<String>())
}

/// Lists the groups that the manifest makes of its services.
pub(crate) fn inventory(args: &Args) -> Result<(), Failure> {
    let loaded = load(args)?;
    sound(&loaded)?;
    let inventory = Inventory::of(&loaded);
    let groups = inventory.groups();
    if args.switches.json {
        let map = groups.iter().map(|(name, members)| ((*name).to_owned(), json!(members)));
        return print_json(&Value::Object(map.collect()));
    }
    let line = |(name, members): &(&str, Vec<&str>)| format!("{name}: {}\n", members.join(", "));
    print_escaped(&groups.iter().map(line).collect::<String>())
}
