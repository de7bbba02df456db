//! What is seen while a run goes on: a line for each host, plain lines, or JSON.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use nixmox_cli::SilentSignals;
use nixmox_cli::terminal::escape;
use nixmox_deploy::{Event, Happening, Line, Phase, Verdict};
use nixmox_topology::NodeName;

/// Steps of one phase on a bar.
const STEP: u64 = 100;
/// In how many phases a host comes to its end.
const PHASES: u64 = 7;

/// What is seen while a run goes on.
pub struct View {
    begun: Instant,
    kind: Kind,
}

enum Kind {
    Live {
        all: MultiProgress,
        bars: BTreeMap<NodeName, ProgressBar>,
        _silent: Option<SilentSignals>,
    },
    Plain,
    Json,
}

impl View {
    /// Shows a line a host when standard error is a terminal.
    pub fn new(json: bool, nodes: &[NodeName]) -> Self {
        let kind = if json {
            Kind::Json
        } else if std::io::stderr().is_terminal() {
            live(nodes)
        } else {
            Kind::Plain
        };
        Self { begun: Instant::now(), kind }
    }

    /// Shows what happened to a host.
    pub fn event(&self, event: &Event) {
        match &self.kind {
            Kind::Json => out(&json_line(&Line::of(event))),
            Kind::Live { bars, .. } => {
                if let Some(bar) = bars.get(&event.node) {
                    move_bar(bar, &event.what);
                }
            }
            Kind::Plain => {
                if let Some(words) = words(&event.what) {
                    self.line(&event.node, &words);
                }
            }
        }
    }

    /// Shows how far Nix is with building.
    pub fn building(&self, done: u64, total: u64) {
        let Kind::Live { bars, .. } = &self.kind else { return };
        for bar in bars.values().filter(|bar| !bar.is_finished() && bar.message() == "build") {
            bar.set_position(STEP + STEP * done.min(total) / total.max(1));
        }
    }

    /// Shows how a host ended.
    pub fn ended(&self, node: &NodeName, verdict: Verdict, message: &str, line: &Line) {
        match &self.kind {
            Kind::Json => out(&json_line(line)),
            Kind::Live { bars, .. } => {
                if let Some(bar) = bars.get(node) {
                    finish_bar(bar, verdict, message);
                }
            }
            Kind::Plain => self.line(node, message),
        }
    }

    /// Tells programs that the run is over.
    pub fn end(&self, line: &Line) {
        if matches!(self.kind, Kind::Json) {
            out(&json_line(line));
        }
    }

    /// Says something about the whole run.
    pub fn say(&self, text: &str) {
        match &self.kind {
            Kind::Live { all, .. } => {
                let _ = all.println(text);
            }
            Kind::Plain | Kind::Json => err(text),
        }
    }

    /// Leaves what is seen as it is.
    pub fn finish(&self) {
        if let Kind::Live { bars, .. } = &self.kind {
            for bar in bars.values().filter(|bar| !bar.is_finished()) {
                bar.abandon();
            }
        }
    }

    fn line(&self, node: &NodeName, words: &str) {
        let seconds = self.begun.elapsed().as_secs_f32();
        err(&format!("{seconds:6.1} s  {node}: {}", escape(words)));
    }
}

fn live(nodes: &[NodeName]) -> Kind {
    let all = MultiProgress::new();
    let width = nodes.iter().map(|node| node.len()).max().unwrap_or_default();
    let style = ProgressStyle::with_template("{prefix} {bar:20.cyan/dim} {elapsed:>4} {wide_msg}");
    let style = style.map(|style| style.progress_chars("━━─"));
    let bar = |node: &NodeName| {
        let bar = all.add(ProgressBar::new(STEP * PHASES));
        if let Ok(style) = &style {
            bar.set_style(style.clone());
        }
        bar.set_prefix(format!("{node:width$}"));
        bar.set_message("waits");
        bar.enable_steady_tick(Duration::from_millis(250));
        (node.clone(), bar)
    };
    let bars = nodes.iter().map(bar).collect();
    Kind::Live { all, bars, _silent: SilentSignals::begin() }
}

/// Where a phase begins on the bar.
fn place(phase: Phase) -> u64 {
    match phase {
        Phase::Evaluate | Phase::Probe => 0,
        Phase::Build => 1,
        Phase::Copy => 2,
        Phase::Prepare => 3,
        Phase::Activate => 4,
        Phase::Confirm => 5,
        _ => 6,
    }
}

fn move_bar(bar: &ProgressBar, what: &Happening) {
    let begin = |bar: &ProgressBar| bar.position() / STEP * STEP;
    match what {
        Happening::Phase(phase) => {
            bar.set_position(STEP * place(*phase));
            bar.set_message(phase.word());
        }
        Happening::Step { name, number, of } => {
            let place = u64::from(*number) * STEP * PHASES / u64::from(*of).max(1);
            bar.set_position(place);
            bar.set_message(*name);
        }
        Happening::Progress { done, total } => {
            bar.set_position(
                begin(bar) + STEP.saturating_sub(1) * (*done).min(*total) / (*total).max(1),
            );
        }
        Happening::Confirmed { count, of } => {
            bar.set_message(format!("confirm {count}/{of}"));
            bar.set_position(
                begin(bar) + STEP.saturating_sub(1) * u64::from(*count) / u64::from(*of).max(1),
            );
        }
        Happening::Check { name, passed } => {
            let how = if *passed { "passed" } else { "not yet" };
            bar.set_message(format!("check {}: {how}", escape(name)));
        }
        Happening::ConnectionLost => bar.set_message("connection lost, tries again"),
        _ => {}
    }
}

fn finish_bar(bar: &ProgressBar, verdict: Verdict, message: &str) {
    let plain = anstream::AutoStream::choice(&std::io::stderr()) == anstream::ColorChoice::Never;
    let style = if plain { Style::new() } else { colour(verdict) };
    if verdict.is_good() {
        bar.set_position(STEP * PHASES);
    }
    bar.abandon_with_message(format!("{style}{}{style:#}", escape(message)));
}

/// The colour of a verdict.
pub fn colour(verdict: Verdict) -> Style {
    let colour = match verdict {
        Verdict::Changed => AnsiColor::Green,
        Verdict::Unchanged => return Style::new().dimmed(),
        Verdict::Failed => AnsiColor::Red,
        _ => AnsiColor::Yellow,
    };
    Style::new().fg_color(Some(colour.into()))
}

/// What a plain line says; lines of logs go to files alone.
fn words(what: &Happening) -> Option<String> {
    match what {
        Happening::Phase(phase) => Some(phase.word().to_owned()),
        Happening::Step { name, .. } => Some((*name).to_owned()),
        Happening::Confirmed { count, of } => Some(format!("confirmed {count} of {of}")),
        Happening::Check { name, passed } => {
            let how = if *passed { "passed" } else { "not passed yet" };
            Some(format!("check {name}: {how}"))
        }
        Happening::ConnectionLost => Some("connection lost, tries again".to_owned()),
        _ => None,
    }
}

/// Prints a line of a record as JSON.
pub fn json_line(line: &Line) -> String {
    serde_json::to_string(line).unwrap_or_default()
}

fn out(text: &str) {
    // When nobody reads any more, the run still goes on.
    let _ = writeln!(anstream::stdout(), "{text}");
}

fn err(text: &str) {
    let _ = writeln!(anstream::stderr(), "{text}");
}
