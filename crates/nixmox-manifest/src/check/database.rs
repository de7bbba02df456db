use std::collections::{BTreeMap, BTreeSet};

use super::{Claim, Context, twice};
use crate::finding::{Code, Finding, Severity};
use crate::similar::did_you_mean;
use crate::source::Place;
use crate::view::{DATABASE_PORT, DATABASE_SERVER, Held, Listed};

/// Extensions that come with PostgreSQL 16 in its contrib packages, and `plpgsql`.
const EXTENSIONS: [&str; 46] = [
    "adminpack",
    "amcheck",
    "autoinc",
    "bloom",
    "btree_gin",
    "btree_gist",
    "citext",
    "cube",
    "dblink",
    "dict_int",
    "dict_xsyn",
    "earthdistance",
    "file_fdw",
    "fuzzystrmatch",
    "hstore",
    "insert_username",
    "intagg",
    "intarray",
    "isn",
    "lo",
    "ltree",
    "moddatetime",
    "old_snapshot",
    "pageinspect",
    "pg_buffercache",
    "pg_freespacemap",
    "pg_prewarm",
    "pg_stat_statements",
    "pg_surgery",
    "pg_trgm",
    "pg_visibility",
    "pg_walinspect",
    "pgcrypto",
    "pgrowlocks",
    "pgstattuple",
    "plpgsql",
    "postgres_fdw",
    "refint",
    "seg",
    "sslinfo",
    "tablefunc",
    "tcn",
    "tsm_system_rows",
    "tsm_system_time",
    "unaccent",
    "uuid-ossp",
];

pub(super) fn check(context: &Context<'_>, out: &mut Vec<Finding>) {
    let mut claims = Vec::new();
    let mut owners: BTreeMap<&str, (&str, Place)> = BTreeMap::new();
    for service in &context.view.services {
        for held in service.all_databases() {
            owner(service, &held, out);
            names(service, &held, out);
            extensions(&held, out);
        }
        both(service, out);
        for held in service.databases() {
            server(context, service, &held, out);
            claims.extend(claimed(service, &held));
            let (owner, place) = (held.owner(service.name), owner_place(&held));
            match owners.get(owner) {
                Some((other, first)) if *other != service.name => {
                    let message = format!(
                        "`{other}` and `{}` share the database owner `{owner}`",
                        service.name
                    );
                    let finding = Finding::new(Code::M504, message).at(place, "shared here");
                    out.push(finding.at(*first, "and here"));
                }
                Some(_) => {}
                None => {
                    owners.insert(owner, (service.name, place));
                }
            }
        }
    }
    out.extend(twice(claims, Code::M503, |_| None));
}

fn owner_place(held: &Held<'_>) -> Place {
    held.database.owner.as_ref().map_or(held.database.key, |owner| owner.place)
}

fn name_place(held: &Held<'_>) -> Place {
    held.database.name.as_ref().map_or(held.database.key, |name| name.place)
}

fn claimed(service: &Listed<'_>, held: &Held<'_>) -> Vec<(String, Claim)> {
    let claim = |name: &str, place| {
        let claim = Claim { place, by: service.path(), what: format!("the database `{name}`") };
        (name.to_owned(), claim)
    };
    let own = claim(held.name(service.name), name_place(held));
    let more = held.database.additionaldbs.iter().flat_map(|list| &list.value);
    let more = more.map(|name| claim(&name.value, name.place));
    std::iter::once(own).chain(more).collect()
}

