//! Edits, plans and commits the sealed secrets of a fleet.

pub mod store;
