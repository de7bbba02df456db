//! Changing the secrets of a fleet: read, let somebody write, plan, commit.

use jiff::Timestamp;
use nixmox_nix::NixEvaluator;
use nixmox_signing::Signer;
use nixmox_sops::{Identities, Interaction};
use nixmox_tree::SecretString;
use rand_core::{CryptoRng, RngCore};
use std::io;
use std::path::Path;

use crate::fleet::{AskNix, Fleet};
use crate::generation::Generation;
use crate::master::{Form, Master};
use crate::plan::{Accept, Plan, Request, check_trust};
use crate::renewal::Renewal;
use crate::report::Report;
use crate::store::{Locked, Recovery, RelPath, Store, StoreError};
use crate::trust::{TrustError, keep_in_step};
use crate::{Error, TextProblem};

/// A real Nix that evaluates masters, text over standard input only.
pub type RealNix = dyn NixEvaluator<Error = io::Error> + Sync;

/// How a fleet is opened and what was vouched for.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// The keys that open the master and the hosts' keys.
    pub identities: &'a Identities,
    /// What was vouched for beyond the digests.
    pub accept: Accept,
    /// Whom to ask about group files beyond the embedded evaluator.
    pub ask_nix: &'a AskNix<'a>,
    /// A real Nix for the master, instead of the embedded evaluator.
    pub real_nix: Option<&'a RealNix>,
    /// Talks to a person for recipients that need a plugin; without it, none is started.
    pub interaction: Option<&'a Interaction>,
    /// What becomes of values that are declared instead of written.
    pub generation: Generation<'a>,
    /// Signs rosters, and what hosts are delivered; needed by changes of a fleet that signs.
    pub signer: Option<&'a dyn Signer>,
    /// The form and text that a fleet without a master starts from; without it that is an error.
    pub fresh: Option<(Form, &'a SecretString)>,
}

/// The text to change, and what was wrong with the last change.
pub struct Draft<'a> {
    /// The fleet.
    pub fleet: &'a Fleet,
    /// What the text is written in.
    pub form: Form,
    /// The text: the master's, or what was written last.
    pub text: &'a SecretString,
    /// Why the last text could not be planned or committed.
    pub problem: Option<Error>,
}

/// What came of a change.
#[derive(Debug)]
pub struct Outcome {
    /// What was done by name; `None` when the writer gave up and nothing was.
    pub report: Option<Report>,
    /// The files that were written.
    pub written: Vec<RelPath>,
    /// What an earlier run had left to finish or undo.
    pub recovered: Recovery,
}

