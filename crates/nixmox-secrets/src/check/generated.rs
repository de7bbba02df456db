//! The check of what belongs to declared values.

use nixmox_generate::Records;
use nixmox_sops::Format;
use nixmox_tree::SecretTree;

use super::{Problem, ProblemKind, causes, from_outside};
use crate::Error;
use crate::base::Base;
use crate::edit::Options;
use crate::fleet::Fleet;
use crate::generated::{Declared, Settled, View, file, public as parts};
use crate::hosts::Generated;

/// Checks the form and the recipients of the sealed file.
pub(super) fn outside(fleet: &Fleet, problems: &mut Vec<Problem>) -> Result<(), Error> {
    let found = Generated::read_generated(fleet)?;
    let Some(bytes) = &found.bytes else { return Ok(()) };
    let admins = fleet.rules()?.recipients(&fleet.layout.master()?)?;
    let place = found.place();
    let kinds = from_outside((bytes, Format::Yaml), &admins).into_iter();
    problems.extend(kinds.map(|kind| Problem { path: place.clone(), kind }));
    if let Some(stray) = found.strayed {
        problems.push(Problem { path: stray, kind: ProblemKind::Misplaced(found.path) });
    }
    Ok(())
}

/// Puts the made values into the tree, and finds what is wrong with their file.
pub(super) fn values(
    base: &Base<'_>,
    nodes: SecretTree,
    (fleet, options): (&Fleet, &Options<'_>),
) -> Result<(Settled, Vec<Problem>), Error> {
    let declared = Declared::find(&fleet.topology, nodes)?;
    let place = base.generated.place().clone();
    let mut problems = Vec::new();
    let mut found = |kind| problems.push(Problem { path: place.clone(), kind });
    let key = base.master.file.as_ref().map(nixmox_sops::DecryptedFile::data_key);
    let mut records = Records::default();
    match file::open(&base.generated, key, options.identities) {
        Ok(Some(opened)) => {
            if !opened.vouched {
                found(ProblemKind::UnvouchedFile);
            }
            records = opened.records;
        }
        Ok(None) => {}
        Err(error) => found(ProblemKind::Unopened(causes(&error))),
    }
    let differing = declared.differing(&records)?;
    if !differing.is_empty() {
        found(ProblemKind::Outdated(differing));
    }
    Ok((View::new(declared, records).into_settled(), problems))
}

/// Compares the files of public parts with what they should hold.
pub(super) fn public(
    base: &Base<'_>,
    settled: &Settled,
    fleet: &Fleet,
) -> Result<Vec<Problem>, Error> {
    let wanted = settled.public(fleet)?;
    let mut problems = Vec::new();
    for (path, bytes) in &wanted {
        let kind = match base.public.get(path) {
            None => ProblemKind::Missing,
            Some(found) if found != bytes => ProblemKind::AlteredPublic,
            Some(_) => continue,
        };
        problems.push(Problem { path: path.clone(), kind });
    }
    let strays = base.public.iter().filter(|(path, _)| !wanted.contains_key(*path));
    let strays = strays.filter(|(_, bytes)| parts::is_ours(bytes));
    problems
        .extend(strays.map(|(path, _)| Problem { path: path.clone(), kind: ProblemKind::Orphan }));
    Ok(problems)
}
