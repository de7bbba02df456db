//! What is to be done, as a file.

use std::collections::{BTreeMap, BTreeSet};

use nixmox_topology::NodeName;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Goal, Place, StorePath, System};

/// The form of the files that this version writes and reads.
const VERSION: u32 = 1;
/// The largest file that is read, in bytes.
const MAX_BYTES: usize = 32 << 20;

/// What is to be done on which nodes, and what they ran when that was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What is done with each system.
    pub goal: Goal,
    /// Where the systems come from, in words: a flake, a file.
    pub source: String,
    /// The revision of that, if it has one.
    pub revision: Option<String>,
    /// The flake's source in the store.
    pub source_path: Option<StorePath>,
    /// Whether the systems are in the hosts' stores already, and nothing is built or copied.
    pub there: bool,
    /// Whether the systems are only built.
    pub build_only: bool,
    /// The switches that a run was begun with, each with its values for each time that it was given; whoever goes on
    /// with the run takes them again. They hold no secret.
    pub switches: BTreeMap<String, Vec<Vec<String>>>,
    /// The nodes.
    pub nodes: BTreeMap<NodeName, PlannedNode>,
}

/// What is to be done on one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedNode {
    /// The system.
    pub system: System,
    /// What it ran when that was decided; unknown in a plan for hosts that were not asked.
    pub running: Option<StorePath>,
    /// Where it stands among the others.
    pub place: Place,
}

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    goal: String,
    source: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revision: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source_path: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    there: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    build_only: bool,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    switches: BTreeMap<String, Vec<Vec<String>>>,
    nodes: BTreeMap<String, Node>,
}

#[derive(Serialize, Deserialize)]
struct Node {
    toplevel: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    derivation: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    running: Option<String>,
    #[serde(default)]
    wave: usize,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    needs: BTreeSet<String>,
    #[serde(default)]
    gate: bool,
}

impl Plan {
    /// Writes the plan as JSON.
    pub fn to_json(&self) -> String {
        let nodes = self.nodes.iter().map(|(name, node)| (name.to_string(), node.to_record()));
        let file = File {
            version: VERSION,
            goal: self.goal.word().to_owned(),
            source: self.source.clone(),
            revision: self.revision.clone(),
            source_path: self.source_path.as_ref().map(ToString::to_string),
            there: self.there,
            build_only: self.build_only,
            switches: self.switches.clone(),
            nodes: nodes.collect(),
        };
        // Nothing in it can fail to be written.
        serde_json::to_string_pretty(&file).unwrap_or_default()
    }

    /// Reads a plan; whoever wrote it decides what runs on hosts.
    ///
    /// # Errors
    ///
    /// [`PlanError`] says which part is not as this version writes it.
    pub fn parse(bytes: &[u8]) -> Result<Self, PlanError> {
        if bytes.len() > MAX_BYTES {
            return Err(PlanError::TooLarge);
        }
        let file: File = serde_json::from_slice(bytes).map_err(PlanError::Json)?;
        if file.version != VERSION {
            return Err(PlanError::Version { found: file.version });
        }
        let bad = |what: &'static str| PlanError::Value { what };
        let node = |(name, node): (String, Node)| {
            let name = NodeName::parse(&name).map_err(|_| bad("name of a node"))?;
            Ok((name, node.read()?))
        };
        let path = |text: &String| StorePath::parse(text).map_err(|_| bad("store path"));
        Ok(Self {
            goal: Goal::parse(&file.goal).ok_or(bad("goal"))?,
            source: file.source,
            revision: file.revision,
            source_path: file.source_path.as_ref().map(path).transpose()?,
            there: file.there,
            build_only: file.build_only,
            switches: file.switches,
            nodes: file.nodes.into_iter().map(node).collect::<Result<_, PlanError>>()?,
        })
    }
}

impl PlannedNode {
    fn to_record(&self) -> Node {
        Node {
            toplevel: self.system.toplevel.to_string(),
            derivation: self.system.derivation.as_ref().map(ToString::to_string),
            running: self.running.as_ref().map(ToString::to_string),
            wave: self.place.wave,
            needs: self.place.needs.iter().map(ToString::to_string).collect(),
            gate: self.place.gate,
        }
    }
}

impl Node {
    fn read(self) -> Result<PlannedNode, PlanError> {
        let bad = |what: &'static str| PlanError::Value { what };
        let path = |text: String| StorePath::parse(&text).map_err(|_| bad("store path"));
        let name = |text: &String| NodeName::parse(text).map_err(|_| bad("name of a node"));
        Ok(PlannedNode {
            system: System {
                toplevel: path(self.toplevel)?,
                derivation: self.derivation.map(path).transpose()?,
            },
            running: self.running.map(path).transpose()?,
            place: Place {
                needs: self.needs.iter().map(name).collect::<Result<_, _>>()?,
                wave: self.wave,
                gate: self.gate,
            },
        })
    }
}

impl Goal {
    /// Every goal.
    pub const ALL: [Self; 5] =
        [Self::Switch, Self::Boot, Self::Test, Self::DryActivate, Self::Push];

    /// Returns its name in files and on command lines.
    pub fn word(self) -> &'static str {
        match self {
            Self::Switch => "switch",
            Self::Boot => "boot",
            Self::Test => "test",
            Self::DryActivate => "dry-activate",
            Self::Push => "push",
        }
    }

    /// Finds the goal of a name.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|goal| goal.word() == word)
    }
}

/// What is wrong with a plan.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PlanError {
    /// Nobody writes one as large.
    #[error("it is larger than any plan")]
    TooLarge,
    /// It is not JSON of the known form.
    #[error("it is not written as plans are")]
    Json(#[source] serde_json::Error),
    /// Another version wrote it.
    #[error("it has version {found}, and version {VERSION} is known")]
    Version {
        /// Which one.
        found: u32,
    },
    /// A value is not what it should be.
    #[error("a {what} in it is none")]
    Value {
        /// What it should be.
        what: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> StorePath {
        StorePath::parse(&format!("/nix/store/0123456789abcdfghijklmnpqrsvwxyz-{name}")).unwrap()
    }

    fn plan() -> Plan {
        let node = |text| NodeName::parse(text).unwrap();
        let place = Place { needs: [node("db")].into(), wave: 1, gate: true };
        let system = System { toplevel: path("web"), derivation: Some(path("web.drv")) };
        let web = PlannedNode { system, running: Some(path("old")), place };
        Plan {
            goal: Goal::DryActivate,
            source: "path:/fleet".into(),
            revision: Some("abc".into()),
            source_path: Some(path("source")),
            there: true,
            build_only: true,
            switches: [("batch".to_owned(), vec![vec!["1".to_owned()], vec!["2".to_owned()]])]
                .into(),
            nodes: [(node("web"), web)].into(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(Plan::parse(plan().to_json().as_bytes()).unwrap(), plan());
    }

    #[test]
    fn what_is_wrong_is_named() {
        #[track_caller]
        fn check(from: &str, to: &str, expect: &str) {
            let text = plan().to_json();
            assert!(text.contains(from));
            let error = Plan::parse(text.replace(from, to).as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), expect);
        }
        check("\"version\": 1", "\"version\": 2", "it has version 2, and version 1 is known");
        check("dry-activate", "reboot", "a goal in it is none");
        check("\"web\"", "\"../x\"", "a name of a node in it is none");
        check("/nix/store/", "/tmp/", "a store path in it is none");
        check("{", "[", "it is not written as plans are");
    }
}
