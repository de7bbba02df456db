//! Plaintext that this and other tools leave behind, told by path and content.

use nixmox_sops::{detect, is_age};

/// A file that should not be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Leftover {
    /// What Nixverse leaves in `build/`: the master, values of hosts, hosts' age keys.
    Nixverse,
    /// A decrypted copy, by its name: `x.dec.yaml`, `.decrypted~x.yaml`.
    Decrypted,
    /// An editor's copy of a file of secrets: `secrets.yaml~`, `.secrets.nix.swp`.
    EditorCopy,
    /// A private SSH key that is not sealed.
    PrivateKey,
    /// A file with an age identity.
    AgeIdentity,
    /// A master that is not sealed.
    PlainMaster,
}

impl Leftover {
    /// Names the finding for scripts; the names are stable.
    pub fn code(self) -> &'static str {
        match self {
            Self::Nixverse => "leftover-nixverse",
            Self::Decrypted => "leftover-decrypted",
            Self::EditorCopy => "leftover-editor",
            Self::PrivateKey => "unsealed-private-key",
            Self::AgeIdentity => "identity-in-tree",
            Self::PlainMaster => "plaintext-master",
        }
    }

    /// Tells whether it is a copy that can go: what it holds is sealed elsewhere or made anew.
    ///
    /// A key or a master may be the only one there is.
    pub fn is_copy(self) -> bool {
        matches!(self, Self::Nixverse | Self::Decrypted | Self::EditorCopy)
    }
}

/// Tells whether bytes are sealed, by sops or age; such a file is never a leftover and never removed.
pub fn is_sealed(bytes: &[u8]) -> bool {
    is_age(bytes) || detect(bytes).is_some()
}

/// Tells what a file is a leftover of, if it is one.
///
/// `path` is relative to the fleet, `content` the file's, or its first part when it is large; `is_node` knows the
/// names of hosts and groups.
pub fn leftover(path: &str, content: &[u8], is_node: &dyn Fn(&str) -> bool) -> Option<Leftover> {
    if content.trim_ascii().is_empty() {
        return None;
    }
    let found = by_name(path, content, is_node).or_else(|| by_content(content));
    // Parsing costs most, and few files get here.
    found.filter(|_| !is_sealed(content))
}

fn by_name(path: &str, content: &[u8], is_node: &dyn Fn(&str) -> bool) -> Option<Leftover> {
    let path = path.strip_prefix("private/").unwrap_or(path);
    let name = path.rsplit('/').next().unwrap_or(path);
    let build: Vec<&str> = path.split('/').skip_while(|part| *part == "build").collect();
    let in_build = path.starts_with("build/");
    match build.as_slice() {
        ["secrets.nix" | "secrets.json"] if in_build => return Some(Leftover::Nixverse),
        [.., node, "age.key"] if in_build && is_node(node) => return Some(Leftover::Nixverse),
        [.., file] if in_build && file.strip_suffix(".json").is_some_and(is_node) => {
            return Some(Leftover::Nixverse);
        }
        [.., node, file] if in_build && is_node(node) && file.ends_with(".json") => {
            return Some(Leftover::Nixverse);
        }
        _ => {}
    }
    if name.contains(".dec.") || name.ends_with(".dec") || name.starts_with(".decrypted~") {
        return Some(Leftover::Decrypted);
    }
    let swap = [".swp", ".swo", ".swn"].iter().any(|end| name.ends_with(end));
    let copy = swap || name.ends_with('~') || (name.starts_with('#') && name.ends_with('#'));
    if copy && name.trim_start_matches(['.', '#']).starts_with("secrets.") {
        return Some(Leftover::EditorCopy);
    }
    // agenix has a `secrets.nix` too: rules, without a secret in them.
    let rules = || String::from_utf8_lossy(content).contains("publicKeys");
    match path {
        "secrets.nix" if !rules() => Some(Leftover::PlainMaster),
        "secrets.yaml" | "secrets.plain.yaml" | "secrets.plain.nix" => Some(Leftover::PlainMaster),
        _ => None,
    }
}

fn by_content(content: &[u8]) -> Option<Leftover> {
    const IDENTITY: &[u8] = b"AGE-SECRET-KEY-1";
    let start = content.trim_ascii_start();
    let first = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if first.starts_with(b"-----BEGIN ") && first.trim_ascii_end().ends_with(b"PRIVATE KEY-----") {
        return Some(Leftover::PrivateKey);
    }
    let is_identity = |line: &[u8]| {
        let key = line.trim_ascii();
        key.starts_with(IDENTITY) && key.len() == 74 && key.iter().all(u8::is_ascii_graphic)
    };
    content.split(|byte| *byte == b'\n').any(is_identity).then_some(Leftover::AgeIdentity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, content: &str, expect: Option<Leftover>) {
        let is_node = |name: &str| ["web", "w1"].contains(&name);
        assert_eq!(leftover(path, content.as_bytes(), &is_node), expect, "{path}");
    }

    #[test]
    fn leftovers_are_told_by_name() {
        use Leftover::{Decrypted, EditorCopy, Nixverse, PlainMaster};
        check("build/secrets.nix", "{ }", Some(Nixverse));
        check("private/build/secrets.nix", "{ }", Some(Nixverse));
        check("build/w1.json", "{}", Some(Nixverse));
        check("build/nodes/w1.json", "{}", Some(Nixverse));
        check("build/w1/secrets.json", "{}", Some(Nixverse));
        check("build/w1/age.key", "AGE-SECRET-KEY-1…", Some(Nixverse));
        check("build/package.json", "{}", None);
        check("w1.json", "{}", None);
        check("a/secrets.dec.yaml", "a: b", Some(Decrypted));
        check(".decrypted~secrets.yaml", "a: b", Some(Decrypted));
        check("secrets.yaml~", "a: b", Some(EditorCopy));
        check("nodes/w1/.secrets.yaml.swp", "x", Some(EditorCopy));
        check("notes.txt~", "x", None);
        check("secrets.nix", "{ nodes = { }; }", Some(PlainMaster));
        check("secrets.nix", "{ \"a.age\".publicKeys = [ ]; }", None);
        check("secrets.yaml", "nodes: {}", Some(PlainMaster));
        check("nodes/w1/secrets.nix", "{ }", None);
        check("build/secrets.nix", " \n", None);
    }

    #[test]
    fn keys_are_told_by_content_and_sealed_files_left_alone() {
        let key = "AGE-SECRET-KEY-1F25QHFTUQA8VPCNKXE8KSJX8XM3KQ8PAKE2PKZRN96SZ7NG5WLJSTVA09K";
        check("x", &format!("# mine\n{key}\n"), Some(Leftover::AgeIdentity));
        check("x", "AGE-SECRET-KEY-1 is how they start", None);
        check("x", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3\n", Some(Leftover::PrivateKey));
        check("x", "-----BEGIN RSA PRIVATE KEY-----\r\nb3\r\n", Some(Leftover::PrivateKey));
        check("x", "-----BEGIN CERTIFICATE-----\nb3\n", None);
        check("a.dec.yaml", "-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n", None);
        let sealed = "a: ENC[AES256_GCM,data:x,iv:x,tag:x,type:str]\nsops:\n    mac: x\n    version: 3.9.0\n";
        check("secrets.dec.yaml", sealed, None);
    }
}
