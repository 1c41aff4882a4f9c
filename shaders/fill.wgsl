// Fills a buffer on the device: with the random operand values of src/workload/random.rs, or with poison.
//
// The buffer is a matrix of 32-bit words, `ld` words a row. A word holds one f32 or two f16. Rows from `rows` on and
// columns from `columns` on are padding and become zeros, so that kernels over whole tiles need no edge tests.
// A flat array is a matrix of one row. Each workgroup writes 4096 words (16 KiB); each invocation 16 words:
// 64 bytes written, 0 bytes read; per element 10 integer operations and 2 FLOPs for `fill`, none for `poison`.

override KEEP: u32 = 0u; // with an override, wgpu honours every unchecked option on Vulkan

struct Params {
    seed: u32,        // `fill`: the array's seed; `poison`: the word to write
    rows: u32,        // rows that hold values
    columns: u32,     // elements in a row that are values
    ld: u32,          // words in a stored row
    words: u32,       // words in the buffer
    first_group: u32, // the first workgroup of this dispatch
    half: u32,        // 1: two f16 a word, 0: one f32
    unused: u32,
}

@group(0) @binding(0) var<storage, read_write> words: array<u32>;
@group(0) @binding(3) var<uniform> p: Params;

// Jarzynski and Olano, Hash Functions for GPU Rendering, JCGT 9(3), 2020.
fn pcg(input: u32) -> u32 {
    let state = input * 747796405u + 2891336453u;
    let word = ((state >> ((state >> 28u) + 4u)) ^ state) * 277803737u;
    return (word >> 22u) ^ word;
}

// In [−1, 1): a multiple of 2⁻¹⁰ for f16 and of 2⁻²³ for f32, and so exact.
fn unit(index: u32) -> f32 {
    let bits = pcg(index ^ p.seed);
    if p.half == 1u {
        return f32(bits >> 21u) * (1.0 / 1024.0) - 1.0;
    }
    return f32(bits >> 8u) * (1.0 / 8388608.0) - 1.0;
}

fn element(row: u32, column: u32) -> f32 {
    return select(0.0, unit(row * p.columns + column), row < p.rows && column < p.columns);
}

@compute @workgroup_size(256)
fn fill(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) t: u32,
) {
    let base = (p.first_group + wg.y * grid.x + wg.x) * 4096u + t;
    for (var i = 0u; i < 16u; i++) {
        let index = base + i * 256u;
        if index >= p.words { return; }
        let row = index / p.ld;
        let column = index - row * p.ld;
        if p.half == 1u {
            words[index] = pack2x16float(vec2<f32>(element(row, 2u * column), element(row, 2u * column + 1u)));
        } else {
            words[index] = bitcast<u32>(element(row, column));
        }
    }
}

@compute @workgroup_size(256)
fn poison(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) t: u32,
) {
    let base = (p.first_group + wg.y * grid.x + wg.x) * 4096u + t;
    for (var i = 0u; i < 16u; i++) {
        let index = base + i * 256u;
        if index >= p.words { return; }
        words[index] = p.seed;
    }
}
