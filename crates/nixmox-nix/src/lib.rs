//! Nix as data: an embedded evaluator of the pure subset.
