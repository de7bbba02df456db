use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::fleet::Work;
use crate::floor::machine;

/// What others take, for the page.
pub(crate) const PEERS: &str = "\
What other tools take for a fleet where nothing is to be changed, on two cores of another machine (Nix 2.8, sshd on
loopback, systems built and copied before). Their figures and ours were not measured in one run: what can be compared is
how many processes and logins there are, and how they grow.

| | programs of Nix | logins | time | time, hosts 50 ms away |
|---|---|---|---|---|
| colmena, 4 nodes | 12 | 12 | 2.7 – 2.9 s | 3.8 s |
| colmena, 4 nodes with 10 keys each | 12 | 52 | 7.5 s | 10.7 – 12.5 s |
| colmena, 16 nodes | 36 | 48 | 7.3 s | 8.5 s |
| colmena, 16 nodes with 50 keys each | 36 | 848 | 81 – 99 s | |
| deploy-rs, 4 nodes | 18 | 16 | 4.2 s | 9.3 – 10.2 s |
| deploy-rs, 16 nodes | 66 | 64 | 16.1 s | 34.3 s |
";

/// Samples of one job and its floors.
pub(crate) struct Row {
    name: String,
    times: Vec<(&'static str, Vec<f64>)>,
    /// What is asked of it, and what it comes to.
    pub(crate) wanted: String,
    pub(crate) processes: BTreeMap<String, usize>,
    pub(crate) connections: usize,
    /// The work of the last sample.
    pub(crate) work: Option<Work>,
}

impl Row {
    pub(crate) fn new(name: &str) -> Self {
        let (times, processes) = (Vec::new(), BTreeMap::new());
        let wanted = String::new();
        Self { name: name.to_owned(), times, wanted, processes, connections: 0, work: None }
    }

    /// Returns the median of what was timed under a name.
    pub(crate) fn median(&self, what: &str) -> f64 {
        let found = self.times.iter().find(|(name, _)| *name == what);
        let mut samples = found.map(|(_, samples)| samples.clone()).unwrap_or_default();
        samples.sort_unstable_by(f64::total_cmp);
        samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)
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
             | job | time | work here, on the hosts | beside it | asked of it | logins | processes here |\n\
             |---|---|---|---|---|---|---|\n",
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
        let work = row
            .work
            .map_or(String::new(), |Work { here, hosts }| format!("{here:.1} s, {hosts:.1} s"));
        let (floors, processes) = (floors.join("; "), processes.join(", "));
        // A String takes whatever is written to it.
        let _ = writeln!(
            self.text,
            "| {} | {job} | {work} | {floors} | {} | {logins} | {processes} |",
            row.name, row.wanted
        );
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
