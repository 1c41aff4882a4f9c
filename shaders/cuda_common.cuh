// What the CUDA kernels share: 16-byte loads of half-width floats, and reductions over a warp or a block.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

using bf16 = __nv_bfloat16;

__device__ __forceinline__ float to_float(float v) { return v; }
__device__ __forceinline__ float to_float(half v) { return __half2float(v); }
__device__ __forceinline__ float to_float(bf16 v) { return __bfloat162float(v); }

template <typename T> __device__ __forceinline__ T from_float(float v);
template <> __device__ __forceinline__ float from_float<float>(float v) { return v; }
template <> __device__ __forceinline__ half from_float<half>(float v) { return __float2half_rn(v); }
template <> __device__ __forceinline__ bf16 from_float<bf16>(float v) { return __float2bfloat16_rn(v); }

__device__ __forceinline__ float2 pair(half, unsigned bits) {
    return __half22float2(*reinterpret_cast<const half2 *>(&bits));
}
__device__ __forceinline__ float2 pair(bf16, unsigned bits) {
    return __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162 *>(&bits));
}

// Eight elements of 16 bits, widened.
template <typename T> __device__ __forceinline__ void widen(const uint4 &packed, float (&out)[8]) {
    const unsigned words[4] = {packed.x, packed.y, packed.z, packed.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const float2 two = pair(T(), words[i]);
        out[2 * i] = two.x;
        out[2 * i + 1] = two.y;
    }
}

// Kernels of one step start before the one before them has ended, where the GPU can (compute capability 9.0): they fetch what
// doesn't depend on it, then wait. What others wrote must be read after the wait, and not through the read-only cache.
__device__ __forceinline__ void wait_for_the_kernel_before() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
__device__ __forceinline__ void let_the_next_kernel_start() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// Eight elements, wherever they come from.
template <typename T> __device__ __forceinline__ void load8(const T *from, float (&out)[8]) {
    widen<T>(*reinterpret_cast<const uint4 *>(from), out);
}
template <> __device__ __forceinline__ void load8<float>(const float *from, float (&out)[8]) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
        const float4 four = reinterpret_cast<const float4 *>(from)[i];
        out[4 * i] = four.x, out[4 * i + 1] = four.y, out[4 * i + 2] = four.z, out[4 * i + 3] = four.w;
    }
}
template <typename T> __device__ __forceinline__ void store8(T *to, const float (&values)[8]) {
    __align__(16) T narrow[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) narrow[i] = from_float<T>(values[i]);
#pragma unroll
    for (int i = 0; i < int(sizeof(narrow) / 16); ++i)
        reinterpret_cast<uint4 *>(to)[i] = reinterpret_cast<const uint4 *>(narrow)[i];
}

template <int LANES> __device__ __forceinline__ float sum_lanes(float v) {
#pragma unroll
    for (int step = LANES / 2; step > 0; step /= 2) v += __shfl_xor_sync(0xffffffffu, v, step);
    return v;
}

template <int LANES> __device__ __forceinline__ float max_lanes(float v) {
#pragma unroll
    for (int step = LANES / 2; step > 0; step /= 2) v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, step));
    return v;
}

// The sum over a block of at most 1024 threads, the same in all of them.
__device__ __forceinline__ float sum_block(float v) {
    __shared__ float parts[32];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = (blockDim.x + 31) / 32;
    v = sum_lanes<32>(v);
    __syncthreads();
    if (lane == 0) parts[warp] = v;
    __syncthreads();
    return sum_lanes<32>(lane < warps ? parts[lane] : 0.f);
}

__device__ __forceinline__ float max_block(float v) {
    __shared__ float parts[32];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = (blockDim.x + 31) / 32;
    v = max_lanes<32>(v);
    __syncthreads();
    if (lane == 0) parts[warp] = v;
    __syncthreads();
    return max_lanes<32>(lane < warps ? parts[lane] : -INFINITY);
}
