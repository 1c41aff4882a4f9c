//! The GEMM kernels that are built: one row a kernel, read by build.rs, which renders `gemm.wgsl` for each row and
//! dtype, and by the engine, which tries those that a device can run and keeps the fastest. To try another, add a row.

/// What a kernel multiplies with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// The ordinary arithmetic of each invocation: `gemm.wgsl`.
    Simt,
    /// Cooperative matrices of 8 × 8, for Metal: `gemm_coop.wgsl`.
    Coop8,
    /// Cooperative matrices of 16 × 16 with f16 operands, for Vulkan: `gemm_coop.wgsl`.
    Coop16,
}

/// One way to cut a matrix product into tiles.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GemmVariant {
    /// The name in reports.
    pub(crate) name: &'static str,
    /// What it multiplies with.
    pub(crate) unit: Unit,
    /// Rows of C that a workgroup computes.
    pub(crate) bm: u32,
    /// Columns of C that a workgroup computes.
    pub(crate) bn: u32,
    /// Terms of the sum that are staged at once.
    pub(crate) bk: u32,
    /// Rows of C that an invocation computes, a multiple of 4. With cooperative matrices the patch counts instead.
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
    /// Operands are loaded 16 bytes at a time, not 8: [`Unit::Coop16`] only.
    pub(crate) wide: bool,
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
        match self.unit {
            Unit::Simt => (self.bm / self.tm) * (self.bn / self.tn),
            Unit::Coop8 | Unit::Coop16 => (self.bm / self.wm) * (self.bn / self.wn) * 32,
        }
    }

    /// Rows and columns of a cooperative matrix.
    pub(crate) const fn fragment(&self) -> u32 {
        match self.unit {
            Unit::Simt => 1,
            Unit::Coop8 => 8,
            Unit::Coop16 => 16,
        }
    }

    /// Whether there is such a kernel for f32.
    pub(crate) const fn has_f32(&self) -> bool {
        !matches!(self.unit, Unit::Coop16)
    }

    /// Shared memory of a workgroup, at most.
    pub(crate) const fn workgroup_bytes(&self, half: bool) -> u32 {
        if matches!(self.unit, Unit::Simt) {
            return self.stages * self.bk * (self.bm / 4 + self.pad() + self.bn / 4) * 16;
        }
        let (element, pad) = if half { (2, 8) } else { (4, 4) };
        let tiles = self.bm * (self.bk + pad) + self.bk * (self.bn + pad);
        let rounding = if half { self.threads() / 32 * self.fragment() * self.fragment() * 4 } else { 0 };
        self.stages * tiles * element + rounding
    }
}

const fn row(
    name: &'static str,
    [bm, bn, bk]: [u32; 3],
    [tm, tn]: [u32; 2],
    [wm, wn]: [u32; 2],
    stages: u32,
    group: u32,
) -> GemmVariant {
    GemmVariant { name, unit: Unit::Simt, bm, bn, bk, tm, tn, wm, wn, stages, group, wide: false, software: false }
}

const fn coop(unit: Unit, name: &'static str, block: [u32; 3], patch: [u32; 2], stages: u32) -> GemmVariant {
    GemmVariant { unit, ..row(name, block, [0, 0], patch, stages, 8) }
}

const fn also_software(variant: GemmVariant) -> GemmVariant {
    GemmVariant { software: true, ..variant }
}

const fn wide(variant: GemmVariant) -> GemmVariant {
    GemmVariant { wide: true, ..variant }
}

