//! What `node.nix` and `group.nix` say about deploying.

use std::collections::{BTreeMap, BTreeSet};

use nixmox_cli::{Exit, Failure};
use nixmox_nix::{ErrorKind, Limits};
use nixmox_secrets::Fleet;
use nixmox_secrets::store::RelPath;
use nixmox_topology::NodeName;
use nixmox_tree::Value;
use serde_json::Value as Json;

/// What a node's definition says about deploying it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Where it is, with a user in front if one is meant.
    pub target_host: Option<String>,
    /// Arguments of ssh.
    pub ssh_opts: Vec<String>,
    /// Whether it builds its system itself.
    pub build_on_remote: bool,
    /// Whether commands on it go through sudo.
    pub use_remote_sudo: bool,
    /// Whether it is one of the flake's darwinConfigurations.
    pub darwin: bool,
    /// What is said about installing it.
    pub install: Install,
    /// Its tags.
    pub tags: BTreeSet<String>,
    /// What has to be true before a new system is kept.
    pub checks: Vec<String>,
    /// Where its sealed file lies on the machine, when it does not come with the system.
    pub sealed_file: Option<String>,
}

/// What a node's definition says about installing it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Install {
    /// Where the machine is before it is the node, with a user in front if one is meant.
    pub target_host: Option<String>,
    /// Arguments of ssh for then.
    pub ssh_opts: Vec<String>,
    /// Whether it builds its system itself.
    pub build_on_remote: bool,
    /// The key by which it is recognised before: a public key or its fingerprint.
    pub installer_key: Option<String>,
    /// The disks that are erased.
    pub disks: Vec<String>,
    /// Where its host key belongs.
    pub host_key_path: Option<String>,
}

/// Reads what is meant of a definition, whether it is a set or a function as modules are; everything else in it is
/// not looked at. Priorities of modules are not known here: what is nearer to the node wins.
const PICK: &str = "picked: let \
    call = x: if builtins.isFunction x then x { lib = { mkDefault = v: v; mkForce = v: v; mkIf = c: v: v; }; config = { }; pkgs = { }; } else x; \
    install = set: builtins.listToAttrs (map (n: { name = \"install.${n}\"; value = set.${n}; }) (builtins.attrNames set)); \
    read = value: (if value ? deploy then value.deploy else { }) // (if value ? os then { inherit (value) os; } else { }) \
      // (if value ? install then install value.install else { }); \
    own = name: let set = call picked; in read (if set ? ${name} then call set.${name} else { }); \
    top = read (call picked); in";

/// Reads the settings of all nodes.
pub(crate) fn read(
    fleet: &Fleet,
    nodes: &BTreeSet<NodeName>,
) -> Result<BTreeMap<NodeName, Settings>, Failure> {
    let topology = fleet.topology();
    let mut groups = BTreeMap::new();
    let mut all = BTreeMap::new();
    for node in nodes {
        let mut layers = Vec::new();
        for file in ["node.nix", "host.nix"] {
            layers.extend(definition(fleet, node, file)?.map(|text| (text, None)));
        }
        let mut names: Vec<&NodeName> = vec![node];
        for group in topology.ancestors(node) {
            if !groups.contains_key(group) {
                groups.insert(group.clone(), definition(fleet, group, "group.nix")?);
            }
            let Some(Some(text)) = groups.get(group) else { continue };
            let members = names.iter().filter(|name| topology.members(group).contains(name));
            layers.extend(members.map(|name| (text.clone(), Some(name.to_string()))));
            layers.push((text.clone(), Some("common".to_owned())));
            names.push(group);
        }
        let mut merged = BTreeMap::new();
        for (definition, member) in layers {
            for (name, value) in evaluate(fleet, &definition, member.as_deref())? {
                merged.entry(name).or_insert(value);
            }
        }
        all.insert(node.clone(), parse(node, merged)?);
    }
    Ok(all)
}

/// A file of the repository and its text.
type Definition = (RelPath, String);

