//! The part of a plan that is about the ages of values.

use std::collections::BTreeSet;

use jiff::Timestamp;
use nixmox_tree::SecretTree;

use super::Planner;
use crate::ages::Ages;
use crate::base::Base;
use crate::digests::DigestKey;
use crate::store::{Changes, Mode};

impl Planner<'_> {
    /// Records when values were last changed, where that is asked for or a value is still to be changed.
    pub(super) fn ages(
        &self,
        policy: bool,
        nodes: &SecretTree,
        key: &DigestKey,
        now: Timestamp,
    ) -> Option<Vec<u8>> {
        let old = self.base.ages.bytes.as_deref().and_then(Ages::parse);
        let nothing = BTreeSet::new();
        let exposed = self.request.renewal.map_or(&nothing, |renewal| &renewal.exposed);
        if !policy && exposed.is_empty() && !old.as_ref().is_some_and(Ages::any_exposed) {
            return None;
        }
        let old_key = self.request.master.file.as_ref();
        let old_key = old_key.map(|file| DigestKey::derive(file.data_key()));
        let known = old_key.as_ref().zip(old.as_ref());
        let ages = Ages::record(known, key, nodes, exposed, now);
        let ages = if policy { ages } else { ages.exposed_alone() };
        (policy || ages.any_exposed()).then(|| ages.to_bytes())
    }
}

impl Base<'_> {
    /// Writes the record of the values' ages, or removes the one that nobody needs any more.
    pub(super) fn write_ages(&self, ages: Option<Vec<u8>>, changes: &mut Changes) {
        let old = &self.ages;
        changes.expect(old.place().clone(), old.base());
        if let Some(stray) = &old.strayed {
            changes.expect(old.path.clone(), None);
            changes.remove(stray.clone());
        }
        match ages {
            Some(ages) if old.strayed.is_none() && old.bytes.as_ref() == Some(&ages) => {}
            Some(ages) => changes.write(old.path.clone(), ages, Mode::Public),
            None if old.bytes.is_some() => changes.remove(old.place().clone()),
            None => {}
        }
    }
}
