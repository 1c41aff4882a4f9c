{#- The template that build.rs renders once for each cooperative row of gemm_variants.rs and each of its dtypes. -#}
{%- set half = dtype == "f16" -%}
{%- set vulkan = frag == 16 -%}
{%- set fm = wm // frag -%}{%- set fn = wn // frag -%}
{%- set subgroups_n = bn // wn -%}
{%- set subgroups = (bm // wm) * subgroups_n -%}
{%- set threads = 32 * subgroups -%}
{%- set unit = 4 if vulkan else 1 -%}
{%- set pad = (8 if half else 4) // unit -%}
{%- set la = bk // unit + pad -%}{%- set lb = bn // unit + pad -%}
{%- set vectors = 2 if wide else 1 -%}{%- set each = 4 * vectors -%}
{%- set ra = bk // each -%}{%- set rb = bn // each -%}
{%- set na = bm * bk // each // threads -%}{%- set nb = bk * bn // each // threads -%}
{%- set sa_size = bm * la -%}{%- set sb_size = bk * lb -%}
{%- set tile_type = "vec4<" ~ dtype ~ ">" if vulkan else dtype -%}
{%- set mat = "coop_mat" ~ frag ~ "x" ~ frag -%}
// GEMM {{ dtype }} {{ name }}: C (m × n) = A (m × k) · B (k × n), all row-major, on matrix units, accumulated in f32, C stored in {{ dtype }}.
//
// A workgroup of {{ subgroups }} subgroups of 32 computes a tile of {{ bm }} × {{ bn }} in steps of {{ bk }} along k; each subgroup a patch of
// {{ wm }} × {{ wn }} in {{ fm * fn }} named accumulators of {{ frag }} × {{ frag }}. Tiles of A and B stand in shared memory in {{ dtype }}, {{ "twice" if stages == 2 else "once" }};
// rows are padded by 16 bytes against bank conflicts.
// An invocation runs {{ 2 * bm * bn // threads }} · k FLOPs, reads {{ (bm + bn) * (2 if half else 4) / threads }} · k bytes of A and B and writes {{ bm * bn // threads * (2 if half else 4) }} bytes of C.
// {% if vulkan %}Fragments are loaded from tiles of vec4, which SPIR-V takes and MSL doesn't: for Vulkan only.{% else %}Fragments of 8 × 8 are what Metal's simdgroup_matrix has.{% endif %}
// Operands are padded with zeros to whole tiles, so there are no edge tests.
// naga 30 wants every argument of coopStoreT bound to a name before (its SPIR-V writer panics otherwise).
{% if half %}
enable f16;{% endif %}
enable wgpu_cooperative_matrix;

override KEEP: u32 = 0u; // with an override, wgpu honours every unchecked option on Vulkan

alias Stored = vec4<{{ dtype }}>;
{% if wide -%}
// 16 bytes, the widest load there is.
struct Loaded {
    low: Stored,
    high: Stored,
}
{%- else -%}
alias Loaded = Stored;
{%- endif %}

struct Params {
    lda: u32,        // vec4 in a stored row of A
    ldb: u32,        // vec4 in a stored row of B and of C
    k: u32,          // padded to a multiple of {{ bk }}
    tiles_m: u32,
    tiles_n: u32,
    first_tile: u32, // the first tile of this dispatch: a slow device runs a product in several
    unused0: u32,
    unused1: u32,
}

@group(0) @binding(0) var<storage, read> a: array<Loaded>;
@group(0) @binding(1) var<storage, read> b: array<Loaded>;
@group(0) @binding(2) var<storage, read_write> c: array<{{ "f32" if not half else ("vec4<f16>" if vulkan else "vec2<f16>") }}>;
@group(0) @binding(3) var<uniform> p: Params;

var<workgroup> sa: array<{{ tile_type }}, {{ stages * sa_size }}>;
var<workgroup> sb: array<{{ tile_type }}, {{ stages * sb_size }}>;
{% if half -%}
// Accumulators pass through here to be rounded to f16: a matrix has no element access.
var<workgroup> patch_out: array<f32, {{ subgroups * frag * frag }}>;
{% endif %}
{%- macro load(k, indent) %}
{%- for i in range(na) %}
{{ indent }}pa{{ i }} = a[(row0 + ar + {{ i * threads // ra }}u) * (p.lda / {{ vectors }}u) + ({{ k }}) / {{ each }}u + ac];
{%- endfor %}
{%- for i in range(nb) %}
{{ indent }}pb{{ i }} = b[({{ k }} + br + {{ i * threads // rb }}u) * (p.ldb / {{ vectors }}u) + col0 / {{ each }}u + bc];
{%- endfor %}
{%- endmacro %}
{%- macro put(tile, at, value, indent) %}
{%- if wide %}
{{ indent }}{
{{ indent }}    let d = {{ at }};
{{ indent }}    {{ tile }}[d] = {{ value }}.low;
{{ indent }}    {{ tile }}[d + 1u] = {{ value }}.high;
{{ indent }}}
{%- elif vulkan %}
{{ indent }}{{ tile }}[{{ at }}] = {{ value }};
{%- else %}
{{ indent }}{
{{ indent }}    let d = {{ at }};
{{ indent }}    {{ tile }}[d] = {{ value }}.x;
{{ indent }}    {{ tile }}[d + 1u] = {{ value }}.y;
{{ indent }}    {{ tile }}[d + 2u] = {{ value }}.z;
{{ indent }}    {{ tile }}[d + 3u] = {{ value }}.w;
{{ indent }}}
{%- endif %}
{%- endmacro %}
{%- macro stage(sa_base, sb_base, indent) %}
{%- for i in range(na) %}
{{- put("sa", sa_base ~ "(ar + " ~ (i * threads // ra) ~ "u) * " ~ la ~ "u + ac * " ~ (each // unit) ~ "u", "pa" ~ i, indent) }}
{%- endfor %}
{%- for i in range(nb) %}
{{- put("sb", sb_base ~ "(br + " ~ (i * threads // rb) ~ "u) * " ~ lb ~ "u + bc * " ~ (each // unit) ~ "u", "pb" ~ i, indent) }}
{%- endfor %}
{%- endmacro %}
{%- macro multiply(sa_base, sb_base) %}
{%- for kk in range(0, bk, frag) %}
        {
{%- for i in range(fm) %}
            let a{{ i }} = coopLoadT<{{ mat }}<{{ dtype }}, A>>(&sa[{{ sa_base }}a_at + {{ i * frag * la + kk // unit }}u], {{ la }}u);
{%- endfor %}
{%- for j in range(fn) %}
            let b{{ j }} = coopLoadT<{{ mat }}<{{ dtype }}, B>>(&sb[{{ sb_base }}b_at + {{ kk * lb + j * frag // unit }}u], {{ lb }}u);
{%- endfor %}
{%- for i in range(fm) %}{% for step in range(fn) %}{% set j = step if i % 2 == 0 else fn - 1 - step %}
            c{{ i }}_{{ j }} = coopMultiplyAdd(a{{ i }}, b{{ j }}, c{{ i }}_{{ j }});
{%- endfor %}{% endfor %}
        }
{%- endfor %}
{%- endmacro %}
@compute @workgroup_size({{ threads }})
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>, @builtin(local_invocation_index) t: u32) {
    // Tiles are taken in bands of {{ group }} rows, so that tiles at work together share operands in the cache.
    let tile = p.first_tile + wg.y * grid.x + wg.x;
    let band = tile / ({{ group }}u * p.tiles_n);
    let in_band = tile - band * {{ group }}u * p.tiles_n;
    let band_rows = min(p.tiles_m - band * {{ group }}u, {{ group }}u);
    let row0 = (band * {{ group }}u + in_band % band_rows) * {{ bm }}u;
    let col0 = (in_band / band_rows) * {{ bn }}u;
    let subgroup = t / 32u;
    let lane = t % 32u;
    let patch_row = (subgroup / {{ subgroups_n }}u) * {{ wm }}u;
    let patch_column = (subgroup % {{ subgroups_n }}u) * {{ wn }}u;
    let a_at = patch_row * {{ la }}u;
    let b_at = patch_column / {{ unit }}u;
    let ar = t / {{ ra }}u;
    let ac = t % {{ ra }}u;
    let br = t / {{ rb }}u;
    let bc = t % {{ rb }}u;
{%- for i in range(fm) %}{% for j in range(fn) %}
    var c{{ i }}_{{ j }} = {{ mat }}<f32, C>();
{%- endfor %}{% endfor %}
{%- for i in range(na) %}
    var pa{{ i }}: Loaded;
{%- endfor %}
{%- for i in range(nb) %}
    var pb{{ i }}: Loaded;
{%- endfor %}
{{- load("0u", "    ") }}
{% if stages == 1 %}
    for (var k0 = 0u; k0 < p.k; k0 += {{ bk }}u) {
        workgroupBarrier();
{{- stage("", "", "        ") }}
        workgroupBarrier();
        let next = k0 + {{ bk }}u;
        if next < p.k {
{{- load("next", "            ") }}
        }
{{- multiply("", "") }}
    }
{% else %}
{{- stage("", "", "    ") }}
    workgroupBarrier();
    var now = 0u;
    for (var k0 = 0u; k0 < p.k; k0 += {{ bk }}u) {
        let next = k0 + {{ bk }}u;
        if next < p.k {
{{- load("next", "            ") }}
        }
        let sa_now = now * {{ sa_size }}u;
        let sb_now = now * {{ sb_size }}u;
{{- multiply("sa_now + ", "sb_now + ") }}
        now = 1u - now;
        if next < p.k {
            let sa_next = now * {{ sa_size }}u;
            let sb_next = now * {{ sb_size }}u;
{{- stage("sa_next + ", "sb_next + ", "            ") }}
        }
        workgroupBarrier();
    }
{% endif %}
{%- if half %}
    let mine = subgroup * {{ frag * frag }}u;
{%- for i in range(fm) %}{% for j in range(fn) %}
    {
        let sum = c{{ i }}_{{ j }};
        coopStoreT(sum, &patch_out[mine], {{ frag }}u);
    }
    workgroupBarrier();
    {
{%- if vulkan %}
        let e = mine + lane * 8u;
        let out = (row0 + patch_row + {{ i * frag }}u + lane / 2u) * p.ldb + (col0 + patch_column + {{ j * frag }}u) / 4u + (lane % 2u) * 2u;
        c[out] = Stored(vec4<f32>(patch_out[e], patch_out[e + 1u], patch_out[e + 2u], patch_out[e + 3u]));
        c[out + 1u] = Stored(vec4<f32>(patch_out[e + 4u], patch_out[e + 5u], patch_out[e + 6u], patch_out[e + 7u]));
{%- else %}
        let e = mine + lane * 2u;
        let out = (row0 + patch_row + {{ i * frag }}u + lane / 4u) * p.ldb * 2u + (col0 + patch_column + {{ j * frag }}u) / 2u + lane % 4u;
        c[out] = vec2<f16>(vec2<f32>(patch_out[e], patch_out[e + 1u]));
{%- endif %}
    }
    workgroupBarrier();
{%- endfor %}{% endfor %}
{%- else %}
    let stride = p.ldb * 4u;
{%- for i in range(fm) %}{% for j in range(fn) %}
    {
        let sum = c{{ i }}_{{ j }};
        let out = (row0 + patch_row + {{ i * frag }}u) * stride + col0 + patch_column + {{ j * frag }}u;
        coopStoreT(sum, &c[out], stride);
    }
{%- endfor %}{% endfor %}
{%- endif %}
}
