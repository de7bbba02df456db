//! The drill: do the keys of all admins open what they should, today, before they are needed?

use std::collections::BTreeMap;

use nixmox_sops::{DecryptError, EncryptedFile, Format, Identities, Proof, detect};
use rayon::prelude::*;

use crate::Error;
use crate::fleet::Fleet;
use crate::hosts::{Generated, HostFiles};
use crate::store::RelPath;

/// What a drill showed.
#[derive(Debug)]
pub struct Drill {
    /// Each recipient that the files name, with what was shown of it.
    pub recipients: BTreeMap<String, Drilled>,
    /// Files that no key at hand opens, with the cause.
    pub closed: Vec<(RelPath, String)>,
    /// How many files were tried: the master, generated values, and every host's private keys.
    pub files: usize,
}

/// What was shown of one recipient.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Drilled {
    /// How many files name it.
    pub named: usize,
    /// How many of these its own wrapped key opened, with a key at hand.
    pub opened: usize,
    /// Whether its key is at hand.
    pub held: bool,
    /// Files whose wrapped key for it does not open with its own key.
    pub failed: Vec<RelPath>,
    /// Files whose wrapped key for it opens with somebody else's key: the label lies.
    pub others: Vec<RelPath>,
}

impl Drilled {
    /// Tells whether its own key opened every file that names it.
    pub fn is_proved(&self) -> bool {
        self.held && self.opened == self.named && self.others.is_empty()
    }
}

impl Drill {
    /// Puts together what two sets of keys showed.
    pub fn merge(&mut self, other: Self) {
        self.closed.retain(|(path, _)| other.closed.iter().any(|(closed, _)| closed == path));
        self.files = self.files.max(other.files);
        for (recipient, shown) in other.recipients {
            let of = self.recipients.entry(recipient).or_default();
            of.named = of.named.max(shown.named);
            of.opened = of.opened.max(shown.opened);
            of.held |= shown.held;
            of.failed.extend(shown.failed);
            of.others.extend(shown.others);
        }
    }
}

/// Tries keys on the master, on generated values and on every host's private keys, recipient by recipient.
///
/// # Errors
///
/// What reading the fleet's files gives; a file that does not open is no error but part of the answer.
pub fn drill(fleet: &Fleet, identities: &Identities) -> Result<Drill, Error> {
    let layout = &fleet.layout;
    let twin = if layout.private { Some(layout.public_twin().master()?) } else { None };
    let master = Generated::read(fleet, layout.master()?, twin)?;
    let hosts = HostFiles::read_all(fleet)?;
    let generated = Generated::read_generated(fleet)?;
    let keys = hosts.values().flat_map(|files| {
        let [next, _] = &files.next;
        [(&files.key, Some(Format::Binary)), (next, Some(Format::Binary))]
    });
    let files: Vec<_> = [(&master, None), (&generated, None)].into_iter().chain(keys).collect();
    let tried: Vec<_> =
        files.par_iter().filter_map(|(file, f)| tried(file, *f, identities)).collect();
    // A key that does not say its recipient may be anybody's.
    let anonymous = identities.len() > identities.recipients().len();
    let mut drill = Drill { recipients: BTreeMap::new(), closed: Vec::new(), files: tried.len() };
    for Tried { path, labels, proofs } in tried {
        match proofs {
            Err(cause) => {
                // One of the other admins may open it all the same, and then nobody else would tell.
                let known = identities.recipients();
                for label in labels.into_iter().filter(|l| known.iter().any(|k| k.as_str() == l)) {
                    let of = drill.recipients.entry(label).or_default();
                    of.named += 1;
                    of.held = true;
                    of.failed.push(path.clone());
                }
                drill.closed.push((path, cause));
            }
            Ok(proofs) => {
                for proof in proofs {
                    let held = proof.held || (proof.opened && anonymous);
                    let of = drill.recipients.entry(proof.recipient).or_default();
                    of.named += 1;
                    of.held |= held;
                    of.opened += usize::from(proof.opened && held);
                    match (held, proof.opened) {
                        (true, false) => of.failed.push(path.clone()),
                        (false, true) => of.others.push(path.clone()),
                        _ => {}
                    }
                }
            }
        }
    }
    Ok(drill)
}

/// What came of trying the keys on one file.
struct Tried {
    path: RelPath,
    /// Whom it names.
    labels: Vec<String>,
    proofs: Result<Vec<Proof>, String>,
}

/// Tries the keys on one file; nothing for a file that is not there.
fn tried(file: &Generated, format: Option<Format>, identities: &Identities) -> Option<Tried> {
    let bytes = file.bytes.as_ref()?;
    let format = format.or_else(|| detect(bytes)).unwrap_or(Format::Yaml);
    let path = file.place().clone();
    let parsed = match EncryptedFile::parse(bytes, format) {
        Ok(parsed) => parsed,
        Err(error) => {
            return Some(Tried { path, labels: Vec::new(), proofs: Err(error.to_string()) });
        }
    };
    let proofs = parsed.prove(identities).map_err(|error| match error {
        DecryptError::NoUsableKey { .. } => "no key at hand opens it".to_owned(),
        error => error.to_string(),
    });
    let labels = parsed.recipients().into_iter().map(str::to_owned).collect();
    Some(Tried { path, labels, proofs })
}
