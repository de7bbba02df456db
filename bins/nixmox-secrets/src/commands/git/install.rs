//! `git install`: `.gitattributes`, and git's configuration.

use std::path::{Path, PathBuf};

use nixmox_cli::terminal::escape;
use nixmox_cli::{Exit, Failure};
use nixmox_secrets::PRIVATE;
use serde_json::json;

use super::super::values::replace_file;
use super::super::{print, print_json};
use super::Install;
use super::repository::Repository;
use super::resolve::repositories;
use crate::args::Args;
use crate::context::Context;

/// The driver's name in attributes and configuration.
const DRIVER: &str = "nixmox-secrets";

/// The first and last line of what belongs to us in `.gitattributes`.
const OURS: [&str; 2] =
    ["# Written by `nixmox-secrets git install`:", "# until here; `--uninstall` takes it out."];

/// What git shall do with which files, from the fleet's directory or its `private/`.
///
/// Of public keys and parts that both sides changed, no half of each would be one.
/// What lies in `.nixmox/` and is not named below is signed or sealed as a whole: one side's, never a mixture.
const ATTRIBUTES: [(&str, &str); 13] = [
    (".nixmox/**", "-merge linguist-generated"),
    ("secrets.yaml", "diff=nixmox-secrets merge=nixmox-secrets"),
    ("nodes/**/secrets.yaml", "diff=nixmox-secrets merge=nixmox-secrets"),
    ("nodes/**/secrets/default.yaml", "diff=nixmox-secrets merge=nixmox-secrets"),
    ("nodes/**/ssh_host_ed25519_key", "diff=nixmox-secrets merge=nixmox-secrets"),
    ("nodes/**/ssh_host_ed25519_key.pub", "-merge"),
    ("nodes/**/ssh_host_ed25519_key.next", "diff=nixmox-secrets merge=nixmox-secrets"),
    ("nodes/**/ssh_host_ed25519_key.next.pub", "-merge"),
    ("nodes/**/public.json", "-merge"),
    (".nixmox/generated.yaml", "diff=nixmox-secrets merge=nixmox-secrets"),
    (".nixmox/digests.json", "merge=nixmox-secrets"),
    (".nixmox/ages.json", "merge=nixmox-secrets"),
    ("nodes/**/*.sig", "-merge"),
];

/// Sets git up, or takes that out again, and says what was done.
pub(super) fn run(args: &Args, install: &Install) -> Result<Exit, Failure> {
    let context = Context::find(args)?;
    let mut done = Vec::new();
    for (dir, prefix) in repositories(&context.root) {
        let repository = Repository::at(&dir)?;
        let areas: &[&str] = match prefix {
            "" if !dir.join(PRIVATE).join(".git").exists() => &["", "private/"],
            _ => &[""],
        };
        done.extend(attributes(&dir.join(".gitattributes"), areas, install)?);
        if !install.global {
            done.extend(configure(&repository, "--local", install)?);
        }
    }
    if install.global {
        done.extend(configure(&Repository::at(&context.root)?, "--global", install)?);
    }
    if args.switches.json {
        print_json(&json!({ "done": done, "dryRun": install.dry_run }))?;
        return Ok(Exit::Ok);
    }
    let would = if install.dry_run { "would: " } else { "" };
    print(|out| {
        if done.is_empty() {
            return writeln!(out, "nothing to do: it is as it should be");
        }
        done.iter().try_for_each(|line| writeln!(out, "{would}{}", escape(line)))
    })?;
    Ok(Exit::Ok)
}

