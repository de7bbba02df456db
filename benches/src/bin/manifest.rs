//! Measures what reading, checking and planning a large service manifest takes, in each of its four forms.
//!
//! Every sample is a process of its own; it says how long the job took and how much memory the process needed at most.
//! The floor is the same data as JSON, parsed by `serde_json` without places or rules.
//!
//! `manifest [SERVICES [RUNS]]`, 2,000 services and 9 runs when left out; `manifest sample FORM SERVICES` takes one, and
//! `manifest floor SERVICES` one of the floor.

use std::error::Error;
use std::io::Write as _;
use std::process::{Command, ExitCode};
use std::time::Instant;

use nixmox_manifest::{Facts, Format, Loaded, Plan, check, render};

type Failure = Box<dyn Error>;

const FORMS: [(&str, Format); 4] =
    [("nix", Format::Nix), ("toml", Format::Toml), ("yaml", Format::Yaml), ("json", Format::Json)];

/// What the programs have: it is part of what is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["sample", form, services] => sample(form, services),
        ["floor", services] => floor(services),
        [] => measure("2000", 9),
        [services] => measure(services, 9),
        [services, runs, ..] => {
            runs.parse().map_err(Failure::from).and_then(|n| measure(services, n))
        }
    };
    match done {
        Ok(text) => {
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Takes samples of each form, and of the floor in turn, and shows the medians.
fn measure(services: &str, runs: usize) -> Result<String, Failure> {
    let mut table = format!(
        "{services} services beside four core ones; median (least – most) of {runs} processes each, job and floor in turn.\n\n\
         | form | text | read | check | plan | all | floor | all ÷ floor | peak memory | target |\n\
         |---|---|---|---|---|---|---|---|---|---|\n"
    );
    for (form, _) in FORMS {
        let (mut samples, mut floors) = (Vec::new(), Vec::new());
        for _ in 0..runs.max(1) {
            samples.push(numbers(&["sample", form, services])?);
            floors.push(numbers(&["floor", services])?);
        }
        table.push_str(&row(form, &samples, &floors));
    }
    Ok(table)
}

/// Runs this program once more, and reads the numbers that it prints.
fn numbers(args: &[&str]) -> Result<Vec<u64>, Failure> {
    let output = Command::new(std::env::current_exe()?).args(args).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let text = String::from_utf8(output.stdout)?;
    Ok(text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
}

/// Writes the line of one form.
fn row(form: &str, samples: &[Vec<u64>], floors: &[Vec<u64>]) -> String {
    let column = |of: &[Vec<u64>], at: usize| {
        let mut all: Vec<u64> = of.iter().filter_map(|sample| sample.get(at).copied()).collect();
        all.sort_unstable();
        let pick = |at: usize| all.get(at).copied().unwrap_or_default();
        (pick(all.len() / 2), pick(0), pick(all.len().saturating_sub(1)))
    };
    let time = |at| format!("{} ms", column(samples, at).0 / 1_000);
    let (all, least, most) = column(samples, 4);
    let (floor, ..) = column(floors, 0);
    let (text, peak) = (column(samples, 0).0 / 1_024, column(samples, 5).0 / 1_024);
    let met = if all < 200_000 && peak < 100 { "met" } else { "**missed**" };
    let tenths = all * 10 / floor.max(1);
    format!(
        "| {form} | {text} KB | {} | {} | {} | {} ms ({} – {}) | {}.{} ms | {}.{} | {peak} MB | < 200 ms, < 100 MB: {met} |\n",
        time(1),
        time(2),
        time(3),
        all / 1_000,
        least / 1_000,
        most / 1_000,
        floor / 1_000,
        floor % 1_000 / 100,
        tenths / 10,
        tenths % 10,
    )
}

/// Parses the JSON form into values, without places or rules: no reader of it does less.
fn floor(services: &str) -> Result<String, Failure> {
    let text = text(Format::Json, services.parse()?);
    let start = Instant::now();
    let value: serde_json::Value = serde_json::from_str(&text)?;
    let took = start.elapsed().as_micros();
    let read = value.pointer("/services").and_then(|services| services.as_object());
    if read.map(serde_json::Map::len) != Some(services.parse()?) {
        return Err("the floor does not read".into());
    }
    Ok(format!("{took}\n"))
}

/// Does the job once: bytes of text, microseconds of each part and of all, KiB of memory.
fn sample(form: &str, services: &str) -> Result<String, Failure> {
    let format = FORMS.iter().find(|(name, _)| *name == form).ok_or("no such form")?.1;
    let text = text(format, services.parse()?);
    let start = Instant::now();
    let loaded = Loaded::from_text(("manifest", &text), format);
    let read = start.elapsed();
    let report = check(&loaded, &Facts::default());
    let checked = start.elapsed();
    let plan = Plan::new(loaded.manifest().ok_or("the manifest does not read")?);
    let planned = start.elapsed();
    if !report.passes(true) || plan.steps() < 2_000.min(services.parse()?) {
        return Err(render::short(&report, loaded.sources()).into());
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no peak")?;
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse()?;
    let parts = [read, checked - read, planned - checked, planned].map(|time| time.as_micros());
    let parts: Vec<String> = parts.iter().map(ToString::to_string).collect();
    Ok(format!("{} {} {peak}\n", text.len(), parts.join(" ")))
}

/// One service of the manifest, as fields and texts.
fn service(at: usize) -> Vec<(String, String)> {
    let (ip, name) = (format!("10.20.{}.{}", 1 + at / 200, 10 + at % 200), format!("app{at}"));
    let before = format!("app{}", at.saturating_sub(7));
    let more = if at >= 7 { format!(", \"{before}\"") } else { String::new() };
    let field = |path: &str, value: String| (path.to_owned(), value);
    let text = |value: &str| format!("\"{value}\"");
    vec![
        field("enable", "true".to_owned()),
        field("ip", text(&ip)),
        field("hostname", text(&format!("{name}.big.lan"))),
        field("vmid", (1_000 + at).to_string()),
        field("ports", "[8080]".to_owned()),
        field("depends_on", format!("[\"postgresql\", \"caddy\", \"authentik\"{more}]")),
        field("interface.db.name", text(&name)),
        field("interface.db.owner", text(&name)),
        field("interface.proxy.domain", text(&format!("w{at}.big.lan"))),
        field("interface.proxy.upstream", text(&format!("{ip}:8080"))),
        field("interface.auth.type", text("oidc")),
        field("interface.auth.oidc.redirect_uris", format!("[\"https://w{at}.big.lan/cb\"]")),
        field("interface.health.startup", text("systemctl is-active --quiet app")),
    ]
}

const CORE: [(&str, u8); 4] = [("caddy", 10), ("postgresql", 11), ("authentik", 12), ("dns", 13)];

/// Writes the manifest in one of its forms.
fn text(format: Format, services: usize) -> String {
    let mut fields: Vec<(String, String)> = [
        ("network.domain", "\"big.lan\""),
        ("network.dns_server", "\"10.20.0.13\""),
        ("network.gateway", "\"10.20.0.1\""),
        ("network.network_cidr", "\"10.20.0.0/16\""),
        ("network.vlan_tag", "20"),
    ]
    .map(|(path, value)| (path.to_owned(), value.to_owned()))
    .into();
    for (name, last) in CORE {
        let path = format!("core_services.{name}");
        fields.push((format!("{path}.enable"), "true".to_owned()));
        fields.push((format!("{path}.ip"), format!("\"10.20.0.{last}\"")));
        fields.push((format!("{path}.hostname"), format!("\"{name}.big.lan\"")));
        fields.push((format!("{path}.vmid"), format!("9{last:02}")));
        fields.push((format!("{path}.interface.health.startup"), "\"true\"".to_owned()));
    }
    for at in 0..services {
        let own = service(at).into_iter();
        fields.extend(own.map(|(path, value)| (format!("services.app{at}.{path}"), value)));
    }
    match format {
        Format::Toml => fields.iter().map(|(path, value)| format!("{path} = {value}\n")).collect(),
        Format::Nix => {
            let lines = fields
                .iter()
                .map(|(path, value)| format!("  {path} = {};\n", value.replace(',', "")));
            format!("{{\n{}}}\n", lines.collect::<String>())
        }
        _ => nested(&fields, format),
    }
}

/// JSON has no paths, so the fields are put into each other; YAML is written in its block style.
fn nested(fields: &[(String, String)], format: Format) -> String {
    let mut out = String::new();
    let mut open: Vec<&str> = Vec::new();
    let mut first = true;
    let json = format == Format::Json;
    for (path, value) in fields {
        let mut parts: Vec<&str> = path.split('.').collect();
        let leaf = parts.pop().unwrap_or_default();
        let common = open.iter().zip(&parts).take_while(|(a, b)| a == b).count();
        if json {
            out.push_str(&"}".repeat(open.len() - common));
        }
        for (depth, part) in parts.iter().enumerate().skip(common) {
            let comma = if first || depth > common { "" } else { "," };
            let indent = "  ".repeat(depth);
            out.push_str(&if json {
                format!("{comma}\n{indent}\"{part}\": {{")
            } else {
                format!("{indent}{part}:\n")
            });
            first = false;
        }
        let new = common < parts.len();
        let indent = "  ".repeat(parts.len());
        let comma = if new { "" } else { "," };
        out.push_str(&if json {
            format!("{comma}\n{indent}\"{leaf}\": {value}")
        } else {
            format!("{indent}{leaf}: {value}\n")
        });
        open = parts;
    }
    if json { format!("{{{out}{}}}\n", "}".repeat(open.len())) } else { out }
}
