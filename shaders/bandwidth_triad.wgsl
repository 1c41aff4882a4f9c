// Memory bandwidth, triad: a = b + s · c, as STREAM and BabelStream define it.
//
// All loads of a step come before its stores.
// Arrays are cut into rows of 4 KiB (256 vec4<f32>) and chunks of `chunk_rows` rows. In pass i a workgroup takes chunk
// (workgroup + i · shift) mod chunks: neighbours stream through contiguous spans, and over the passes of a sweep every
// chunk moves from one workgroup, and so from one core's cache, to another. Eight loads or stores are in flight at once.
// 3 N bytes moved and 2 · N/4 FLOPs for arrays of N bytes.

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

@group(0) @binding(0) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> c: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> a: array<vec4<f32>>;
@group(0) @binding(3) var<uniform> p: Params;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) t: u32,
) {
    let group = p.first_group + wg.y * grid.x + wg.x;
    let scale = vec4<f32>(p.scale);
    for (var pass_ = 0u; pass_ < p.passes; pass_++) {
        let chunk = (group + pass_ * p.shift) % p.chunks;
        let first = chunk * p.chunk_rows;
        let last = min(first + p.chunk_rows, p.rows);
        var row = first;
        for (; row + 8u <= last; row += 8u) {
            let i = row * 256u + t;
            let b0 = b[i];
            let c0 = c[i];
            let b1 = b[i + 256u];
            let c1 = c[i + 256u];
            let b2 = b[i + 512u];
            let c2 = c[i + 512u];
            let b3 = b[i + 768u];
            let c3 = c[i + 768u];
            let b4 = b[i + 1024u];
            let c4 = c[i + 1024u];
            let b5 = b[i + 1280u];
            let c5 = c[i + 1280u];
            let b6 = b[i + 1536u];
            let c6 = c[i + 1536u];
            let b7 = b[i + 1792u];
            let c7 = c[i + 1792u];
            a[i] = fma(scale, c0, b0);
            a[i + 256u] = fma(scale, c1, b1);
            a[i + 512u] = fma(scale, c2, b2);
            a[i + 768u] = fma(scale, c3, b3);
            a[i + 1024u] = fma(scale, c4, b4);
            a[i + 1280u] = fma(scale, c5, b5);
            a[i + 1536u] = fma(scale, c6, b6);
            a[i + 1792u] = fma(scale, c7, b7);
        }
        for (; row < last; row++) {
            let i = row * 256u + t;
            a[i] = fma(scale, c[i], b[i]);
        }
    }
}
