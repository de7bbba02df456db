//! `cargo xtask bench`: measures, and renews the tables in docs/performance.md.

use crate::cargo::{Failed, capture, cargo, root, run as run_cargo};

/// Builds for release, measures what is named (everything but deployments without a name), and puts each table between its marks.
pub(crate) fn run(only: Option<&str>) -> Result<(), Failed> {
    if only.is_none_or(|only| only == "secrets") {
        run_cargo(&mut cargo(&["build", "--release", "--bins", "-p", "nixmox-secrets-cli"]))?;
        renew_page("bench", &["run", "--release", "-p", "nixmox-benches", "--", "--markdown"])?;
    }
    if only.is_none_or(|only| only == "manifest") {
        let measure = ["run", "--release", "-p", "nixmox-benches", "--bin", "manifest"];
        renew_page("manifest", &measure)?;
    }
    // Hosts need root and minutes: only when it is asked for.
    if only == Some("deploy") {
        run_cargo(&mut cargo(&["build", "--release", "--bins", "-p", "nixmox-deploy-cli"]))?;
        let measure = ["run", "--release", "-p", "nixmox-benches", "--bin", "deploy", "--"];
        renew_page("deploy", &[&measure[..], &["--hosts", "50", "--markdown"]].concat())?;
    }
    Ok(())
}

fn renew_page(name: &str, measure: &[&str]) -> Result<(), Failed> {
    let table = capture(&mut cargo(measure))?;
    let path = root().join("docs/performance.md");
    let failed = |e| Failed::new(format!("{}: {e}", path.display()));
    let page = std::fs::read_to_string(&path).map_err(failed)?;
    let renewed = renew(&page, name, &table)
        .ok_or_else(|| Failed::new(format!("docs/performance.md has lost its marks of {name}")))?;
    std::fs::write(&path, renewed).map_err(failed)
}

/// Replaces what is between the marks of a table.
fn renew(page: &str, name: &str, table: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- {name}:begin -->\n"), format!("<!-- {name}:end -->"));
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}{}\n{end}{after}", table.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let page = |a: &str, b: &str| {
            let marked = |name: &str, text: &str| {
                format!("<!-- {name}:begin -->\n{text}\n<!-- {name}:end -->\n")
            };
            format!("a\n{}z\n{}", marked("one", a), marked("two", b))
        };
        let old = page("old", "older");
        assert_eq!(renew(&old, "one", "new\n"), Some(page("new", "older")));
        assert_eq!(renew(&old, "two", "new\n"), Some(page("old", "new")));
        assert_eq!(renew(&old, "three", "new"), None);
        assert_eq!(renew("no marks", "one", "new"), None);
    }
}
