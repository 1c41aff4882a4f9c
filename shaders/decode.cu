// One position of a Mistral-shaped model at a time, for up to four sequences: bound by the weights' bytes, so that every
// kernel is one streaming pass over a matrix with all small steps folded into it. Five launches a block.
#include "cuda_common.cuh"

// The most parts that the positions of one head are divided into.
constexpr int SPLITS_MAX = 64;

// out[b] = W · x[b]. SPLIT warps share ROWS rows, so that a matrix of few rows keeps the whole GPU busy; each fetches its next
// piece of the matrix before it works on the one it has.
//
// NORM: x is scaled by rms(x) and `scale` first. The mean square is summed along the way and applied at the end, so that no
// pass over x comes before the matrix.
// ADD: out holds the residual and the product is added to it.
// GATE: row r of the upper half gates row r of the lower half: out = silu(W[r]·x) · (W[n + r]·x), n rows of output.
// Inputs in chunks of eight: k must be a multiple of 8.
template <typename T, typename OUT, int BATCH, int SPLIT, bool NORM, bool ADD, bool GATE>
__device__ __forceinline__ void product(const T *__restrict__ w, const T *x, const T *__restrict__ scale, float eps,
                                        OUT *out, int n, int k) {
    constexpr int ROWS = 2, WARPS = 4, AHEAD = BATCH == 1 ? 4 : 2, STEP = 32 * 8, STRIDE = STEP * AHEAD * SPLIT;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, share = warp % SPLIT;
    const int first = (blockIdx.x * (WARPS / SPLIT) + warp / SPLIT) * (GATE ? 1 : ROWS);
    const T *rows[ROWS];
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
        const int row = GATE ? min(first, n - 1) + r * n : min(first + r, n - 1);
        rows[r] = w + size_t(row) * k;
    }
    uint4 weights[2][ROWS][AHEAD];
    const auto fetch = [&](uint4(&to)[ROWS][AHEAD], int from) {
#pragma unroll
        for (int a = 0; a < AHEAD; ++a)
#pragma unroll
            for (int r = 0; r < ROWS; ++r)
                to[r][a] = from + a * STEP < k ? __ldcs(reinterpret_cast<const uint4 *>(rows[r] + from + a * STEP))
                                               : make_uint4(0, 0, 0, 0);
    };
    float sum[ROWS][BATCH] = {}, squares[BATCH] = {};
    const auto consume = [&](const uint4(&from)[ROWS][AHEAD], int base) {
#pragma unroll
        for (int a = 0; a < AHEAD; ++a) {
            const int at = base + a * STEP;
            if (at >= k) break;
            float wide[ROWS][8], scales[8];
#pragma unroll
            for (int r = 0; r < ROWS; ++r) widen<T>(from[r][a], wide[r]);
            if (NORM) widen<T>(__ldg(reinterpret_cast<const uint4 *>(scale + at)), scales);
#pragma unroll
            for (int b = 0; b < BATCH; ++b) {
                float inputs[8];
                widen<T>(__ldca(reinterpret_cast<const uint4 *>(x + size_t(b) * k + at)), inputs);
#pragma unroll
                for (int i = 0; i < 8; ++i) {
                    if (NORM) {
                        squares[b] += inputs[i] * inputs[i];
                        inputs[i] *= scales[i];
                    }
#pragma unroll
                    for (int r = 0; r < ROWS; ++r) sum[r][b] += wide[r][i] * inputs[i];
                }
            }
        }
    };
    let_the_next_kernel_start();
    int base = lane * 8 + share * STEP * AHEAD;
    fetch(weights[0], base);
    wait_for_the_kernel_before();
    for (; base < k; base += 2 * STRIDE) {
        fetch(weights[1], base + STRIDE);
        consume(weights[0], base);
        fetch(weights[0], base + 2 * STRIDE);
        consume(weights[1], base + STRIDE);
    }

    __shared__ float shared[WARPS][(ROWS + 1) * BATCH];
