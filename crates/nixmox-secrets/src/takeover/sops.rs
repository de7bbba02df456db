//! A tree of sops files.

use jiff::Timestamp;
use nixmox_sops::{EncryptedFile, Format, detect};
use rand_core::{CryptoRng, RngCore};

use super::{Hosts, Into, MAX_DEPTH, MAX_FILES, Taken, TakeoverError, UNASSIGNED, Why};
use crate::fleet::FILE_LIMIT;
use crate::store::{EntryKind, RelPath, Store};

/// Takes the values of every sops file below a directory.
///
/// A file goes to the host, or the group of exactly those hosts, that are among its recipients; a group that does not
/// exist is made. What no host opens goes beside `nodes`. A binary file becomes one value with the file's name.
///
/// # Errors
///
/// [`TakeoverError`] when the tree is this fleet, cannot be read, or has no sops file.
pub fn sops(
    tree: &Store,
    into: Into<'_>,
    mut hosts: Hosts,
    (rng, now): (&mut (impl RngCore + CryptoRng), Timestamp),
) -> Result<Taken, TakeoverError> {
    let mut taken = Taken::new(into);
    let mut paths = Vec::new();
    files(tree, &RelPath::root(), 0, &mut paths, &mut taken)?;
    if let Some(rules) = tree
        .read(&RelPath::parse(".sops.yaml").map_err(crate::Error::from)?, FILE_LIMIT)
        .map_err(crate::Error::from)?
    {
        for (label, key) in anchors(&String::from_utf8_lossy(&rules)) {
            hosts.label(&key, &label);
        }
    }
    for path in paths {
        match tree.read(&path, FILE_LIMIT) {
            Ok(Some(bytes)) => file(&path, &bytes, (into, &mut hosts), &mut taken),
            Ok(None) => {}
            Err(error) => taken.left(&path, Why::Unopened(error.to_string())),
        }
    }
    if taken.files == 0 && taken.left.is_empty() {
        return Err(TakeoverError::Nothing("no sops file lies there"));
    }
    hosts.finish(into, &mut taken, (rng, now))?;
    Ok(taken)
}

/// Lists the files of a tree, without those whose names begin with a dot.
pub(super) fn files(
    tree: &Store,
    directory: &RelPath,
    depth: usize,
    found: &mut Vec<RelPath>,
    taken: &mut Taken,
) -> Result<(), TakeoverError> {
    for entry in tree.entries(directory).map_err(crate::Error::from)? {
        let Ok(path) = directory.join(&entry.name) else { continue };
        match entry.kind {
            EntryKind::Dir if depth < MAX_DEPTH => files(tree, &path, depth + 1, found, taken)?,
            EntryKind::File if found.len() < MAX_FILES => found.push(path),
            EntryKind::Symlink => taken.left(path, Why::Unopened("it is a link".to_owned())),
            _ => {}
        }
    }
    Ok(())
}

/// Takes one file, if it is sealed by sops.
fn file(path: &RelPath, bytes: &[u8], (into, hosts): (Into<'_>, &mut Hosts), taken: &mut Taken) {
    let Some(format) = detect(bytes) else { return };
    let opened = EncryptedFile::parse(bytes, format).map_err(|error| causes(&error));
    let opened = opened.and_then(|parsed| {
        let recipients: Vec<String> = parsed.recipients().into_iter().map(str::to_owned).collect();
        let file = parsed.open(into.identities).map_err(|error| causes(&error))?;
        Ok((file, recipients))
    });
    let (file, recipients) = match opened {
        Ok(opened) => opened,
        Err(cause) => return taken.left(path, Why::Unopened(cause)),
    };
    taken.files += 1;
    let openers = hosts.sort(recipients.iter().map(String::as_str));
    let stem = stem(path);
    let mut above = match hosts.node(into, &openers.hosts, stem, taken) {
        Some(node) => vec!["nodes".to_owned(), node],
        None => {
            taken.left(path, Why::NoHost);
            vec![UNASSIGNED.to_owned(), path.to_string()]
        }
    };
    let documents = file.documents();
    if documents.comments() > 0 {
        taken.left(path, Why::Comments(documents.comments()));
    }
    if documents.len() > 1 {
        taken.left(path, Why::Documents(documents.len()));
    }
    let Ok(mut tree) = documents.to_tree() else { return taken.left(path, Why::NotText) };
    if into.by_file || format == Format::Binary {
        above.push(stem.to_owned());
    }
    if format != Format::Binary {
        return taken.tree(&above, &tree, path.as_str());
    }
    // The one value of a binary file is the whole of it.
    if let (Some(value), Some(name)) = (tree.remove("data"), above.pop()) {
        let tree = [(name, value)].into_iter().collect();
        taken.tree(&above, &tree, path.as_str());
    }
}

/// Returns a file's name without its endings.
pub(super) fn stem(path: &RelPath) -> &str {
    let name = path.as_str().rsplit('/').next().unwrap_or_default();
    name.split_once('.').map_or(name, |(stem, _)| stem)
}

/// Names an error and its causes.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let all = std::iter::successors(Some(error), |error| error.source());
    all.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Finds what `.sops.yaml` calls keys: `&name age1…`.
fn anchors(text: &str) -> Vec<(String, String)> {
    let anchor = |line: &str| {
        let (_, rest) = line.split_once('&')?;
        let (name, key) = rest.split_once(char::is_whitespace)?;
        let key = key.trim().trim_matches(['"', '\'']);
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
        let is_key = key.starts_with("age1") || key.starts_with("ssh-");
        (plain && is_key).then(|| (name.to_owned(), key.to_owned()))
    };
    text.lines().filter_map(anchor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_keys_are_found() {
        let text = "keys:\n  - &admin age1abc\n  - &host_web \"ssh-ed25519 AAAA x\"\n  - *admin\na: &x y\n";
        let expect = [("admin", "age1abc"), ("host_web", "ssh-ed25519 AAAA x")];
        let expect = expect.map(|(name, key)| (name.to_owned(), key.to_owned()));
        assert_eq!(anchors(text), expect);
    }
}
