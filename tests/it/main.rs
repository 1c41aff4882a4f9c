//! One integration binary, a module a subject.

#[cfg(test)]
mod kernels;
