//! Many hosts, deployed by the real program: order, failures, plans, secrets, and runs that are cut short.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod killed;
mod operator;
mod order;
mod plans;
mod secrets;
mod selecting;
