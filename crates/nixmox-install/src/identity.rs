//! Who answers at a machine's address.

use std::fmt;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nixmox_deploy::{Address, Host, HostError, SshFiles, SshFilesError, SshSettings, Target};

/// Between two tries to reach a machine.
const PAUSE: Duration = Duration::from_secs(1);

/// By which key a machine is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    /// By the key of what ran before: an installer that was booted by hand, a rescue system, some Linux.
    Before,
    /// By the key that was made for the installer of this run.
    Installer,
    /// By the repository's key of the node.
    Node,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before => "what ran before",
            Self::Installer => "the installer",
            Self::Node => "the node",
        })
    }
}

/// A machine as it is reached by one key.
#[derive(Debug)]
pub(crate) struct Face {
    pub(crate) identity: Identity,
    pub(crate) host: Host,
    place: (Address, Option<NonZeroU16>),
}

impl Face {
    /// Writes a configuration of ssh that knows the keys of this identity and no other.
    pub(crate) fn new(
        identity: Identity,
        target: &Target,
        settings: &SshSettings,
    ) -> Result<Self, SshFilesError> {
        let files = Arc::new(SshFiles::write(std::slice::from_ref(target), settings)?);
        let place = (target.address.clone(), target.port);
        Ok(Self { identity, host: Host::ssh(target, files), place })
    }
}

/// Who answers.
#[derive(Debug)]
pub(crate) enum Answer<'a> {
    /// One that is known, and lets us in.
    Known(&'a Face),
    /// One that is known, and does not.
    Denied(Identity, String),
    /// One whose key is none that is known.
    Stranger,
    /// Nobody.
    Silent(Option<HostError>),
}

/// Finds out who answers. A stranger is asked twice: a machine that goes from one system to the next while it is asked may
/// have had another key than the expected one each time.
pub(crate) async fn who(faces: &[Face]) -> Answer<'_> {
    match ask_all(faces).await {
        Answer::Stranger => ask_all(faces).await,
        answer => answer,
    }
}

/// Tries to log in with one key after the other.
async fn ask_all(faces: &[Face]) -> Answer<'_> {
    let mut answer = Answer::Silent(None);
    let mut silent = Vec::new();
    for face in faces {
        // Where nobody answers, nobody has another key either.
        if silent.contains(&&face.place) {
            continue;
        }
        let Ok(command) = nixmox_deploy::RemoteCommand::new(["true"]) else { continue };
        match face.host.run(&command).await {
            Ok(_) => return Answer::Known(face),
            Err(HostError::Denied { said }) => return Answer::Denied(face.identity, said),
            Err(HostError::HostKey { .. }) => answer = Answer::Stranger,
            Err(error) => {
                silent.push(&face.place);
                if !matches!(answer, Answer::Stranger) {
                    answer = Answer::Silent(Some(error));
                }
            }
        }
    }
    answer
}

/// Waits until somebody answers who is known, or who is a stranger.
pub(crate) async fn somebody(faces: &[Face], patience: Duration) -> Answer<'_> {
    let end = Instant::now() + patience;
    loop {
        match who(faces).await {
            Answer::Silent(_) if Instant::now() < end => tokio::time::sleep(PAUSE).await,
            answer => return answer,
        }
    }
}
