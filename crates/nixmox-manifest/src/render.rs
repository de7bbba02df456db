//! Findings as text: for people, for editors, for scripts, for a forge.

mod code;

use std::fmt::Write;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, SourceCode, ThemeCharacters,
    ThemeStyles,
};
use serde_json::{Value, json};

use crate::check::Report;
use crate::finding::{Code, Finding, Label, Severity};
use crate::source::{Place, Sources};
use code::Shown;

/// How a picture of a finding is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Whether colours are used.
    pub color: bool,
    /// How many columns there are.
    pub width: usize,
}

impl Default for Look {
    fn default() -> Self {
        Self { color: false, width: 100 }
    }
}

/// Shows every finding with the lines it is about.
///
/// What the files hold is shown without what a terminal would obey or hide.
pub fn pretty(report: &Report, sources: &Sources, look: Look) -> String {
    let theme = GraphicalTheme {
        characters: ThemeCharacters::unicode(),
        styles: if look.color { ThemeStyles::ansi() } else { ThemeStyles::none() },
    };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(look.width)
        .with_links(false)
        .with_context_lines(1)
        .without_cause_chain();
    let files: Vec<Shown> =
        sources.files().iter().map(|file| Shown::new(&file.name, &file.text)).collect();
    let mut out = String::new();
    for finding in &report.findings {
        let picture = Picture::new(finding, &files);
        // Writing to a text does not fail, and a place outside of its file leaves out the picture alone.
        if handler.render_report(&mut out, &picture).is_err() {
            let _ = writeln!(out, "{}", line(finding, sources));
        }
        out.push('\n');
    }
    out
}

/// A finding as the drawing library wants it.
#[derive(Debug)]
struct Picture<'a> {
    finding: &'a Finding,
    message: String,
    help: Option<String>,
    file: Option<&'a Shown>,
    labels: Vec<LabeledSpan>,
    others: Vec<Other<'a>>,
}

/// Places in other files than the first.
#[derive(Debug)]
struct Other<'a> {
    name: String,
    file: Option<&'a Shown>,
    labels: Vec<LabeledSpan>,
}

impl<'a> Picture<'a> {
    fn new(finding: &'a Finding, files: &'a [Shown]) -> Self {
        let main = finding.place().map(Place::file);
        let of = |file: usize| {
            let here = finding.labels.iter().filter(|label| label.place.file() == file);
            let file = files.get(file);
            here.enumerate().map(|(at, label)| spanned(label, file, at == 0)).collect::<Vec<_>>()
        };
        let mut rest: Vec<usize> = finding.labels.iter().map(|label| label.place.file()).collect();
        rest.sort_unstable();
        rest.dedup();
        let others = rest.into_iter().filter(|file| Some(*file) != main).map(|file| Other {
            name: files.get(file).map_or_else(String::new, |shown| shown.name.clone()),
            file: files.get(file),
            labels: of(file),
        });
        Self {
            finding,
            message: code::visible(&finding.message),
            help: finding.help.as_deref().map(code::visible),
            file: main.and_then(|file| files.get(file)),
            labels: main.map(of).unwrap_or_default(),
            others: others.collect(),
        }
    }
}

fn spanned(label: &Label, file: Option<&Shown>, first: bool) -> LabeledSpan {
    let range = file.map_or(label.place.range(), |file| file.first_line(label.place.range()));
    let text = Some(code::visible(&label.text)).filter(|text| !text.is_empty());
    let span = (range.start, range.end.saturating_sub(range.start));
    if first {
        LabeledSpan::new_primary_with_span(text, span)
    } else {
        LabeledSpan::new_with_span(text, span)
    }
}

impl std::fmt::Display for Picture<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Picture<'_> {}

impl Diagnostic for Picture<'_> {
    fn code<'b>(&'b self) -> Option<Box<dyn std::fmt::Display + 'b>> {
        Some(Box::new(format!("{}[{}]", self.finding.severity.word(), self.finding.code)))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.finding.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
            Severity::Note => miette::Severity::Advice,
        })
    }

    fn help<'b>(&'b self) -> Option<Box<dyn std::fmt::Display + 'b>> {
        let help: Box<dyn std::fmt::Display> = Box::new(self.help.as_ref()?);
        Some(help)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        let file: &dyn SourceCode = self.file?;
        Some(file)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }

    fn related<'b>(&'b self) -> Option<Box<dyn Iterator<Item = &'b dyn Diagnostic> + 'b>> {
        fn plain<'o>(other: &'o Other<'_>) -> &'o dyn Diagnostic {
            other
        }
        if self.others.is_empty() {
            return None;
        }
        Some(Box::new(self.others.iter().map(plain)))
    }
}

