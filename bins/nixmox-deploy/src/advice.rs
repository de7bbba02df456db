//! What a person is told when something goes wrong, and what can be done about it.

use nixmox_cli::{Exit, Failure};
use nixmox_deploy::RunError;

/// Explains why a run cannot be used.
pub(crate) fn run(error: RunError) -> Failure {
    let exit = match error {
        RunError::Name => Exit::Usage,
        _ => Exit::Failure,
    };
    Failure::from_error(exit, error)
}
