//! Resolution of cascading secrets from groups to nodes, with provenance.
