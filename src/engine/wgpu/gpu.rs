//! An open device: buffers, kernels, submitting and waiting, with every error as a [`Stop`] and never a panic.

use std::{
    borrow::Cow,
    cell::RefCell,
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{kernels, timer::Timer};
use crate::{
    measure::{Context, Stop},
    units::binary_size,
    workload::Dtype,
};

/// How long one submission may take before the device counts as lost. Submissions are made to take a tenth of a second;
/// the first of a kernel may hold a software device's compiler.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often a wait looks for Cancel.
const TICK: Duration = Duration::from_millis(50);

/// An open device.
pub(super) struct Gpu {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) info: wgpu::AdapterInfo,
    pub(super) limits: wgpu::Limits,
    pub(super) timer: Timer,
    features: wgpu::Features,
    matrix_units: Vec<wgpu::CooperativeMatrixProperties>,
    faults: Arc<Faults>,
    kernels: RefCell<BTreeMap<String, Kernel>>,
}

/// What went wrong out of band.
#[derive(Default)]
struct Faults {
    lost: Mutex<Option<String>>,
    error: Mutex<Option<String>>,
}

/// A compiled shader.
#[derive(Clone)]
pub(super) struct Kernel {
    pub(super) pipeline: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
}

/// How a kernel uses a buffer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Read,
    Write,
}

/// Eight 32-bit numbers that a kernel takes.
pub(super) type Params = [u32; 8];

/// The binding of [`Params`] in every shader, after at most three buffers.
const PARAMS_BINDING: u32 = 3;

fn set(slot: &Mutex<Option<String>>, text: String) {
    slot.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(text);
}

