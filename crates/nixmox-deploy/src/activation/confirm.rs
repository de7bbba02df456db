//! Whether a new system is kept: its health, and connections that show that it can be reached.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::drive::Drive;
use crate::event::Happening;
use crate::guard::{GuardError, Refusal};
use crate::health;

/// Between two tries to connect.
const RETRY: Duration = Duration::from_millis(500);

/// What became of it.
pub(super) enum Verdict {
    /// All checks passed, and there were enough connections.
    Good {
        /// Units that failed, where that is accepted.
        failed_units: Vec<String>,
    },
    /// A check failed for good.
    Unhealthy {
        /// Which one.
        check: String,
    },
    /// The time was over first, or the host is in another phase by now.
    Unconfirmed,
}

/// Checks and connects at the same time; a check that fails for good ends it at once.
pub(super) async fn confirm(drive: &Drive<'_>) -> Verdict {
    let deadline = Instant::now() + drive.request.patience.confirmation;
    let checks = async {
        match health::all(drive.host, drive.request, drive.events, deadline).await {
            Ok(()) => Ok(()),
            Err(check) => Err(Verdict::Unhealthy { check }),
        }
    };
    match tokio::try_join!(checks, connections(drive, deadline)) {
        Ok(((), failed_units)) => Verdict::Good { failed_units },
        Err(verdict) => verdict,
    }
}

/// Makes as many connections of their own as there have to be, each a while after the one before.
async fn connections(drive: &Drive<'_>, deadline: Instant) -> Result<Vec<String>, Verdict> {
    let patience = &drive.request.patience;
    loop {
        let pause = match drive.guard.confirm(&drive.nonce).await {
            Ok((count, failed_units)) => {
                let of = patience.confirmations;
                drive.events.send(drive.host.node(), Happening::Confirmed { count, of });
                if let Some(unit) = failed_units.first().filter(|_| !patience.failed_units) {
                    return Err(Verdict::Unhealthy { check: format!("unit {unit}") });
                }
                if count >= of {
                    return Ok(failed_units);
                }
                patience.dwell
            }
            Err(GuardError::Refused(Refusal::Early)) => RETRY,
            Err(GuardError::Refused(_)) => return Err(Verdict::Unconfirmed),
            Err(_) => RETRY,
        };
        if Instant::now() + pause >= deadline {
            return Err(Verdict::Unconfirmed);
        }
        sleep(pause).await;
    }
}
