//! `.sops.yaml` as the roster has it, so that plain sops goes on working.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use nixmox_signing::Roster;

use super::{TrustError, levels};
use crate::Error;
use crate::fleet::{Fleet, Pending};
use crate::rules::Rules;
use crate::store::RelPath;

const HEAD: &str = "\
# Written by nixmox-secrets from its signed roster, which alone decides who opens the secrets of this fleet.
# To change it: nixmox-secrets recipients
";
const BEGIN: &str =
    "# begin: written by nixmox-secrets from its signed roster; change it with `recipients`";
const END: &str = "# end: written by nixmox-secrets";

/// How the recipients of a file by the rules differ from those by the roster.
#[derive(Default)]
struct Difference {
    strangers: BTreeSet<String>,
    lacking: bool,
}

/// Finds recipients that `.sops.yaml` names for files of the fleet and the roster does not.
pub(crate) fn strangers(fleet: &Fleet) -> Result<Option<(RelPath, Vec<String>)>, Error> {
    let Some(rules) = &fleet.rules else { return Ok(None) };
    let Some(difference) = difference(fleet, rules)? else { return Ok(None) };
    let strangers: Vec<String> = difference.strangers.into_iter().collect();
    Ok((!strangers.is_empty()).then(|| (rules.path.clone(), strangers)))
}

/// Writes `.sops.yaml` anew where it lacks somebody, such as for a host that is new in a group.
///
/// Somebody who is too many in it is never taken out silently: that is for a person to see.
pub(crate) fn keep_in_step(fleet: &mut Fleet) -> Result<(), Error> {
    if fleet.roster.is_none() {
        return Ok(());
    }
    let behind = match &fleet.rules {
        None => true,
        Some(rules) => {
            difference(fleet, rules)?.is_some_and(|d| d.lacking && d.strangers.is_empty())
        }
    };
    if behind { rewrite(fleet) } else { Ok(()) }
}

/// Writes `.sops.yaml` as the fleet's roster has it; what others wrote in it for other files stays.
pub(super) fn rewrite(fleet: &mut Fleet) -> Result<(), Error> {
    let Some(roster) = fleet.roster.as_ref().map(|files| files.chain.current()) else {
        return Ok(());
    };
    let path = match &fleet.rules {
        Some(rules) => rules.path.clone(),
        None => RelPath::parse(".sops.yaml")?,
    };
    let old = fleet.read(&path)?;
    let text = text(fleet, (&path, roster), old.as_deref())?;
    let rules = Rules::parse(path.clone(), text.as_bytes())?;
    let unwritable = || TrustError::UnwritableRules { path: path.clone() };
    let left = difference(fleet, &rules).map_err(|_| unwritable())?;
    if left.is_none_or(|left| left.lacking || !left.strangers.is_empty()) {
        return Err(unwritable().into());
    }
    let base = old.as_deref().map(crate::store::sha256);
    fleet.pending.push(Pending { path, base, bytes: text.into_bytes() });
    fleet.rules = Some(rules);
    Ok(())
}

fn difference(fleet: &Fleet, rules: &Rules) -> Result<Option<Difference>, Error> {
    let Some(roster) = fleet.roster.as_ref().map(|files| files.chain.current()) else {
        return Ok(None);
    };
    let mut found = Difference::default();
    found.compare(rules, &fleet.layout.master()?, &roster.recipients())?;
    for host in fleet.topology.hosts() {
        let key = fleet.layout.host(&fleet.topology.dir(host))?.key;
        found.compare(rules, &key, &roster.recipients_of_key(&levels(fleet, host)))?;
    }
    Ok(Some(found))
}

impl Difference {
    fn compare(
        &mut self,
        rules: &Rules,
        path: &RelPath,
        wanted: &BTreeSet<&str>,
    ) -> Result<(), Error> {
        let named = match rules.recipients(path) {
            Ok(named) => named.iter().map(ToString::to_string).collect(),
            Err(Error::NoRecipients { .. }) => BTreeSet::new(),
            Err(error) => return Err(error),
        };
        self.lacking |= wanted.iter().any(|name| !named.contains(*name));
        self.strangers.extend(named.into_iter().filter(|name| !wanted.contains(name.as_str())));
        Ok(())
    }
}

