//! One measurement: a process that does one job once.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::Failure;
use crate::fleet::{self, Shape};
use crate::floor;
use crate::job::{self, Job};

/// What a process says about itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// How long the job took, in seconds.
    pub(crate) wall: f64,
    /// How much work all cores did for the whole process, in seconds.
    pub(crate) cpu: f64,
    /// The most memory that was resident, in kilobytes.
    pub(crate) peak: u64,
}

/// Does a job or its floor once, in this process, and returns the measurement as text.
pub(crate) fn take((what, root): (&str, &str), shape: &str, run: &str) -> Result<String, Failure> {
    let (shape, run, root): (Shape, u64, &Path) = (shape.parse()?, run.parse()?, root.as_ref());
    let (name, bare) = match what.strip_prefix("floor:") {
        Some(name) => (name, true),
        None => (what, false),
    };
    let job = Job::ALL.into_iter().find(|job| job.word() == name).ok_or("no such job")?;
    let took = if bare { floor::run(job, root, shape)? } else { job.run(root, shape, run)? };
    Ok(format!("{} {} {}\n", took.as_secs_f64(), cpu().as_secs_f64(), peak()?))
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Returns the most memory that this process ever had resident, in kilobytes.
fn peak() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next()).ok_or("no VmHWM")?;
    Ok(number.parse()?)
}

/// Lets a new process do a job, or its floor.
pub(crate) fn spawn(what: &str, root: &Path, shape: Shape, run: usize) -> Result<Sample, Failure> {
    let done = Command::new(std::env::current_exe()?)
        .arg("sample")
        .arg(what)
        .arg(root)
        .args([shape.to_word(), run.to_string()])
        .output()?;
    if !done.status.success() {
        return Err(format!("{what}: {}", String::from_utf8_lossy(&done.stderr)).into());
    }
    let text = String::from_utf8(done.stdout)?;
    match text.split_whitespace().collect::<Vec<_>>().as_slice() {
        [wall, cpu, peak] => {
            Ok(Sample { wall: wall.parse()?, cpu: cpu.parse()?, peak: peak.parse()? })
        }
        _ => Err(format!("{what} said {text:?}").into()),
    }
}

/// Times the program's own `get`, from the start of the process to its end.
pub(crate) fn tool(tool: &Path, root: &Path) -> Result<Sample, Failure> {
    let mut command = Command::new(tool);
    command.arg("get").arg(job::lookup().join(".")).current_dir(root);
    command.env("SOPS_AGE_KEY_FILE", fleet::key_file(root));
    let start = Instant::now();
    let done = command.output()?;
    let wall = start.elapsed().as_secs_f64();
    let found = String::from_utf8_lossy(&done.stdout).trim().len();
    if !done.status.success() || found != fleet::SECRET {
        return Err(format!("get: {}", String::from_utf8_lossy(&done.stderr)).into());
    }
    Ok(Sample { wall, cpu: 0.0, peak: 0 })
}