#pragma unroll
    for (int b = 0; b < BATCH; ++b) {
#pragma unroll
        for (int r = 0; r < ROWS; ++r) sum[r][b] = sum_lanes<32>(sum[r][b]);
        if (NORM) squares[b] = sum_lanes<32>(squares[b]);
        if (SPLIT > 1 && lane == 0) {
#pragma unroll
            for (int r = 0; r < ROWS; ++r) shared[warp][b * (ROWS + 1) + r] = sum[r][b];
            shared[warp][b * (ROWS + 1) + ROWS] = squares[b];
        }
    }
    if (SPLIT > 1) __syncthreads();
    if (share != 0 || lane >= BATCH || first >= n) return;
    const int b = lane;
    float y[ROWS] = {}, square = 0.f;
    if (SPLIT > 1) {
#pragma unroll
        for (int i = 0; i < SPLIT; ++i) {
#pragma unroll
            for (int r = 0; r < ROWS; ++r) y[r] += shared[warp + i][b * (ROWS + 1) + r];
            square += shared[warp + i][b * (ROWS + 1) + ROWS];
        }
    } else {
#pragma unroll
        for (int i = 0; i < BATCH; ++i)
            if (i == b) {
#pragma unroll
                for (int r = 0; r < ROWS; ++r) y[r] = sum[r][i];
                square = squares[i];
            }
    }
    const float factor = NORM ? rsqrtf(square / k + eps) : 1.f;
#pragma unroll
    for (int r = 0; r < ROWS; ++r) y[r] *= factor;
    OUT *to = out + size_t(b) * n + first;
    if (GATE) {
        to[0] = from_float<OUT>(y[0] / (1.f + __expf(-y[0])) * y[1]);
    } else {
#pragma unroll
        for (int r = 0; r < ROWS; ++r)
            if (first + r < n) to[r] = from_float<OUT>(y[r] + (ADD ? to_float(to[r]) : 0.f));
    }
}