/// Writes our part of an attributes file; every other line of it stays.
fn attributes(file: &Path, areas: &[&str], install: &Install) -> Result<Option<String>, Failure> {
    let failed =
        |e| Failure::new(Exit::Write, format!("{} cannot be read", file.display())).because(e);
    if file.is_symlink() {
        return Err(failed(std::io::Error::other("it is a symbolic link, which is not followed")));
    }
    let old = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(failed(e)),
    };
    let mut new = without_ours(&old);
    if !install.uninstall {
        if !new.is_empty() && !new.ends_with('\n') {
            new.push('\n');
        }
        new.push_str(&part(areas));
    }
    if new == old {
        return Ok(None);
    }
    let name = file.display();
    let what = match (new.is_empty(), install.uninstall) {
        (true, _) => format!("removed {name}, in which nothing else was"),
        (false, true) => format!("took our lines out of {name}"),
        (false, false) => format!("wrote our lines into {name}"),
    };
    match install.dry_run {
        true => {}
        false if new.is_empty() => std::fs::remove_file(file).map_err(failed)?,
        false => {
            replace_file(file, new.as_bytes())?;
            readable(file).map_err(failed)?;
        }
    }
    Ok(Some(what))
}

/// Makes a file as readable as others in a working tree.
fn readable(file: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o644))
}

fn part(areas: &[&str]) -> String {
    let lines = areas.iter().flat_map(|area| {
        ATTRIBUTES.map(|(pattern, what)| {
            // A pattern without a slash is for every directory; ours is for this one.
            let anchored = if pattern.contains('/') || !area.is_empty() { "" } else { "/" };
            format!("{anchored}{area}{pattern} {what}\n")
        })
    });
    format!("{}\n{}{}\n", OURS[0], lines.collect::<String>(), OURS[1])
}

fn without_ours(text: &str) -> String {
    let mut kept = String::new();
    let mut inside = false;
    for line in text.split_inclusive('\n') {
        match line.trim_end() {
            mark if mark == OURS[0] => inside = true,
            mark if mark == OURS[1] && inside => inside = false,
            _ if inside => {}
            _ => kept.push_str(line),
        }
    }
    kept
}

/// Sets or unsets the drivers in one of git's configurations; returns what was changed.
fn configure(
    repository: &Repository,
    scope: &str,
    install: &Install,
) -> Result<Vec<String>, Failure> {
    let program = program()?;
    // Git takes what follows a percent sign for a file, and quotes the names that it fills in.
    let driver = format!("{} git merge-driver %O %A %B %P", program.replace('%', "%%"));
    let wanted = [
        (format!("diff.{DRIVER}.textconv"), format!("{program} git textconv")),
        (format!("merge.{DRIVER}.name"), "merges sealed secrets by their values".to_owned()),
        (format!("merge.{DRIVER}.driver"), driver),
        // A merge of common versions must not ask anybody anything.
        (format!("merge.{DRIVER}.recursive"), "binary".to_owned()),
    ];
    let mut done = Vec::new();
    let place = if scope == "--global" {
        "your git configuration".to_owned()
    } else {
        format!("the git configuration of {}", repository.dir().display())
    };
    for (key, value) in wanted {
        let now = repository.ask(["config", scope, "--get", &key]);
        match (install.uninstall, now) {
            (true, None) => continue,
            (false, Some(now)) if now == value => continue,
            _ => {}
        }
        if !install.dry_run {
            match install.uninstall {
                true => repository.run(["config", scope, "--unset-all", &key])?,
                false => repository.run(["config", scope, "--replace-all", &key, &value])?,
            };
        }
        let what =
            if install.uninstall { format!("took {key} out of") } else { format!("set {key} in") };
        done.push(format!("{what} {place}"));
    }
    Ok(done)
}

/// Names the program as a shell takes it: by its name where the PATH leads here, else by its whole path.
fn program() -> Result<String, Failure> {
    let own = std::env::current_exe().map_err(|e| {
        Failure::new(Exit::Failure, "the program does not know where it is").because(e)
    })?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|dir| dir.join(DRIVER)).find(|file| file.is_file());
    let same = |found: &PathBuf| found.canonicalize().ok() == own.canonicalize().ok();
    if found.as_ref().is_some_and(same) {
        return Ok(DRIVER.to_owned());
    }
    let text = own.to_str().ok_or_else(|| {
        Failure::new(Exit::Failure, "the program's own path is no text that git could keep")
    })?;
    Ok(shell_words::quote(text).into_owned())
}