fn server(context: &Context<'_>, service: &Listed<'_>, held: &Held<'_>, out: &mut Vec<Finding>) {
    let database = &held.database.value;
    let server = context.view.enabled(DATABASE_SERVER);
    if service.enabled() && server.is_none() {
        let message = format!("`{}` has a database, and there is no database server", service.name);
        let finding = Finding::new(Code::M508, message).at(held.database.key, "nothing holds this");
        let finding = match context.view.get(DATABASE_SERVER) {
            Some(disabled) => finding.at(disabled.key, "disabled"),
            None => finding,
        };
        out.push(finding.help("enable a core service called `postgresql`"));
    }
    let known = context.view.get(DATABASE_SERVER);
    if let (Some(host), Some(known)) = (&database.host, known)
        && context.view.host(&host.value).is_none_or(|found| found.name != known.name)
    {
        let message = format!("database host `{}` is not the database server", host.escape_debug());
        let finding = Finding::new(Code::M501, message).at(host.place, "no databases here");
        let help = known.ip().map(|ip| format!("`postgresql` is {ip}; `host` can be left out"));
        out.push(finding.at(known.key, "the server").maybe_help(help));
    }
    let own = known.and_then(|server| server.interface()?.db.as_ref()?.port.as_ref());
    let port = own.map_or(DATABASE_PORT, |port| port.value);
    if let Some(asked) = database.port.as_ref().filter(|asked| asked.value != port) {
        let message = format!("database port {} is not the server's, {port}", asked.value);
        let finding = Finding::new(Code::M509, message).at(asked.place, "nothing listens here");
        out.push(match own {
            Some(own) => finding.at(own.place, "the server's port"),
            None => finding,
        });
    }
}

fn owner(service: &Listed<'_>, held: &Held<'_>, out: &mut Vec<Finding>) {
    if held.database.owner.is_none() {
        let name = held.name(service.name);
        let owner = held.owner(service.name);
        let message = format!("database `{}` has no owner", name.escape_debug());
        let finding = Finding::new(Code::M502, message).at(held.database.key, "`owner` is missing");
        out.push(finding.help(format!("it would be `{owner}`: write owner = \"{owner}\"")));
    }
}

fn names(service: &Listed<'_>, held: &Held<'_>, out: &mut Vec<Finding>) {
    let server = service.name == DATABASE_SERVER;
    let mut names = vec![(held.name(service.name), name_place(held))];
    if let Some(owner) = &held.database.owner {
        names.push((&owner.value, owner.place));
    }
    let more = held.database.additionaldbs.iter().flat_map(|list| &list.value);
    names.extend(more.map(|name| (name.value.as_str(), name.place)));
    let mut seen = BTreeSet::new();
    for (name, place) in names.into_iter().filter(|(name, _)| !server && seen.insert(*name)) {
        let shown = name.escape_debug();
        let reserved = matches!(name, "postgres" | "template0" | "template1" | "public")
            || name.starts_with("pg_");
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        let finding =
            |message: String, label: &str| Finding::new(Code::M505, message).at(place, label);
        if reserved {
            let message = format!("`{shown}` is PostgreSQL's own name");
            out.push(finding(message, "reserved"));
        } else if name.is_empty() || name.len() > 63 || name.contains('\0') {
            let message = format!("`{shown}` is no name for a database");
            out.push(finding(message, "1 to 63 bytes"));
        } else if !name.bytes().all(plain) || name.starts_with(|c: char| c.is_ascii_digit()) {
            let message = format!("`{shown}` has to be quoted in SQL");
            out.push(finding(message, "not a plain name").severity(Severity::Note));
        }
    }
}

fn extensions(held: &Held<'_>, out: &mut Vec<Finding>) {
    for extension in held.database.extensions.iter().flat_map(|list| &list.value) {
        if !EXTENSIONS.contains(&extension.value.as_str()) {
            let message = format!("database extension `{}` is unknown", extension.escape_debug());
            let finding =
                Finding::new(Code::M506, message).at(extension.place, "not PostgreSQL's own");
            out.push(finding.maybe_help(did_you_mean(&extension.value, EXTENSIONS)));
        }
    }
}

fn both(service: &Listed<'_>, out: &mut Vec<Finding>) {
    let Some(interface) = service.interface() else { return };
    if let (Some(db), Some(dbs)) = (&interface.db, &interface.dbs) {
        let message = format!("`{}` has `db` and `dbs`", service.name);
        let finding = Finding::new(Code::M507, message).at(db.key, "one").at(dbs.key, "several");
        out.push(finding.help("move `db` into `dbs`"));
    }
}
