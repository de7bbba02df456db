//! One secrets file in, one sealed file per host out.
fn main() {}
