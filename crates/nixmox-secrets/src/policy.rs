//! How old values may become: `policy.maxAge` of the master.
//!
//! It stands beside `nodes`, so no host gets it: a set from patterns of paths to ages, such as
//! `"routers.pppoePassword" = "90d"`, `"servers.*" = "1y"`, and `default` for everything else.

use nixmox_topology::Topology;
use nixmox_tree::{SecretTree, Value};

use crate::{Error, TextProblem};

/// The most patterns of a policy.
const MOST_PATTERNS: usize = 1000;
/// The longest pattern, in bytes.
const LONGEST_PATTERN: usize = 256;
/// The longest age, in days.
const MOST_DAYS: i64 = 36_500;

/// How old values may become.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Policy {
    /// From the most to the least particular.
    rules: Vec<(Pattern, i64)>,
    default: Option<i64>,
}

/// A pattern of paths: names joined by dots, where `*` stands for anything within a name, and at the end below it too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Pattern {
    text: String,
    names: Vec<String>,
}

/// Why a policy cannot be used; none of it quotes a value but ages.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyProblem {
    /// Something beside `nodes` is nearly called as it should be.
    #[error("`policy.{found}` is not known; did you mean `policy.maxAge`?")]
    Name {
        /// The name.
        found: String,
    },
    /// `policy.maxAge` is no set.
    #[error("`policy.maxAge` must be a set of patterns and ages")]
    NotASet,
    /// There are too many patterns, or one is too long.
    #[error("`policy.maxAge` has more than 1000 patterns, or one longer than 256 characters")]
    TooMuch,
    /// A pattern is no path.
    #[error("`{pattern}` of `policy.maxAge` is not a path of names")]
    Pattern {
        /// The pattern.
        pattern: String,
    },
    /// A pattern begins with a name that is no node.
    #[error("`{pattern}` of `policy.maxAge` begins with neither a host nor a group{}", meant(.nearest))]
    Node {
        /// The pattern.
        pattern: String,
        /// Nodes that may have been meant.
        nearest: Vec<String>,
    },
    /// An age is none.
    #[error(
        "the age of `{pattern}` in `policy.maxAge` is not one; write \"90d\", \"12w\", \"6m\" or \"1y\""
    )]
    Age {
        /// The pattern.
        pattern: String,
    },
}

fn meant(nearest: &[String]) -> String {
    if nearest.is_empty() {
        String::new()
    } else {
        format!("; did you mean {}?", nearest.join(" or "))
    }
}

impl Policy {
    /// Reads the policy of a master; `None` when it declares none.
    ///
    /// # Errors
    ///
    /// [`TextProblem::Policy`] when it says what no policy can.
    pub(crate) fn read(master: &SecretTree, topology: &Topology) -> Result<Option<Self>, Error> {
        Self::parse(master, topology).map_err(|problem| Error::Text(TextProblem::Policy(problem)))
    }

    fn parse(master: &SecretTree, topology: &Topology) -> Result<Option<Self>, PolicyProblem> {
        let Some(Value::Tree(policy)) = master.get("policy") else { return Ok(None) };
        let ages = match policy.get("maxAge") {
            Some(Value::Tree(ages)) => ages,
            Some(_) => return Err(PolicyProblem::NotASet),
            None => {
                let near = |name: &&String| {
                    let plain = name.to_lowercase().replace(['-', '_'], "");
                    matches!(plain.as_str(), "maxage" | "maxages" | "age" | "ages" | "maximumage")
                };
                let found = policy.iter().map(|(name, _)| name).find(near);
                return found.map_or(Ok(None), |n| Err(PolicyProblem::Name { found: n.clone() }));
            }
        };
        if ages.len() > MOST_PATTERNS || ages.iter().any(|(name, _)| name.len() > LONGEST_PATTERN) {
            return Err(PolicyProblem::TooMuch);
        }
        let mut read = Self::default();
        for (text, age) in ages {
            let days = age.as_str().and_then(days);
            let days = days.ok_or_else(|| PolicyProblem::Age { pattern: text.clone() })?;
            if text == "default" {
                read.default = Some(days);
                continue;
            }
            read.rules.push((Pattern::parse(text, topology)?, days));
        }
        // What names more, and what leaves less open, comes first.
        let weight = |pattern: &Pattern| {
            let open = pattern.text.matches('*').count();
            (open, usize::MAX.saturating_sub(pattern.text.len()))
        };
        read.rules.sort_by_key(|(pattern, _)| weight(pattern));
        Ok(Some(read))
    }

    /// Returns how many days old a value may become, if there is a limit.
    pub(crate) fn days(&self, path: &[String]) -> Option<i64> {
        let found = self.rules.iter().find(|(pattern, _)| pattern.matches(path));
        found.map(|(_, days)| *days).or(self.default)
    }

    /// Lists the patterns that fit none of some paths.
    pub(crate) fn idle(&self, paths: &[&[String]]) -> Vec<String> {
        let idle = self.rules.iter().filter(|(p, _)| !paths.iter().any(|path| p.matches(path)));
        idle.map(|(pattern, _)| pattern.text.clone()).collect()
    }
}