/// Changes the secrets of the fleet at `root` to what `write` returns, under the fleet's lock.
///
/// A crash of an earlier run is finished or undone first. `write` gets the text, and again, with the problem, when
/// what it returned cannot be planned or committed; returning nothing gives up, and then nothing has changed. The
/// plan is complete before the first file is written.
///
/// # Errors
///
/// Any [`Error`] of reading the fleet and its master, or of the commit. Problems of the text go to `write`.
pub fn change(
    root: &Path,
    options: Options<'_>,
    write: &mut dyn FnMut(Draft<'_>) -> Option<SecretString>,
    rng: &mut (impl RngCore + CryptoRng),
    now: Timestamp,
) -> Result<Outcome, Error> {
    let store = Store::open(root)?;
    let mut locked = store.lock()?;
    let recovered = locked.recover()?;
    let (fleet, master) = open(root, &options)?;
    let mut base = Some(check_trust(request((&fleet, &master), &master.text, &options, None))?);
    let mut text = master.text.clone();
    let mut problem = None;
    loop {
        let draft =
            Draft { fleet: &fleet, form: master.form, text: &text, problem: problem.take() };
        let Some(written) = write(draft) else {
            return Ok(Outcome { report: None, written: Vec::new(), recovered });
        };
        text = written;
        let request = request((&fleet, &master), &text, &options, None);
        // What has changed meanwhile is noticed by the commit; then it is read again.
        let planned = match base.take() {
            Some(base) => Plan::on(base, request, rng, now),
            None => Plan::new(request, rng, now),
        };
        match planned.and_then(|plan| carry_out(&mut locked, plan)) {
            Ok((report, written)) => {
                return Ok(Outcome { report: Some(report), written, recovered });
            }
            // This commit is decided: the next run completes it, and another text would be another change.
            Err(error @ Error::Store(StoreError::Unapplied { .. })) => return Err(error),
            Err(error) => problem = Some(error),
        }
    }
}

/// Seals the fleet at `root` to what its master says as it stands, and renews what `renewal` asks for, under the
/// fleet's lock.
///
/// It is [`change`] without a writer: after a merge, other nodes or other recipients it carries out what
/// [`preview`] shows.
///
/// # Errors
///
/// Any [`Error`] of reading the fleet and its master, of the plan, or of the commit.
pub fn renew(
    root: &Path,
    options: Options<'_>,
    renewal: &Renewal,
    rng: &mut (impl RngCore + CryptoRng),
    now: Timestamp,
) -> Result<Outcome, Error> {
    let store = Store::open(root)?;
    let mut locked = store.lock()?;
    let recovered = locked.recover()?;
    let (fleet, master) = open(root, &options)?;
    let request = request((&fleet, &master), &master.text, &options, Some(renewal));
    let (report, written) = carry_out(&mut locked, Plan::new(request, rng, now)?)?;
    Ok(Outcome { report: Some(report), written, recovered })
}

/// Carries a plan out, and returns what it did and the files that it wrote.
pub(crate) fn carry_out(
    locked: &mut Locked<'_>,
    plan: Plan,
) -> Result<(Report, Vec<RelPath>), Error> {
    if plan.is_unsigned() {
        return Err(TrustError::NoSigner.into());
    }
    let (changes, report) = plan.into_parts();
    let written = changes.writes.keys().cloned().collect();
    if !changes.is_empty() {
        locked.commit(changes)?;
    }
    Ok((report, written))
}

/// Works out what [`renew`] would do; nothing is written or locked.
///
/// # Errors
///
/// Any [`Error`] of reading the fleet, its master, or of the plan.
pub fn preview(
    root: &Path,
    options: Options<'_>,
    renewal: &Renewal,
    rng: &mut (impl RngCore + CryptoRng),
    now: Timestamp,
) -> Result<Plan, Error> {
    // What is only looked at is not signed.
    let options = Options { signer: None, ..options };
    let (fleet, master) = open(root, &options)?;
    Plan::new(request((&fleet, &master), &master.text, &options, Some(renewal)), rng, now)
}

/// Opens a fleet and its master, or the fresh one that the options allow.
///
/// # Errors
///
/// Any [`Error`] of [`Fleet::open`] and [`Master::open`].
pub fn open(root: &Path, options: &Options<'_>) -> Result<(Fleet, Master), Error> {
    let mut fleet = Fleet::open(root, options.ask_nix)?;
    keep_in_step(&mut fleet)?;
    let master = match (Master::open(&fleet, options.identities), options.fresh) {
        (Err(Error::NoMaster { .. }), Some((form, text))) => {
            Master::fresh(&fleet, form, text.clone())?
        }
        (opened, _) => opened?,
    };
    Ok((fleet, master))
}

pub(crate) fn request<'a>(
    (fleet, master): (&'a Fleet, &'a Master),
    text: &'a SecretString,
    options: &Options<'a>,
    renewal: Option<&'a Renewal>,
) -> Request<'a> {
    Request {
        fleet,
        master,
        text,
        identities: options.identities,
        accept: options.accept,
        real_nix: options.real_nix,
        interaction: options.interaction,
        renewal,
        generation: options.generation,
        signer: options.signer,
    }
}

/// Evaluates a text through a real Nix.
pub(crate) fn ask_real_nix(
    nix: &RealNix,
    text: &SecretString,
) -> Result<nixmox_tree::SecretTree, Error> {
    let wrapped = nixmox_nix::wrap_master(text.expose(), "{ }");
    let answer = nix.eval_json(&wrapped).map_err(|e| Error::Text(TextProblem::RealNix(e)))?;
    nixmox_nix::read_answer(&answer).map_err(|e| Error::Text(TextProblem::Answer(e)))
}
