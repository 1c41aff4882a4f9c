//! Kernels of our own for NVIDIA GPUs, written in CUDA C++ (`shaders/*.cu`) and compiled to PTX by the build.
//!
//! `block` are the small steps over many positions; `decode` runs one position of a whole model. Matrix products of many rows
//! stay with cuBLAS. All work goes to candle's stream, in order: a buffer that is freed is freed after its last use.

mod block;
mod decode;

use std::ffi::c_void;

use candle_core::{
    DType, Device, Error, Result, Shape, Storage, Tensor,
    cuda_backend::cudarc::driver::{DevicePtr as _, LaunchConfig, PushKernelArg as _, sys},
};

pub use self::{
    block::{
        Causal, Places, add_norm, causal_softmax, cross_entropy, gate, gate_backward, gather, norm_backward,
        softmax_backward, split, takes,
    },
    decode::{Decode, Step},
};

/// A compiled kernel file.
#[derive(Clone, Copy)]
struct Kernels {
    name: &'static str,
    ptx: &'static str,
}

const BLOCK: Kernels = Kernels { name: "block", ptx: include_str!(concat!(env!("OUT_DIR"), "/block_80.ptx")) };
const DECODE: Kernels = Kernels { name: "decode", ptx: include_str!(concat!(env!("OUT_DIR"), "/decode_80.ptx")) };
/// The same for compute capability 9.0 on, where a kernel starts before the one before it ends.
const DECODE_EARLY: Kernels =
    Kernels { name: "decode_early", ptx: include_str!(concat!(env!("OUT_DIR"), "/decode_90.ptx")) };

/// What a kernel is given.
#[derive(Clone, Copy, Debug)]
enum Argument {
    /// An address on the device; zero for what is absent.
    Address(u64),
    Int(i32),
    Float(f32),
}

/// Starts `name` of `kernels` on `grid` × `threads`.
///
/// # Safety
/// The arguments must be those that the kernel declares, and its accesses must stay inside the tensors behind them.
#[expect(unsafe_code, reason = "kernels are started through the driver")]
unsafe fn launch(
    device: &Device,
    kernels: Kernels,
    name: &str,
    grid: (u32, u32, u32),
    threads: u32,
    arguments: &[Argument],
) -> Result<()> {
    let function = device.as_cuda_device()?.get_or_load_custom_func(name, kernels.name, kernels.ptx)?;
    let mut builder = function.builder();
    for argument in arguments {
        match argument {
            Argument::Address(address) => builder.arg(address),
            Argument::Int(value) => builder.arg(value),
            Argument::Float(value) => builder.arg(value),
        };
    }
    let config = LaunchConfig { grid_dim: grid, block_dim: (threads, 1, 1), shared_mem_bytes: 0 };
    // SAFETY: promised by the caller.
    unsafe { builder.launch(config) }
        .map_err(|error| Error::Msg(format!("the kernel {name} could not start ({error})")))?;
    Ok(())
}

/// The same for a kernel that waits itself for the one before it: it may start earlier.
///
/// # Safety
/// As for [`launch`]; and the kernel must wait before it reads or writes what the kernel before it writes or reads.
#[expect(unsafe_code, reason = "kernels are started through the driver")]
unsafe fn launch_early(
    device: &Device,
    kernels: Kernels,
    name: &str,
    grid: (u32, u32, u32),
    threads: u32,
    arguments: &[Argument],
) -> Result<()> {
    let cuda = device.as_cuda_device()?;
    let function = cuda.get_or_load_custom_func(name, kernels.name, kernels.ptx)?;
    let mut pointers: Vec<*mut c_void> = arguments.iter().map(Argument::pointer).collect();
    let mut attribute = sys::CUlaunchAttribute {
        id: sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
        pad: [0; 4],
        value: sys::CUlaunchAttributeValue { programmaticStreamSerializationAllowed: 1 },
    };
    let config = sys::CUlaunchConfig {
        gridDimX: grid.0,
        gridDimY: grid.1,
        gridDimZ: grid.2,
        blockDimX: threads,
        blockDimY: 1,
        blockDimZ: 1,
        sharedMemBytes: 0,
        hStream: cuda.cuda_stream().cu_stream(),
        attrs: &raw mut attribute,
        numAttrs: 1,
    };
    let started = |error| Error::Msg(format!("the kernel {name} could not start ({error})"));
    cuda.cuda_stream().context().bind_to_thread().map_err(started)?;
    // SAFETY: the arguments are promised by the caller; configuration and pointers live until the call returns.
    let result = unsafe {
        sys::cuLaunchKernelEx(&raw const config, function.cu_function(), pointers.as_mut_ptr(), std::ptr::null_mut())
    };
    result.result().map_err(started)
}

impl Argument {
    /// Where its value lies, as the driver wants it.
    fn pointer(&self) -> *mut c_void {
        match self {
            Self::Address(value) => std::ptr::from_ref(value).cast_mut().cast(),
            Self::Int(value) => std::ptr::from_ref(value).cast_mut().cast(),
            Self::Float(value) => std::ptr::from_ref(value).cast_mut().cast(),
        }
    }
}

/// The address of a tensor's first element. Its elements must lie one after another.
fn address(tensor: &Tensor) -> Result<Argument> {
    if !tensor.is_contiguous() {
        return Err(Error::Msg("a kernel was given a tensor with gaps".to_owned()));
    }
    base(tensor)
}

/// The same where the tensor may have gaps that the kernel knows of.
fn base(tensor: &Tensor) -> Result<Argument> {
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cuda(storage) = &*storage else {
        return Err(Error::Msg("a CUDA kernel was given a tensor of another device".to_owned()));
    };
    let stream = storage.device.cuda_stream();
    let start = match tensor.dtype() {
        DType::F32 => storage.as_cuda_slice::<f32>()?.device_ptr(&stream).0,
        DType::F16 => storage.as_cuda_slice::<half::f16>()?.device_ptr(&stream).0,
        DType::BF16 => storage.as_cuda_slice::<half::bf16>()?.device_ptr(&stream).0,
        DType::U32 => storage.as_cuda_slice::<u32>()?.device_ptr(&stream).0,
        other => return Err(Error::Msg(format!("no CUDA kernel of ours takes {other:?}"))),
    };
    Ok(Argument::Address(start + (layout.start_offset() * tensor.dtype().size_in_bytes()) as u64))
}

/// A tensor whose elements a kernel is about to write.
#[expect(unsafe_code, reason = "the memory isn't cleared first")]
fn room(shape: impl Into<Shape>, dtype: DType, device: &Device) -> Result<Tensor> {
    // SAFETY: every caller hands it to a kernel that writes all of it before anything reads it.
    unsafe { Tensor::empty(shape, dtype, device) }
}

/// The name that kernels have for an element type.
fn suffix(dtype: DType) -> Result<&'static str> {
    match dtype {
        DType::F32 => Ok("f32"),
        DType::F16 => Ok("f16"),
        DType::BF16 => Ok("bf16"),
        other => Err(Error::Msg(format!("no CUDA kernel of ours takes {other:?}"))),
    }
}

fn int(value: usize) -> Result<Argument> {
    i32::try_from(value)
        .map(Argument::Int)
        .map_err(|_too_large| Error::Msg(format!("{value} is too large for a kernel")))
}

fn blocks(count: usize) -> Result<(u32, u32, u32)> {
    let count =
        u32::try_from(count).map_err(|_too_large| Error::Msg(format!("{count} rows are too many for a kernel")))?;
    Ok((count.max(1), 1, 1))
}
