//! stub
use crate::machine::Machine;
/// p
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peaks {
    /// b
    pub bandwidth: Option<f64>,
    /// b
    pub f32: Option<f64>,
    /// b
    pub f16: Option<f64>,
    /// b
    pub source: &'static str,
}
/// p
pub fn peaks(_device_name: &str, _machine: &Machine) -> Option<Peaks> {
    None
}