// Attention of one new position over the cache, for one key head, one part of the positions and one sequence.
//
// The block that owns the new position turns its key, and stores key and value in the cache. Each group of lanes takes a key
// at a time and keeps its own running softmax; the block merges its groups, and the last block to end merges the parts.
// qkv: batch × (heads + 2·kv) · D; caches: batch × kv × capacity × D; cos, sin: positions × D/2;
// parts: batch × heads × splits × (D + 2) floats; counters: batch × kv, zero before and after.
template <typename T, int D, int GROUP>
__device__ __forceinline__ void attend(const T *qkv, T *keys, T *values, const float *__restrict__ cos,
                                       const float *__restrict__ sin, float *parts, unsigned *counters, T *out,
                                       int kv_heads, int capacity, int position, int window, float scale) {
    constexpr int LANES = D / 8, TOGETHER = 32 / LANES, WARPS = 4, SLOTS = TOGETHER * WARPS, HALF = D / 2;
    const int kv = blockIdx.x, split = blockIdx.y, splits = gridDim.y, b = blockIdx.z;
    const int heads = kv_heads * GROUP, width = (heads + 2 * kv_heads) * D;
    const int begin = window > 0 ? max(0, position + 1 - window) : 0, total = position + 1 - begin;
    const int chunk = max((total + splits - 1) / splits, 4 * SLOTS);
    const int active = (total + chunk - 1) / chunk;
    let_the_next_kernel_start();
    if (split >= active) return;
    const int from = begin + split * chunk, to = min(from + chunk, position + 1);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, part = lane % LANES, slot = warp * TOGETHER + lane / LANES;

    __shared__ float query[GROUP][D];
    const T *new_q = qkv + size_t(b) * width + kv * GROUP * D;
    const T *new_k = qkv + size_t(b) * width + heads * D + kv * D;
    const T *new_v = new_k + kv_heads * D;
    const float *c = cos + size_t(position) * HALF, *s = sin + size_t(position) * HALF;
    T *cached_k = keys + (size_t(b) * kv_heads + kv) * capacity * D;
    T *cached_v = values + (size_t(b) * kv_heads + kv) * capacity * D;
    wait_for_the_kernel_before();
    for (int i = threadIdx.x; i < GROUP * HALF; i += blockDim.x) {
        const int h = i / HALF, d = i % HALF;
        const float x = to_float(new_q[h * D + d]), y = to_float(new_q[h * D + d + HALF]);
        query[h][d] = (x * c[d] - y * s[d]) * scale;
        query[h][d + HALF] = (y * c[d] + x * s[d]) * scale;
    }
    if (to == position + 1) {
        for (int d = threadIdx.x; d < HALF; d += blockDim.x) {
            const float x = to_float(new_k[d]), y = to_float(new_k[d + HALF]);
            cached_k[size_t(position) * D + d] = from_float<T>(x * c[d] - y * s[d]);
            cached_k[size_t(position) * D + d + HALF] = from_float<T>(y * c[d] + x * s[d]);
        }
        for (int d = threadIdx.x; d < D; d += blockDim.x) cached_v[size_t(position) * D + d] = new_v[d];
    }
    __syncthreads();

    float q[GROUP][8], acc[GROUP][8] = {}, top[GROUP], sum[GROUP] = {};
#pragma unroll
    for (int h = 0; h < GROUP; ++h) {
        top[h] = -INFINITY;
#pragma unroll
        for (int i = 0; i < 8; ++i) q[h][i] = query[h][part * 8 + i];
    }
    for (int base = from; base < to; base += 2 * SLOTS) {
        uint4 k2[2], v2[2];
#pragma unroll
        for (int u = 0; u < 2; ++u) {
            const int at = base + u * SLOTS + slot;
            const size_t place = size_t(min(at, to - 1)) * D + part * 8;
            k2[u] = *reinterpret_cast<const uint4 *>(cached_k + place);
            v2[u] = *reinterpret_cast<const uint4 *>(cached_v + place);
        }
#pragma unroll
        for (int u = 0; u < 2; ++u) {
            const bool valid = base + u * SLOTS + slot < to;
            float k[8], v[8];
            widen<T>(k2[u], k);
            widen<T>(v2[u], v);
#pragma unroll
            for (int h = 0; h < GROUP; ++h) {
                float dot = 0.f;
#pragma unroll
                for (int i = 0; i < 8; ++i) dot += q[h][i] * k[i];
                dot = sum_lanes<LANES>(dot);
                if (!valid) continue;
                const float higher = fmaxf(top[h], dot), old = __expf(top[h] - higher), p = __expf(dot - higher);
                top[h] = higher;
                sum[h] = sum[h] * old + p;
#pragma unroll
                for (int i = 0; i < 8; ++i) acc[h][i] = acc[h][i] * old + p * v[i];
            }
        }
    }

    // Merge the groups of this block.
    __shared__ float merged[SLOTS][GROUP][D + 2];
#pragma unroll
    for (int h = 0; h < GROUP; ++h) {
        if (part == 0) {
            merged[slot][h][D] = top[h];
            merged[slot][h][D + 1] = sum[h];
        }
#pragma unroll
        for (int i = 0; i < 8; ++i) merged[slot][h][part * 8 + i] = acc[h][i];
    }
    __syncthreads();
    const size_t first_head = size_t(b) * heads + kv * GROUP;
    for (int o = threadIdx.x; o < GROUP * D; o += blockDim.x) {
        const int h = o / D, d = o % D;
        float highest = -INFINITY, value = 0.f, all = 0.f;
#pragma unroll
        for (int i = 0; i < SLOTS; ++i) highest = fmaxf(highest, merged[i][h][D]);
#pragma unroll
        for (int i = 0; i < SLOTS; ++i) {
            const float weight = __expf(merged[i][h][D] - highest);
            value += merged[i][h][d] * weight;
            all += merged[i][h][D + 1] * weight;
        }
        float *mine = parts + ((first_head + h) * splits + split) * (D + 2);
        if (active == 1) {
            out[(first_head + h) * D + d] = from_float<T>(value / all);
        } else {
            mine[d] = value;
            if (d == 0) mine[D] = highest, mine[D + 1] = all;
        }
    }
    if (active == 1) return;

    __shared__ bool last;
    __threadfence();
    __syncthreads();
    // atomicInc wraps to zero with the last block, ready for the next position.
    if (threadIdx.x == 0) last = atomicInc(counters + b * kv_heads + kv, active - 1) == active - 1;
    __syncthreads();
    if (!last) return;
    __threadfence();
    // A warp finds the weights of one head's parts, then every thread sums its elements.
    __shared__ float weights[GROUP][SPLITS_MAX];
    for (int h = warp; h < GROUP; h += WARPS) {
        const float *all_parts = parts + (first_head + h) * splits * (D + 2);
        float highest = -INFINITY, all = 0.f;
        for (int i = lane; i < active; i += 32) highest = fmaxf(highest, __ldcg(all_parts + i * (D + 2) + D));
        highest = max_lanes<32>(highest);
        for (int i = lane; i < active; i += 32) {
            const float weight = __expf(__ldcg(all_parts + i * (D + 2) + D) - highest);
            weights[h][i] = weight;
            all += __ldcg(all_parts + i * (D + 2) + D + 1) * weight;
        }
        all = sum_lanes<32>(all);
        __syncwarp();
        for (int i = lane; i < active; i += 32) weights[h][i] /= all;
    }
    __syncthreads();
    for (int o = threadIdx.x; o < GROUP * D; o += blockDim.x) {
        const int h = o / D, d = o % D;
        const float *all_parts = parts + (first_head + h) * splits * (D + 2) + d;
        float value = 0.f;
#pragma unroll 8
        for (int i = 0; i < active; ++i) value += __ldcg(all_parts + i * (D + 2)) * weights[h][i];
        out[(first_head + h) * D + d] = from_float<T>(value);
    }
}

