//! What is wrong around a fleet's secrets: plaintext where none belongs, keys that do not open, machines that changed.
//!
//! Everything here works on bytes that it is given. Whoever calls it walks directories, starts `git`, and asks
//! machines; what comes of that is judged here, as hostile input: sizes are bounded and nothing is followed.
//!
//! | job | function |
//! |---|---|
//! | know every current value, to look for it elsewhere | [`Needles::of`] |
//! | look for values in a stream | [`Needles::scan`] |
//! | look for values in everything that a git repository ever held | [`objects`](fn@objects) |
//! | read a shell's history as it was typed | [`Shell::read`] |
//! | tell a leftover by its path and content | [`leftover`] |
//! | prove that keys open what they should | [`drill`](fn@drill) |
//! | compare a machine's key with the repository's | [`live_key`] |

mod drill;
mod finding;
mod history;
mod leftovers;
mod live;
mod needles;
mod objects;

pub use drill::{Drill, Drilled, drill};
pub use finding::{Finding, Severity, Trouble};
pub use history::Shell;
pub use leftovers::{Leftover, is_sealed, leftover};
pub use live::{LiveError, live_key};
pub use needles::{MIN_LENGTH, Needles, NeedlesError, Occurrence};
pub use objects::{MAX_OBJECT_HITS, ObjectHit, ObjectsError, Searched, objects};

use crate::Error;
use crate::fleet::Fleet;

/// Names the recipients of a fleet's master, by `.sops.yaml` as it is.
///
/// # Errors
///
/// [`Error::NoRules`], [`Error::NoRecipients`], [`Error::Rules`].
pub fn admins(fleet: &Fleet) -> Result<Vec<String>, Error> {
    let recipients = fleet.rules()?.recipients(&fleet.layout.master()?)?;
    Ok(recipients.iter().map(ToString::to_string).collect())
}
