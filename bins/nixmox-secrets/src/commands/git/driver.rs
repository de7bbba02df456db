//! `git merge-driver`: three versions of a sealed file become one.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use nixmox_cli::terminal::{escape, plural};
use nixmox_cli::{Exit, Failure};
use nixmox_secrets::merge::{
    Clash, Draft, FileKind, MergeError, Opened, Place, Sides, Version, kind, merge_ages,
    merge_digests,
};
use nixmox_secrets::store::RelPath;
use nixmox_secrets::{Fleet, find};
use nixmox_sops::{DecryptError, Disagreement};
use rand_core::OsRng;

use super::super::input::read_file;
use super::super::values::replace_file;
use super::MergeDriver;
use crate::advice;
use crate::args::{Args, Evaluate, Trust};
use crate::context::Context;
use crate::paths;

/// Merges, and replaces our version by the result; on a failure it is left as it is.
pub(super) fn run(args: &Args, files: &MergeDriver) -> Result<Exit, Failure> {
    let (context, path) = locate(args, &files.path)?;
    let [base, ours, theirs] = [&files.base, &files.ours, &files.theirs].map(|f| read_file(f));
    let (base, ours, theirs) = (base?, ours?, theirs?);
    let sides = Sides { base: base.expose(), ours: ours.expose(), theirs: theirs.expose() };
    let options = context.options(Trust::default(), Evaluate::default());
    let fleet = Fleet::open(&context.root, options.ask_nix)
        .map_err(|error| left(&context, &path, error.into()))?;
    let failed = |error| left(&context, &path, error);
    let merged = match kind(&fleet, &path).map_err(|error| failed(error.into()))? {
        FileKind::Digests => Some(merge_digests(sides.base, sides.ours, sides.theirs)),
        FileKind::Ages => Some(merge_ages(sides.base, sides.ours, sides.theirs)),
        _ => None,
    };
    if let Some(merged) = merged {
        replace_file(&files.ours, &merged)?;
        return Ok(Exit::Ok);
    }
    let opened = Opened::new(&fleet, options, &path, sides).map_err(failed)?;
    let draft = opened.merge(&|_| None).map_err(failed)?;
    let sealed = opened.seal(&draft.documents, &mut OsRng, Timestamp::now()).map_err(failed)?;
    replace_file(&files.ours, &sealed)?;
    if draft.clashes.is_empty() {
        return Ok(Exit::Ok);
    }
    tell(&files.path, opened.kind(), &draft);
    Ok(Exit::Failure)
}

/// Finds the fleet that a file of the repository belongs to, and its path there.
pub(super) fn locate(args: &Args, path: &Path) -> Result<(Context, RelPath), Failure> {
    let here = std::env::current_dir()
        .map_err(|e| Failure::new(Exit::Failure, "the current directory is gone").because(e))?;
    let file = here.join(path);
    let start = file.parent().unwrap_or(&here);
    let root = match &args.repo {
        Some(root) => std::path::absolute(root).unwrap_or_else(|_| root.clone()),
        None => find(start).ok_or_else(|| advice::no_fleet(start))?,
    };
    let path = below(&root, &file)?;
    Ok((Context::at(root, args.switches.json), path))
}

/// Returns the path of a file from the fleet's root.
pub(super) fn below(root: &Path, file: &Path) -> Result<RelPath, Failure> {
    let outside = || {
        let message = format!("{} is not in the fleet {}", file.display(), root.display());
        Failure::new(Exit::Usage, message)
    };
    // Only the directories are resolved: the file itself need not be there.
    let whole = |dir: &Path| dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let (root, name) = (whole(root), file.file_name().ok_or_else(outside)?);
    let resolved: PathBuf = match file.strip_prefix(&root) {
        Ok(below) => below.to_owned(),
        Err(_) => {
            let above = whole(file.parent().unwrap_or(Path::new(".")));
            above.join(name).strip_prefix(&root).map_err(|_| outside())?.to_owned()
        }
    };
    let text = resolved.to_str().ok_or_else(outside)?;
    RelPath::parse(text).map_err(|e| outside().because(e))
}

