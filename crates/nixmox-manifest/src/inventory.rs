//! Services as hosts: which groups and hosts a manifest makes, and where their names are written.

use nixmox_topology::{Area, Declaration, DeclarationKind};
use thiserror::Error;

use crate::check::Report;
use crate::decode::find;
use crate::finding::{Code, Finding};
use crate::load::Loaded;
use crate::model::Section;
use crate::read::{self, Format};
use crate::source::{Data, Entry, Node, Place, Sources};

/// The group above both sections.
const ALL: &str = "all";

/// The services of a manifest by section, as groups of hosts.
///
/// A disabled service is there: it has its secrets when it is enabled again.
#[derive(Debug, Clone)]
pub struct Inventory {
    sources: Sources,
    sections: Vec<Group>,
}

/// A section that has services.
#[derive(Debug, Clone)]
struct Group {
    section: Section,
    key: Place,
    members: Vec<(String, Place)>,
}

/// A manifest does not tell which services there are.
#[derive(Debug, Clone, Error)]
#[error("the manifest does not tell its services")]
pub struct InventoryError {
    sources: Sources,
    findings: Vec<Finding>,
    needs_nix: bool,
}

impl InventoryError {
    /// Returns the files that were read.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Returns what is wrong with them.
    pub fn report(&self) -> Report {
        Report { findings: self.findings.clone() }
    }

    /// Tells whether the text goes beyond the embedded evaluator, so that a real Nix may know more.
    pub fn needs_nix(&self) -> bool {
        self.needs_nix
    }
}

impl Inventory {
    /// Reads the names of services and nothing else of a manifest; `import` is as for [`Loaded::with_imports`].
    ///
    /// What services are set to does not matter here, and may be wrong.
    ///
    /// # Errors
    ///
    /// [`InventoryError`] when the text cannot be read, a section is no set, or one service is in both.
    pub fn read(
        source: (&str, &str),
        format: Format,
        import: &(dyn Fn(&str) -> Option<String> + Sync),
    ) -> Result<Self, InventoryError> {
        match read::read(source, format, import) {
            Ok((sources, node)) => Self::of_tree(sources, &node),
            Err(unread) => Err(InventoryError {
                sources: unread.sources,
                findings: vec![unread.finding],
                needs_nix: unread.needs_nix,
            }),
        }
    }

    /// Takes what a real Nix says about a file: the names of services, each with its section and a point before it.
    pub fn of_names(file: &str, names: &[String]) -> Self {
        let group = |section: Section| {
            let own = names.iter().filter_map(|name| name.strip_prefix(section.name()));
            let own = own.filter_map(|name| name.strip_prefix('.'));
            let members = own.map(|name| (name.to_owned(), Place::default())).collect();
            Group { section, key: Place::default(), members }
        };
        Self { sources: Sources::one(file, ""), sections: filled(Section::ALL.map(group)) }
    }

    /// Lists the services of a manifest that was read already; none when it could not be.
    pub fn of(loaded: &Loaded) -> Self {
        let group = |section: Section| {
            let manifest = loaded.manifest();
            let map = manifest.and_then(|manifest| manifest.section(section));
            let members = map.iter().flat_map(|map| map.value.iter());
            Group {
                section,
                key: map.map(|map| map.key).unwrap_or_default(),
                members: members.map(|(name, service)| (name.clone(), service.key)).collect(),
            }
        };
        Self { sources: loaded.sources().clone(), sections: filled(Section::ALL.map(group)) }
    }

    fn of_tree(sources: Sources, node: &Node) -> Result<Self, InventoryError> {
        let mut findings = Vec::new();
        let no_set = |what: &str, node: &Node| {
            let message = format!("{what} must be a set, not {}", node.type_name());
            Finding::new(Code::M004, message).at(node.place, node.type_name())
        };
        let mut sections = Vec::new();
        match &node.data {
            Data::Map(entries) => {
                for section in Section::ALL {
                    let Some(entry) = find(entries, section.name()) else { continue };
                    match &entry.node.data {
                        Data::Null => {}
                        Data::Map(services) => sections.push(group(section, entry, services)),
                        _ => findings.push(no_set(section.name(), &entry.node)),
                    }
                }
            }
            _ => findings.push(no_set("the manifest", node)),
        }
        if let [core, rest] = sections.as_slice() {
            findings.extend(twice(core, rest));
        }
        match findings.is_empty() {
            true => Ok(Self { sources, sections: filled(sections) }),
            false => Err(InventoryError { sources, findings, needs_nix: false }),
        }
    }

    /// Lists the groups with their members: `all`, then the sections that have any.
    pub fn groups(&self) -> Vec<(&'static str, Vec<&str>)> {
        let sections = self.sections.iter().map(|group| {
            let members = group.members.iter().map(|(name, _)| name.as_str());
            (group.section.name(), members.collect())
        });
        let names: Vec<&str> = self.sections.iter().map(|group| group.section.name()).collect();
        let all = (!names.is_empty()).then_some((ALL, names));
        all.into_iter().chain(sections).collect()
    }

