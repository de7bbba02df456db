//! `git conflicts` and `git resolve`: what a merge left unsettled.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, stdin};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use nixmox_cli::editor::{self, Session};
use nixmox_cli::terminal::{escape, plural};
use nixmox_cli::{Exit, Failure};
use nixmox_secrets::merge::{Clash, FileKind, Opened, Place, Sides};
use nixmox_secrets::store::{Changes, Mode, RelPath, Store};
use nixmox_secrets::{FILE_LIMIT, Fleet, Options, PRIVATE, store};
use nixmox_sops::{Documents, MARKS, Side, detect, marked};
use nixmox_tree::SecretString;
use rand_core::OsRng;
use serde_json::json;

use super::super::edit::{editor_failure, goes_on, tell_leftovers};
use super::super::read::refuse_to_reveal;
use super::super::{print, print_json};
use super::Resolve;
use super::driver::{below, clash_lines, headline, left, place, place_name, what};
use super::repository::Repository;
use crate::args::{Evaluate, Trust};
use crate::context::Context;
use crate::paths;

/// One file that a merge left open: where it lies, and the versions that git keeps.
struct Unmerged {
    path: RelPath,
    /// The repository that it belongs to, and its name there.
    repository: PathBuf,
    name: String,
    /// The common version, ours and theirs.
    stages: [Option<Vec<u8>>; 3],
}

impl Unmerged {
    fn sides(&self) -> Option<Sides<'_>> {
        let [base, ours, theirs] = self.stages.each_ref().map(Option::as_deref);
        Some(Sides { base: base.unwrap_or_default(), ours: ours?, theirs: theirs? })
    }
}

/// Lists what is left to settle.
pub(super) fn conflicts(
    context: &Context,
    files: &[PathBuf],
    reveal: bool,
) -> Result<Exit, Failure> {
    refuse_to_reveal(reveal)?;
    let options = context.options(Trust::default(), Evaluate::default());
    let fleet =
        Fleet::open(&context.root, options.ask_nix).map_err(|error| context.explain(error))?;
    let mut found = Vec::new();
    for file in unmerged(context, files)? {
        found.push((file.path.to_string(), open_clashes(context, (&fleet, options), &file)?));
    }
    if context.json {
        let entries = found.iter().map(|(path, (clashes, names))| {
            let clash =
                |clash: &Clash| json!({ "place": place_name(&clash.place), "what": what(clash) });
            let names: Vec<String> = names.iter().map(|name| paths::show(name)).collect();
            let clashes: Vec<_> = clashes.iter().map(clash).collect();
            (path.clone(), json!({ "conflicts": clashes, "values": names }))
        });
        print_json(&json!({ "files": entries.collect::<serde_json::Map<_, _>>() }))?;
        return Ok(Exit::Ok);
    }
    print(|out| {
        if found.is_empty() {
            return writeln!(out, "no sealed file is left to settle");
        }
        for (path, (clashes, names)) in &found {
            writeln!(out, "{}", headline(path, clashes.len()))?;
            clash_lines(clashes, names).iter().try_for_each(|line| writeln!(out, "{line}"))?;
            for clash in clashes.iter().filter(|_| reveal) {
                for (side, value) in [("ours", &clash.ours), ("theirs", &clash.theirs)] {
                    let Some(value) = value else { continue };
                    let text = escape(value.expose());
                    writeln!(out, "    {} {side}: {text}", place(clash))?;
                }
            }
        }
        writeln!(out, "settle with: nixmox-secrets git resolve")
    })?;
    Ok(Exit::Ok)
}

