//! sops documents with age recipients: YAML, JSON and binary.
