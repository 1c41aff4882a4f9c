//! Roofline's integration tests, in one binary.

mod bundle;
mod machine;
mod sample;
mod schema;
mod store;
mod tidy;
