use std::collections::BTreeMap;

use nixmox_nix::{Binding, ErrorKind, Limits, Located, LocatedAttr, bindings, eval_located};
use serde_json::Value;

use super::{MAX_DEPTH, Unread};
use crate::finding::{Code, Finding};
use crate::source::{Data, Entry, Node, Place, SourceFile, Sources};

/// Reads a text through the embedded evaluator.
pub(super) fn read(
    (name, text): (&str, &str),
    import: &(dyn Fn(&str) -> Option<String> + Sync),
) -> Result<(Sources, Node), Unread> {
    let (files, result) = eval_located((name, text), import, &Limits::default());
    let files = files.into_iter().map(|file| SourceFile { name: file.name, text: file.text });
    let sources = Sources::new(files.collect());
    match result {
        Ok(value) => {
            let node = node(value, Place::default());
            Ok((sources, node))
        }
        Err(error) => {
            let kind = error.error.kind();
            let place = Place::new(error.file, error.error.span().range());
            let needs_nix = matches!(
                kind,
                ErrorKind::Unsupported(_) | ErrorKind::NotAvailable(_) | ErrorKind::FunctionInData
            );
            let message = format!("the manifest does not evaluate: {kind}");
            let finding = Finding::new(Code::M001, message).at(place, "here");
            let finding = if needs_nix {
                finding.help("an installed Nix may evaluate it: `--nix`")
            } else {
                finding
            };
            Err(Unread { sources, finding, needs_nix })
        }
    }
}

/// Turns an evaluated value into a tree; a value without a place of its own has that of its name.
fn node(value: Located, fallback: Place) -> Node {
    let place = value.place.map_or(fallback, |place| Place::new(place.file, place.span.range()));
    let data = match value.data {
        nixmox_nix::Data::Null => Data::Null,
        nixmox_nix::Data::Bool(truth) => Data::Bool(truth),
        nixmox_nix::Data::Int(number) => Data::Int(number),
        nixmox_nix::Data::Float(number) => Data::Float(number),
        nixmox_nix::Data::String(text) => Data::Text(text.expose().to_owned()),
        nixmox_nix::Data::List(items) => {
            Data::List(items.into_iter().map(|item| node(item, place)).collect())
        }
        nixmox_nix::Data::Set(attrs) => Data::Map(attrs.into_iter().map(entry).collect()),
    };
    Node { data, place }
}

fn entry(attr: LocatedAttr) -> Entry {
    let key = Place::new(attr.name_place.file, attr.name_place.span.range());
    Entry { name: attr.name, key, node: node(attr.value, key) }
}

/// Makes the expression that a real Nix evaluates, as JSON and strictly: the manifest's value, and where its
/// attributes are written.
///
/// `path` is the absolute path of the manifest; the answer is read by [`crate::Loaded::from_nix`].
pub fn wrap(path: &str) -> String {
    let quoted = path.replace('\\', "\\\\").replace('"', "\\\"").replace("${", "\\${");
    let lines = [
        "let",
        "  m = import (/. + \"@\");",
        "  at = p: if p == null then null else [ (toString p.file) p.line p.column ];",
        "  go = path: v:",
        "    if builtins.isAttrs v then builtins.concatLists (map (n: let here = path ++ [ n ]; in",
        "      [ { path = here; pos = at (builtins.unsafeGetAttrPos n v); } ] ++ go here v.${n})",
        "      (builtins.attrNames v))",
        "    else if builtins.isList v then builtins.concatLists (builtins.genList",
        "      (i: go (path ++ [ i ]) (builtins.elemAt v i)) (builtins.length v))",
        "    else [ ];",
        "in { value = m; positions = go [ ] m; }",
    ];
    lines.join("\n").replace('@', &quoted)
}

/// Reads the answer of a real Nix; the files' texts widen positions to names and values.
pub(super) fn read_answer(answer: &str, files: Vec<SourceFile>) -> Result<(Sources, Node), Unread> {
    let parsed: Result<Value, _> = serde_json::from_str(answer);
    let value = parsed.as_ref().ok().and_then(|answer| answer.get("value"));
    let known = parsed.as_ref().ok().and_then(|a| a.get("positions")?.as_array());
    let (Some(value), Some(known)) = (value, known) else {
        let finding = Finding::new(Code::M001, "Nix gave no answer that can be read");
        return Err(Unread { sources: Sources::new(files), finding, needs_nix: false });
    };
    let widths: Vec<Vec<Binding>> = files.iter().map(|file| written(&file.text)).collect();
    let mut places = BTreeMap::new();
    for item in known {
        if let Some((path, key, value)) = position(item, &files, &widths) {
            places.insert(path, (key, value));
        }
    }
    let answer = Answer { places: &places };
    let node = answer.node(value, &mut Vec::new(), Place::default());
    Ok((Sources::new(files), node))
}

fn written(text: &str) -> Vec<Binding> {
    bindings(text, &Limits::default()).unwrap_or_default()
}

/// Reads one position: the path, the place of the name, and that of the value.
fn position(
    item: &Value,
    files: &[SourceFile],
    widths: &[Vec<Binding>],
) -> Option<(Vec<String>, Place, Place)> {
    let path = item.get("path")?.as_array()?.iter().map(step).collect();
    let [name, line, column] = item.get("pos")?.as_array()?.as_slice() else { return None };
    let at = files.iter().position(|file| Some(file.name.as_str()) == name.as_str())?;
    let text = &files.get(at)?.text;
    let line = usize::try_from(line.as_u64()?).ok()?.checked_sub(1)?;
    let column = usize::try_from(column.as_u64()?).ok()?.checked_sub(1)?;
    let start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let start = start.checked_add(column)?;
    // Nix names the beginning of `a.b.c`, whichever of the three is meant.
    let found = widths.get(at)?.iter().find(|binding| binding.path.start() == start);
    Some(match found {
        Some(binding) => {
            let key = Place::new(at, binding.path.range());
            (path, key, binding.value.map_or(key, |value| Place::new(at, value.range())))
        }
        None => {
            let place = Place::new(at, start..start);
            (path, place, place)
        }
    })
}

fn step(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

struct Answer<'a> {
    places: &'a BTreeMap<Vec<String>, (Place, Place)>,
}

impl Answer<'_> {
    fn node(&self, value: &Value, path: &mut Vec<String>, fallback: Place) -> Node {
        let place = self.places.get(path).map_or(fallback, |(_, value)| *value);
        let data = match value {
            _ if path.len() > MAX_DEPTH => Data::Null,
            Value::Null => Data::Null,
            Value::Bool(truth) => Data::Bool(*truth),
            Value::Number(number) => match number.as_i64() {
                Some(number) => Data::Int(number),
                None => Data::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => Data::Text(text.clone()),
            Value::Array(items) => {
                let items = items.iter().enumerate().map(|(at, item)| {
                    path.push(at.to_string());
                    let node = self.node(item, path, place);
                    path.pop();
                    node
                });
                Data::List(items.collect())
            }
            Value::Object(pairs) => {
                let entries = pairs.iter().map(|(name, value)| {
                    path.push(name.clone());
                    let key = self.places.get(path).map_or(place, |(key, _)| *key);
                    let node = self.node(value, path, key);
                    path.pop();
                    Entry { name: name.clone(), key, node }
                });
                Data::Map(entries.collect())
            }
        };
        Node { data, place }
    }
}