fn definition(fleet: &Fleet, node: &NodeName, file: &str) -> Result<Option<Definition>, Failure> {
    for area in ["", "private/"] {
        let path = RelPath::parse(&format!("{area}nodes/{node}/{file}"));
        let path = path.map_err(|e| Failure::from_error(Exit::Failure, e))?;
        let bytes = fleet.read(&path).map_err(crate::advice::repository)?;
        if let Some(text) = bytes.and_then(|bytes| String::from_utf8(bytes).ok()) {
            return Ok(Some((path, text)));
        }
    }
    Ok(None)
}

/// Evaluates one definition here, or by the installed Nix when it is beyond the embedded evaluator.
fn evaluate(
    fleet: &Fleet,
    (path, text): &Definition,
    member: Option<&str>,
) -> Result<BTreeMap<String, Json>, Failure> {
    let what = member.map_or("top".to_owned(), |name| format!("own \"{name}\""));
    let whole = format!("({PICK} {what}) (\n{text}\n)");
    let json = match nixmox_nix::eval(&whole, &Limits::default()) {
        Ok(value) => to_json(&value),
        Err(error)
            if matches!(error.kind(), ErrorKind::Unsupported(_) | ErrorKind::NotAvailable(_)) =>
        {
            let function = format!("({PICK} {what})");
            nixmox_instantiate::foreign(fleet.store().root(), path.as_str(), &function)
                .and_then(|answer| serde_json::from_slice(&answer).ok())
                .ok_or_else(|| unread(path, error))?
        }
        Err(error) => return Err(unread(path, error)),
    };
    match json {
        Json::Object(fields) => Ok(fields.into_iter().collect()),
        _ => Ok(BTreeMap::new()),
    }
}

fn unread(path: &RelPath, error: nixmox_nix::Error) -> Failure {
    let message = format!("cannot read `deploy`, `install` and `os` of {path}");
    Failure::new(Exit::Config, message).because(error)
}

/// Turns data into JSON.
fn to_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(truth) => Json::Bool(**truth),
        Value::Int(n) => Json::from(**n),
        Value::Float(n) => Json::from(**n),
        Value::String(text) => Json::from(text.expose()),
        Value::List(items) => items.iter().map(to_json).collect(),
        Value::Tree(tree) => {
            let fields = tree.iter().map(|(name, value)| (name.to_owned(), to_json(value)));
            Json::Object(fields.collect())
        }
    }
}

fn parse(node: &NodeName, fields: BTreeMap<String, Json>) -> Result<Settings, Failure> {
    let wrong = |name: &str, wanted: &str| {
        let set = if name.starts_with("install.") { "" } else { "deploy." };
        Failure::new(Exit::Config, format!("`{set}{name}` of {node} is not {wanted}"))
    };
    let text = |name: &str| match fields.get(name) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(wrong(name, "a text")),
    };
    let flag = |name: &str| match fields.get(name) {
        None | Some(Json::Null) => Ok(false),
        Some(Json::Bool(flag)) => Ok(*flag),
        Some(_) => Err(wrong(name, "true or false")),
    };
    let texts = |name: &str| match fields.get(name) {
        None | Some(Json::Null) => Ok(Vec::new()),
        Some(Json::String(text)) => Ok(vec![text.clone()]),
        Some(Json::Array(items)) => {
            let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
            texts.collect::<Option<_>>().ok_or_else(|| wrong(name, "a list of texts"))
        }
        Some(_) => Err(wrong(name, "a list of texts")),
    };
    Ok(Settings {
        target_host: text("targetHost")?,
        ssh_opts: texts("sshOpts")?,
        build_on_remote: flag("buildOnRemote")?,
        use_remote_sudo: flag("useRemoteSudo")?,
        install: Install {
            target_host: text("install.targetHost")?,
            ssh_opts: texts("install.sshOpts")?,
            build_on_remote: flag("install.buildOnRemote")?,
            installer_key: text("install.installerKey")?,
            disks: texts("install.disks")?,
            host_key_path: text("install.hostKeyPath")?,
        },
        darwin: text("os")?.as_deref() == Some("darwin"),
        tags: texts("tags")?.into_iter().collect(),
        checks: texts("checks")?,
        sealed_file: text("sealedFile")?,
    })
}
