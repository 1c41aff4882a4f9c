//! The GEMM kernels that are built: one row a kernel, read by build.rs, which renders `gemm.wgsl` for each row and
//! dtype, and by the engine, which tries those that a device can run and keeps the fastest. To try another, add a row.

/// One way to cut a matrix product into tiles.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GemmVariant {
    /// The name in reports.
    pub(crate) name: &'static str,
    /// Rows of C that a workgroup computes.
    pub(crate) bm: u32,
    /// Columns of C that a workgroup computes.
    pub(crate) bn: u32,
    /// Terms of the sum that are staged at once.
    pub(crate) bk: u32,
    /// Rows of C that an invocation computes, a multiple of 4.
    pub(crate) tm: u32,
    /// Columns of C that an invocation computes, a multiple of 4.
    pub(crate) tn: u32,
    /// Rows of the patch that neighbouring invocations (a subgroup of 32, where possible) share.
    pub(crate) wm: u32,
    /// Columns of that patch.
    pub(crate) wn: u32,
    /// Copies of the shared tiles: 2 overlaps staging with computing, 0 reads operands straight from memory.
    pub(crate) stages: u32,
    /// Rows of tiles in a band that is worked through column by column.
    pub(crate) group: u32,
    /// Also tried on software devices, where the larger ones take seconds to compile.
    pub(crate) software: bool,
}

impl GemmVariant {
    /// Unused vec4 after each row of the shared tile of A, which spread its columns over the banks.
    pub(crate) const fn pad(&self) -> u32 {
        if self.stages == 0 { 0 } else { 1 }
    }

    /// Invocations in a workgroup.
    pub(crate) const fn threads(&self) -> u32 {
        (self.bm / self.tm) * (self.bn / self.tn)
    }

    /// Shared memory of a workgroup.
    pub(crate) const fn workgroup_bytes(&self) -> u32 {
        self.stages * self.bk * (self.bm / 4 + self.pad() + self.bn / 4) * 16
    }
}

const fn row(
    name: &'static str,
    block: [u32; 3],
    each: [u32; 2],
    patch: [u32; 2],
    stages: u32,
    group: u32,
) -> GemmVariant {
    let ([bm, bn, bk], [tm, tn], [wm, wn]) = (block, each, patch);
    GemmVariant { name, bm, bn, bk, tm, tn, wm, wn, stages, group, software: false }
}

const fn also_software(variant: GemmVariant) -> GemmVariant {
    GemmVariant { software: true, ..variant }
}

/// Every kernel, in the order in which they are tried.
pub(crate) const GEMM_VARIANTS: &[GemmVariant] = &[
    // name, [block m, n, k], [m, n an invocation], [m, n a patch], stages, group
    row("simt-128x128x16", [128, 128, 16], [8, 8], [64, 32], 1, 8),
    row("simt-128x128x16-row", [128, 128, 16], [8, 8], [16, 128], 1, 1),
    row("simt-128x128x16-wide", [128, 128, 16], [8, 8], [32, 64], 1, 8),
    row("simt-128x128x16-x2", [128, 128, 16], [8, 8], [64, 32], 2, 8),
    row("simt-128x128x8-x2", [128, 128, 8], [8, 8], [64, 32], 2, 8),
    row("simt-128x128x32", [128, 128, 32], [8, 8], [64, 32], 1, 8),
    row("simt-128x128x16-tall", [128, 128, 16], [16, 8], [64, 64], 1, 8),
    row("simt-128x256x16", [128, 256, 16], [8, 16], [64, 64], 1, 8),
    row("simt-256x128x16", [256, 128, 16], [16, 8], [128, 32], 1, 8),
    row("simt-256x128x8-x2", [256, 128, 8], [16, 8], [128, 32], 2, 8),
    row("simt-64x128x16", [64, 128, 16], [8, 8], [32, 64], 1, 8),
    row("simt-64x128x16-x2", [64, 128, 16], [8, 8], [32, 64], 2, 8),
    row("simt-64x64x16", [64, 64, 16], [4, 4], [16, 32], 1, 8),
    row("simt-64x64x16-x2", [64, 64, 16], [8, 8], [64, 32], 2, 8),
    also_software(row("simt-32x64x16-x2", [32, 64, 16], [4, 4], [32, 16], 2, 8)),
    also_software(row("direct-32x32", [32, 32, 4], [4, 4], [32, 32], 0, 8)),
    also_software(row("direct-32x64", [32, 64, 4], [4, 8], [32, 64], 0, 8)),
];
