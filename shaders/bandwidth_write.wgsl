// Memory bandwidth, write: every element is written once.
//
// The value depends on the place, so that the host can check any element.
// Arrays are cut into rows of 4 KiB (256 vec4<f32>) and chunks of `chunk_rows` rows. In pass i a workgroup takes chunk
// (workgroup + i · shift) mod chunks: neighbours stream through contiguous spans, and over the passes of a sweep every
// chunk moves from one workgroup, and so from one core's cache, to another. Eight loads or stores are in flight at once.
// N bytes written and no FLOPs for an array of N bytes.

override KEEP: u32 = 0u;

struct Params {
    rows: u32,        // rows of 4 KiB in an array
    chunk_rows: u32,  // rows in a chunk
    chunks: u32,      // chunks in an array; the last may be short
    passes: u32,      // chunks that a workgroup takes
    shift: u32,       // how far a workgroup moves from pass to pass, in chunks
    first_group: u32, // the first workgroup of this dispatch: a slow device runs a pass in several
    scale: f32,       // the factor of the triad
    unused: u32,
}

@group(0) @binding(0) var<storage, read_write> dst: array<vec4<f32>>;
@group(0) @binding(3) var<uniform> p: Params;

// The value of the vec4 at `i`: four steps of 2⁻¹⁰, cheap enough that stores stay the limit. The host knows the same formula.
fn value(i: u32) -> vec4<f32> {
    let first = f32((i & 511u) * 4u) * (1.0 / 1024.0) - 1.0;
    return vec4<f32>(first, first + 1.0 / 1024.0, first + 2.0 / 1024.0, first + 3.0 / 1024.0);
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) t: u32,
) {
    let group = p.first_group + wg.y * grid.x + wg.x;
    for (var pass_ = 0u; pass_ < p.passes; pass_++) {
        let chunk = (group + pass_ * p.shift) % p.chunks;
        let first = chunk * p.chunk_rows;
        let last = min(first + p.chunk_rows, p.rows);
        var row = first;
        for (; row + 8u <= last; row += 8u) {
            let i = row * 256u + t;
            dst[i] = value(i);
            dst[i + 256u] = value(i + 256u);
            dst[i + 512u] = value(i + 512u);
            dst[i + 768u] = value(i + 768u);
            dst[i + 1024u] = value(i + 1024u);
            dst[i + 1280u] = value(i + 1280u);
            dst[i + 1536u] = value(i + 1536u);
            dst[i + 1792u] = value(i + 1792u);
        }
        for (; row < last; row++) {
            let i = row * 256u + t;
            dst[i] = value(i);
        }
    }
}
