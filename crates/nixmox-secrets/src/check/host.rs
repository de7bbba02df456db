//! The check of one host's files, and of any sealed file from outside.

use std::collections::BTreeSet;

use nixmox_signing::DeliveryError;
use nixmox_sops::{EncryptedFile, Finding, Format, Identities, Recipient, is_sops};
use nixmox_topology::NodeName;
use nixmox_tree::SecretTree;

use super::{Check, Problem, ProblemKind, causes};
use crate::Error;
use crate::base::Base;
use crate::hosts::{Generated, HostFiles};
use crate::trust::{Beside, generation_of, structure};

impl Check<'_> {
    /// Checks a host's files without opening them.
    pub(super) fn outside_of_host(
        &self,
        host: &NodeName,
        files: &HostFiles,
    ) -> Result<Vec<Problem>, Error> {
        let mut problems = Vec::new();
        let mut found =
            |file: &Generated, kind| problems.push(Problem { path: file.place().clone(), kind });
        let (key, public) = match (&files.key.bytes, &files.public.bytes) {
            (Some(key), Some(_)) => (key, files.public_key()),
            (None, None) if files.sealed.bytes.is_none() => return Ok(problems),
            _ => {
                let missing = [&files.key, &files.public].into_iter().filter(|f| f.bytes.is_none());
                missing.for_each(|file| found(file, ProblemKind::Missing));
                return Ok(problems);
            }
        };
        let admins = self.admins.need_key(host, &files.key.path)?;
        let kinds = from_outside((key, Format::Binary), admins);
        kinds.into_iter().for_each(|kind| found(&files.key, kind));
        let [next, _] = &files.next;
        if let Some(bytes) = &next.bytes {
            let kinds = from_outside((bytes, Format::Binary), admins);
            kinds.into_iter().for_each(|kind| found(next, kind));
        }
        match (public, &files.sealed.bytes) {
            (Err(error), _) => found(&files.public, ProblemKind::Malformed(causes(&error))),
            (Ok(public), Some(bytes)) => {
                let keys = std::iter::once(public).chain(files.next_public_key().ok());
                let owner: Vec<_> =
                    keys.filter_map(|key| Recipient::parse(&key.age_recipient()).ok()).collect();
                let kinds = from_outside((bytes, Format::Yaml), &owner);
                kinds.into_iter().for_each(|kind| found(&files.sealed, kind));
            }
            (Ok(_), None) => {}
        }
        for file in files.all() {
            if file.strayed.is_some() {
                found(file, ProblemKind::Misplaced(file.path.clone()));
            }
        }
        if let (Some(delivery), Some(_)) = (&self.delivery, &files.sealed.bytes) {
            match delivery.judge(host, files) {
                Some(Ok(_)) => {}
                Some(Err(error)) => found(&files.sealed, ProblemKind::BadSignature(causes(&error))),
                None => found(&files.sealed, ProblemKind::Unsigned),
            }
        }
        Ok(problems)
    }
}

/// Tells whether a host's signed file is older than the last one on record.
pub(super) fn older(base: &Base<'_>, host: &NodeName, files: &HostFiles) -> Option<Problem> {
    base.delivery.as_ref()?;
    let (found, seen) = (generation_of(files)?, base.generation(host));
    let error = DeliveryError::RolledBack { found, seen };
    let kind = || ProblemKind::BadSignature(error.to_string());
    (found < seen).then(|| Problem { path: files.sealed.place().clone(), kind: kind() })
}

/// Checks one sealed file without opening it: its form, and whom it names and really is sealed to.
pub(super) fn from_outside((bytes, format): (&[u8], Format), to: &[Recipient]) -> Vec<ProblemKind> {
    if !is_sops(bytes, format) {
        return vec![ProblemKind::Plaintext];
    }
    let file = match EncryptedFile::parse(bytes, format) {
        Ok(file) => file,
        Err(error) => return vec![ProblemKind::Malformed(causes(&error))],
    };
    let labels: BTreeSet<String> = file.recipients().into_iter().map(str::to_owned).collect();
    let wanted: BTreeSet<String> = to.iter().map(ToString::to_string).collect();
    let mut kinds = Vec::new();
    if labels != wanted {
        kinds.push(ProblemKind::Recipients {
            missing: wanted.difference(&labels).cloned().collect(),
            extra: labels.difference(&wanted).cloned().collect(),
        });
    }
    kinds.extend(file.audit().iter().map(|finding| ProblemKind::Unsound(place(finding))));
    kinds
}

/// Says which rule of strict files is broken, and where.
fn place(finding: &Finding) -> String {
    let path = finding.path.to_string();
    let rule = finding.kind.name();
    if path.is_empty() { rule.to_owned() } else { format!("{rule} at `{path}`") }
}

/// Opens a host's files and compares them with what they should hold.
pub(super) fn inside_of_host(
    (identities, delivery): (&Identities, Option<&Beside>),
    (host, wanted): (&NodeName, Option<&SecretTree>),
    files: &HostFiles,
) -> Option<Problem> {
    let problem = |file: &Generated, kind| Some(Problem { path: file.place().clone(), kind });
    match (wanted, &files.sealed.bytes) {
        (None, Some(_)) => return problem(&files.sealed, ProblemKind::Orphan),
        (Some(_), None) => return problem(&files.sealed, ProblemKind::Missing),
        (None, None) if files.key.bytes.is_none() => return None,
        _ => {}
    }
    let key = match files.open_key(identities) {
        Ok(key) => key,
        Err(error) => return problem(&files.key, ProblemKind::Unopened(causes(&error))),
    };
    let wanted = wanted?;
    let file = match files.open_sealed(&key) {
        Ok(file) => file,
        Err(error) => return problem(&files.sealed, ProblemKind::Unopened(causes(&error))),
    };
    match file.documents().to_tree() {
        Err(error) => problem(&files.sealed, ProblemKind::Malformed(error.to_string())),
        Ok(held) if held == *wanted => {
            // Who signed may have stated something else about the values than that they are these.
            let signed = delivery.and_then(|delivery| delivery.judge(host, files))?.ok()?.1;
            let stated = signed.danger_statement().structure;
            let kind = || ProblemKind::BadSignature(DeliveryError::Structure.to_string());
            (stated != structure(file.data_key(), host, &held))
                .then(|| Problem { path: files.sealed.place().clone(), kind: kind() })
        }
        Ok(held) => problem(&files.sealed, ProblemKind::Outdated(differing(&held, wanted))),
    }
}

/// Names the leaves that only one of two trees has, or that differ.
fn differing(held: &SecretTree, wanted: &SecretTree) -> Vec<String> {
    let mut names = BTreeSet::new();
    for (one, other) in [(held, wanted), (wanted, held)] {
        one.for_each_leaf(&mut |path, value| {
            if other.at(path) != Some(value) {
                names.insert(path.join("."));
            }
        });
    }
    names.into_iter().collect()
}
