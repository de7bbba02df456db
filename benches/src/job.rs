//! The jobs that are measured: what the tool does, as calls of the library.

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nixmox_secrets::{Accept, Change, Draft, Form, Generation, Master, Options, Outcome, master};
use nixmox_sops::Identities;
use nixmox_tree::{SecretString, Value};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

use crate::Failure;
use crate::fleet::{self, Shape};
use crate::readers;

/// Something that the tool does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Job {
    /// Seals a whole fleet that has nothing yet.
    FromNothing,
    /// Changes one secret of one group.
    OneGroup,
    /// Ends an edit without a change.
    NoChange,
    /// Looks one value up.
    Get,
    /// Tells who can read what, with proofs.
    Access,
    /// Brings everything to other admins.
    UpdateKeys,
}

impl Job {
    pub(crate) const ALL: [Self; 6] = [
        Self::FromNothing,
        Self::OneGroup,
        Self::NoChange,
        Self::Get,
        Self::Access,
        Self::UpdateKeys,
    ];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::FromNothing => "from-nothing",
            Self::OneGroup => "one-group",
            Self::NoChange => "no-change",
            Self::Get => "get",
            Self::Access => "access",
            Self::UpdateKeys => "updatekeys",
        }
    }

    /// Does the job to the fleet at `root`, checks what came of it, and returns the time that it took.
    pub(crate) fn run(self, root: &Path, shape: Shape, run: u64) -> Result<Duration, Failure> {
        let text = match self {
            Self::FromNothing => Some(fleet::master(shape)?),
            _ => None,
        };
        if self == Self::UpdateKeys {
            readers::other_admin(root, run)?;
        }
        let start = Instant::now();
        match self {
            Self::Access => {
                let proved = readers::access(root, &admin(root)?)?;
                let took = start.elapsed();
                expect(proved, shape.all_hosts())?;
                Ok(took)
            }
            Self::Get => {
                let found = get(root, &lookup())?;
                let took = start.elapsed();
                expect(found.map(|text| text.len()), Some(fleet::SECRET))?;
                Ok(took)
            }
            _ => {
                let done = self.change(root, text.as_ref(), run)?;
                let took = start.elapsed();
                self.check(&done, shape)?;
                Ok(took)
            }
        }
    }

    fn change(
        self,
        root: &Path,
        fresh: Option<&SecretString>,
        run: u64,
    ) -> Result<Outcome, Failure> {
        let identities = admin(root)?;
        if self == Self::UpdateKeys {
            return readers::update_keys(root, &identities, run);
        }
        let options = Options {
            identities: &identities,
            accept: Accept::default(),
            ask_nix: &|_| None,
            real_nix: None,
            interaction: None,
            generation: Generation::default(),
            signer: None,
            fresh: fresh.map(|text| (Form::Nix, text)),
        };
        let mut rng = ChaCha20Rng::seed_from_u64(run);
        let secret = Value::string(fleet::secret(&mut rng));
        let mut failed = None;
        let mut write = |draft: Draft<'_>| {
            if let Some(problem) = draft.problem {
                failed = Some(problem.to_string());
                return None;
            }
            if self != Self::OneGroup {
                return Some(draft.text.clone());
            }
            let path = ["nodes", &fleet::group(1), "group-00"];
            master::set(draft.form, draft.text, &path, &secret).ok()
        };
        // What the tool draws from the system is drawn here from a seed: no other time, and the same bytes.
        rng.next_u64();
        let done =
            nixmox_secrets::change(root, options, &mut write, &mut rng, Timestamp::UNIX_EPOCH)?;
        match failed {
            Some(problem) => Err(problem.into()),
            None => Ok(done),
        }
    }

    fn check(self, done: &Outcome, shape: Shape) -> Result<(), Failure> {
        let report = done.report.as_ref().ok_or("nothing was done")?;
        let (hosts, group) = (shape.all_hosts(), shape.hosts);
        match self {
            Self::FromNothing => expect(report.count(Change::Created), hosts),
            Self::OneGroup => expect(report.count(Change::Updated), group),
            Self::UpdateKeys => expect(report.count(Change::Updated), hosts),
            Self::NoChange | Self::Get | Self::Access => expect(report.is_unchanged(), true),
        }
    }
}

fn expect<T: PartialEq + std::fmt::Debug>(found: T, wanted: T) -> Result<(), Failure> {
    if found == wanted { Ok(()) } else { Err(format!("{found:?} where {wanted:?} belongs").into()) }
}

/// The path of the value that is looked up.
pub(crate) fn lookup() -> [String; 3] {
    ["nodes".to_owned(), fleet::host(1, 7), "own-03".to_owned()]
}

fn admin(root: &Path) -> Result<Identities, Failure> {
    let text = SecretString::new(std::fs::read_to_string(fleet::key_file(root))?);
    Ok(Identities::from_age_secret(&text)?)
}

/// Looks a value of the master up.
pub(crate) fn get(root: &Path, path: &[String]) -> Result<Option<SecretString>, Failure> {
    let identities = admin(root)?;
    let root = nixmox_secrets::find(&root.join("nodes")).ok_or("no fleet")?;
    let master = Master::open_alone(&root, &identities)?;
    let tree = master::evaluate(master.form(), master.text(), None)?;
    Ok(match tree.at(path) {
        Some(Value::String(text)) => Some(text.clone()),
        _ => None,
    })
}
