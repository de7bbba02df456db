//! Declarations and what becomes of them, through the public API.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests and their helpers fail by panicking")]

mod declarations;
mod laws;
mod site;
mod values;
