//! Files that sops and its users wrote, and laws that hold for every file.

mod common;
mod laws;
mod sealing;
mod vectors;