impl Gpu {
    /// Opens the adapter with all its limits and those features that matter here.
    #[expect(unsafe_code, reason = "wgpu wants a promise for its experimental features")]
    pub(super) fn open(adapter: &wgpu::Adapter) -> Result<Self, Stop> {
        let wanted = wgpu::Features::TIMESTAMP_QUERY
            | wgpu::Features::SHADER_F16
            | wgpu::Features::SUBGROUP
            | wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
        let features = adapter.features() & wanted;
        let limits = adapter.limits();
        let info = adapter.get_info();
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("roofline"),
            required_features: features,
            required_limits: limits.clone(),
            // SAFETY: the one experimental feature used is cooperative matrices, within the rules that the head of
            // gemm_coop.wgsl gives; a kernel whose result is wrong is never chosen.
            experimental_features: unsafe { wgpu::ExperimentalFeatures::enabled() },
            ..Default::default()
        };
        let opened = pollster::block_on(adapter.request_device(&descriptor));
        let (device, queue) =
            opened.map_err(|error| Stop::Failed(format!("{} could not be opened: {error}", info.name)))?;
        let faults = Arc::new(Faults::default());
        let heard = Arc::clone(&faults);
        device.on_uncaptured_error(Arc::new(move |error| set(&heard.error, error.to_string())));
        let heard = Arc::clone(&faults);
        device.set_device_lost_callback(move |reason, text| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                set(&heard.lost, text);
            }
        });
        let timer = Timer::new(&device, &queue, features.contains(wgpu::Features::TIMESTAMP_QUERY));
        let matrix_units = adapter.cooperative_matrix_properties();
        let mut gpu =
            Self { matrix_units, device, queue, info, limits, timer, features, faults, kernels: RefCell::default() };
        gpu.timer.empty_s = gpu.empty_submission()?;
        Ok(gpu)
    }

    /// It is emulated on the processor.
    pub(super) fn software(&self) -> bool {
        self.info.device_type == wgpu::DeviceType::Cpu
    }

    /// It takes its memory from the machine's.
    pub(super) fn shares_memory(&self) -> bool {
        matches!(self.info.device_type, wgpu::DeviceType::Cpu | wgpu::DeviceType::IntegratedGpu)
    }

    /// Shaders may hold f16 values.
    pub(super) fn has_f16(&self) -> bool {
        self.features.contains(wgpu::Features::SHADER_F16)
    }

    /// Cooperative matrices of `side` × `side` × `side` with operands of `dtype` and f32 sums, in subgroups of 32.
    pub(super) fn has_matrix_unit(&self, side: u32, dtype: Dtype) -> bool {
        let operand = match dtype {
            Dtype::F32 => wgpu::CooperativeScalarType::F32,
            Dtype::F16 => wgpu::CooperativeScalarType::F16,
            Dtype::Tf32 | Dtype::Bf16 => return false,
        };
        let fits = |unit: &wgpu::CooperativeMatrixProperties| {
            [unit.m_size, unit.n_size, unit.k_size] == [side; 3]
                && unit.ab_type == operand
                && unit.cr_type == wgpu::CooperativeScalarType::F32
        };
        // Apple GPUs have subgroups of 32, though wgpu reports 4 to 64 for all of Metal.
        let info = &self.info;
        let of_32 =
            info.backend == wgpu::Backend::Metal || (info.subgroup_min_size, info.subgroup_max_size) == (32, 32);
        let feature = self.features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX);
        feature && of_32 && self.matrix_units.iter().any(fits)
    }

    /// What submitting nothing and waiting for it takes: the median of several.
    fn empty_submission(&self) -> Result<f64, Stop> {
        let context = Context::detached(PATIENCE);
        let mut times = Vec::new();
        for _ in 0..12 {
            let start = Instant::now();
            self.submit(&context, |_| {})?;
            times.push(start.elapsed().as_secs_f64());
        }
        times.sort_by(f64::total_cmp);
        Ok(times.get(times.len() / 2).copied().unwrap_or(0.0))
    }

    /// The device's failure, if it reported any since the last look.
    pub(super) fn fault(&self) -> Result<(), Stop> {
        let look = |slot: &Mutex<Option<String>>| slot.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(text) = look(&self.faults.lost) {
            return Err(Stop::DeviceLost(text));
        }
        let error = self.faults.error.lock().unwrap_or_else(PoisonError::into_inner).take();
        error.map_or(Ok(()), |text| Err(Stop::Failed(format!("the device reported an error: {text}"))))
    }

    /// A buffer for storage; refused with numbers where limits or memory don't allow it.
    pub(super) fn storage(&self, label: &str, bytes: u64) -> Result<wgpu::Buffer, Stop> {
        let (binding, buffer) = (self.limits.max_storage_buffer_binding_size, self.limits.max_buffer_size);
        for (what, limit) in [("binding", binding), ("buffer", buffer)] {
            if bytes > limit {
                let (needed, limit) = (binary_size(bytes), binary_size(limit));
                return Err(Stop::Unsupported(format!("needs a {what} of {needed}, this device gives {limit}")));
            }
        }
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        self.buffer(label, bytes, usage)
    }

    /// A buffer, or the message of a refusal.
    pub(super) fn buffer(&self, label: &str, size: u64, usage: wgpu::BufferUsages) -> Result<wgpu::Buffer, Stop> {
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let valid = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let descriptor = wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false };
        let buffer = self.device.create_buffer(&descriptor);
        let refused = pollster::block_on(valid.pop());
        let exhausted = pollster::block_on(memory.pop());
        self.fault()?;
        if let Some(error) = exhausted.or(refused) {
            return Err(Stop::Failed(format!("a buffer of {} could not be allocated: {error}", binary_size(size))));
        }
        Ok(buffer)
    }

    /// Compiles an entry point of a shader once; `uses` are its bindings 0, 1, ….
    pub(super) fn kernel(&self, source: &str, entry: &str, uses: &[Use]) -> Result<Kernel, Stop> {
        let key = format!("{source}/{entry}");
        if let Some(kernel) = self.kernels.borrow().get(&key) {
            return Ok(kernel.clone());
        }
        let text = kernels::sources().iter().find(|known| known.name == source).map(|known| known.wgsl);
        let text = text.ok_or_else(|| Stop::Failed(format!("this build has no shader named {source}")))?;
        let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let valid = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let kernel = self.compile(&key, text, entry, uses);
        let errors = [pollster::block_on(valid.pop()), pollster::block_on(internal.pop())];
        self.fault()?;
        if let Some(error) = errors.into_iter().flatten().next() {
            return Err(Stop::Failed(format!("the driver could not build the kernel {source}: {error}")));
        }
        self.kernels.borrow_mut().insert(key, kernel.clone());
        Ok(kernel)
    }

    #[expect(unsafe_code, reason = "bounds and loop checks in the kernels would be timed with them")]
    fn compile(&self, label: &str, text: &'static str, entry: &str, uses: &[Use]) -> Kernel {
        let buffer = |binding: u32, ty, has_dynamic_offset| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset, min_binding_size: None },
            count: None,
        };
        let storage = |(binding, using): (u32, &Use)| {
            buffer(binding, wgpu::BufferBindingType::Storage { read_only: *using == Use::Read }, false)
        };
        let mut entries: Vec<_> = (0..).zip(uses).map(storage).collect();
        entries.push(buffer(PARAMS_BINDING, wgpu::BufferBindingType::Uniform, true));
        let layout = wgpu::BindGroupLayoutDescriptor { label: Some(label), entries: &entries };
        let layout = self.device.create_bind_group_layout(&layout);
        let descriptor =
            wgpu::ShaderModuleDescriptor { label: Some(label), source: wgpu::ShaderSource::Wgsl(Cow::Borrowed(text)) };
        // SAFETY: the shaders are this crate's own. Every index stays inside the buffers that the engine binds, whose
        // sizes follow from the same parameters; loops end; divisors are never 0. tests/it/kernels.rs runs all of them.
        let module =
            unsafe { self.device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) };
        let pipeline_layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(label),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(label),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some(entry),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &[],
                zero_initialize_workgroup_memory: false,
            },
            cache: None,
        });
        Kernel { pipeline, layout }
    }

    /// Binds buffers to 0, 1, … and one [`Params`] of `params`, chosen by a dynamic offset.
    pub(super) fn bind(&self, kernel: &Kernel, buffers: &[&wgpu::Buffer], params: &wgpu::Buffer) -> wgpu::BindGroup {
        let mut entries = Vec::new();
        for (binding, buffer) in (0..).zip(buffers) {
            entries.push(wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() });
        }
        let size = wgpu::BufferSize::new(size_of::<Params>() as u64);
        let resource = wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer: params, offset: 0, size });
        entries.push(wgpu::BindGroupEntry { binding: PARAMS_BINDING, resource });
        let layout = &kernel.layout;
        self.device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries: &entries })
    }

    /// Submits what `record` records and waits for it.
    pub(super) fn submit(&self, context: &Context, record: impl FnOnce(&mut wgpu::CommandEncoder)) -> Result<(), Stop> {
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        record(&mut encoder);
        let index = self.queue.submit([encoder.finish()]);
        self.wait(Some(context), Some(&index))
    }

    /// Waits for a submission, or for all of them; looks for Cancel meanwhile, and gives a hung device up.
    pub(super) fn wait(&self, context: Option<&Context>, index: Option<&wgpu::SubmissionIndex>) -> Result<(), Stop> {
        let start = Instant::now();
        loop {
            let wait = wgpu::PollType::Wait { submission_index: index.cloned(), timeout: Some(TICK) };
            match self.device.poll(wait) {
                Ok(_) => return self.fault(),
                Err(wgpu::PollError::Timeout) => {}
                Err(error) => return Err(Stop::DeviceLost(error.to_string())),
            }
            self.fault()?;
            context.map_or(Ok(()), Context::check)?;
            if start.elapsed() > PATIENCE {
                let text = format!("it did not finish its work within {} s", PATIENCE.as_secs());
                set(&self.faults.lost, text.clone());
                return Err(Stop::DeviceLost(text));
            }
        }
    }

    /// Copies parts of a buffer, (offset, length) in bytes and multiples of 4, to the host, one after the other.
    pub(super) fn read(&self, context: &Context, from: &wgpu::Buffer, parts: &[(u64, u64)]) -> Result<Vec<u8>, Stop> {
        let total = parts.iter().map(|(_, length)| length).sum();
        let usage = wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ;
        let to = self.buffer("read back", total, usage)?;
        self.submit(context, |encoder| {
            let mut at = 0;
            for (offset, length) in parts {
                encoder.copy_buffer_to_buffer(from, *offset, &to, at, *length);
                at += length;
            }
        })?;
        to.map_async(wgpu::MapMode::Read, .., |_| {});
        self.wait(Some(context), None)?;
        let mapped = to.get_mapped_range(..);
        let mapped = mapped.map_err(|error| Stop::Failed(format!("the result could not be read back: {error}")))?;
        Ok(mapped.to_vec())
    }
}
