//! Builds, tests and measures this workspace.
fn main() {}