/// Every kernel, in the order in which they are tried.
pub(crate) const GEMM_VARIANTS: &[GemmVariant] = &[
    // unit, name, [block m, n, k], [m, n a subgroup], stages
    wide(coop(Unit::Coop16, "coop16-128x256x32-wide", [128, 256, 32], [64, 64], 1)),
    wide(coop(Unit::Coop16, "coop16-256x128x32-wide", [256, 128, 32], [64, 64], 1)),
    wide(coop(Unit::Coop16, "coop16-128x128x32-wide", [128, 128, 32], [64, 64], 1)),
    wide(coop(Unit::Coop16, "coop16-128x128x32-x2-wide", [128, 128, 32], [64, 64], 2)),
    wide(coop(Unit::Coop16, "coop16-128x128x64-wide", [128, 128, 64], [64, 64], 1)),
    wide(coop(Unit::Coop16, "coop16-64x128x32-x2-wide", [64, 128, 32], [32, 64], 2)),
    coop(Unit::Coop16, "coop16-128x256x32", [128, 256, 32], [64, 64], 1),
    coop(Unit::Coop16, "coop16-256x128x32", [256, 128, 32], [64, 64], 1),
    coop(Unit::Coop16, "coop16-128x256x16-x2", [128, 256, 16], [64, 64], 2),
    coop(Unit::Coop16, "coop16-128x128x32", [128, 128, 32], [64, 64], 1),
    coop(Unit::Coop16, "coop16-128x128x32-x2", [128, 128, 32], [64, 64], 2),
    coop(Unit::Coop16, "coop16-128x128x32-8", [128, 128, 32], [64, 32], 1),
    coop(Unit::Coop16, "coop16-128x128x64", [128, 128, 64], [64, 64], 1),
    coop(Unit::Coop16, "coop16-64x128x32-x2", [64, 128, 32], [32, 64], 2),
    coop(Unit::Coop16, "coop16-64x64x32-x2", [64, 64, 32], [32, 32], 2),
    coop(Unit::Coop8, "coop8-64x64x16", [64, 64, 16], [32, 32], 1),
    coop(Unit::Coop8, "coop8-64x64x32", [64, 64, 32], [32, 32], 1),
    coop(Unit::Coop8, "coop8-64x32x32", [64, 32, 32], [32, 16], 1),
    // name, [block m, n, k], [m, n an invocation], [m, n a patch], stages, group
    row("simt-128x128x16", [128, 128, 16], [8, 8], [64, 32], 1, 8),
    row("simt-128x128x16-row", [128, 128, 16], [8, 8], [16, 128], 1, 1),
    row("simt-128x128x16-wide", [128, 128, 16], [8, 8], [32, 64], 1, 8),
    row("simt-128x128x16-x2", [128, 128, 16], [8, 8], [64, 32], 2, 8),
    row("simt-128x128x8-x2", [128, 128, 8], [8, 8], [64, 32], 2, 8),
    row("simt-128x128x32", [128, 128, 32], [8, 8], [64, 32], 1, 8),
    also_software(row("simt-128x128x16-tall", [128, 128, 16], [16, 8], [64, 64], 1, 8)),
    row("simt-128x256x16", [128, 256, 16], [8, 16], [64, 64], 1, 8),
    row("simt-256x128x16", [256, 128, 16], [16, 8], [128, 32], 1, 8),
    also_software(row("simt-256x128x8-x2", [256, 128, 8], [16, 8], [128, 32], 2, 8)),
    row("simt-64x128x16", [64, 128, 16], [8, 8], [32, 64], 1, 8),
    row("simt-64x128x16-x2", [64, 128, 16], [8, 8], [32, 64], 2, 8),
    row("simt-64x64x16", [64, 64, 16], [4, 4], [16, 32], 1, 8),
    row("simt-64x64x16-x2", [64, 64, 16], [8, 8], [64, 32], 2, 8),
    row("simt-32x64x16-x2", [32, 64, 16], [4, 4], [32, 16], 2, 8),
    row("direct-32x32", [32, 32, 4], [4, 4], [32, 32], 0, 8),
    row("direct-64x64", [64, 64, 4], [8, 8], [64, 64], 0, 8),
    also_software(row("direct-32x64", [32, 64, 4], [4, 8], [32, 64], 0, 8)),
];
