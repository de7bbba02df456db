//! The whole run, and what it says.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::Failure;
use crate::fleet::{self, Shape};
use crate::job::Job;
use crate::sample::{self, Sample};

/// What to measure and how.
pub(crate) struct Plan {
    pub(crate) markdown: bool,
    pub(crate) quick: bool,
    pub(crate) runs: usize,
    pub(crate) dir: Option<PathBuf>,
    pub(crate) tool: Option<PathBuf>,
}

/// The fleet that the targets are about.
const USUAL: Shape = Shape { groups: 10, hosts: 100, own: 5, group: 35, all: 10 };
/// The same hosts with as many secrets, none of them shared: the largest master.
const ALL_OWN: Shape = Shape { groups: 10, hosts: 100, own: 49, group: 1, all: 0 };
const SMALL: Shape = Shape { groups: 2, hosts: 10, own: 5, group: 4, all: 1 };

/// The most memory that any job may need, in megabytes.
const PEAK: f64 = 100.0;

/// What a job must not exceed.
#[derive(Debug, Clone, Copy)]
enum Limit {
    TimesFloor(f64),
    Seconds(f64),
    None,
}

/// One line of the table.
struct Row {
    name: String,
    limit: Limit,
    samples: Vec<Sample>,
    floors: Vec<Sample>,
}

/// Measures everything and returns the text that tells it.
pub(crate) fn run(plan: &Plan) -> Result<String, Failure> {
    let parent = plan.dir.clone().unwrap_or_else(std::env::temp_dir);
    let dir = tempfile::tempdir_in(parent)?;
    let mut text = String::new();
    if plan.markdown {
        writeln!(text, "{}.\n", machine(plan)?)?;
    }
    let shapes: &[_] = if plan.quick { &[SMALL] } else { &[USUAL, ALL_OWN] };
    for (index, shape) in shapes.iter().enumerate() {
        let rows = measure(plan, &dir.path().join(format!("fleet-{index}")), (*shape, index == 0))?;
        text.push_str(&table(*shape, &rows)?);
    }
    Ok(text)
}

/// Measures every job on fleets of one shape.
fn measure(plan: &Plan, dir: &Path, (shape, limited): (Shape, bool)) -> Result<Vec<Row>, Failure> {
    let runs = if plan.quick { 1 } else { plan.runs };
    let mut rows = Vec::new();
    fs::create_dir(dir)?;
    let mut sealed = PathBuf::new();
    for job in Job::ALL {
        let (name, limit) = describe(job, shape);
        let limit = if limited { limit } else { Limit::None };
        let mut row = Row { name, limit, samples: Vec::new(), floors: Vec::new() };
        // The first of each only warms up, unless nothing is measured anyway.
        for run in 0..=runs {
            if job == Job::FromNothing {
                sealed = dir.join(format!("sealed-{run}"));
                fleet::make(&sealed, shape)?;
            }
            let sample = sample::spawn(job.word(), &sealed, shape, run)?;
            let floor = sample::spawn(&format!("floor:{}", job.word()), &sealed, shape, run)?;
            if run > 0 {
                row.samples.push(sample);
                row.floors.push(floor);
            }
        }
        rows.push(row);
    }
    if let Some(tool) = &plan.tool {
        let samples: Result<Vec<_>, _> =
            (0..runs * 3).map(|_| sample::tool(tool, &sealed)).collect();
        let name = "`get`, the program from start to end".to_owned();
        rows.push(Row { name, limit: Limit::None, samples: samples?, floors: Vec::new() });
    }
    Ok(rows)
}

fn describe(job: Job, shape: Shape) -> (String, Limit) {
    match job {
        Job::FromNothing => ("seal all from nothing".to_owned(), Limit::TimesFloor(1.5)),
        Job::OneGroup => {
            (format!("change one secret of a group of {}", shape.hosts), Limit::Seconds(0.3))
        }
        Job::NoChange => ("change nothing".to_owned(), Limit::Seconds(0.1)),
        Job::Access => ("`access`".to_owned(), Limit::Seconds(1.0)),
        Job::UpdateKeys => {
            ("`updatekeys`, one of two admins is new".to_owned(), Limit::TimesFloor(1.5))
        }
        Job::Get => ("`get`".to_owned(), Limit::Seconds(0.01)),
    }
}

