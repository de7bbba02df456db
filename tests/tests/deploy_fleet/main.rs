//! Many hosts, deployed by the real program: order, failures, plans, secrets, and runs that are cut short.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod darwin;
mod elsewhere;
mod goals;
mod healthy;
mod interrupted;
mod kept;
mod killed;
mod limits;
mod looking;
mod operator;
mod order;
mod plans;
mod reached;
mod secrets;
mod selecting;
mod sources;
