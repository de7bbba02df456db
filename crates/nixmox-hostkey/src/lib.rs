//! Ed25519 SSH host keys and their age forms.
