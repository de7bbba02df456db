//! Every recorded command line of sops, through the real program: what it prints, what it changes, how it ends.

#![expect(clippy::panic, reason = "helpers of tests fail by panicking")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]
#![expect(clippy::indexing_slicing, reason = "what is not recorded fails the test")]

mod common;
mod config;
mod edit;
mod identities;
mod pages;
mod vectors;
