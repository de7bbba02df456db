//! Nodes, groups and membership of a fleet.
