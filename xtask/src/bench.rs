//! `cargo xtask bench`: measures, and renews the table in docs/performance.md.

use crate::cargo::{Failed, capture, cargo, root, run as run_cargo};

const BEGIN: &str = "<!-- bench:begin -->\n";
const END: &str = "<!-- bench:end -->";

/// Builds for release, measures, and puts the table between the marks of the page.
pub(crate) fn run() -> Result<(), Failed> {
    run_cargo(&mut cargo(&["build", "--release", "--bins", "-p", "nixmox-secrets-cli"]))?;
    let measure = ["run", "--release", "-p", "nixmox-benches", "--", "--markdown"];
    let table = capture(&mut cargo(&measure))?;
    let path = root().join("docs/performance.md");
    let failed = |e| Failed::new(format!("{}: {e}", path.display()));
    let page = std::fs::read_to_string(&path).map_err(failed)?;
    let renewed = renew(&page, &table)
        .ok_or_else(|| Failed::new("docs/performance.md has lost its marks"))?;
    std::fs::write(&path, renewed).map_err(failed)
}

/// Replaces what is between the marks.
fn renew(page: &str, table: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{}\n{END}{after}", table.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let page = format!("a\n{BEGIN}old\n{END}\nz\n");
        assert_eq!(renew(&page, "new\n"), Some(format!("a\n{BEGIN}new\n{END}\nz\n")));
        assert_eq!(renew("no marks", "new"), None);
    }
}
