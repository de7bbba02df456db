//! `edit`: the master in a person's editor.

use std::io::Write as _;

use nixmox_cli::editor::{Edited, EditorError, Options, Session};
use nixmox_cli::{Exit, Failure, prompt};
use nixmox_secrets::{Draft, Form};
use nixmox_tree::SecretString;

use super::change::apply;
use crate::args::Edit;
use crate::context::Context;

/// Opens the master in the editor until it can be sealed or the person gives up.
pub(crate) fn edit(context: &Context, args: &Edit) -> Result<Exit, Failure> {
    let options = Options::from_env(args.allow_disk).map_err(editor_failure)?;
    let mut session = None;
    let mut failed = None;
    let result = apply(context, args.write, &mut |draft| {
        let written = write(context, &options, &mut session, draft);
        written.unwrap_or_else(|failure| {
            failed = Some(failure);
            None
        })
    });
    match failed {
        Some(failure) => Err(failure),
        None => result,
    }
}

/// Lets the person write; after a problem, shows it and asks whether to go on with the same text.
fn write(
    context: &Context,
    options: &Options,
    session: &mut Option<Session>,
    draft: Draft<'_>,
) -> Result<Option<SecretString>, Failure> {
    if let Some(problem) = draft.problem {
        let failure = context.explain(problem);
        if !goes_on(&failure)? {
            return Err(Failure::new(failure.exit(), "given up; nothing was changed"));
        }
    }
    let session = match session {
        Some(session) => session,
        None => {
            let name = if draft.form == Form::Nix { "secrets.nix" } else { "secrets.yaml" };
            session.insert(Session::open(draft.text, name, options).map_err(editor_failure)?)
        }
    };
    let Edited { text, leftovers, .. } = session.run().map_err(editor_failure)?;
    tell_leftovers(&leftovers);
    Ok(Some(text))
}

/// Shows what is wrong and asks whether to throw the text away; without a terminal it is.
pub(super) fn goes_on(failure: &Failure) -> Result<bool, Failure> {
    let mut err = anstream::stderr();
    let unshown = |e| Failure::new(Exit::Failure, "cannot write to standard error").because(e);
    failure.write(&mut err).map_err(unshown)?;
    let discard = prompt::confirm("Throw this text away? Anything but y opens it again.");
    Ok(discard.is_ok_and(|discard| !discard))
}

pub(super) fn tell_leftovers(names: &[String]) {
    if !names.is_empty() {
        let mut err = anstream::stderr();
        let names: Vec<_> = names.iter().map(|name| nixmox_cli::terminal::escape(name)).collect();
        // There is nobody left to tell when standard error is gone.
        let _ =
            writeln!(err, "removed what the editor had left beside the text: {}", names.join(", "));
    }
}

pub(super) fn editor_failure(error: EditorError) -> Failure {
    let hint = match &error {
        EditorError::Plaintext(_) => {
            Some("with --allow-disk the text may lie on a disk, where it may be found later")
        }
        EditorError::NoEditor | EditorError::NotFound { .. } => {
            Some("name one: SOPS_EDITOR=nano nixmox-secrets edit; or use `nixmox-secrets set PATH`")
        }
        _ => None,
    };
    let failure = Failure::from_error(error.exit(), error);
    hint.into_iter().fold(failure, |failure, hint| failure.hint(hint))
}
