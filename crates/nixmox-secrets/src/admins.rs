//! Who may open what: the recipients that `.sops.yaml` names, held against those that an admin vouched for.

use std::collections::{BTreeMap, BTreeSet};

use nixmox_sops::Recipient;
use nixmox_topology::NodeName;

use crate::Error;
use crate::digests::Digests;
use crate::fleet::Fleet;
use crate::store::RelPath;
use crate::trust::{levels, parse_recipients};

/// The recipients of everything that admins open: by the roster, or else by `.sops.yaml` as it is.
pub(crate) struct Admins {
    /// Of the master.
    pub(crate) master: Vec<Recipient>,
    /// Of each host's private key; hosts for which no rule names anybody are left out.
    keys: BTreeMap<NodeName, Vec<Recipient>>,
}

/// Recipients that nobody has vouched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewAdmins {
    pub(crate) added: BTreeSet<String>,
    pub(crate) removed: BTreeSet<String>,
}

/// Returns the recipients of the master alone.
pub(crate) fn of_master(fleet: &Fleet) -> Result<Vec<Recipient>, Error> {
    match fleet.roster() {
        Some(roster) => Ok(parse_recipients(&roster.current().recipients())?),
        None => fleet.rules()?.recipients(&fleet.layout.master()?),
    }
}

impl Admins {
    /// Asks the roster, or else the rules, for the master and for the key of every host.
    pub(crate) fn read(fleet: &Fleet) -> Result<Self, Error> {
        let master = of_master(fleet)?;
        if let Some(roster) = fleet.roster() {
            let roster = roster.current();
            let of = |host| parse_recipients(&roster.recipients_of_key(&levels(fleet, host)));
            let keys = fleet.topology.hosts().map(|host| Ok((host.clone(), of(host)?)));
            return Ok(Self { master, keys: keys.collect::<Result<_, Error>>()? });
        }
        let rules = fleet.rules()?;
        let mut keys = BTreeMap::new();
        for host in fleet.topology.hosts() {
            let path = fleet.layout.host(&fleet.topology.dir(host))?.key;
            match rules.recipients(&path) {
                Ok(recipients) => drop(keys.insert(host.clone(), recipients)),
                // It matters only if the host ever gets a key.
                Err(Error::NoRecipients { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self { master, keys })
    }

    /// Returns the recipients of a host's key; none when no rule names any.
    pub(crate) fn of_key(&self, host: &NodeName) -> &[Recipient] {
        self.keys.get(host).map(Vec::as_slice).unwrap_or_default()
    }

    /// Returns the recipients of a host's key, whose sealed file is `path`.
    ///
    /// # Errors
    ///
    /// [`Error::NoRecipients`] when no rule names any.
    pub(crate) fn need_key(&self, host: &NodeName, path: &RelPath) -> Result<&[Recipient], Error> {
        match self.of_key(host) {
            [] => Err(Error::NoRecipients { path: path.clone() }),
            recipients => Ok(recipients),
        }
    }

    /// Names the recipients of the master.
    pub(crate) fn of_master(&self) -> BTreeSet<String> {
        names(&self.master)
    }

    /// Names the recipients of a host's key where they are others than the master's.
    pub(crate) fn apart(&self, host: &NodeName) -> Option<BTreeSet<String>> {
        self.keys.get(host).map(|keys| names(keys)).filter(|keys| *keys != self.of_master())
    }

    /// Finds recipients that the digests do not vouch for; without digests nobody is vouched for.
    ///
    /// File by file: that somebody may open one of them says nothing about the others. A host without a record asks
    /// for nobody's leave as long as only those can open it who can open the master anyway; `counted` tells whether
    /// it gets a key at all. Labels in sealed files are no evidence: anybody can write them.
    pub(crate) fn since(
        &self,
        known: Option<&Digests>,
        labels: &BTreeSet<String>,
        counted: impl Fn(&NodeName) -> bool,
    ) -> Option<NewAdmins> {
        let master = self.of_master();
        let nobody = BTreeSet::new();
        let trusted = known.map_or(&nobody, |known| &known.admins);
        let old = if known.is_some() { trusted } else { labels };
        let mut added: BTreeSet<String> = master.difference(trusted).cloned().collect();
        let mut removed: BTreeSet<String> = old.difference(&master).cloned().collect();
        for (host, keys) in &self.keys {
            let keys = names(keys);
            match known.and_then(|known| known.hosts.get(host.as_ref())) {
                Some(record) => {
                    let old = record.admins.as_ref().unwrap_or(trusted);
                    added.extend(keys.difference(old).cloned());
                    removed.extend(old.difference(&keys).cloned());
                }
                None if counted(host) => added.extend(keys.difference(trusted).cloned()),
                None => {}
            }
        }
        let any = !(added.is_empty() && removed.is_empty());
        any.then_some(NewAdmins { added, removed })
    }
}

pub(crate) fn names(recipients: &[Recipient]) -> BTreeSet<String> {
    recipients.iter().map(ToString::to_string).collect()
}
