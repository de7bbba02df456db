//! `nixmox-install` on hosts of a bed: who is not authenticated gets nothing, who looks on sees nothing, and whatever is
//! interrupted or fails ends with a number of its own and can be gone on with.
//!
//! The hosts have no disks of their own: what formats is a script that makes a directory the new root, or the host's own
//! root once more, so that it boots what was installed. Real disks are in the tests of machines.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod checks;
mod faults;
mod installer;
mod interrupted;
mod kexec;
mod strangers;
mod ways;
