//! What Nix says while it works, in its machine-readable form.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::Value;

use crate::text::printable;

/// What Nix calls copying several paths, and building several derivations.
const TOTALS: [u64; 2] = [103, 104];
/// What Nix calls a line of a build's log.
const LOG_LINE: u64 = 101;
/// What Nix calls how far an activity is.
const PROGRESS: u64 = 105;
/// Messages above this level are details.
const INFO: u64 = 3;
/// How many activities are kept in mind; more are not shown.
const MAX_ACTIVITIES: usize = 10_000;

/// Something that Nix said.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NixLine {
    /// A line for people, without control characters.
    Text(String),
    /// How many builds or copies are done.
    Progress {
        /// How many are done.
        done: u64,
        /// Of how many.
        total: u64,
    },
}

#[derive(Deserialize)]
struct Record {
    action: String,
    #[serde(default)]
    id: u64,
    #[serde(default, rename = "type")]
    kind: u64,
    #[serde(default)]
    level: u64,
    #[serde(default)]
    msg: String,
    #[serde(default)]
    fields: Vec<Value>,
}

/// Reads lines one after the other.
#[derive(Default)]
pub(super) struct Parser {
    /// Activities whose progress counts paths or builds.
    totals: HashSet<u64>,
}

impl Parser {
    /// Reads one line, which may hold several for people.
    pub(super) fn read(&mut self, line: &[u8]) -> Vec<NixLine> {
        let Some(json) = line.strip_prefix(b"@nix ") else { return texts(line) };
        let Ok(record) = serde_json::from_slice::<Record>(json) else { return Vec::new() };
        match (record.action.as_str(), record.kind) {
            ("msg", _) if record.level <= INFO => texts(record.msg.as_bytes()),
            ("result", LOG_LINE) => {
                let line = record.fields.first().and_then(Value::as_str).unwrap_or_default();
                texts(line.as_bytes())
            }
            ("start", kind) => {
                if TOTALS.contains(&kind) && self.totals.len() < MAX_ACTIVITIES {
                    self.totals.insert(record.id);
                }
                Vec::new()
            }
            ("stop", _) => {
                self.totals.remove(&record.id);
                Vec::new()
            }
            ("result", PROGRESS) if self.totals.contains(&record.id) => progress(&record.fields),
            _ => Vec::new(),
        }
    }
}

fn progress(fields: &[Value]) -> Vec<NixLine> {
    let number = |place| fields.get(place).and_then(Value::as_u64);
    match (number(0), number(1)) {
        (Some(done), Some(total)) if total > 0 => vec![NixLine::Progress { done, total }],
        _ => Vec::new(),
    }
}

/// Splits a text into lines for people, without the colours that Nix puts into it.
fn texts(text: &[u8]) -> Vec<NixLine> {
    let lines = text.split(|byte| *byte == b'\n').map(|line| printable(&without_colour(line)));
    lines.filter(|line| !line.trim().is_empty()).map(NixLine::Text).collect()
}

/// Takes out `ESC [ … m`; what else a terminal would act upon is taken out by whoever shows the line.
fn without_colour(line: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.windows(2).position(|pair| pair == b"\x1b[") {
        let (before, sequence) = rest.split_at(at);
        out.extend_from_slice(before);
        let parameters = sequence.iter().skip(2).take_while(|b| b.is_ascii_digit() || **b == b';');
        let length = 3 + parameters.count();
        rest = sequence.get(length..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lines: &[&str], expect: &[NixLine]) {
        let mut parser = Parser::default();
        let found: Vec<_> = lines.iter().flat_map(|line| parser.read(line.as_bytes())).collect();
        assert_eq!(found, expect);
    }

    fn text(text: &str) -> NixLine {
        NixLine::Text(text.to_owned())
    }

    #[test]
    fn messages_and_logs_are_for_people() {
        check(
            &[
                r#"@nix {"action":"msg","level":0,"msg":"\u001b[31;1merror:\u001b[0m no\u0007\n  more"}"#,
                r#"@nix {"action":"msg","level":5,"msg":"detail"}"#,
                r#"@nix {"action":"result","id":1,"type":101,"fields":["compiling"]}"#,
                "plain\n",
            ],
            &[text("error: no"), text("  more"), text("compiling"), text("plain")],
        );
    }

    #[test]
    fn progress_counts_paths_and_builds() {
        check(
            &[
                r#"@nix {"action":"start","id":7,"type":103,"text":"","level":3}"#,
                r#"@nix {"action":"start","id":8,"type":100,"text":"","level":3}"#,
                r#"@nix {"action":"result","id":8,"type":105,"fields":[10,20,0,0]}"#,
                r#"@nix {"action":"result","id":7,"type":105,"fields":[1,2,1,0]}"#,
                r#"@nix {"action":"stop","id":7}"#,
                r#"@nix {"action":"result","id":7,"type":105,"fields":[2,2,1,0]}"#,
            ],
            &[NixLine::Progress { done: 1, total: 2 }],
        );
    }

    #[test]
    fn what_is_no_record_is_harmless() {
        check(&["@nix {", "@nix []", "@nix {\"action\":\"result\",\"type\":105}", ""], &[]);
    }
}
