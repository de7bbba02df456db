//! The line from a master to sealed files, through the public API, on real directories and with real crypto.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests and their helpers fail by panicking"
)]

mod changes;
mod check;
mod due;
mod forms;
mod generated;
mod laws;
mod places;
mod readers;
mod renewal;
mod site;
mod trust;
