//! Files that sops and its users wrote, and laws that hold for every file.

#![expect(clippy::expect_used, reason = "a test says what it expects by failing")]
#![expect(clippy::panic, reason = "a case that comes out wrong fails the test")]

mod common;
mod identities;
mod laws;
mod merging;
mod sealing;
mod vectors;
