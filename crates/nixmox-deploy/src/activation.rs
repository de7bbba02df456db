//! The activation of one host, from the snapshot to the commit or back.

mod confirm;
mod drive;

use std::time::{Instant, SystemTime};

use nixmox_tree::SecretString;
use thiserror::Error;

use crate::event::{EventSink, Happening, Phase as Shown};
use crate::guard::{self, Guard, GuardError, Last, Line, Phase, Transaction};
use crate::text::last_lines;
use crate::{Goal, Host, Outcome, Request, StorePath};
use drive::{Drive, lasts};

/// Brings one host to a system, or leaves it on the one that it had.
///
/// The system's closure has to be in the host's store. Nothing that lasts is changed on the host before the new
/// system was seen healthy and reachable; whatever happens to this machine or to the network meanwhile, the host
/// goes back by itself.
///
/// # Errors
///
/// [`ActivationError::Guard`] when it was refused or could not begin: then the host runs what it ran.
/// [`ActivationError::Lost`] when the host could not be asked how it ended, [`ActivationError::RollbackFailed`] when
/// it could not go back.
pub async fn activate(
    host: &Host,
    request: &Request,
    events: &EventSink,
) -> Result<Outcome, ActivationError> {
    match request.goal {
        Goal::DryActivate => dry_activate(host, &request.toplevel).await,
        Goal::Push => {
            guard::push(host, &request.toplevel).await?;
            Ok(Outcome::Pushed)
        }
        Goal::Switch | Goal::Boot | Goal::Test => guarded(host, request, events).await,
    }
}

/// Looks on until an activation is over that somebody else began, or nobody drives any more. What a reboot has
/// interrupted is settled on the host; nothing else is asked of it.
///
/// # Errors
///
/// Those of [`activate`].
pub async fn attach(
    host: &Host,
    last: &Last,
    events: &EventSink,
) -> Result<Outcome, ActivationError> {
    let standing = Guard::new(host, &last.transaction).recover().await?;
    let from = before(host, last).await?;
    // What the other one asked for; nothing is judged here.
    let mut request = Request::switch(from.clone());
    request.goal = last.order.as_ref().map_or(Goal::Switch, |order| order.goal);
    let mut drive = Drive::new(host, &last.transaction, &request, events);
    drive.looks_on = true;
    drive.finish(standing, &from, Instant::now()).await
}

/// What ran before an activation that is not over.
async fn before(host: &Host, last: &Last) -> Result<StorePath, GuardError> {
    match last.order.as_ref().and_then(|order| order.before.clone()) {
        Some(before) => Ok(before),
        None => Ok(guard::probe(host).await?.current),
    }
}

/// Goes on with an activation that another run began, from wherever it stands. The request has to be the same one.
///
/// # Errors
///
/// Those of [`activate`].
pub async fn resume(
    host: &Host,
    last: &Last,
    request: &Request,
    events: &EventSink,
) -> Result<Outcome, ActivationError> {
    let standing = Guard::new(host, &last.transaction).recover().await?;
    let from = before(host, last).await?;
    let mut drive = Drive::new(host, &last.transaction, request, events);
    drive.nonce = standing.nonce.clone();
    drive.finish(standing, &from, Instant::now()).await
}

/// Has an activation that may still be running go back, and waits until it has.
///
/// # Errors
///
/// Those of [`activate`].
pub async fn abort(
    host: &Host,
    transaction: &Transaction,
    request: &Request,
    events: &EventSink,
) -> Result<Outcome, ActivationError> {
    let guard = Guard::new(host, transaction);
    guard.recover().await?;
    guard.abort("asked").await?;
    let standing = guard.status(Line::Fresh).await?;
    let from = request.toplevel.clone();
    Drive::new(host, transaction, request, events).finish(standing, &from, Instant::now()).await
}

async fn dry_activate(host: &Host, toplevel: &StorePath) -> Result<Outcome, ActivationError> {
    let output = guard::dry_activate(host, toplevel).await?;
    let lines = last_lines(&output.stdout, usize::MAX);
    if output.success() {
        return Ok(Outcome::WouldChange { lines });
    }
    Err(ActivationError::DryActivation { status: output.status, lines })
}

async fn guarded(
    host: &Host,
    request: &Request,
    events: &EventSink,
) -> Result<Outcome, ActivationError> {
    let begun = Instant::now();
    events.send(host.node(), Happening::Phase(Shown::Probe));
    let probe = guard::probe(host).await?;
    if is_unchanged(&probe, request) {
        return Ok(Outcome::Unchanged);
    }
    let transaction = Transaction::new(SystemTime::now());
    let guard = Guard::new(host, &transaction);
    events.send(host.node(), Happening::Phase(Shown::Prepare));
    guard.prepare(request, &probe.current).await?;
    if let Err(error) = stage(&guard, request).await {
        // The host is left as it was; without this it would notice a while later by itself.
        let _ = guard.abort("secrets").await;
        return Err(error.into());
    }
    let mut drive = Drive::new(host, &transaction, request, events);
    let standing = drive.status().await?;
    drive.nonce = standing.nonce.clone();
    drive.finish(standing, &probe.current, begun).await
}

fn is_unchanged(probe: &guard::Probe, request: &Request) -> bool {
    let same_key = request.secrets.is_none();
    match request.goal {
        Goal::Switch => same_key && probe.is_settled_on(&request.toplevel),
        Goal::Test => same_key && probe.current == request.toplevel,
        _ => false,
    }
}

async fn stage(guard: &Guard<'_>, request: &Request) -> Result<(), GuardError> {
    let Some(secrets) = &request.secrets else { return Ok(()) };
    if let Some(sealed) = &secrets.sealed {
        guard.stage("sealed", SecretString::new(sealed.text.clone())).await?;
    }
    if let Some(key) = &secrets.host_key {
        guard.stage("host-key", key.clone()).await?;
    }
    Ok(())
}

/// Why it is not known that the host ended on a good system, or why nothing was begun.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ActivationError {
    /// It could not begin, or the host refused: it runs what it ran.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// The host says what would change, and fails.
    #[error("the dry activation ended with {status}")]
    DryActivation {
        /// Its status.
        status: i32,
        /// What it said, without control characters.
        lines: Vec<String>,
    },
    /// The host was not reached again. It goes back by itself when it was not told to stay.
    #[error("the host was lost while {} ({transaction})", lasts(*phase))]
    Lost {
        /// Which activation to ask for.
        transaction: Transaction,
        /// Where it stood when it was last seen.
        phase: Phase,
        /// Why it was not reached.
        source: Box<GuardError>,
    },
    /// The host could not go back. Its log says what was tried.
    #[error("the host could not go back ({transaction})")]
    RollbackFailed {
        /// Which activation.
        transaction: Transaction,
        /// The last lines of its log, without control characters.
        log: Vec<String>,
    },
}
