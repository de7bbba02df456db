//! The services of a manifest, beside or instead of what `nodes/` declares.

use nixmox_manifest::{FILE_NAMES, Format, Inventory, Loaded, MAX_BYTES};

use crate::Error;
use crate::error::ManifestProblem;
use crate::fleet::AskNix;
use crate::store::{RelPath, Store};

/// Finds the fleet's manifest, and reads it.
fn manifest(store: &Store) -> Result<Option<(RelPath, Vec<u8>)>, Error> {
    for name in FILE_NAMES {
        let path = RelPath::parse(name)?;
        if let Some(bytes) = store.read(&path, MAX_BYTES)? {
            return Ok(Some((path, bytes)));
        }
    }
    Ok(None)
}

/// Learns which services the fleet's manifest has, if it has one; a real Nix is asked where it has to be.
pub(crate) fn read(store: &Store, ask_nix: &AskNix<'_>) -> Result<Option<Inventory>, Error> {
    let Some((path, bytes)) = manifest(store)? else { return Ok(None) };
    let fail = |problem| Error::Manifest { path: path.clone(), problem };
    let text = String::from_utf8(bytes).map_err(|_| fail(ManifestProblem::NotUtf8))?;
    let format = Format::of_name(path.as_str()).unwrap_or(Format::Nix);
    let import = |name: &str| import(store, name);
    match Inventory::read((path.as_str(), &text), format, &import) {
        Ok(inventory) => Ok(Some(inventory)),
        Err(error) => match ask_nix(&path).filter(|_| error.needs_nix()) {
            Some(names) => Ok(Some(Inventory::of_names(path.as_str(), &names))),
            None => Err(fail(ManifestProblem::Unread(Box::new(error)))),
        },
    }
}

/// Reads the whole of the fleet's manifest, if it has one.
pub(crate) fn load(store: &Store) -> Result<Option<(RelPath, Loaded)>, Error> {
    let Some((path, bytes)) = manifest(store)? else { return Ok(None) };
    let fail = |problem| Error::Manifest { path: path.clone(), problem };
    let text = String::from_utf8(bytes).map_err(|_| fail(ManifestProblem::NotUtf8))?;
    let format = Format::of_name(path.as_str()).unwrap_or(Format::Nix);
    let import = |name: &str| import(store, name);
    let loaded = Loaded::with_imports((path.as_str(), &text), format, &import);
    Ok(Some((path, loaded)))
}

/// Reads a file that the manifest imports: below the fleet, and through no link.
fn import(store: &Store, name: &str) -> Option<String> {
    let path = RelPath::parse(name).ok()?;
    let file = match store.has_dir(&path) {
        Ok(true) => path.join("default.nix").ok()?,
        _ => path,
    };
    String::from_utf8(store.read(&file, MAX_BYTES).ok()??).ok()
}
