//! The keys that hosts may answer with.

use std::fmt::Write as _;

use crate::Target;

/// Writes one line a key, under the node's own name.
///
/// ssh looks a host up under `HostKeyAlias`, so it does not matter at which address it is found.
pub(crate) fn known_hosts(targets: &[Target]) -> String {
    let mut text = String::new();
    for target in targets {
        for key in &target.host_keys {
            let line = key.to_openssh("");
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{} {}", target.node, line.trim_end());
        }
    }
    text
}
