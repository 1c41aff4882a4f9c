//! Roofline's integration tests, in one binary.

mod cli;
mod fake;
mod runner;
