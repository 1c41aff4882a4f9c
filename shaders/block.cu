// The small steps of a block over many positions, for prefill and training. Each reads its inputs once and writes its outputs
// once; matrix products stand between them. Row lengths are multiples of eight; sums are in f32.
#include "cuda_common.cuh"

// sum = x + y (y may be absent); normed = sum ÷ rms(sum) · scale. One block a row.
template <typename T>
__device__ void add_norm(const T *x, const T *y, const T *scale, float eps, T *sum, T *normed, int n) {
    const size_t row = size_t(blockIdx.x) * n;
    float squares = 0.f;
    for (int at = threadIdx.x * 8; at < n; at += blockDim.x * 8) {
        float a[8], b[8];
        load8(x + row + at, a);
        if (y) {
            load8(y + row + at, b);
#pragma unroll
            for (int i = 0; i < 8; ++i) a[i] = to_float(from_float<T>(a[i] + b[i]));
            store8(sum + row + at, a);
        }
#pragma unroll
        for (int i = 0; i < 8; ++i) squares += a[i] * a[i];
    }
    const float factor = rsqrtf(sum_block(squares) / n + eps);
    const T *from = y ? sum : x;
    for (int at = threadIdx.x * 8; at < n; at += blockDim.x * 8) {
        float a[8], s[8];
        load8(from + row + at, a);
        load8(scale + at, s);
#pragma unroll
        for (int i = 0; i < 8; ++i) a[i] *= factor * s[i];
        store8(normed + row + at, a);
    }
}

// The gradient of the input of a norm from that of its output, added to what the input gets otherwise (dx may be absent).
template <typename T>
__device__ void norm_backward(const T *x, const T *scale, const T *dy, const T *dx, float eps, T *out, int n) {
    const size_t row = size_t(blockIdx.x) * n;
    float squares = 0.f, dot = 0.f;
    for (int at = threadIdx.x * 8; at < n; at += blockDim.x * 8) {
        float a[8], g[8], s[8];
        load8(x + row + at, a);
        load8(dy + row + at, g);
        load8(scale + at, s);
#pragma unroll
        for (int i = 0; i < 8; ++i) squares += a[i] * a[i], dot += a[i] * g[i] * s[i];
    }
    const float factor = rsqrtf(sum_block(squares) / n + eps);
    const float along = sum_block(dot) / n * factor * factor * factor;
    for (int at = threadIdx.x * 8; at < n; at += blockDim.x * 8) {
        float a[8], g[8], s[8], rest[8] = {};
        load8(x + row + at, a);
        load8(dy + row + at, g);
        load8(scale + at, s);
        if (dx) load8(dx + row + at, rest);
#pragma unroll
        for (int i = 0; i < 8; ++i) a[i] = rest[i] + g[i] * s[i] * factor - a[i] * along;
        store8(out + row + at, a);
    }
}

// Splits rows of queries, keys and values, and turns queries and keys to their positions.
// qkv: (batch·t) × (heads + 2·kv)·D; q: batch × heads × t × D; k, v: batch × kv × room × D from `offset` on.
// With `sign` −1 it turns back, and with GATHER it goes the other way: from q, k, v to qkv, as gradients do.
template <typename T, bool GATHER>
__device__ void split(T *qkv, T *q, T *k, T *v, const float *cos, const float *sin, int t, int heads, int kv_heads, int dim,
                      int room, int offset, int position, float sign) {
    const int b = blockIdx.x / t, i = blockIdx.x % t, half_dim = dim / 2, width = (heads + 2 * kv_heads) * dim;
    T *row = qkv + size_t(blockIdx.x) * width;
    const float *c = cos + size_t(position + i) * half_dim, *s = sin + size_t(position + i) * half_dim;
    for (int at = threadIdx.x; at < width / 2; at += blockDim.x) {
        const int head = at / half_dim, d = at % half_dim;
        T *packed = row + head * dim + d, *apart;
        if (head < heads) {
            apart = q + ((size_t(b) * heads + head) * t + i) * dim + d;
        } else {
            const int kv = (head - heads) % kv_heads;
            T *to = head < heads + kv_heads ? k : v;
            apart = to + ((size_t(b) * kv_heads + kv) * room + offset + i) * dim + d;
        }
        const T *from = GATHER ? apart : packed;
        T *into = GATHER ? packed : apart;
        const float x = to_float(from[0]), y = to_float(from[half_dim]);
        const bool turned = head < heads + kv_heads;
        const float cd = turned ? c[d] : 1.f, sd = turned ? sign * s[d] : 0.f;
        into[0] = from_float<T>(x * cd - y * sd);
        into[half_dim] = from_float<T>(y * cd + x * sd);
    }
}

