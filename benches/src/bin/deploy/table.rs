use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::floor::machine;

/// Samples of one job and its floors.
pub(crate) struct Row {
    name: String,
    times: Vec<(&'static str, Vec<f64>)>,
    pub(crate) processes: BTreeMap<String, usize>,
    pub(crate) connections: usize,
}

impl Row {
    pub(crate) fn new(name: &str) -> Self {
        let (times, processes) = (Vec::new(), BTreeMap::new());
        Self { name: name.to_owned(), times, processes, connections: 0 }
    }

    /// Adds a sample of the job (`job`) or of one of its floors.
    pub(crate) fn time(&mut self, what: &'static str, took: Duration) {
        let seconds = took.as_secs_f64();
        match self.times.iter_mut().find(|(name, _)| *name == what) {
            Some((_, samples)) => samples.push(seconds),
            None => self.times.push((what, vec![seconds])),
        }
    }
}

/// The rows of one fleet.
pub(crate) struct Table {
    text: String,
}

impl Table {
    pub(crate) fn new(hosts: usize, rtt: Option<&str>) -> Self {
        let away = rtt.map_or(String::new(), |rtt| format!(", {rtt} away"));
        let text = format!(
            "{hosts} hosts{away}. {}; median (least – most).\n\n\
             | job | time | beside it | logins | processes |\n|---|---|---|---|---|\n",
            machine()
        );
        Self { text }
    }

    pub(crate) fn push(&mut self, row: Row) {
        let (mut job, mut floors) = (String::new(), Vec::new());
        for (name, samples) in row.times {
            if name == "job" {
                job = spread(samples);
            } else {
                floors.push(format!("{name}: {}", spread(samples)));
            }
        }
        let processes: Vec<_> =
            row.processes.iter().map(|(name, count)| format!("{count} {name}")).collect();
        let logins = if row.connections > 0 { row.connections.to_string() } else { String::new() };
        let (floors, processes) = (floors.join("; "), processes.join(", "));
        // A String takes whatever is written to it.
        let _ = writeln!(self.text, "| {} | {job} | {floors} | {logins} | {processes} |", row.name);
    }

    pub(crate) fn text(&self) -> String {
        format!("{}\n", self.text)
    }
}

fn spread(mut samples: Vec<f64>) -> String {
    samples.sort_unstable_by(f64::total_cmp);
    let at = |place: usize| samples.get(place).copied().unwrap_or(f64::NAN);
    let (least, middle, most) = (at(0), at(samples.len() / 2), at(samples.len().saturating_sub(1)));
    format!("{middle:.2} s ({least:.2} – {most:.2})")
}
