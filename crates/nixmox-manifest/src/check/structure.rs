use super::Context;
use crate::finding::{Code, Finding};

/// Names that mean something else to a tool that makes things of services.
const RESERVED: [&str; 20] = [
    "all",
    "any",
    "common",
    "core-services",
    "current",
    "default",
    "each",
    "false",
    "local",
    "localhost",
    "module",
    "null",
    "path",
    "postgres",
    "public",
    "self",
    "services",
    "terraform",
    "true",
    "user",
];

pub(super) fn check(context: &Context<'_>, out: &mut Vec<Finding>) {
    names(context, out);
    both_sections(context, out);
}

fn names(context: &Context<'_>, out: &mut Vec<Finding>) {
    for service in &context.view.services {
        let name = service.name;
        let shown = name.escape_debug();
        let finding = |label: &str| {
            let message = format!("`{shown}` cannot be the name of a service");
            Finding::new(Code::M006, message).at(service.key, label)
        };
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if RESERVED.contains(&name) {
            out.push(finding("this name is taken"));
        } else if name.len() > 63 {
            out.push(finding("longer than 63 characters"));
        } else if !name.starts_with(|c: char| c.is_ascii_lowercase())
            || !name.bytes().all(fits)
            || name.ends_with('-')
        {
            let better: String = name.to_lowercase().replace(['_', '.', ' '], "-");
            let help = better.bytes().all(fits).then(|| format!("write `{better}`"));
            let label = "lower-case letters, digits and inner dashes, a letter first";
            out.push(finding(label).maybe_help(help.filter(|_| better != name)));
        }
    }
}

fn both_sections(context: &Context<'_>, out: &mut Vec<Finding>) {
    let manifest = context.manifest;
    let (Some(core), Some(apps)) = (&manifest.core_services, &manifest.services) else { return };
    for (name, app) in &apps.value {
        if let Some(first) = core.value.get(name) {
            let message = format!("`{name}` stands in both sections");
            out.push(
                Finding::new(Code::M005, message)
                    .at(app.key, "again in services")
                    .at(first.key, "first in core_services")
                    .help("rename one of the two, or remove it"),
            );
        }
    }
}