// out = silu(gate) · up. Rows of gate_up hold both, one after the other.
template <typename T> __device__ void gate(const T *gate_up, T *out, int n, int rows) {
    const size_t at = (size_t(blockIdx.x) * blockDim.x + threadIdx.x) * 8;
    if (at >= size_t(rows) * n) return;
    const size_t row = at / n, column = at % n;
    float g[8], u[8];
    load8(gate_up + row * 2 * n + column, g);
    load8(gate_up + row * 2 * n + n + column, u);
#pragma unroll
    for (int i = 0; i < 8; ++i) g[i] = g[i] / (1.f + __expf(-g[i])) * u[i];
    store8(out + at, g);
}

template <typename T> __device__ void gate_backward(const T *gate_up, const T *dy, T *out, int n, int rows) {
    const size_t at = (size_t(blockIdx.x) * blockDim.x + threadIdx.x) * 8;
    if (at >= size_t(rows) * n) return;
    const size_t row = at / n, column = at % n, place = row * 2 * n + column;
    float g[8], u[8], d[8], dg[8], du[8];
    load8(gate_up + place, g);
    load8(gate_up + place + n, u);
    load8(dy + at, d);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        const float sigmoid = 1.f / (1.f + __expf(-g[i]));
        du[i] = d[i] * g[i] * sigmoid;
        dg[i] = d[i] * u[i] * sigmoid * (1.f + g[i] * (1.f - sigmoid));
    }
    store8(out + place, dg);
    store8(out + place + n, du);
}

// Softmax in place over the keys that each query may look at; the others become zero. One block a row.
// scores: … × (group·t) × n, the query's place among its t the fastest; query i stands at `position + i`.
template <typename T>
__device__ void causal_softmax(T *scores, int t, int n, int position, int window, float scale) {
    T *row = scores + size_t(blockIdx.x) * n;
    const int at = position + blockIdx.x % t, end = min(at + 1, n), begin = window > 0 ? max(0, at + 1 - window) : 0;
    float top = -INFINITY;
    for (int j = begin + threadIdx.x; j < end; j += blockDim.x) top = fmaxf(top, to_float(row[j]));
    top = max_block(top);
    float sum = 0.f;
    for (int j = begin + threadIdx.x; j < end; j += blockDim.x) sum += __expf((to_float(row[j]) - top) * scale);
    const float factor = 1.f / sum_block(sum);
    for (int j = threadIdx.x; j < n; j += blockDim.x) {
        const bool seen = j >= begin && j < end;
        row[j] = from_float<T>(seen ? __expf((to_float(row[j]) - top) * scale) * factor : 0.f);
    }
}

// d = p · (d − Σ p·d) · scale in place, the gradient of the scores before scaling. One block a row.
template <typename T> __device__ void softmax_backward(const T *p, T *d, int n, float scale) {
    const size_t row = size_t(blockIdx.x) * n;
    float dot = 0.f;
    for (int at = threadIdx.x; at < n; at += blockDim.x) dot += to_float(p[row + at]) * to_float(d[row + at]);
    dot = sum_block(dot);
    for (int at = threadIdx.x; at < n; at += blockDim.x)
        d[row + at] = from_float<T>(to_float(p[row + at]) * (to_float(d[row + at]) - dot) * scale);
}

