// Counts what is not finite in a result: poison that no kernel wrote over, NaN and infinities.
//
// The same matrix of words as in fill.wgsl; padding is not looked at. Each workgroup reads 4096 words (16 KiB) and adds
// what it found to one counter; each invocation reads 16 words: 64 bytes read, no FLOPs.

override KEEP: u32 = 0u;

struct Params {
    unused0: u32,
    rows: u32,
    columns: u32,
    ld: u32,
    words: u32,
    first_group: u32,
    half: u32,
    unused1: u32,
}

@group(0) @binding(0) var<storage, read> words: array<u32>;
@group(0) @binding(1) var<storage, read_write> bad: array<atomic<u32>>;
@group(0) @binding(3) var<uniform> p: Params;

// Not finite: all bits of the exponent are set.
fn bad_half(bits: u32) -> u32 {
    return select(0u, 1u, (bits & 0x7c00u) == 0x7c00u);
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) t: u32,
) {
    let base = (p.first_group + wg.y * grid.x + wg.x) * 4096u + t;
    var found = 0u;
    for (var i = 0u; i < 16u; i++) {
        let index = base + i * 256u;
        if index >= p.words { break; }
        let row = index / p.ld;
        let column = index - row * p.ld;
        if row >= p.rows { break; }
        let bits = words[index];
        if p.half == 1u {
            if 2u * column < p.columns { found += bad_half(bits); }
            if 2u * column + 1u < p.columns { found += bad_half(bits >> 16u); }
        } else if column < p.columns && (bits & 0x7f800000u) == 0x7f800000u {
            found += 1u;
        }
    }
    if found > 0u { atomicAdd(&bad[0], found); }
}
