// Memory bandwidth, copy: b = a.
//
// All loads of a step come before its stores.
// Arrays are cut into rows of 4 KiB (256 vec4<f32>) and chunks of `chunk_rows` rows. In pass i a workgroup takes chunk
// (workgroup + i · shift) mod chunks: neighbours stream through contiguous spans, and over the passes of a sweep every
// chunk moves from one workgroup, and so from one core's cache, to another. Eight loads or stores are in flight at once.
// 2 N bytes moved and no FLOPs for arrays of N bytes.

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

@group(0) @binding(0) var<storage, read> src: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> dst: array<vec4<f32>>;
@group(0) @binding(3) var<uniform> p: Params;

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
            let a0 = src[i];
            let a1 = src[i + 256u];
            let a2 = src[i + 512u];
            let a3 = src[i + 768u];
            let a4 = src[i + 1024u];
            let a5 = src[i + 1280u];
            let a6 = src[i + 1536u];
            let a7 = src[i + 1792u];
            dst[i] = a0;
            dst[i + 256u] = a1;
            dst[i + 512u] = a2;
            dst[i + 768u] = a3;
            dst[i + 1024u] = a4;
            dst[i + 1280u] = a5;
            dst[i + 1536u] = a6;
            dst[i + 1792u] = a7;
        }
        for (; row < last; row++) {
            let i = row * 256u + t;
            dst[i] = src[i];
        }
    }
}