// Loss of each row, −log softmax(logits)[target] times its weight, and in place of the logits its gradient times `scale`.
// One block a row.
template <typename T>
__device__ void cross_entropy(T *logits, const unsigned *targets, const float *weights, float *losses, int n, float scale) {
    T *row = logits + size_t(blockIdx.x) * n;
    const unsigned target = min(targets[blockIdx.x], unsigned(n - 1));
    const float weight = weights[blockIdx.x];
    float top = -INFINITY, sum = 0.f;
    for (int at = threadIdx.x * 8; at < n; at += blockDim.x * 8) {
        float v[8];
        load8(row + at, v);
        float higher = top;
#pragma unroll
        for (int i = 0; i < 8; ++i) higher = fmaxf(higher, v[i]);
        sum *= __expf(top - higher);
        top = higher;
#pragma unroll
        for (int i = 0; i < 8; ++i) sum += __expf(v[i] - top);
    }
    const float highest = max_block(top);
    sum = sum_block(top == -INFINITY ? 0.f : sum * __expf(top - highest));
    if (threadIdx.x == 0) losses[blockIdx.x] = weight * (highest + __logf(sum) - to_float(row[target]));
    __syncthreads();
    const float factor = weight * scale / sum;
    for (int at = threadIdx.x * 8; at < n; at += blockDim.x * 8) {
        float v[8];
        load8(row + at, v);
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            v[i] = __expf(v[i] - highest) * factor;
            if (unsigned(at + i) == target) v[i] -= weight * scale;
        }
        store8(row + at, v);
    }
}

#define BLOCK(T, NAME)                                                                                                  \
    extern "C" __global__ void add_norm_##NAME(const T *x, const T *y, const T *scale, float eps, T *sum, T *normed,     \
                                               int n) {                                                                 \
        add_norm<T>(x, y, scale, eps, sum, normed, n);                                                                  \
    }                                                                                                                   \
    extern "C" __global__ void norm_backward_##NAME(const T *x, const T *scale, const T *dy, const T *dx, float eps,     \
                                                    T *out, int n) {                                                    \
        norm_backward<T>(x, scale, dy, dx, eps, out, n);                                                                \
    }                                                                                                                   \
    extern "C" __global__ void split_##NAME(T *qkv, T *q, T *k, T *v, const float *cos, const float *sin, int t,         \
                                            int heads, int kv_heads, int dim, int room, int offset, int position) {      \
        split<T, false>(qkv, q, k, v, cos, sin, t, heads, kv_heads, dim, room, offset, position, 1.f);                  \
    }                                                                                                                   \
    extern "C" __global__ void gather_##NAME(T *qkv, T *q, T *k, T *v, const float *cos, const float *sin, int t,        \
                                             int heads, int kv_heads, int dim, int room, int offset, int position) {     \
        split<T, true>(qkv, q, k, v, cos, sin, t, heads, kv_heads, dim, room, offset, position, -1.f);                  \
    }                                                                                                                   \
    extern "C" __global__ void gate_##NAME(const T *gate_up, T *out, int n, int rows) {                                 \
        gate<T>(gate_up, out, n, rows);                                                                                 \
    }                                                                                                                   \
    extern "C" __global__ void gate_backward_##NAME(const T *gate_up, const T *dy, T *out, int n, int rows) {           \
        gate_backward<T>(gate_up, dy, out, n, rows);                                                                    \
    }                                                                                                                   \
    extern "C" __global__ void causal_softmax_##NAME(T *scores, int t, int n, int position, int window, float scale) {   \
        causal_softmax<T>(scores, t, n, position, window, scale);                                                       \
    }                                                                                                                   \
    extern "C" __global__ void softmax_backward_##NAME(const T *p, T *d, int n, float scale) {                          \
        softmax_backward<T>(p, d, n, scale);                                                                            \
    }                                                                                                                   \
    extern "C" __global__ void cross_entropy_##NAME(T *logits, const unsigned *targets, const float *weights,           \
                                                    float *losses, int n, float scale) {                                \
        cross_entropy<T>(logits, targets, weights, losses, n, scale);                                                   \
    }

BLOCK(float, f32)
BLOCK(half, f16)
BLOCK(bf16, bf16)
