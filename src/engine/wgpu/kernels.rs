//! The shaders of this build: their names and texts, as build.rs rendered and proved them.

#[path = "../../../shaders/gemm_variants.rs"]
#[expect(dead_code, reason = "build.rs reads the rest of the table")]
mod gemm_variants;

pub(super) use self::gemm_variants::{GEMM_VARIANTS, GemmVariant, Unit as MultiplyUnit};
use crate::workload::Dtype;

/// One rendered shader.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// The file's name without its ending; for GEMM also dtype and variant.
    pub name: &'static str,
    /// The text that is compiled.
    pub wgsl: &'static str,
}

static SOURCES: &[Source] = include!(concat!(env!("OUT_DIR"), "/shaders.rs"));

/// Every shader of this build.
pub fn sources() -> &'static [Source] {
    SOURCES
}

/// The names of the GEMM kernels, the whole list that tuning chooses from.
pub fn gemm_variants() -> impl Iterator<Item = &'static str> {
    GEMM_VARIANTS.iter().map(|variant| variant.name)
}

/// The name of a GEMM shader in [`sources`].
pub(super) fn gemm_source(variant: &GemmVariant, dtype: Dtype) -> String {
    format!("gemm-{dtype}-{}", variant.name)
}

/// A number that changes with any of the GEMM shaders: FNV-1a over their texts.
pub(super) fn gemm_fingerprint() -> u64 {
    let gemm = SOURCES.iter().filter(|source| source.name.starts_with("gemm-"));
    let bytes = gemm.flat_map(|source| source.name.bytes().chain(source.wgsl.bytes()));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
