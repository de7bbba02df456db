//! What this machine knows of fleets with a roster: the last one that was seen, where, and the key to sign with.
//!
//! One file a fleet, below the user's configuration. They are the anchor of all trust in rosters, so they lie outside
//! of every repository.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use nixmox_secrets::trust::Pinned;
use nixmox_signing::{Chain, FleetId};
use serde_json::{Value, json};

use crate::config_dir;

/// What is known of one fleet.
#[derive(Debug, Clone)]
pub struct Pin {
    /// The last roster that was seen of it.
    pub pinned: Pinned,
    /// The directories in which it was seen.
    places: BTreeSet<String>,
    /// The key that signs for the user there.
    pub signing_key: Option<PathBuf>,
}

/// Finds what is known of the fleet at `root`, whose rosters are `chain`.
///
/// What was seen in this very place counts first: another fleet's roster must not pass here, nor must none.
pub fn find(root: &Path, chain: Option<&Chain>) -> Option<Pin> {
    let place = place(root);
    let all = all();
    let here = || all.iter().filter(|pin| pin.places.contains(&place));
    let same = |pin: &&Pin| chain.is_some_and(|chain| chain.fleet() == pin.pinned.fleet);
    let found = here().find(same).or_else(|| here().next()).or_else(|| all.iter().find(same));
    found.cloned()
}

/// Remembers the rosters of the fleet at `root`, which were accepted, and the key that signs for the user there.
///
/// # Errors
///
/// When the file below the user's configuration cannot be written.
pub fn remember(root: &Path, chain: &Chain, key: Option<&Path>) -> io::Result<()> {
    let Some(mut pinned) = Pinned::of(chain) else { return Ok(()) };
    let old = all().into_iter().find(|pin| pin.pinned.fleet == pinned.fleet);
    let mut places: BTreeSet<String> = [place(root)].into();
    let mut signing_key = key.map(Path::to_owned);
    if let Some(old) = old {
        let known = old.places.contains(&place(root));
        if known && old.pinned == pinned && signing_key.is_none() {
            return Ok(());
        }
        places.extend(old.places);
        signing_key = signing_key.or(old.signing_key);
        if old.pinned.generation > pinned.generation {
            pinned = old.pinned;
        }
    }
    write(&Pin { pinned, places, signing_key })
}

/// Forgets a fleet; tells whether it was known.
///
/// # Errors
///
/// When the file is there and cannot be removed.
pub fn forget(fleet: FleetId) -> io::Result<bool> {
    let Some(path) = directory().map(|dir| dir.join(format!("{fleet}.json"))) else {
        return Ok(false);
    };
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        other => other.map(|()| true),
    }
}

fn directory() -> Option<PathBuf> {
    Some(config_dir()?.join("nixmox/fleets"))
}

/// Names a fleet's directory in the one way that does not depend on where the user stands.
fn place(root: &Path) -> String {
    fs::canonicalize(root).unwrap_or_else(|_| root.to_owned()).display().to_string()
}

fn all() -> Vec<Pin> {
    let entries = directory().and_then(|dir| fs::read_dir(dir).ok());
    let mut paths: Vec<PathBuf> =
        entries.into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().filter_map(|path| read(&fs::read(path).ok()?)).collect()
}

fn read(bytes: &[u8]) -> Option<Pin> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    let places = value.get("places")?.as_array()?.iter();
    Some(Pin {
        pinned: Pinned {
            fleet: text("fleet")?.parse().ok()?,
            generation: value.get("generation")?.as_u64()?,
            roster: text("roster")?.parse().ok()?,
        },
        places: places.filter_map(Value::as_str).map(str::to_owned).collect(),
        signing_key: text("signing_key").map(PathBuf::from),
    })
}

fn write(pin: &Pin) -> io::Result<()> {
    let dir = directory().ok_or_else(|| io::Error::other("there is no home directory"))?;
    let value = json!({
        "fleet": pin.pinned.fleet.to_string(),
        "generation": pin.pinned.generation,
        "roster": pin.pinned.roster.to_string(),
        "places": pin.places,
        "signing_key": pin.signing_key.as_ref().map(|path| path.display().to_string()),
    });
    replace(&dir.join(format!("{}.json", pin.pinned.fleet)), format!("{value:#}\n").as_bytes())
}

/// Writes a file of the user's as a whole, readable by him alone; makes its directory.
///
/// # Errors
///
/// When the directory cannot be made or the file not written.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let dir = path.parent().ok_or_else(|| io::Error::other("it has no directory"))?;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