impl std::fmt::Display for Other<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "in {}", self.name)
    }
}

impl std::error::Error for Other<'_> {}

impl Diagnostic for Other<'_> {
    fn severity(&self) -> Option<miette::Severity> {
        Some(miette::Severity::Advice)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        let file: &dyn SourceCode = self.file?;
        Some(file)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }
}

/// Shows every finding on a line of its own: `file:line:column: error[M201]: message`.
pub fn short(report: &Report, sources: &Sources) -> String {
    report.findings.iter().map(|finding| line(finding, sources) + "\n").collect()
}

fn line(finding: &Finding, sources: &Sources) -> String {
    let place = match finding.place() {
        Some(place) => {
            let (line, column) = sources.line_col(place);
            let name = sources.file(place).map_or("", |file| file.name.as_str());
            format!("{}:{line}:{column}: ", code::visible(name))
        }
        None => String::new(),
    };
    let message = code::visible(&finding.message).replace('\n', " ");
    format!("{place}{}[{}]: {message}", finding.severity.word(), finding.code)
}

/// Makes the report that scripts read.
pub fn as_json(report: &Report, sources: &Sources) -> Value {
    let place = |label: &Label| {
        let ((line, column), (end_line, end_column)) = ends(label.place, sources);
        json!({
            "file": sources.file(label.place).map(|file| file.name.as_str()),
            "line": line,
            "column": column,
            "end_line": end_line,
            "end_column": end_column,
            "label": label.text,
        })
    };
    let finding = |finding: &Finding| {
        json!({
            "code": finding.code.name(),
            "severity": finding.severity.word(),
            "title": finding.code.rule().title,
            "message": finding.message,
            "places": finding.labels.iter().map(place).collect::<Vec<_>>(),
            "help": finding.help,
        })
    };
    json!({
        "errors": report.count(Severity::Error),
        "warnings": report.count(Severity::Warning),
        "notes": report.count(Severity::Note),
        "findings": report.findings.iter().map(finding).collect::<Vec<_>>(),
    })
}

fn ends(place: Place, sources: &Sources) -> ((usize, usize), (usize, usize)) {
    let range = place.range();
    let end = Place::new(place.file(), range.end..range.end);
    (sources.line_col(place), sources.line_col(end))
}

/// Writes the workflow commands by which GitHub shows findings beside the lines of a change.
pub fn github(report: &Report, sources: &Sources) -> String {
    let mut out = String::new();
    for finding in &report.findings {
        let word = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "notice",
        };
        let mut properties = String::new();
        if let Some(place) = finding.place() {
            let ((line, column), (end_line, end_column)) = ends(place, sources);
            let name = sources.file(place).map_or("", |file| file.name.as_str());
            let _ = write!(properties, "file={},line={line},col={column},", property(name));
            let _ = write!(properties, "endLine={end_line},endColumn={end_column},");
        }
        let help = finding.help.as_ref().map(|help| format!("\nhelp: {help}")).unwrap_or_default();
        let message = data(&format!("{}{help}", finding.message));
        let title = finding.code.rule().title;
        let _ = writeln!(
            out,
            "::{word} {properties}title={} {}::{message}",
            finding.code,
            property(title)
        );
    }
    out
}

/// Escapes the text of a workflow command.
fn data(text: &str) -> String {
    code::visible(&text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A"))
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Explains a rule, for `--explain` and for the list of all rules.
pub fn explain(code: Code) -> String {
    let rule = code.rule();
    format!("{} ({}): {}\n\n{}\n", rule.code, rule.severity.word(), rule.title, rule.explanation)
}

/// Lists all rules as the rows of a Markdown table.
pub fn table() -> String {
    let mut out = String::from("| code | severity | what |\n|---|---|---|\n");
    for code in Code::ALL {
        let rule = code.rule();
        let _ = writeln!(
            out,
            "| {} | {} | **{}.** {} |",
            rule.code,
            rule.severity.word(),
            rule.title,
            rule.explanation
        );
    }
    out
}