// x[b] = table[ids[b]].
template <typename T>
__device__ __forceinline__ void lookup(const unsigned *ids, const T *table, T *x, int hidden) {
    let_the_next_kernel_start();
    wait_for_the_kernel_before();
    const T *row = table + size_t(ids[blockIdx.y]) * hidden;
    const int at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at < hidden) x[size_t(blockIdx.y) * hidden + at] = row[at];
}

// The index of the highest logit of each sequence, the lowest of equals. One block a sequence.
extern "C" __global__ void __launch_bounds__(1024) highest(const float *logits, unsigned *ids, int n) {
    let_the_next_kernel_start();
    wait_for_the_kernel_before();
    const float *row = logits + size_t(blockIdx.x) * n;
    float best = -INFINITY;
    unsigned at = 0xffffffffu;
    for (unsigned i = threadIdx.x; i < n; i += blockDim.x)
        if (row[i] > best) best = row[i], at = i;
    const float top = max_block(best);
    __shared__ unsigned lowest;
    if (threadIdx.x == 0) lowest = 0xffffffffu;
    __syncthreads();
    if (best == top) atomicMin(&lowest, at);
    __syncthreads();
    if (threadIdx.x == 0) ids[blockIdx.x] = min(lowest, unsigned(n - 1));
}

#define PRODUCTS(T, NAME, BATCH)                                                                                        \
    extern "C" __global__ void __launch_bounds__(128) normed_##NAME##_##BATCH(const T *w, const T *x, const T *scale,    \
                                                                              float eps, T *out, int n, int k) {        \
        product<T, T, BATCH, 2, true, false, false>(w, x, scale, eps, out, n, k);                                          \
    }                                                                                                                   \
    extern "C" __global__ void __launch_bounds__(128) logits_##NAME##_##BATCH(const T *w, const T *x, const T *scale,    \
                                                                              float eps, float *out, int n, int k) {    \
        product<T, float, BATCH, 1, true, false, false>(w, x, scale, eps, out, n, k);                                      \
    }                                                                                                                   \
    extern "C" __global__ void __launch_bounds__(128) gated_##NAME##_##BATCH(const T *w, const T *x, const T *scale,     \
                                                                             float eps, T *out, int n, int k) {         \
        product<T, T, BATCH, 2, true, false, true>(w, x, scale, eps, out, n, k);                                           \
    }                                                                                                                   \
    extern "C" __global__ void __launch_bounds__(128) added_##NAME##_##BATCH(const T *w, const T *x, const T *scale,     \
                                                                             float eps, T *out, int n, int k) {         \
        product<T, T, BATCH, 4, false, true, false>(w, x, scale, eps, out, n, k);                                          \
    }

#define ATTENTION(T, NAME, D, GROUP)                                                                                    \
    extern "C" __global__ void __launch_bounds__(128)                                                                   \
        attend_##NAME##_##D##_##GROUP(const T *qkv, T *keys, T *values, const float *cos, const float *sin,             \
                                      float *parts, unsigned *counters, T *out, int kv_heads, int capacity,             \
                                      int position, int window, float scale) {                                          \
        attend<T, D, GROUP>(qkv, keys, values, cos, sin, parts, counters, out, kv_heads, capacity, position, window,    \
                            scale);                                                                                     \
    }

#define ALL(T, NAME)                                                                                                    \
    PRODUCTS(T, NAME, 1) PRODUCTS(T, NAME, 2) PRODUCTS(T, NAME, 4)                                                      \
    ATTENTION(T, NAME, 64, 1) ATTENTION(T, NAME, 64, 2) ATTENTION(T, NAME, 64, 4) ATTENTION(T, NAME, 64, 8)             \
    ATTENTION(T, NAME, 128, 1) ATTENTION(T, NAME, 128, 2) ATTENTION(T, NAME, 128, 4) ATTENTION(T, NAME, 128, 8)         \
    extern "C" __global__ void lookup_##NAME(const unsigned *ids, const T *table, T *x, int hidden) {                   \
        lookup<T>(ids, table, x, hidden);                                                                               \
    }

ALL(half, f16)
ALL(bf16, bf16)