/// Explains why a file was not merged, and what can be done then.
pub(super) fn left(context: &Context, path: &RelPath, error: MergeError) -> Failure {
    let name = path.as_str();
    let message = format!("{name} was not merged; ours was left as it is");
    let failure = match error {
        MergeError::Fleet(error) => {
            let cause = context.explain(error);
            let failure = Failure::new(cause.exit(), message).because(cause.message().to_owned());
            return failure
                .hint(format!("settle what is wrong, then: nixmox-secrets git resolve {name}"));
        }
        MergeError::Open { source: DecryptError::NoIdentity, .. } => {
            Failure::new(Exit::NoIdentity, message)
                .because("there is no key to open it with".to_owned())
                .hint("with your key: nixmox-secrets git resolve")
        }
        MergeError::Open { version, source } => {
            let failure = advice::unopened(name, source, context.loaded_if_asked());
            let cause = format!("{version} cannot be opened");
            Failure::new(failure.exit(), message).because(cause)
        }
        error @ MergeError::NewRecipient { .. } => Failure::new(Exit::Failure, message)
            .because(error)
            .hint("if that is what you want: nixmox-secrets git resolve --accept-admins"),
        error @ MergeError::Unsound { version: Version::Theirs, .. } => {
            Failure::new(Exit::Failure, message)
                .because(error)
                .hint("somebody changed it without its key; do not take it")
        }
        error => Failure::new(Exit::Failure, message).because(error),
    };
    failure
        .hint(format!("to keep ours: git add -- {name}; theirs: git checkout --theirs -- {name}"))
}

/// Says on standard error what is left to settle.
fn tell(path: &Path, kind: &FileKind, draft: &Draft) {
    let mut err = anstream::stderr();
    let mut lines = vec![headline(&path.display().to_string(), draft.clashes.len())];
    lines.extend(clash_lines(&draft.clashes, &draft.names));
    lines.push(match kind {
        FileKind::Host(_) => {
            "ours stays in the sealed file; it follows from the master: settle that first"
                .to_owned()
        }
        _ => "ours stays in the sealed file".to_owned(),
    });
    lines.push("settle it with: nixmox-secrets git resolve".to_owned());
    for line in lines {
        // There is nobody left to tell when standard error is gone.
        let _ = writeln!(err, "{line}");
    }
}

pub(super) fn headline(name: &str, clashes: usize) -> String {
    format!("{}: {}", escape(name), plural(clashes, "conflict"))
}

/// Says where the sides clash; of a Nix master, also which values they both changed.
pub(super) fn clash_lines(clashes: &[Clash], names: &[Vec<String>]) -> Vec<String> {
    let places = clashes.iter().map(|clash| format!("  {}  {}", place(clash), what(clash)));
    let names = names.iter().map(|name| format!("  {}", escape(&paths::show(name))));
    places.chain(names).collect()
}

/// Names the place of a clash as options take it.
pub(super) fn place_name(place: &Place) -> String {
    match place {
        Place::Value(path) => paths::show(path),
        Place::Line(line) => format!("line-{line}"),
        _ => "all".to_owned(),
    }
}

pub(super) fn place(clash: &Clash) -> String {
    escape(&place_name(&clash.place)).into_owned()
}

/// Says what the sides did.
pub(super) fn what(clash: &Clash) -> &'static str {
    match (&clash.place, clash.what) {
        (Place::Whole, Disagreement::Changed) if clash.ours.is_none() => {
            "put together, the two sides do not evaluate"
        }
        (_, Disagreement::Added) => "both sides added it",
        (_, Disagreement::WeRemoved) => "we removed it, they changed it",
        (_, Disagreement::TheyRemoved) => "we changed it, they removed it",
        (_, Disagreement::Documents) => "the sides have other numbers of documents",
        _ => "both sides changed it",
    }
}
