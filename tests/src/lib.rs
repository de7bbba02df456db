//! Interop with real tools, architecture and end-to-end tests.
