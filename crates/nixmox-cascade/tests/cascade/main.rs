//! The cascade as its users see it: against what Nixverse answered, and against its laws.

#![expect(clippy::expect_used, reason = "a fixture that does not parse fails the test")]
#![expect(clippy::panic, reason = "a case that comes out wrong fails the test")]
#![expect(clippy::indexing_slicing, reason = "what is not where it should be fails the test")]

mod fleet;
mod found;
mod laws;
mod named;
mod random;
mod size;