fn open_clashes(
    context: &Context,
    (fleet, options): (&Fleet, Options<'_>),
    file: &Unmerged,
) -> Result<(Vec<Clash>, Vec<Vec<String>>), Failure> {
    let Some(sides) = file.sides() else { return Ok(Default::default()) };
    let failed = |error| left(context, &file.path, error);
    let opened = Opened::new(fleet, options, &file.path, sides).map_err(failed)?;
    let draft = opened.merge(&|_| None).map_err(failed)?;
    Ok((draft.clashes, draft.names))
}

/// Settles every sealed file that a merge left open, and tells git.
pub(super) fn resolve(context: &Context, args: &Resolve) -> Result<Exit, Failure> {
    let options = context.options(args.trust, args.evaluate);
    let fleet =
        Fleet::open(&context.root, options.ask_nix).map_err(|error| context.explain(error))?;
    let files = unmerged(context, &args.files)?;
    if files.is_empty() {
        print(|out| writeln!(out, "no sealed file is left to settle"))?;
        return Ok(Exit::Ok);
    }
    for file in &files {
        let Some(sides) = file.sides() else {
            return Err(removed(file));
        };
        let failed = |error| left(context, &file.path, error);
        let opened = Opened::new(&fleet, options, &file.path, sides).map_err(failed)?;
        let bytes = settle(context, &opened, args)?;
        commit(context, &file.path, bytes)?;
        Repository::at(&file.repository)?.run(["add", "--", &file.name])?;
        print(|out| writeln!(out, "settled  {}", escape(file.path.as_str())))?;
    }
    print(|out| writeln!(out, "now: nixmox-secrets status"))?;
    Ok(Exit::Ok)
}

fn removed(file: &Unmerged) -> Failure {
    let path = &file.path;
    let message = format!("{path} is there on one side alone");
    Failure::new(Exit::Usage, message)
        .hint(format!("keep it with `git add -- {path}`, or remove it with `git rm -- {path}`"))
}

/// Decides every clash: by the options, by what the file is, or in the editor.
fn settle(context: &Context, opened: &Opened<'_>, args: &Resolve) -> Result<Vec<u8>, Failure> {
    let explain = |error| match error {
        nixmox_secrets::merge::MergeError::Fleet(error) => context.explain(error),
        error => Failure::from_error(Exit::Failure, error),
    };
    let follows = matches!(opened.kind(), FileKind::Host(_));
    let all = match (args.ours || follows, args.theirs) {
        (_, true) if !follows => Some(Side::Theirs),
        (true, _) => Some(Side::Ours),
        _ => None,
    };
    let decide = |place: &Place| {
        let name = place_name(place);
        let named = |names: &[String]| names.contains(&name);
        match (named(&args.take_ours), named(&args.take_theirs)) {
            (true, _) => Some(Side::Ours),
            (_, true) => Some(Side::Theirs),
            _ => all,
        }
    };
    let draft = opened.merge(&decide).map_err(explain)?;
    let seal = |documents: &Documents| {
        opened.seal(documents, &mut OsRng, Timestamp::now()).map_err(explain)
    };
    if draft.clashes.is_empty() {
        return seal(&draft.documents);
    }
    if opened.kind() != &FileKind::Master || !stdin().is_terminal() {
        return Err(undecided(&draft.clashes));
    }
    let other = opened.merge(&|place| decide(place).or(Some(Side::Theirs))).map_err(explain)?;
    let [ours, theirs] = [&draft.documents, &other.documents].map(|docs| opened.text(docs));
    let text = marked(&ours.map_err(explain)?, &theirs.map_err(explain)?);
    in_editor(&text, args.allow_disk, &|text| seal(&opened.read(text).map_err(explain)?))
}

fn undecided(clashes: &[Clash]) -> Failure {
    let names: Vec<String> = clashes.iter().map(place).collect();
    let message = format!("{} to decide: {}", plural(clashes.len(), "conflict"), names.join(", "));
    Failure::new(Exit::Usage, message).hint(
        "say --ours or --theirs, or --take-ours PLACE and --take-theirs PLACE; on a terminal the editor opens the master",
    )
}

/// Lets the person settle it in the editor, until the text can be sealed or he gives up.
fn in_editor(
    text: &SecretString,
    allow_disk: bool,
    seal: &dyn Fn(&SecretString) -> Result<Vec<u8>, Failure>,
) -> Result<Vec<u8>, Failure> {
    let options = editor::Options::from_env(allow_disk).map_err(editor_failure)?;
    let mut session = Session::open(text, "secrets.nix", &options).map_err(editor_failure)?;
    loop {
        let edited = session.run().map_err(editor_failure)?;
        tell_leftovers(&edited.leftovers);
        let marks = |line: &str| MARKS.iter().any(|mark| line == mark.trim_end());
        let sealed = match edited.text.expose().lines().any(marks) {
            true => {
                Err(Failure::new(Exit::Usage, "there are marks of a conflict left in the text"))
            }
            false => seal(&edited.text),
        };
        match sealed {
            Ok(bytes) => return Ok(bytes),
            Err(failure) if goes_on(&failure)? => {}
            Err(failure) => {
                return Err(Failure::new(failure.exit(), "given up; nothing was changed"));
            }
        }
    }
}

/// Finds what git has not merged: sealed files of the fleet and of a `private/` that is a repository of its own.
fn unmerged(context: &Context, only: &[PathBuf]) -> Result<Vec<Unmerged>, Failure> {
    let here = std::env::current_dir().unwrap_or_default();
    let only: Vec<RelPath> = only
        .iter()
        .map(|file| below(&context.root, &here.join(file)))
        .collect::<Result<_, Failure>>()?;
    let mut found = Vec::new();
    for (dir, prefix) in repositories(&context.root) {
        let repository = Repository::at(&dir)?;
        let open = repository.unmerged()?;
        let ids: Vec<&str> = open.values().flatten().flatten().map(String::as_str).collect();
        let blobs = if ids.is_empty() { BTreeMap::new() } else { repository.blobs(&ids)? };
        for (name, stages) in open {
            // A name that the store would not take is none of the fleet's.
            let Ok(path) = RelPath::parse(&format!("{prefix}{name}")) else { continue };
            let stages = stages.map(|id| id.and_then(|id| blobs.get(&id).cloned()));
            let sealed = stages.iter().flatten().any(|bytes| detect(bytes).is_some());
            if sealed && (only.is_empty() || only.contains(&path)) {
                found.push(Unmerged { path, repository: dir.clone(), name, stages });
            }
        }
    }
    // The master comes first: what hosts hold follows from it.
    found.sort_by_key(|file| (file.path.as_str().matches('/').count(), file.path.to_string()));
    Ok(found)
}

/// Lists the repositories that a fleet lies in, with what stands before their names in the fleet.
pub(super) fn repositories(root: &Path) -> Vec<(PathBuf, &'static str)> {
    let private = root.join(PRIVATE);
    let mut found = vec![(root.to_owned(), "")];
    if private.join(".git").exists() {
        found.push((private, "private/"));
    }
    found
}

/// Replaces one file of the fleet, under its lock.
fn commit(context: &Context, path: &RelPath, bytes: Vec<u8>) -> Result<(), Failure> {
    let fail = |error: store::StoreError| context.explain(error.into());
    let store = Store::open(&context.root).map_err(fail)?;
    let mut locked = store.lock().map_err(fail)?;
    locked.recover().map_err(fail)?;
    let old = store.read(path, FILE_LIMIT).map_err(fail)?;
    if old.as_ref() == Some(&bytes) {
        return Ok(());
    }
    let mut changes = Changes::new();
    changes.expect(path.clone(), old.as_deref().map(store::sha256));
    changes.write(path.clone(), bytes, Mode::Public);
    locked.commit(changes).map(drop).map_err(fail)
}
