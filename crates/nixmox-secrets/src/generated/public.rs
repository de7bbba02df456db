//! Public parts of generated values, in the clear beside each host's sealed file, for Nix to read.

use std::collections::BTreeMap;

use nixmox_topology::Area;
use nixmox_tree::{SecretTree, Value};
use rayon::prelude::*;
use serde_json::{Map, Value as Json};

use crate::Error;
use crate::fleet::Fleet;
use crate::layout::Layout;
use crate::store::RelPath;

/// The name of the file.
pub(crate) const NAME: &str = "public.json";
/// What tells the file from somebody else's of the same name.
const MARK: &str =
    "{\n  \"_nixmox\": \"public parts of generated secrets; written by nixmox-secrets\"";

/// Writes the public parts of one host; `None` when there are none.
pub(crate) fn to_bytes(parts: &SecretTree) -> Option<Vec<u8>> {
    if parts.is_empty() {
        return None;
    }
    let mut text = MARK.to_owned();
    for (name, value) in parts {
        let value = format!("{:#}", json(value)).replace('\n', "\n  ");
        text += &format!(",\n  {}: {value}", Json::from(name.as_str()));
    }
    text += "\n}\n";
    Some(text.into_bytes())
}

/// Public parts are texts and sets of texts.
fn json(value: &Value) -> Json {
    match value {
        Value::Tree(tree) => {
            let entries = tree.iter().map(|(name, value)| (name.clone(), json(value)));
            Json::Object(entries.collect::<Map<_, _>>())
        }
        value => value.as_str().map(Json::from).unwrap_or_default(),
    }
}

/// Tells whether this tool wrote a file, or somebody who wants it to look so.
pub(crate) fn is_ours(bytes: &[u8]) -> bool {
    bytes.starts_with(MARK.as_bytes())
}

/// Reads every file of this name beside hosts' files, whoever wrote it.
pub(crate) fn read_all(fleet: &Fleet) -> Result<BTreeMap<RelPath, Vec<u8>>, Error> {
    let read = |(area, directory): &(Area, String)| {
        let private = *area == Area::Private;
        let path = Layout { private, ..fleet.layout.clone() }.public_parts(directory)?;
        Ok(fleet.read(&path)?.map(|bytes| (path, bytes)))
    };
    // Of several errors always the first directory's, whichever thread was faster.
    let found: Vec<Result<_, Error>> = fleet.public_dirs.par_iter().map(read).collect();
    found.into_iter().filter_map(Result::transpose).collect()
}