/// Makes the new text from the old one.
fn text(
    fleet: &Fleet,
    (path, roster): (&RelPath, &Roster),
    old: Option<&[u8]>,
) -> Result<String, Error> {
    let old = old.map(String::from_utf8_lossy).unwrap_or_default();
    let apart = apart(fleet, (path, roster))?;
    if is_plain(&old) {
        let mut text = format!("{HEAD}creation_rules:\n");
        apart.iter().for_each(|(keys, names)| rule(&mut text, "  ", Some(keys), names));
        rule(&mut text, "  ", None, &roster.recipients());
        return Ok(text);
    }
    let home = path.as_str().strip_suffix(".sops.yaml").unwrap_or_default();
    let master = fleet.layout.master()?;
    let master = escaped(master.as_str().strip_prefix(home).unwrap_or(master.as_str()));
    let mut lines: Vec<&str> = old.lines().collect();
    let at = |lines: &[&str], what: &str| lines.iter().position(|line| line.trim() == what);
    if let (Some(begin), Some(end)) = (at(&lines, BEGIN), at(&lines, END)) {
        lines.drain(begin.min(end)..=end);
    }
    let Some(head) = at(&lines, "creation_rules:") else {
        return Err(TrustError::UnwritableRules { path: path.clone() }.into());
    };
    let (before, after) = lines.split_at(head.saturating_add(1));
    let first = after.iter().find(|line| line.trim_start().starts_with("- "));
    let indent: String =
        first.map_or("  ", |line| line).chars().take_while(|c| *c == ' ').collect();
    let mut block = format!("{indent}{BEGIN}\n");
    apart.iter().for_each(|(keys, names)| rule(&mut block, &indent, Some(keys), names));
    let own =
        format!(r"^{master}$|(^|/)ssh_host_ed25519_key(\.next)?$|(^|/)\.nixmox/generated\.yaml$");
    rule(&mut block, &indent, Some(&own), &roster.recipients());
    let _ = writeln!(block, "{indent}{END}");
    let lines = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    Ok(format!("{}{block}{}", lines(before), lines(after)))
}

/// Gathers the hosts whose keys others open too: a pattern of their paths for each set of recipients.
fn apart<'a>(
    fleet: &Fleet,
    (path, roster): (&RelPath, &'a Roster),
) -> Result<Vec<(String, BTreeSet<&'a str>)>, Error> {
    let home = path.as_str().strip_suffix(".sops.yaml").unwrap_or_default();
    let everything = roster.recipients();
    let mut sets: BTreeMap<BTreeSet<&str>, Vec<String>> = BTreeMap::new();
    for host in fleet.topology.hosts() {
        let names = roster.recipients_of_key(&levels(fleet, host));
        if names != everything {
            let key = fleet.layout.host(&fleet.topology.dir(host))?.key;
            let seen = key.as_str().strip_prefix(home).unwrap_or(key.as_str());
            sets.entry(names).or_default().push(escaped(seen));
        }
    }
    let pattern = |paths: Vec<String>| format!("^({})$", paths.join("|"));
    Ok(sets.into_iter().map(|(names, paths)| (pattern(paths), names)).collect())
}

fn rule(text: &mut String, indent: &str, pattern: Option<&str>, names: &BTreeSet<&str>) {
    let first = match pattern {
        Some(pattern) => format!("{indent}- path_regex: '{pattern}'\n{indent}  age:\n"),
        None => format!("{indent}- age:\n"),
    };
    text.push_str(&first);
    names.iter().for_each(|name| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{indent}    - {name}");
    });
}

/// Escapes a path for a pattern: of what paths have, only the dot and the plus mean something else there.
fn escaped(path: &str) -> String {
    path.replace('.', r"\.").replace('+', r"\+")
}

/// Tells whether a text may be replaced as a whole: it is ours, or one rule that names recipients for everything.
fn is_plain(old: &str) -> bool {
    let ours = old.starts_with(HEAD);
    let mut lines = old.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    let plain = lines.all(|line| {
        let item = line.strip_prefix("- ").unwrap_or(line);
        let item = item.strip_prefix("age:").map_or(item, str::trim);
        let item = item.trim_matches(['"', '\'', ',']);
        line == "creation_rules:"
            || matches!(item, "" | ">-" | "|" | ">")
            || item
                .split(',')
                .all(|name| ["age1", "ssh-"].iter().any(|start| name.trim().starts_with(start)))
    });
    let rules = old.lines().filter(|line| line.trim_start().starts_with("- age:")).count();
    ours || (plain && rules <= 1)
}
