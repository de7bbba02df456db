//! The data key for everybody who is to have it: whole, or a share of it for each group.

use rand_core::{CryptoRng, RngCore};
use zeroize::Zeroizing;

use crate::cipher::DataKey;
use crate::error::SealError;
use crate::groups::KeyGroups;
use crate::metadata::Wrapped;
use crate::recipient::Recipient;
use crate::seal::{Keep, SealOptions};
use crate::{envelope, shamir};

/// The wrapped keys of one group, and those of several.
pub(crate) type WrappedKeys = (Vec<Wrapped>, Vec<Vec<Wrapped>>);

/// Wraps the key for everybody, or a share of it for everybody of each group.
pub(crate) fn wrap_all(
    key: &DataKey,
    options: &SealOptions,
    keep: Keep<'_>,
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<WrappedKeys, SealError> {
    let wrap = |recipient: &Recipient, key: &[u8]| {
        let enc = envelope::wrap(key, recipient, options.interaction.as_ref())?;
        Ok(Wrapped { recipient: recipient.to_string(), enc })
    };
    if let Some(groups) = &options.key_groups {
        if let Some(kept) = kept_groups(groups, keep) {
            return Ok((Vec::new(), kept));
        }
        let (parts, threshold) = groups.parts();
        let shares = shamir::split(key.expose(), parts, threshold, rng);
        let group = |(group, share): (&Vec<Recipient>, &Zeroizing<Vec<u8>>)| {
            group.iter().map(|recipient| wrap(recipient, share)).collect()
        };
        let groups = groups.groups().iter().zip(&shares).map(group);
        return Ok((Vec::new(), groups.collect::<Result<_, _>>()?));
    }
    let one = |recipient: &Recipient| match kept(recipient, keep) {
        Some(kept) => Ok(kept.clone()),
        None => wrap(recipient, key.expose()),
    };
    Ok((options.recipients.iter().map(one).collect::<Result<_, _>>()?, Vec::new()))
}

/// Finds the wrapped key of a recipient that stays, unless something about it looks wrong.
fn kept<'a>(recipient: &Recipient, keep: Keep<'a>) -> Option<&'a Wrapped> {
    let Keep::Everything(file) = keep else { return None };
    if !file.metadata.groups.is_empty() {
        return None;
    }
    sound(recipient, &file.metadata.age, &file.broken)
}

fn sound<'a>(
    recipient: &Recipient,
    group: &'a [Wrapped],
    broken: &[String],
) -> Option<&'a Wrapped> {
    if broken.iter().any(|label| label == recipient.as_str()) {
        return None;
    }
    let mut same = group.iter().filter(|w| w.recipient == recipient.as_str());
    let kept = same.next().filter(|_| same.next().is_none())?;
    envelope::is_for(&kept.enc, Some(recipient)).filter(|fits| *fits).map(|_| kept)
}

/// Finds the wrapped shares of the same groups; new shares do not fit old ones, so all stay or none.
fn kept_groups(groups: &KeyGroups, keep: Keep<'_>) -> Option<Vec<Vec<Wrapped>>> {
    let Keep::Everything(file) = keep else { return None };
    let old = &file.metadata.groups;
    if old.len() != groups.groups().len() || file.metadata.threshold != Some(groups.threshold()) {
        return None;
    }
    let group = |(new, old): (&Vec<Recipient>, &Vec<Wrapped>)| {
        let keys = new.iter().map(|recipient| sound(recipient, old, &file.broken).cloned());
        keys.collect::<Option<Vec<_>>>().filter(|keys| keys.len() == old.len())
    };
    groups.groups().iter().zip(old).map(group).collect()
}
