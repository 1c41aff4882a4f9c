{#- The template that build.rs renders once for each row of gemm_variants.rs and each dtype. -#}
{%- set direct = stages == 0 -%}
{%- set lanes_x = wn // tn -%}{%- set lanes_y = wm // tm -%}{%- set lanes = lanes_x * lanes_y -%}
{%- set threads = (bm // tm) * (bn // tn) -%}
{%- set fa = tm // 4 -%}{%- set fb = tn // 4 -%}
{%- set la = bm // 4 + pad -%}{%- set lb = bn // 4 -%}
{%- set ra = bk // 4 -%}{%- set rb = bn // 4 -%}
{%- set na = bm * bk // 4 // threads -%}{%- set nb = bk * bn // 4 // threads -%}
{%- set sa_size = bk * la -%}{%- set sb_size = bk * lb -%}
{%- set half = dtype == "f16" -%}
{%- set components = "xyzw" -%}
// GEMM {{ dtype }} {{ name }}: C (m × n) = A (m × k) · B (k × n), all row-major, accumulated in f32, C stored in {{ dtype }}.
//
// A workgroup of {{ threads }} invocations computes a tile of {{ bm }} × {{ bn }} in steps of {{ bk }} along k; each invocation
// {{ tm }} × {{ tn }} of it, in {{ tm * tn }} named f32 accumulators: a loop over an array of them would put it into local memory.
{%- if direct %}
// Operands are read straight from memory: on a processor its caches do better than shared tiles with barriers.
{%- else %}
// Tiles of A (transposed) and B stand in shared memory as f32, {{ "twice, so that one barrier a step suffices" if stages == 2 else "once" }};
// {{ lanes_y }} × {{ lanes_x }} consecutive invocations share a patch of {{ wm }} × {{ wn }}, which keeps shared loads free of bank conflicts.
{%- endif %}
// An invocation runs {{ 2 * tm * tn }} · k FLOPs and reads {{ "at most" if direct else "" }} {{ ((bm + bn) * (2 if half else 4) / threads) if not direct else (tm + tn) * (2 if half else 4) }} · k bytes of A and B; it writes {{ tm * tn * (2 if half else 4) }} bytes of C.
// Operands are padded with zeros to whole tiles, so there are no edge tests.
{% if half %}
enable f16;
{% endif %}
override KEEP: u32 = 0u; // with an override, wgpu honours every unchecked option on Vulkan

alias Stored = vec4<{{ dtype }}>;

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

@group(0) @binding(0) var<storage, read> a: array<Stored>;
@group(0) @binding(1) var<storage, read> b: array<Stored>;
@group(0) @binding(2) var<storage, read_write> c: array<Stored>;
@group(0) @binding(3) var<uniform> p: Params;
{% if not direct %}
var<workgroup> sa: array<vec4<f32>, {{ stages * sa_size }}>;
var<workgroup> sb: array<vec4<f32>, {{ stages * sb_size }}>;
{% endif %}
{%- macro load(k, indent) %}
{%- for i in range(na) %}
{{ indent }}pa{{ i }} = a[(row0 + ar + {{ i * threads // ra }}u) * p.lda + ({{ k }}) / 4u + ac];
{%- endfor %}
{%- for i in range(nb) %}
{{ indent }}pb{{ i }} = b[({{ k }} + br + {{ i * threads // rb }}u) * p.ldb + col0 / 4u + bc];
{%- endfor %}
{%- endmacro %}
{%- macro stage(sa_base, sb_base, indent) %}
{%- for i in range(na) %}
{{ indent }}{
{{ indent }}    let r = ar + {{ i * threads // ra }}u;
{{ indent }}    let v = vec4<f32>(pa{{ i }});
{{ indent }}    let d = {{ sa_base }}ac * {{ 4 * la }}u + r / 4u;
{%- for q in range(4) %}
{{ indent }}    sa[d + {{ q * la }}u][r & 3u] = v.{{ components[q] }};
{%- endfor %}
{{ indent }}}
{%- endfor %}
{%- for i in range(nb) %}
{{ indent }}sb[{{ sb_base }}(br + {{ i * threads // rb }}u) * {{ lb }}u + bc] = vec4<f32>(pb{{ i }});
{%- endfor %}
{%- endmacro %}
{%- macro multiply(sa_base, sb_base) %}
{%- for kk in range(bk) %}
        {
{%- for j in range(fb) %}
            let b{{ j }} = sb[{{ sb_base }}bx + {{ kk * lb + j * lanes_x }}u];
{%- endfor %}
{%- for i in range(fa) %}
            let a{{ i }} = sa[{{ sa_base }}ay + {{ kk * la + i * lanes_y }}u];
{%- endfor %}
{%- for r in range(tm) %}{% for j in range(fb) %}
            c{{ r }}_{{ j }} = fma(vec4<f32>(a{{ r // 4 }}.{{ components[r % 4] }}), b{{ j }}, c{{ r }}_{{ j }});
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
    let lane = t % {{ lanes }}u;
    let patch_ = t / {{ lanes }}u;
    let ay = (patch_ / {{ bn // wn }}u) * {{ wm // 4 }}u + lane / {{ lanes_x }}u;
    let bx = (patch_ % {{ bn // wn }}u) * {{ wn // 4 }}u + lane % {{ lanes_x }}u;
{%- for r in range(tm) %}{% for j in range(fb) %}
    var c{{ r }}_{{ j }} = vec4<f32>(0.0);
{%- endfor %}{% endfor %}
{% if direct %}
{%- for r in range(tm) %}
    let a_row{{ r }} = (row0 + 4u * ay + {{ (r // 4) * lanes_y * 4 + r % 4 }}u) * p.lda;
{%- endfor %}
    for (var k0 = 0u; k0 < p.k; k0 += 4u) {
{%- for r in range(tm) %}
        let a{{ r }} = vec4<f32>(a[a_row{{ r }} + k0 / 4u]);
{%- endfor %}
{%- for q in range(4) %}
        {
            let at = (k0 + {{ q }}u) * p.ldb + col0 / 4u + bx;
{%- for j in range(fb) %}
            let b{{ j }} = vec4<f32>(b[at + {{ j * lanes_x }}u]);
{%- endfor %}
{%- for r in range(tm) %}{% for j in range(fb) %}
            c{{ r }}_{{ j }} = fma(vec4<f32>(a{{ r }}.{{ components[q] }}), b{{ j }}, c{{ r }}_{{ j }});
{%- endfor %}{% endfor %}
        }
{%- endfor %}
    }
{% else %}
    let ar = t / {{ ra }}u;
    let ac = t % {{ ra }}u;
    let br = t / {{ rb }}u;
    let bc = t % {{ rb }}u;
{%- for i in range(na) %}
    var pa{{ i }}: Stored;
{%- endfor %}
{%- for i in range(nb) %}
    var pb{{ i }}: Stored;
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
{%- endif %}
    let out = (row0 + 4u * ay) * p.ldb + col0 / 4u + bx;
{%- for r in range(tm) %}{% for j in range(fb) %}
    c[out + {{ (r // 4) * lanes_y * 4 + r % 4 }}u * p.ldb + {{ j * lanes_x }}u] = Stored(c{{ r }}_{{ j }});
{%- endfor %}{% endfor %}
}
