//! Calling an installation off, and asking where it stands.

use crate::error::Cause;
use crate::identity::{Answer, who};
use crate::order::Order;
use crate::remote::Remote;
use crate::state::Memory;
use crate::work::{Context, Work};
use crate::{Identity, InstallError, Phase};

/// What came of calling an installation off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aborted {
    /// There was none.
    Nothing,
    /// Nothing of it runs any more, and it is forgotten. What is on the disks stays.
    Released,
    /// Nobody answers there; it is forgotten here.
    Forgotten,
    /// The machine is the node already; it is forgotten here.
    Installed,
}

/// Calls an installation off: its jobs end, the disks are let go of, and it is forgotten. Nothing is erased by that.
///
/// # Errors
///
/// [`InstallError::Stranger`] when somebody else answers, [`InstallError::Phase`] when the disks are not let go of,
/// [`InstallError::Busy`] and [`InstallError::State`].
pub async fn abort(order: &Order, context: &Context) -> Result<Aborted, InstallError> {
    let held = context.memories.hold(&order.node)?;
    let Some(memory) = held.read()? else { return Ok(Aborted::Nothing) };
    let work = Work::new(order, context, Some(memory.clone()));
    let faces = work.faces()?;
    let came_of = match who(&faces).await {
        Answer::Stranger => return Err(InstallError::Stranger),
        Answer::Silent(_) | Answer::Denied(..) => Aborted::Forgotten,
        Answer::Known(face) if face.identity == Identity::Node => Aborted::Installed,
        Answer::Known(face) => {
            let remote = Remote::new(&face.host, &memory.run);
            let at = |error| InstallError::at(Phase::Finish, Cause::Remote(error));
            remote.put().await.map_err(at)?;
            remote.ask(&["give-up"], &[]).await.map_err(at)?;
            Aborted::Released
        }
    };
    // Whoever has the key of an installer that is gone has nothing.
    let _ = std::fs::remove_file(work.client_key());
    held.forget()?;
    Ok(came_of)
}

/// Where an installation stands.
#[derive(Debug, Clone)]
pub struct Status {
    /// What this machine remembers, if anything.
    pub memory: Option<Memory>,
    /// Who answers; nothing when nobody does.
    pub who: Option<Identity>,
    /// Whether somebody answers whose key is none that is known.
    pub stranger: bool,
    /// The last line that can be said of the machine itself.
    pub boot_id: Option<String>,
    /// Jobs of this installation that go on there.
    pub running: Vec<String>,
    /// How far the disks say it is.
    pub reached: Option<crate::Reached>,
}

/// Asks where the installation of a node stands. Nothing is changed.
///
/// # Errors
///
/// [`InstallError::State`] and [`InstallError::Ssh`]; a machine that does not answer is no error.
pub async fn status(order: &Order, context: &Context) -> Result<Status, InstallError> {
    let memory = context.memories.read(&order.node)?;
    let work = Work::new(order, context, memory.clone());
    let faces = work.faces()?;
    let mut status = Status {
        memory,
        who: None,
        stranger: false,
        boot_id: None,
        running: Vec::new(),
        reached: None,
    };
    match who(&faces).await {
        Answer::Stranger => status.stranger = true,
        Answer::Silent(_) => {}
        Answer::Denied(identity, _) => status.who = Some(identity),
        Answer::Known(face) => {
            status.who = Some(face.identity);
            let remote = Remote::new(&face.host, "none");
            if let Ok(facts) = remote.facts().await {
                let goes_on = |state: &crate::JobState| *state == crate::JobState::Running;
                let jobs = facts.jobs.iter().filter(|(_, state)| goes_on(state));
                status.running = jobs.map(|((_, name), _)| name.clone()).collect();
                status.reached = facts.marker.map(|marker| marker.reached);
                status.boot_id = Some(facts.boot_id);
            }
            face.host.close().await;
        }
    }
    Ok(status)
}
