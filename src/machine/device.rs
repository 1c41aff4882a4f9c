//! A device that an engine can measure.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One adapter or processor as an engine sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Device {
    /// The name for `--device`, as "vulkan:0": stable while drivers and hardware stay.
    pub id: String,
    /// The product's name.
    pub name: String,
    /// What it is.
    pub kind: DeviceKind,
    /// The programming interface, as "Vulkan", "Metal" or "CUDA".
    pub backend: String,
    /// The driver's name.
    pub driver: String,
    /// The driver's version and details.
    pub driver_info: String,
    /// PCI vendor and device numbers, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pci: Option<String>,
    /// It is emulated on the processor: its figures say nothing of a GPU.
    pub software: bool,
    /// What it allows.
    pub limits: DeviceLimits,
    /// Optional abilities that matter here, as "f16", "subgroups", "timestamps".
    pub features: Vec<String>,
}

#[cfg(test)]
impl Device {
    /// A discrete GPU on Vulkan with room for large buffers, for tests.
    pub(crate) fn example(id: &str, name: &str) -> Self {
        Self {
            id: id.into(),
            name: name.into(),
            kind: DeviceKind::DiscreteGpu,
            backend: "Vulkan".into(),
            driver: String::new(),
            driver_info: String::new(),
            pci: None,
            software: false,
            limits: DeviceLimits { max_buffer_bytes: 1 << 32, max_binding_bytes: 1 << 31, ..DeviceLimits::default() },
            features: Vec::new(),
        }
    }
}

/// What a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceKind {
    /// A GPU with its own memory.
    DiscreteGpu,
    /// A GPU that shares the machine's memory.
    IntegratedGpu,
    /// A GPU passed to a virtual machine.
    VirtualGpu,
    /// The processor.
    Cpu,
    /// Anything else.
    Other,
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DiscreteGpu => "discrete GPU",
            Self::IntegratedGpu => "integrated GPU",
            Self::VirtualGpu => "virtual GPU",
            Self::Cpu => "processor",
            Self::Other => "other",
        })
    }
}

/// What a device allows, as it reports it. `TensorLimit` measures what is true.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceLimits {
    /// The largest buffer in bytes.
    pub max_buffer_bytes: u64,
    /// The largest part of a buffer that a kernel can bind, in bytes.
    pub max_binding_bytes: u64,
    /// Memory shared by a workgroup in bytes.
    pub workgroup_memory_bytes: u32,
    /// Invocations in a workgroup.
    pub workgroup_invocations: u32,
    /// The least and most invocations in a subgroup.
    pub subgroup_sizes: (u32, u32),
}

impl Device {
    /// "NVIDIA H100 80GB HBM3 · Vulkan", with "software" where it is emulated.
    pub fn label(&self) -> String {
        let software = if self.software { " (software)" } else { "" };
        format!("{} · {}{software}", self.name, self.backend)
    }
}
