//! YAML as go-yaml reads and writes it, in the part that sops uses.

mod compose;
mod lex;
mod resolve;
mod write;

pub(crate) use compose::compose;
pub(crate) use write::write;
