//! The comparison of synthetic runs.
