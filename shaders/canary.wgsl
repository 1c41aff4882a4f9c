// A fixed amount of arithmetic in registers: the canary that shows whether the device slowed down between jobs.
//
// Each invocation runs 16 independent chains (4 × vec4) of `rounds` × 8 fused multiply-adds: 256 · rounds FLOPs, and
// writes 4 bytes. The chains x ← 0.5 x + c settle near 2 c, so that the result is known and no value is denormal.

override KEEP: u32 = 0u;

struct Params {
    rounds: u32,
    unused0: u32,
    unused1: u32,
    unused2: u32,
    unused3: u32,
    unused4: u32,
    unused5: u32,
    unused6: u32,
}

@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let seed = f32(id.x & 255u) * (1.0 / 256.0);
    let half = vec4<f32>(0.5);
    let add = vec4<f32>(0.25, 0.5, 0.75, 1.0);
    var x0 = vec4<f32>(seed);
    var x1 = x0 + vec4<f32>(1.0);
    var x2 = x0 + vec4<f32>(2.0);
    var x3 = x0 + vec4<f32>(3.0);
    for (var i = 0u; i < p.rounds; i++) {
        x0 = fma(x0, half, add); x1 = fma(x1, half, add); x2 = fma(x2, half, add); x3 = fma(x3, half, add);
        x0 = fma(x0, half, add); x1 = fma(x1, half, add); x2 = fma(x2, half, add); x3 = fma(x3, half, add);
        x0 = fma(x0, half, add); x1 = fma(x1, half, add); x2 = fma(x2, half, add); x3 = fma(x3, half, add);
        x0 = fma(x0, half, add); x1 = fma(x1, half, add); x2 = fma(x2, half, add); x3 = fma(x3, half, add);
        x0 = fma(x0, half, add); x1 = fma(x1, half, add); x2 = fma(x2, half, add); x3 = fma(x3, half, add);
        x0 = fma(x0, half, add); x1 = fma(x1, half, add); x2 = fma(x2, half, add); x3 = fma(x3, half, add);
        x0 = fma(x0, half, add); x1 = fma(x1, half, add); x2 = fma(x2, half, add); x3 = fma(x3, half, add);
        x0 = fma(x0, half, add); x1 = fma(x1, half, add); x2 = fma(x2, half, add); x3 = fma(x3, half, add);
    }
    let sum = x0 + x1 + x2 + x3;
    out[id.x] = sum.x + sum.y + sum.z + sum.w;
}
