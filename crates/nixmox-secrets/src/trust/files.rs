//! The files of a roster: the current one, and those before it.

use nixmox_signing::{Chain, ChainError, Hash, MAX_TEXT, Roster, SignedRoster};

use super::TrustError;
use crate::Error;
use crate::layout::Layout;
use crate::store::{RelPath, Store};

/// The most rosters that a fleet may have had.
const MAX_GENERATIONS: u64 = 10_000;

/// The rosters of a fleet, and where the current one lies.
#[derive(Debug)]
pub(crate) struct RosterFiles {
    pub(crate) path: RelPath,
    pub(crate) chain: Chain,
}

/// Names the signature that lies beside a file.
pub(crate) fn beside(path: &RelPath) -> Result<RelPath, Error> {
    Ok(RelPath::parse(&format!("{path}.sig"))?)
}

/// Names a roster that another one followed.
pub(super) fn former(layout: &Layout, generation: u64) -> Result<RelPath, Error> {
    Ok(layout.below_area(&format!(".nixmox/rosters/{generation}.json"))?)
}

impl RosterFiles {
    /// Reads and verifies all rosters; `None` when there are none.
    ///
    /// # Errors
    ///
    /// [`TrustError::Chain`] when they do not hold together or some are missing.
    pub(crate) fn read(store: &Store, layout: &Layout) -> Result<Option<Self>, Error> {
        let path = layout.roster()?;
        if let Some(found) = Self::read_at(store, layout, path.clone())? {
            return Ok(Some(found));
        }
        if !layout.private {
            return Ok(None);
        }
        let twin = layout.public_twin();
        Self::read_at(store, &twin, twin.roster()?)
    }

    fn read_at(store: &Store, layout: &Layout, path: RelPath) -> Result<Option<Self>, Error> {
        let fail = |source| Error::from(TrustError::Chain { path: path.clone(), source });
        let Some(current) = store.read(&path, MAX_TEXT)? else {
            // Whoever takes the current one away must not make the fleet forget that it had one.
            return match store.read(&former(layout, 1)?, MAX_TEXT)? {
                Some(_) => Err(fail(ChainError::Missing { generation: 2 })),
                None => Ok(None),
            };
        };
        let generation = Roster::parse(&current)
            .map_err(|source| fail(ChainError::Roster { generation: 0, source }))?
            .generation();
        if generation > MAX_GENERATIONS {
            return Err(fail(ChainError::Broken { generation }));
        }
        let mut files = Vec::new();
        for number in 1..generation {
            let path = former(layout, number)?;
            let missing = || fail(ChainError::Missing { generation: number });
            let roster = store.read(&path, MAX_TEXT)?.ok_or_else(missing)?;
            files.push(signed(store, &path, roster)?);
        }
        files.push(signed(store, &path, current)?);
        let chain = Chain::verify(files).map_err(fail)?;
        Ok(Some(Self { path, chain }))
    }

    /// Digests the current roster.
    pub(crate) fn digest(&self) -> Option<Hash> {
        self.chain.hash(self.chain.current().generation())
    }
}

/// Reads the signature beside a roster; a missing one is as good as one that is none.
fn signed(store: &Store, path: &RelPath, roster: Vec<u8>) -> Result<SignedRoster, Error> {
    let signature = store.read(&beside(path)?, MAX_TEXT)?.unwrap_or_default();
    Ok(SignedRoster { roster, signature })
}
