//! All rules, one module a family; every finding at once.

mod auth;
mod database;
mod graph;
mod health;
mod infra;
mod network;
mod proxy;
mod secrets;
mod structure;
mod unique;

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use crate::finding::{Code, Finding, Severity};
use crate::load::Loaded;
use crate::model::Manifest;
use crate::source::Place;
use crate::view::View;
pub(crate) use auth::client_id;

/// Somebody who knows a language that is not read here: a shell, Caddy. A function of a text is one.
pub trait Judge {
    /// Judges a text.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    fn judge(&self, text: &str) -> Result<(), String>;
}

impl<F: Fn(&str) -> Result<(), String>> Judge for F {
    fn judge(&self, text: &str) -> Result<(), String> {
        self(text)
    }
}

/// What a check can know from outside of the manifest; what is left out is not checked.
#[derive(Default)]
#[non_exhaustive]
pub struct Facts<'a> {
    /// The names of all sealed secrets, such as `mail/env`.
    pub secrets: Option<BTreeSet<String>>,
    /// The certificate that the proxy has.
    pub certificate: Option<Certificate>,
    /// What the hypervisor has.
    pub capacity: Option<Capacity>,
    /// A shell that reads commands and runs none.
    pub shell: Option<&'a (dyn Judge + Sync)>,
    /// A Caddy that reads the body of a site.
    pub caddy: Option<&'a (dyn Judge + Sync)>,
    /// Whether unknown fields are errors.
    pub strict: bool,
}

/// A certificate, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The names it is for, wildcards included.
    pub names: Vec<String>,
    /// How many days it still holds; negative when it has ended.
    pub days_left: i64,
}

/// What a hypervisor has for all containers together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Processor cores.
    pub cores: i64,
    /// Memory in MiB.
    pub memory: i64,
    /// Disk in GiB.
    pub disk_gb: i64,
}

/// Everything that was found, most serious first, then in the order of the files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The findings.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Counts the findings of one severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    /// Tells whether nothing is an error, nor a warning where warnings are denied.
    pub fn passes(&self, deny_warnings: bool) -> bool {
        let bad = |severity| {
            severity == Severity::Error || deny_warnings && severity == Severity::Warning
        };
        !self.findings.iter().any(|finding| bad(finding.severity))
    }
}

/// Checks a manifest against every rule.
pub fn check(loaded: &Loaded, facts: &Facts<'_>) -> Report {
    let mut findings = loaded.findings().to_vec();
    if let Some(manifest) = loaded.manifest() {
        let context = Context::new(manifest, facts);
        let families = FAMILIES.par_iter().map(|family| {
            let mut found = Vec::new();
            family(&context, &mut found);
            found
        });
        findings.extend(families.collect::<Vec<_>>().into_iter().flatten());
    }
    for finding in &mut findings {
        if facts.strict && finding.code == Code::M003 {
            finding.severity = Severity::Error;
        }
    }
    findings.sort_by_key(|finding| (finding.severity, finding.place(), finding.code));
    findings.dedup();
    Report { findings }
}

type Family = fn(&Context<'_>, &mut Vec<Finding>);

const FAMILIES: [Family; 10] = [
    structure::check,
    network::check,
    unique::check,
    graph::check,
    proxy::check,
    database::check,
    auth::check,
    health::check,
    infra::check,
    secrets::check,
];

/// What every family looks at.
struct Context<'a> {
    manifest: &'a Manifest,
    view: View<'a>,
    facts: &'a Facts<'a>,
}

impl<'a> Context<'a> {
    fn new(manifest: &'a Manifest, facts: &'a Facts<'a>) -> Self {
        Self { manifest, view: View::new(manifest), facts }
    }
}

/// A claim: what is claimed, where, and by whom.
struct Claim {
    place: Place,
    by: String,
    what: String,
}

/// Finds what is claimed twice: the finding names the first claim and the one that repeats it.
fn twice<K: Ord + Clone>(
    claims: impl IntoIterator<Item = (K, Claim)>,
    code: Code,
    mut help: impl FnMut(&K) -> Option<String>,
) -> Vec<Finding> {
    let mut first: BTreeMap<K, Claim> = BTreeMap::new();
    let mut found = Vec::new();
    for (key, claim) in claims {
        let Some(earlier) = first.get(&key) else {
            first.insert(key, claim);
            continue;
        };
        let what = &claim.what;
        let message = if earlier.by == claim.by {
            format!("`{}` claims {what} twice", claim.by)
        } else {
            format!("`{}` and `{}` both claim {what}", earlier.by, claim.by)
        };
        let finding = Finding::new(code, message)
            .at(claim.place, format!("used again here by {}", claim.by))
            .at(earlier.place, format!("first used here by {}", earlier.by));
        found.push(finding.maybe_help(help(&key)));
    }
    found
}
