//! Which adapters there are, as [`Device`]s, best first.

use crate::{
    machine::{Device, DeviceKind, DeviceLimits},
    measure::Stop,
};

const BACKENDS: wgpu::Backends = wgpu::Backends::VULKAN.union(wgpu::Backends::METAL);

/// An adapter with its id.
pub(super) struct Found {
    pub(super) id: String,
    pub(super) adapter: wgpu::Adapter,
}

/// An instance without validation layers, which cost time. With `memory_percent`, buffers are refused beyond that share
/// of the memory that the driver says this process may use.
pub(super) fn instance(memory_percent: Option<u8>) -> wgpu::Instance {
    wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: BACKENDS,
        flags: wgpu::InstanceFlags::empty(),
        memory_budget_thresholds: wgpu::MemoryBudgetThresholds {
            for_resource_creation: memory_percent,
            for_device_loss: None,
        },
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    })
}

/// Every adapter, best first: discrete before integrated before virtual before software.
pub(super) fn list(instance: &wgpu::Instance) -> Vec<Found> {
    let adapters = pollster::block_on(instance.enumerate_adapters(BACKENDS));
    let mut counts = std::collections::BTreeMap::new();
    let mut found: Vec<Found> = adapters
        .into_iter()
        .map(|adapter| {
            let backend = adapter.get_info().backend.to_str();
            let count = counts.entry(backend).or_insert(0_u32);
            let id = format!("{backend}:{count}");
            *count += 1;
            Found { id, adapter }
        })
        .collect();
    found.sort_by_key(|found| rank(found.adapter.get_info().device_type));
    found
}

/// The adapter with this id.
pub(super) fn find(instance: &wgpu::Instance, id: &str) -> Result<wgpu::Adapter, Stop> {
    list(instance).into_iter().find(|found| found.id == id).map(|found| found.adapter).ok_or_else(|| {
        Stop::Unsupported(format!("the device {id} is not there any more; list the devices with: roofline list"))
    })
}

/// What to do when there is no adapter.
pub(super) fn none() -> String {
    let how = if cfg!(target_os = "macos") {
        "this Mac has no Metal device"
    } else {
        "install the driver of the GPU with its Vulkan part, or the software device: \
         apt install mesa-vulkan-drivers libvulkan1"
    };
    format!("no Vulkan or Metal device was found: {how}")
}

const fn rank(kind: wgpu::DeviceType) -> u32 {
    match kind {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    }
}

/// The adapter in the words of the rest of the program.
pub(super) fn describe(found: &Found) -> Device {
    let info = found.adapter.get_info();
    let limits = found.adapter.limits();
    // Software and Apple devices have no PCI numbers; Vulkan gives them Khronos-assigned ones above 16 bits.
    let pci = (info.vendor != 0 && info.vendor <= 0xffff && info.device_type != wgpu::DeviceType::Cpu)
        .then(|| format!("{:04x}:{:04x}", info.vendor, info.device));
    Device {
        id: found.id.clone(),
        name: info.name.clone(),
        kind: match info.device_type {
            wgpu::DeviceType::DiscreteGpu => DeviceKind::DiscreteGpu,
            wgpu::DeviceType::IntegratedGpu => DeviceKind::IntegratedGpu,
            wgpu::DeviceType::VirtualGpu => DeviceKind::VirtualGpu,
            wgpu::DeviceType::Cpu => DeviceKind::Cpu,
            wgpu::DeviceType::Other => DeviceKind::Other,
        },
        backend: match info.backend {
            wgpu::Backend::Vulkan => "Vulkan".to_owned(),
            wgpu::Backend::Metal => "Metal".to_owned(),
            other => other.to_str().to_owned(),
        },
        driver: info.driver.clone(),
        driver_info: info.driver_info.clone(),
        pci,
        software: info.device_type == wgpu::DeviceType::Cpu,
        limits: DeviceLimits {
            max_buffer_bytes: limits.max_buffer_size,
            max_binding_bytes: limits.max_storage_buffer_binding_size,
            workgroup_memory_bytes: limits.max_compute_workgroup_storage_size,
            workgroup_invocations: limits.max_compute_invocations_per_workgroup,
            subgroup_sizes: (info.subgroup_min_size, info.subgroup_max_size),
        },
        features: features(found.adapter.features()),
    }
}

fn features(features: wgpu::Features) -> Vec<String> {
    let known = [
        (wgpu::Features::SHADER_F16, "f16"),
        (wgpu::Features::SUBGROUP, "subgroups"),
        (wgpu::Features::TIMESTAMP_QUERY, "timestamps"),
        (wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX, "cooperative matrices"),
    ];
    known.iter().filter(|(feature, _)| features.contains(*feature)).map(|(_, name)| (*name).to_owned()).collect()
}
