//! The documents are true: every transcript is run again, every link leads somewhere, every table is the code's.

#![expect(clippy::expect_used, reason = "helpers of tests fail by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nixmox_cli::Exit;

/// The top directory of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the workspace")
}

/// Every document, with its text.
fn documents() -> Vec<(PathBuf, String)> {
    let mut paths = vec![root().join("README.md")];
    let docs = std::fs::read_dir(root().join("docs")).expect("docs/");
    paths.extend(docs.map(|entry| entry.expect("an entry").path()));
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "md"));
    paths.sort();
    paths
        .into_iter()
        .map(|path| (path.clone(), std::fs::read_to_string(path).expect("text")))
        .collect()
}

/// One command of a transcript and what it printed.
struct Step {
    command: String,
    expect: Vec<String>,
}

/// Takes the transcripts out of a document: fenced blocks marked `console`, with commands after `$ `.
fn transcripts(text: &str) -> Vec<Vec<Step>> {
    let mut found = Vec::new();
    let mut block: Option<Vec<Step>> = None;
    for line in text.lines() {
        match (&mut block, line) {
            (None, "```console") => block = Some(Vec::new()),
            (None, _) => {}
            (Some(_), "```") => found.extend(block.take()),
            (Some(steps), line) => match line.strip_prefix("$ ") {
                Some(command) => steps.push(Step { command: command.to_owned(), expect: vec![] }),
                None => {
                    let step = steps.last_mut().expect("a transcript starts with a command");
                    step.expect.push(line.to_owned());
                }
            },
        }
    }
    found
}

/// Runs all commands of a transcript in one shell, in an empty directory with an empty home.
fn play(steps: &[Step]) -> Vec<Vec<String>> {
    let dir = tempfile::tempdir().expect("a directory");
    let home = dir.path().join("home");
    let work = dir.path().join("work");
    // What other programs leave in the system's temporary directory is found by some commands.
    let temporary = dir.path().join("tmp");
    std::fs::create_dir(&temporary).expect("a directory");
    std::fs::create_dir(&home).expect("a home");
    std::fs::create_dir(&work).expect("a directory");
    let mark = "<<end of step>>";
    let script: String =
        steps.iter().map(|step| format!("{}\necho; echo '{mark}'\n", step.command)).collect();
    // Both lie in one directory.
    nixmox_tests::sops_program();
    nixmox_tests::manifest_program();
    let programs = nixmox_tests::program().parent().expect("a directory").display();
    let path = format!("{programs}:{}", std::env::var("PATH").expect("a PATH"));
    let output = Command::new("bash")
        .args(["-c", &format!("exec 2>&1\n{script}")])
        .env_clear()
        .envs([("PATH", path.as_str()), ("LANG", "C.UTF-8")])
        .env("HOME", &home)
        .env("TMPDIR", &temporary)
        .current_dir(&work)
        .stdin(Stdio::null())
        .output()
        .expect("bash");
    let text = String::from_utf8(output.stdout).expect("text");
    let lines = |step: &str| step.trim_end().lines().map(str::to_owned).collect();
    text.split(mark).map(|step| step.strip_prefix('\n').unwrap_or(step)).map(lines).collect()
}

/// Compares a printed line with that of a document, where `…` stands for anything.
fn matches(expect: &str, line: &str) -> bool {
    let mut parts = expect.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[test]
fn transcripts_are_what_happens() {
    let mut played = 0;
    for (path, text) in documents() {
        for steps in transcripts(&text) {
            for (step, got) in steps.iter().zip(play(&steps)) {
                let same = step.expect.len() == got.len()
                    && step.expect.iter().zip(&got).all(|(expect, line)| matches(expect, line));
                let (expect, got) = (step.expect.join("\n"), got.join("\n"));
                let (path, command) = (path.display(), &step.command);
                assert!(same, "{path}: $ {command}\nshould print\n{expect}\nand prints\n{got}");
                played += 1;
            }
        }
    }
    assert!(played >= 9, "only {played} commands are in the documents");
}

#[test]
fn links_within_the_repository_lead_somewhere() {
    let mut followed = 0;
    for (path, text) in documents() {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            if file.contains("://") {
                continue;
            }
            let target = if file.is_empty() { path.clone() } else { path.with_file_name(file) };
            let shown = path.display();
            assert!(target.exists(), "{shown}: nothing at {link}");
            if !anchor.is_empty() {
                let page = std::fs::read_to_string(&target).expect("text");
                let heading = |line: &str| {
                    line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-")
                };
                let found = page.lines().any(|l| l.starts_with('#') && heading(l) == anchor);
                assert!(found, "{shown}: no heading for {link}");
            }
            followed += 1;
        }
    }
    assert!(followed >= 6, "only {followed} links are in the documents");
}

#[test]
fn files_that_the_documents_name_exist() {
    for (path, text) in documents() {
        for name in text.split('`').skip(1).step_by(2) {
            let looks =
                ["crates/", "tests/tests/", "bins/", "docs/"].iter().any(|p| name.starts_with(p));
            if looks && !name.contains(['<', '*', '…', ' ']) {
                assert!(root().join(name).exists(), "{}: there is no {name}", path.display());
            }
        }
    }
}

#[test]
fn the_table_of_exit_codes_is_that_of_the_programs() {
    let page = std::fs::read_to_string(root().join("docs/exit-codes.md")).expect("the page");
    let rows: Vec<&str> =
        page.lines().filter(|l| l.starts_with("| ") && !l.contains("code")).collect();
    let expect: Vec<String> = Exit::ALL
        .iter()
        .chain(&Exit::INSTALL)
        .map(|exit| format!("| {} | {} |", exit.code(), exit.meaning()))
        .collect();
    assert_eq!(rows, expect);
}

#[test]
fn the_table_of_rules_is_that_of_the_program() {
    let page = std::fs::read_to_string(root().join("docs/manifest-rules.md")).expect("the page");
    let output =
        Command::new(nixmox_tests::manifest_program()).args(["rules", "--markdown"]).output();
    let table = String::from_utf8(output.expect("the program").stdout).expect("text");
    assert!(table.lines().count() > 80);
    assert!(page.contains(&table), "nixmox-manifest rules --markdown prints another table");
}

#[test]
fn wildcards_match_as_they_should() {
    assert!(matches("a…c", "abc"));
    assert!(matches("…/x in …", "/tmp/x in /y"));
    assert!(!matches("a…c", "abd"));
    assert!(!matches("abc", "abcd"));
}
