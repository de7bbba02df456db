//! Paths of secrets as people type them.

use nixmox_cli::{Exit, Failure};
use nixmox_topology::Topology;

/// Splits a dotted path; names with dots or spaces are written in double quotes.
///
/// Whatever does not start with `nodes` is taken to start with a host or group of the fleet.
pub(crate) fn parse(topology: &Topology, path: &str) -> Result<Vec<String>, Failure> {
    let full = full(path)?;
    match (path.split('.').next(), full.get(1)) {
        (Some("nodes"), _) => Ok(full),
        (_, Some(node)) if topology.contains(node) => Ok(full),
        (_, node) => Err(unknown(topology, node.map(String::as_str).unwrap_or_default())),
    }
}

/// Splits a dotted path and completes it from `nodes`, whether or not the fleet has such a node.
pub(crate) fn full(path: &str) -> Result<Vec<String>, Failure> {
    let names = split(path)
        .ok_or_else(|| Failure::new(Exit::BadPath, format!("`{path}` is not a path of names"))
            .hint("names are joined with dots: routers.wifi.psk; a name with a dot is quoted: web.\"a.b\""))?;
    match names.first().map(String::as_str) {
        Some("nodes") => Ok(names),
        _ => Ok(std::iter::once("nodes".to_owned()).chain(names).collect()),
    }
}

fn unknown(topology: &Topology, name: &str) -> Failure {
    let message = format!("`{name}` is neither a host nor a group of this fleet");
    let failure = Failure::new(Exit::BadPath, message);
    let nearest: Vec<_> = topology.closest(name).iter().map(ToString::to_string).collect();
    match nearest.as_slice() {
        [] => failure.hint("values beside `nodes` go to no host; only the editor reaches them"),
        names => failure.hint(format!("did you mean {}?", names.join(" or "))),
    }
}

/// Splits at dots outside double quotes; nothing when a quote stays open or a name is empty.
fn split(path: &str) -> Option<Vec<String>> {
    let mut names = vec![String::new()];
    let mut quoted = false;
    for c in path.chars() {
        match c {
            '"' => quoted = !quoted,
            '.' if !quoted => names.push(String::new()),
            c => names.last_mut()?.push(c),
        }
    }
    (!quoted && names.iter().all(|name| !name.is_empty())).then_some(names)
}

/// Writes a path as [`parse`] reads it.
pub(crate) fn show<S: AsRef<str>>(path: &[S]) -> String {
    let name = |name: &S| {
        let name = name.as_ref();
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "-_[]'".contains(c));
        if plain { name.to_owned() } else { format!("\"{name}\"") }
    };
    path.iter().map(name).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, names: Option<&[&str]>) {
        let expect = names.map(|names| names.iter().map(ToString::to_string).collect());
        assert_eq!(split(path), expect);
    }

    #[test]
    fn names_are_split_at_dots_outside_quotes() {
        check("a.b", Some(&["a", "b"]));
        check("a.\"b.c\".d", Some(&["a", "b.c", "d"]));
        check("a..b", None);
        check("a.\"b", None);
        check("", None);
    }

    #[test]
    fn what_is_shown_is_read_again() {
        let path = ["nodes", "web", "a.b", "x y"];
        assert_eq!(split(&show(&path)).as_deref(), Some(path.map(str::to_owned).as_slice()));
    }
}