/// Writes the table of one fleet.
fn table(shape: Shape, rows: &[Row]) -> Result<String, Failure> {
    let mut text = format!(
        "{} hosts in {} groups; each has {} secrets: {} of its own, {} of its group, {} of all. \
         The master writes down {}.\n\n",
        shape.all_hosts(),
        shape.groups,
        shape.each(),
        shape.own,
        shape.group,
        shape.all,
        shape.written(),
    );
    text.push_str("| job | time | floor | time ÷ floor | work of all cores | of the floor | peak memory | target |\n");
    text.push_str("|---|---|---|---|---|---|---|---|\n");
    for row in rows {
        writeln!(text, "{}", row.line())?;
    }
    text.push('\n');
    Ok(text)
}

impl Row {
    fn line(&self) -> String {
        let wall: Vec<f64> = self.samples.iter().map(|s| s.wall).collect();
        let floor: Vec<f64> = self.floors.iter().map(|s| s.wall).collect();
        let work = |samples: &[Sample]| median(samples.iter().map(|s| s.cpu).collect());
        let (work, bare, peak) = (work(&self.samples), work(&self.floors), self.peak());
        let times = median(wall.clone()) / median(floor.clone());
        let cell = |known: bool, text: String| if known { text } else { String::new() };
        format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            self.name,
            spread(wall.clone()),
            cell(!floor.is_empty(), spread(floor)),
            cell(times.is_finite(), format!("{times:.2}")),
            cell(work > 0.0, seconds(work)),
            cell(bare > 0.0, seconds(bare)),
            cell(peak > 0.0, format!("{peak:.0} MB")),
            self.verdict(median(wall), times),
        )
    }

    /// Returns the highest peak of any sample, in megabytes.
    fn peak(&self) -> f64 {
        let kilobytes = self.samples.iter().map(|s| s.peak).max().unwrap_or(0);
        f64::from(u32::try_from(kilobytes).unwrap_or(u32::MAX)) * 1024.0 / 1e6
    }

    fn verdict(&self, wall: f64, times: f64) -> String {
        let (target, met) = match self.limit {
            Limit::None => return String::new(),
            Limit::TimesFloor(most) => (format!("≤ {most} × floor"), times <= most),
            Limit::Seconds(most) => (format!("≤ {}", seconds(most)), wall <= most),
        };
        let met = if met && self.peak() <= PEAK { "met" } else { "**missed**" };
        format!("{target}, ≤ {PEAK:.0} MB: {met}")
    }
}

fn sorted(mut numbers: Vec<f64>) -> Vec<f64> {
    numbers.sort_by(f64::total_cmp);
    numbers
}

/// Returns the middle one; of an even count, the lower of the two. Nothing has no middle.
fn median(numbers: Vec<f64>) -> f64 {
    let middle = numbers.len().saturating_sub(1) / 2;
    sorted(numbers).get(middle).copied().unwrap_or(f64::NAN)
}

/// Writes the median, and the least and the most in brackets.
fn spread(numbers: Vec<f64>) -> String {
    let sorted = sorted(numbers);
    let (least, most) = (sorted.first().copied(), sorted.last().copied());
    let (least, most) = (least.unwrap_or(f64::NAN), most.unwrap_or(f64::NAN));
    format!("{} ({} – {})", seconds(median(sorted)), seconds(least), seconds(most))
}

fn seconds(number: f64) -> String {
    match number {
        n if n >= 1.0 => format!("{n:.2} s"),
        n if n >= 0.01 => format!("{:.0} ms", n * 1e3),
        n => format!("{:.1} ms", n * 1e3),
    }
}

/// Describes how and on what was measured.
fn machine(plan: &Plan) -> Result<String, Failure> {
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpus.lines().find_map(|l| l.strip_prefix("model name")?.split(": ").nth(1));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let runs = if plan.quick { 1 } else { plan.runs };
    Ok(format!(
        "{cores} cores of {}, Linux; median (least – most) of {runs} processes each, job and floor in turn",
        model.unwrap_or("an unnamed processor").trim(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_stand_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.0);
        assert!(median(Vec::new()).is_nan());
        assert_eq!(spread(vec![0.002, 1.5, 0.05]), "50 ms (2.0 ms – 1.50 s)");
    }
}
