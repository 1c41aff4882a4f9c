{#- The template that build.rs renders once for each operation: read, write, copy, triad. -#}
{%- set steps = range(8) -%}
{%- set offsets = ["", " + 256u", " + 512u", " + 768u", " + 1024u", " + 1280u", " + 1536u", " + 1792u"] -%}
{%- macro step(steps) %}
{%- if op == "read" %}
{%- for k in steps %}
            s{{ k }} += b[i{{ offsets[k] }}];
{%- endfor %}
{%- elif op == "write" %}
{%- for k in steps %}
            a[i{{ offsets[k] }}] = value(i{{ offsets[k] }});
{%- endfor %}
{%- else %}
{%- for k in steps %}
            let b{{ k }} = b[i{{ offsets[k] }}];
{%- if op == "triad" %}
            let c{{ k }} = c[i{{ offsets[k] }}];
{%- endif %}
{%- endfor %}
{%- for k in steps %}
            a[i{{ offsets[k] }}] = {% if op == "copy" %}b{{ k }}{% else %}fma(scale, c{{ k }}, b{{ k }}){% endif %};
{%- endfor %}
{%- endif %}
{%- endmacro %}
// Memory bandwidth, {{ op }}.
//
{%- if op == "read" %}
// Every element is read once and added: N bytes and N/4 FLOPs for an array of N bytes. Each workgroup writes the sum of what it
// read, 4 bytes, which keeps the loads and lets the host check them.
{%- elif op == "write" %}
// Every element is written once: N bytes and no FLOPs for an array of N bytes. The value depends on the place, so that the host
// can check any element.
{%- elif op == "copy" %}
// b = a: 2 N bytes moved and no FLOPs for arrays of N bytes.
{%- else %}
// a = b + s · c, as STREAM and BabelStream define it: 3 N bytes moved and 2 · N/4 FLOPs for arrays of N bytes.
{%- endif %}
//
// Arrays are cut into rows of 4 KiB (256 vec4<f32>) and chunks of `chunk_rows` rows. In pass i a workgroup takes chunk
// (workgroup + i · shift) mod chunks: neighbours stream through contiguous spans, and over the passes of a sweep every
// chunk moves from one workgroup, and so from one core's cache, to another. Eight loads or stores are in flight at once,
// all loads of a step before its stores.

override KEEP: u32 = 0u; // with an override, wgpu honours every unchecked option on Vulkan

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
{% if op == "read" %}
@group(0) @binding(0) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> sums: array<f32>;
{%- elif op == "write" %}
@group(0) @binding(0) var<storage, read_write> a: array<vec4<f32>>;
{%- elif op == "copy" %}
@group(0) @binding(0) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> a: array<vec4<f32>>;
{%- else %}
@group(0) @binding(0) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> c: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> a: array<vec4<f32>>;
{%- endif %}
@group(0) @binding(3) var<uniform> p: Params;
{% if op == "read" %}
var<workgroup> partial: array<f32, 256>;
{% elif op == "write" %}
// The value of the vec4 at `i`: four steps of 2⁻¹⁰, cheap enough that stores stay the limit. The host knows the same formula.
fn value(i: u32) -> vec4<f32> {
    let first = f32((i & 511u) * 4u) * (1.0 / 1024.0) - 1.0;
    return vec4<f32>(first, first + 1.0 / 1024.0, first + 2.0 / 1024.0, first + 3.0 / 1024.0);
}
{% endif %}
@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) t: u32,
) {
    let group = p.first_group + wg.y * grid.x + wg.x;
{%- if op == "read" %}
{%- for k in steps %}
    var s{{ k }} = vec4<f32>(0.0);
{%- endfor %}
{%- elif op == "triad" %}
    let scale = vec4<f32>(p.scale);
{%- endif %}
    for (var pass_ = 0u; pass_ < p.passes; pass_++) {
        let chunk = (group + pass_ * p.shift) % p.chunks;
        let first = chunk * p.chunk_rows;
        let last = min(first + p.chunk_rows, p.rows);
        var row = first;
        for (; row + 8u <= last; row += 8u) {
            let i = row * 256u + t;
{{- step(steps) }}
        }
        for (; row < last; row++) {
            let i = row * 256u + t;
{{- step(range(1)) }}
        }
    }
{%- if op == "read" %}
    let s = ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7));
    partial[t] = (s.x + s.y) + (s.z + s.w);
    workgroupBarrier();
    for (var width = 128u; width > 0u; width >>= 1u) {
        if t < width { partial[t] += partial[t + width]; }
        workgroupBarrier();
    }
    if t == 0u { sums[group] = partial[0]; }
{%- endif %}
}