impl Pattern {
    fn parse(text: &str, topology: &Topology) -> Result<Self, PolicyProblem> {
        let pattern = || text.to_owned();
        let names = split(text).ok_or_else(|| PolicyProblem::Pattern { pattern: pattern() })?;
        let names: Vec<String> = match names.as_slice() {
            [nodes, rest @ ..] if nodes == "nodes" && !rest.is_empty() => rest.to_vec(),
            _ => names,
        };
        let node = names.first().map(String::as_str).unwrap_or_default();
        if !node.contains('*') && !topology.contains(node) {
            let nearest = topology.closest(node).iter().map(ToString::to_string).collect();
            return Err(PolicyProblem::Node { pattern: pattern(), nearest });
        }
        Ok(Self { text: pattern(), names })
    }

    /// Tells whether a path of a value, from its node on, fits.
    fn matches(&self, path: &[String]) -> bool {
        let deeper = self.names.last().is_some_and(|last| last == "*");
        let long_enough =
            path.len() == self.names.len() || (deeper && path.len() > self.names.len());
        long_enough && self.names.iter().zip(path).all(|(pattern, name)| fits(pattern, name))
    }
}

/// Matches one name, in time that the lengths bound: a star never gives back what an earlier one took.
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Splits at dots outside double quotes; nothing when a quote stays open or a name is empty.
fn split(text: &str) -> Option<Vec<String>> {
    let mut names = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            '.' if !quoted => names.push(String::new()),
            c => names.last_mut()?.push(c),
        }
    }
    (!quoted && names.iter().all(|name| !name.is_empty())).then_some(names)
}

/// Reads an age as days.
fn days(text: &str) -> Option<i64> {
    let unit = text.chars().next_back()?;
    let number: i64 = text.strip_suffix(unit)?.parse().ok().filter(|n: &i64| *n > 0)?;
    let days = match unit {
        'd' => 1,
        'w' => 7,
        'm' => 30,
        'y' => 365,
        _ => return None,
    };
    number.checked_mul(days).filter(|days| *days <= MOST_DAYS)
}

#[cfg(test)]
mod tests {
    use nixmox_topology::{Area, Declaration, DeclarationKind};

    use super::*;

    fn topology() -> Topology {
        let host = |name: &str| Declaration {
            name: name.to_owned(),
            area: Area::Public,
            kind: DeclarationKind::Host,
            file: String::new(),
        };
        Topology::build(vec![host("routers"), host("servers")]).expect("sound")
    }

    fn policy(entries: &[(&str, Value)]) -> Result<Option<Policy>, PolicyProblem> {
        let ages = entries.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect();
        let max: SecretTree = [("maxAge".to_owned(), Value::Tree(ages))].into_iter().collect();
        let tree = [("policy".to_owned(), Value::Tree(max))].into_iter().collect();
        Policy::parse(&tree, &topology())
    }

    #[test]
    fn the_most_particular_pattern_counts() {
        let entries = [
            ("default", "1y"),
            ("routers.*", "12w"),
            ("routers.wifi*", "6m"),
            ("*.token", "5d"),
            ("routers.\"a.b\"", "2d"),
            ("nodes.servers.db.*", "3d"),
        ];
        let entries: Vec<_> = entries.iter().map(|(n, a)| (*n, Value::string(*a))).collect();
        let policy = policy(&entries).expect("sound").expect("there");
        #[track_caller]
        fn check(policy: &Policy, path: &[&str], expect: i64) {
            let path: Vec<String> = path.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(policy.days(&path), Some(expect), "{path:?}");
        }
        check(&policy, &["routers", "wifi5"], 180);
        check(&policy, &["routers", "x", "y"], 84);
        check(&policy, &["servers", "token"], 5);
        check(&policy, &["routers", "a.b"], 2);
        check(&policy, &["servers", "db", "a", "b"], 3);
        check(&policy, &["servers", "db"], 365);
        assert_eq!(policy.idle(&[&["routers".to_owned(), "wifi".to_owned()]]).len(), 3);
    }

    #[test]
    fn what_is_no_policy_is_refused_by_name() {
        #[track_caller]
        fn check(name: &str, age: Value, expect: &str) {
            let problem = policy(&[(name, age)]).expect_err("refused").to_string();
            assert!(problem.contains(expect), "{problem}");
        }
        check("router.x", Value::string("1y"), "did you mean routers?");
        check("routers..x", Value::string("1y"), "not a path");
        for age in ["", "d", "9", "-1d", "0d", "1h", "99999999999999999999y", "101y"] {
            check("default", Value::string(age), "\"90d\"");
        }
        check("default", Value::int(90), "\"90d\"");
        check(&"a".repeat(300), Value::string("1y"), "longer");
        let tree = |name: &str| {
            let inner: SecretTree = [(name.to_owned(), Value::string("x"))].into_iter().collect();
            [("policy".to_owned(), Value::Tree(inner))].into_iter().collect::<SecretTree>()
        };
        let misspelt = Policy::parse(&tree("max-age"), &topology());
        assert_eq!(misspelt, Err(PolicyProblem::Name { found: "max-age".to_owned() }));
        assert_eq!(Policy::parse(&tree("maxAge"), &topology()), Err(PolicyProblem::NotASet));
        assert_eq!(Policy::parse(&tree("other"), &topology()), Ok(None));
    }

    #[test]
    fn stars_take_no_time() {
        let pattern = "*a".repeat(120);
        assert!(!fits(&pattern, &format!("{}b", "a".repeat(100_000))));
        assert!(fits("*a*b", "xaab") && fits("*", "") && !fits("a", "ab") && !fits("ab*b", "ab"));
    }
}
