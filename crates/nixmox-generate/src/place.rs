//! Names of declared values, and references to them.

use std::fmt;

/// Where a value is declared: a host or group, and the path within its secrets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The host or group.
    pub level: String,
    /// The names that lead to the declaration.
    pub path: Vec<String>,
}

impl Place {
    /// Names the place of one part of the value: the place itself, or a name below it.
    #[must_use]
    pub fn part(&self, part: &str) -> Self {
        let mut place = self.clone();
        if !part.is_empty() {
            place.path.push(part.to_owned());
        }
        place
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.level)?;
        self.path.iter().try_for_each(|name| {
            let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
            if plain { write!(f, ".{name}") } else { write!(f, ".\"{name}\"") }
        })
    }
}

/// One value that is made: a declaration, and the host when each host has its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    /// Where it is declared.
    pub place: Place,
    /// The host that it is for; `None` when one value is for all.
    pub host: Option<String>,
}

impl Item {
    /// Names the place at which the value stands: a host's own when it is made for each.
    #[must_use]
    pub fn stands_at(&self) -> Place {
        let level = self.host.as_ref().unwrap_or(&self.place.level).clone();
        Place { level, path: self.place.path.clone() }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            None => self.place.fmt(f),
            Some(host) => write!(f, "{} for {host}", self.place),
        }
    }
}

/// Splits a dotted path at dots outside double quotes; `None` when it is no path of names.
pub fn split(path: &str) -> Option<Vec<String>> {
    let mut names = vec![String::new()];
    let mut quoted = false;
    for c in path.trim().chars() {
        match c {
            '"' => quoted = !quoted,
            '.' if !quoted => names.push(String::new()),
            c => names.last_mut()?.push(c),
        }
    }
    let good = |name: &String| !name.is_empty() && !name.chars().any(char::is_control);
    (!quoted && names.iter().all(good)).then_some(names)
}

/// A reference from one declaration to another value: `LEVEL.PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The host or group.
    pub(crate) level: String,
    /// The names below it.
    pub(crate) path: Vec<String>,
}

impl Reference {
    /// Reads a reference; a leading `nodes.` is allowed.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut names = split(text)?;
        if names.first().is_some_and(|name| name == "nodes") {
            names.remove(0);
        }
        if names.len() < 2 {
            return None;
        }
        let level = names.remove(0);
        Some(Self { level, path: names })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Option<(&str, &[&str])>) {
        let found = Reference::parse(text);
        let found = found.as_ref().map(|r| (r.level.as_str(), r.path.clone()));
        let expect =
            expect.map(|(l, p)| (l, p.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()));
        assert_eq!(found, expect, "{text}");
    }

    #[test]
    fn references_are_level_and_path() {
        check("web.a.b", Some(("web", &["a", "b"])));
        check("nodes.web.a", Some(("web", &["a"])));
        check(" web.\"a.b\" ", Some(("web", &["a.b"])));
        check("web", None);
        check("web..a", None);
        check("web.\"a", None);
        check("", None);
    }

    #[test]
    fn what_is_shown_is_read_again() {
        let place = Place { level: "web".into(), path: vec!["a.b".into(), "c d".into()] };
        assert_eq!(split(&place.to_string()), Some(vec!["web".into(), "a.b".into(), "c d".into()]));
    }
}
