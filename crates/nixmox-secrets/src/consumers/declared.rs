//! What a configuration declares, as Nix or a manifest of sops-nix says it in JSON.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

/// The most secrets that a configuration may declare.
const MAX_SECRETS: usize = 100_000;

/// The secrets that one host's configuration declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// In order of their names.
    pub secrets: Vec<Secret>,
}

/// One declared secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// Its name.
    pub name: String,
    /// Its key in the file: names joined with `/`; empty for the whole file.
    pub key: String,
    /// The file that it is to come from; `None` when nothing is said.
    pub file: Option<String>,
    /// SHA-256 of that file when the configuration was evaluated.
    pub hash: Option<String>,
    /// The format that the file is to be read in.
    pub format: Option<String>,
    /// The mode of the file that sops-nix writes.
    pub mode: Option<String>,
}

/// Why a text does not say what is declared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeclaredError {
    /// It is not JSON.
    #[error("it is not JSON")]
    Json(#[from] serde_json::Error),
    /// It is JSON, and neither a set of secrets nor a manifest with a list of them.
    #[error("it is neither `sops.secrets` nor a manifest of sops-nix")]
    Shape,
    /// An entry is not a declared secret.
    #[error("secret `{0}`: `{1}` has the wrong type")]
    Secret(String, &'static str),
    /// There are more secrets than anybody has.
    #[error("more than {MAX_SECRETS} secrets")]
    TooMany,
}

impl Declared {
    /// Reads `config.sops.secrets` as `nix eval --json` prints it, or a manifest of sops-install-secrets.
    ///
    /// # Errors
    ///
    /// [`DeclaredError`]; unknown fields are no error.
    pub fn parse(text: &[u8]) -> Result<Self, DeclaredError> {
        Self::from_json(&serde_json::from_slice(text)?)
    }

    /// Declares secrets by their keys alone.
    pub fn of_keys(keys: impl IntoIterator<Item = String>) -> Self {
        let secret = |key: String| Secret {
            name: key.clone(),
            key,
            file: None,
            hash: None,
            format: None,
            mode: None,
        };
        let mut secrets: Vec<Secret> = keys.into_iter().map(secret).collect();
        secrets.sort_by(|a, b| a.name.cmp(&b.name));
        Self { secrets }
    }

    #[cfg(test)]
    pub(super) fn from_json_of(json: &Value) -> Self {
        Self::from_json(json).unwrap()
    }

    fn from_json(json: &Value) -> Result<Self, DeclaredError> {
        let top = json.as_object().ok_or(DeclaredError::Shape)?;
        let entries: Vec<(String, &Value)> = match top.get("secrets") {
            Some(Value::Array(list)) => list
                .iter()
                .map(|entry| {
                    let name = entry.get("name").and_then(Value::as_str);
                    Ok((name.ok_or(DeclaredError::Shape)?.to_owned(), entry))
                })
                .collect::<Result<_, DeclaredError>>()?,
            _ => top.iter().map(|(name, entry)| (name.clone(), entry)).collect(),
        };
        if entries.len() > MAX_SECRETS {
            return Err(DeclaredError::TooMany);
        }
        let mut secrets: Vec<Secret> = entries
            .into_iter()
            .map(|(name, entry)| Secret::from_json(name, entry))
            .collect::<Result<_, _>>()?;
        secrets.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { secrets })
    }
}

/// Reads declarations of several hosts: a set of sets by the names of hosts.
///
/// # Errors
///
/// As for [`Declared::parse`].
pub fn by_host(text: &[u8]) -> Result<BTreeMap<String, Declared>, DeclaredError> {
    let json: Value = serde_json::from_slice(text)?;
    let hosts = json.as_object().ok_or(DeclaredError::Shape)?;
    hosts.iter().map(|(host, entry)| Ok((host.clone(), Declared::from_json(entry)?))).collect()
}

impl Secret {
    fn from_json(name: String, entry: &Value) -> Result<Self, DeclaredError> {
        let Some(fields) = entry.as_object() else { return Err(DeclaredError::Shape) };
        let text = |field: &'static str| text(fields, field, &name);
        Ok(Self {
            key: text("key")?.unwrap_or_else(|| name.clone()),
            file: text("sopsFile")?,
            hash: text("sopsFileHash")?.filter(|hash| !hash.is_empty()),
            format: text("format")?.filter(|format| !format.is_empty()),
            mode: text("mode")?,
            name,
        })
    }
}

fn text(
    fields: &Map<String, Value>,
    field: &'static str,
    name: &str,
) -> Result<Option<String>, DeclaredError> {
    match fields.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(DeclaredError::Secret(name.to_owned(), field)),
    }
}

/// Takes the part off a path that Nix or the fleet's place adds: `/nix/store/HASH-source/` and the root.
///
/// A single file in the store has lost its directory: its name alone is left.
pub(super) fn without_store(path: &str, root: &Path) -> String {
    if let Some(below) = path.strip_prefix("/nix/store/") {
        return match below.split_once('/') {
            Some((_, inside)) => inside.to_owned(),
            None => below.split_once('-').map_or(below, |(_, name)| name).to_owned(),
        };
    }
    let below = Path::new(path).strip_prefix(root).ok().and_then(Path::to_str);
    below.unwrap_or(path).trim_start_matches("./").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nix_prints_is_read() {
        let text = br#"{"b":{"key":"x/y","sopsFile":"/nix/store/h-source/a.yaml","mode":"0400","uid":0},"a":{}}"#;
        let declared = Declared::parse(text).unwrap();
        let short: Vec<_> = declared.secrets.iter().map(|s| (&*s.name, &*s.key)).collect();
        assert_eq!(short, [("a", "a"), ("b", "x/y")]);
    }

    #[test]
    fn other_json_is_refused() {
        #[track_caller]
        fn check(text: &str, expect: &str) {
            let error = Declared::parse(text.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), expect, "{text}");
        }
        check("", "it is not JSON");
        check("[]", "it is neither `sops.secrets` nor a manifest of sops-nix");
        check("{\"a\":1}", "it is neither `sops.secrets` nor a manifest of sops-nix");
        check("{\"a\":{\"key\":1}}", "secret `a`: `key` has the wrong type");
        check("{\"secrets\":[{}]}", "it is neither `sops.secrets` nor a manifest of sops-nix");
        check(&"[".repeat(10_000), "it is not JSON");
    }

    #[test]
    fn paths_lose_what_nix_added() {
        #[track_caller]
        fn check(path: &str, expect: &str) {
            assert_eq!(without_store(path, Path::new("/home/a/fleet")), expect);
        }
        check("/nix/store/abc-source/nodes/h/secrets.yaml", "nodes/h/secrets.yaml");
        check("/nix/store/abc-secrets.yaml", "secrets.yaml");
        check("/home/a/fleet/nodes/h/secrets.yaml", "nodes/h/secrets.yaml");
        check("./x.yaml", "x.yaml");
        check("/elsewhere/x.yaml", "/elsewhere/x.yaml");
    }
}