    /// Returns the groups and hosts as the declarations that a topology is built of, each with its place.
    pub fn declarations(&self) -> Vec<Declaration> {
        let lines = Lines::new(&self.sources);
        let declare = |name: &str, place: Place, kind: DeclarationKind| Declaration {
            name: name.to_owned(),
            area: Area::Public,
            kind,
            file: lines.shown(place),
        };
        let mut declarations = Vec::new();
        for group in &self.sections {
            let members = group.members.iter().map(|(name, _)| name.clone()).collect();
            let kind = DeclarationKind::Section { members };
            declarations.push(declare(group.section.name(), group.key, kind));
            let services = group.members.iter();
            declarations.extend(
                services.map(|(name, place)| declare(name, *place, DeclarationKind::Service)),
            );
        }
        if let Some(first) = self.sections.first() {
            let members = self.sections.iter().map(|group| group.section.name().to_owned());
            let kind = DeclarationKind::Group { members: members.collect() };
            declarations.push(declare(ALL, first.key, kind));
        }
        declarations
    }
}

fn group(section: Section, entry: &Entry, services: &[Entry]) -> Group {
    let there = services.iter().filter(|service| !matches!(service.node.data, Data::Null));
    let members = there.map(|service| (service.name.clone(), service.key)).collect();
    Group { section, key: entry.key, members }
}

/// Leaves out sections without services: a group has members.
fn filled(groups: impl IntoIterator<Item = Group>) -> Vec<Group> {
    groups.into_iter().filter(|group| !group.members.is_empty()).collect()
}

fn twice<'g>(core: &'g Group, rest: &'g Group) -> impl Iterator<Item = Finding> + 'g {
    // Both are sorted by name.
    let first =
        |name: &str| core.members.binary_search_by(|(core, _)| core.as_str().cmp(name)).ok();
    rest.members.iter().filter_map(move |(name, place)| {
        let (_, earlier) = core.members.get(first(name)?)?;
        let message = format!("`{}` stands in both sections", name.escape_debug());
        let finding = Finding::new(Code::M005, message).at(*place, "again in services");
        Some(finding.at(*earlier, "first in core_services"))
    })
}

/// Where the lines of each file begin, so that a thousand places are shown in one pass over the text.
struct Lines<'s> {
    sources: &'s Sources,
    starts: Vec<Vec<usize>>,
}

impl<'s> Lines<'s> {
    fn new(sources: &'s Sources) -> Self {
        let starts = |text: &str| {
            let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
            std::iter::once(0).chain(ends.map(|(at, _)| at.saturating_add(1))).collect()
        };
        let starts = sources.files().iter().map(|file| starts(&file.text)).collect();
        Self { sources, starts }
    }

    /// Shows a place as `file:line:column`, or the file alone where that is all that is known.
    fn shown(&self, place: Place) -> String {
        let Some(file) = self.sources.file(place) else { return "the manifest".to_owned() };
        let known = self.starts.get(place.file()).filter(|_| !file.text.is_empty());
        let Some(starts) = known else { return file.name.clone() };
        let at = place.range().start;
        let line = starts.partition_point(|start| *start <= at);
        let start = line.checked_sub(1).and_then(|line| starts.get(line)).copied();
        let before = file.text.get(start.unwrap_or_default()..at).unwrap_or_default();
        format!("{}:{line}:{}", file.name, before.chars().count().saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "core_services.caddy.ip = 3\nservices.mail = {}\n[services.git]\n";

    fn read(text: &str) -> Result<Inventory, InventoryError> {
        Inventory::read(("m.toml", text), Format::Toml, &|_| None)
    }

    #[test]
    fn sections_are_groups_below_all_whatever_their_services_are_set_to() {
        let inventory = read(TEXT).expect("two sections");
        let groups = inventory.groups();
        let expect = [
            ("all", vec!["core_services", "services"]),
            ("core_services", vec!["caddy"]),
            ("services", vec!["git", "mail"]),
        ];
        assert_eq!(groups, expect);
        let loaded = Loaded::from_text(("m.toml", TEXT), Format::Toml);
        assert_eq!(Inventory::of(&loaded).groups(), expect);
    }

    #[test]
    fn declarations_have_places() {
        let declared = read(TEXT).expect("two sections").declarations();
        let shown: Vec<String> =
            declared.iter().map(|d| format!("{} {}", d.name, d.file)).collect();
        let expect = [
            "core_services m.toml:1:1",
            "caddy m.toml:1:15",
            "services m.toml:2:1",
            "git m.toml:3:11",
            "mail m.toml:2:10",
            "all m.toml:1:1",
        ];
        assert_eq!(shown, expect);
    }

    #[test]
    fn what_hides_a_service_is_an_error() {
        #[track_caller]
        fn check(text: &str, message: &str) {
            let error = read(text).expect_err("an error");
            assert_eq!(error.report().findings[0].message, message);
        }
        check("services = 3", "services must be a set, not a whole number");
        check("core_services.a.x = 1\nservices.a.x = 1", "`a` stands in both sections");
        check(
            "= 1",
            "the file is not TOML: unquoted keys cannot be empty, expected letters, numbers, `-`, `_`",
        );
    }

    #[test]
    fn names_of_a_real_nix_have_the_file_alone() {
        let names = ["core_services.caddy", "services.mail", "other.x"].map(str::to_owned);
        let inventory = Inventory::of_names("m.nix", &names);
        assert_eq!(inventory.groups()[2], ("services", vec!["mail"]));
        assert_eq!(inventory.declarations()[1].file, "m.nix");
    }
}
