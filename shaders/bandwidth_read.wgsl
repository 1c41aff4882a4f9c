// Memory bandwidth, read: every element is read once and added.
//
// Each workgroup writes the sum of what it read, which keeps the loads and lets the host check them.
// Arrays are cut into rows of 4 KiB (256 vec4<f32>) and chunks of `chunk_rows` rows. In pass i a workgroup takes chunk
// (workgroup + i · shift) mod chunks: neighbours stream through contiguous spans, and over the passes of a sweep every
// chunk moves from one workgroup, and so from one core's cache, to another. Eight loads or stores are in flight at once.
// N bytes read and N/4 FLOPs for an array of N bytes, plus 4 bytes written a workgroup.

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
@group(0) @binding(1) var<storage, read_write> sums: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;

var<workgroup> partial: array<f32, 256>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) t: u32,
) {
    let group = p.first_group + wg.y * grid.x + wg.x;
    var s0 = vec4<f32>(0.0);
    var s1 = vec4<f32>(0.0);
    var s2 = vec4<f32>(0.0);
    var s3 = vec4<f32>(0.0);
    var s4 = vec4<f32>(0.0);
    var s5 = vec4<f32>(0.0);
    var s6 = vec4<f32>(0.0);
    var s7 = vec4<f32>(0.0);
    for (var pass_ = 0u; pass_ < p.passes; pass_++) {
        let chunk = (group + pass_ * p.shift) % p.chunks;
        let first = chunk * p.chunk_rows;
        let last = min(first + p.chunk_rows, p.rows);
        var row = first;
        for (; row + 8u <= last; row += 8u) {
            let i = row * 256u + t;
            s0 += src[i];
            s1 += src[i + 256u];
            s2 += src[i + 512u];
            s3 += src[i + 768u];
            s4 += src[i + 1024u];
            s5 += src[i + 1280u];
            s6 += src[i + 1536u];
            s7 += src[i + 1792u];
        }
        for (; row < last; row++) {
            let i = row * 256u + t;
            s0 += src[i];
        }
    }
    let s = ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7));
    partial[t] = (s.x + s.y) + (s.z + s.w);
    workgroupBarrier();
    for (var width = 128u; width > 0u; width >>= 1u) {
        if t < width { partial[t] += partial[t + width]; }
        workgroupBarrier();
    }
    if t == 0u { sums[group] = partial[0]; }
}
