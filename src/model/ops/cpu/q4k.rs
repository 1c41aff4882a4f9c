//! One row of activations by a Q4_K matrix, as decoding needs it, on x86.
//!
//! candle multiplies by a copy of the matrix whose scales are unpacked to f32: 6 bits a weight, which pays where many rows
//! share one reading. A single row waits for memory, so here the blocks are read as they are stored: 4.5 bits a weight.

use std::{
    arch::x86_64::{
        __m128, __m128i, __m256i, __m512i, _mm_add_ps, _mm_cvtepi32_ps, _mm_cvtepu8_epi16, _mm_cvtph_ps,
        _mm_cvtsi32_si128, _mm_cvtss_f32, _mm_fmadd_ps, _mm_loadu_si128, _mm_madd_epi16, _mm_movehdup_ps,
        _mm_movehl_ps, _mm_set_epi64x, _mm_set1_ps, _mm_setzero_ps, _mm_unpackhi_epi64, _mm256_add_epi32,
        _mm256_and_si256, _mm256_broadcastsi128_si256, _mm256_castps256_ps128, _mm256_cvtepi32_ps,
        _mm256_extractf128_ps, _mm256_fmadd_ps, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16,
        _mm256_set1_epi8, _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256, _mm256_shuffle_epi8,
        _mm256_srli_epi16, _mm512_and_si512, _mm512_broadcast_i32x4, _mm512_cvtepi32_ps, _mm512_dpwssd_epi32,
        _mm512_fmadd_ps, _mm512_loadu_si512, _mm512_maddubs_epi16, _mm512_reduce_add_ps, _mm512_set1_epi8,
        _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_shuffle_epi8, _mm512_srli_epi16,
    },
    sync::{Arc, OnceLock},
};

use candle_core::{
    CpuStorage, CustomOp1, Layout, Result, Shape, bail,
    quantized::{GgmlDType, QTensor},
};

use super::{contiguous, share};

/// Weights of a block.
const WEIGHTS: usize = 256;

/// Bytes of a block: the two factors in f16, eight scales and eight offsets of 6 bits, and the weights of 4.
const BYTES: usize = 144;

/// Weights that share a scale.
const SUB: usize = 32;

/// Where each of a block's eight parts stands in [`Activations::q`]: so that a load of 64 goes with the low or high halves of
/// 64 bytes of weights.
const ORDER: [usize; 8] = [0, 2, 1, 3, 4, 6, 5, 7];

/// x · Wᵀ for a single row x (1 × k, f32), W being Q4_K.
pub(in super::super) struct RowByQ4K {
    weight: Arc<QTensor>,
    unit: Unit,
}

/// The vector units there is code for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Avx512,
    Avx2,
}

fn unit() -> Option<Unit> {
    static UNIT: OnceLock<Option<Unit>> = OnceLock::new();
    *UNIT.get_or_init(|| {
        let small =
            is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
        let large = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vnni");
        match (small, large) {
            (true, true) => Some(Unit::Avx512),
            (true, false) => Some(Unit::Avx2),
            (false, _) => None,
        }
    })
}

impl RowByQ4K {
    /// The product, if this processor and matrix are such.
    pub(in super::super) fn of(weight: &Arc<QTensor>) -> Option<Self> {
        let (_, k) = weight.shape().dims2().ok()?;
        let fits = weight.dtype() == GgmlDType::Q4K && k.is_multiple_of(WEIGHTS) && weight.device().is_cpu();
        let unit = unit().filter(|_| fits)?;
        Some(Self { weight: Arc::clone(weight), unit })
    }

    fn forward(&self, x: &[f32]) -> Result<Vec<f32>> {
        let (n, k) = self.weight.shape().dims2()?;
        let data = self.weight.data()?;
        let (blocks, _) = data.as_chunks::<BYTES>();
        if x.len() != k || blocks.len() != n * (k / WEIGHTS) {
            bail!("a row of {} by a matrix of {n} × {k} in {} blocks", x.len(), blocks.len());
        }
        let activations: Vec<Activations> = x.as_chunks::<WEIGHTS>().0.iter().map(Activations::of).collect();
        let mut out = vec![0.0_f32; n];
        let rows = n.div_ceil(128).max(1);
        let chunks: Vec<_> = out.chunks_mut(rows).zip(blocks.chunks(rows * activations.len())).collect();
        share(chunks, n * k, |(out, blocks)| self.rows(blocks, &activations, out));
        Ok(out)
    }

    #[expect(unsafe_code, reason = "code for vector units that not every processor has")]
    fn rows(&self, blocks: &[[u8; BYTES]], activations: &[Activations], out: &mut [f32]) {
        for (row, out) in blocks.chunks(activations.len().max(1)).zip(out) {
            *out = match self.unit {
                // SAFETY: `unit` found the processor to have these features.
                Unit::Avx512 => unsafe { dot_512(row, activations) },
                // SAFETY: as above.
                Unit::Avx2 => unsafe { dot_256(row, activations) },
            };
        }
    }
}

impl CustomOp1 for RowByQ4K {
    fn name(&self) -> &'static str {
        "row-by-q4k"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let out = self.forward(contiguous::<f32>(storage, layout)?)?;
        let columns = out.len();
        Ok((CpuStorage::F32(out), Shape::from((1, columns))))
    }
}

/// 256 activations, rounded to 8 bits.
struct Activations {
    /// What a unit of `q` is worth.
    unit: f32,
    /// The sum of each part of 32, in the order of the weights.
    sums: [i16; 8],
    /// The parts in [`ORDER`].
    q: [i8; WEIGHTS],
}

impl Activations {
    fn of(x: &[f32; WEIGHTS]) -> Self {
        let most = x.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        // NaN and infinity must not become numbers.
        let broken = x.iter().any(|x| !x.is_finite());
        let unit = if broken { f32::NAN } else { most / 127.0 };
        let inverse = if most > 0.0 { 127.0 / most } else { 0.0 };
        let (mut sums, mut q) = ([0_i16; 8], [0_i8; WEIGHTS]);
        let (parts, _) = x.as_chunks::<SUB>();
        let (places, _) = q.as_chunks_mut::<SUB>();
        for (place, part) in places.iter_mut().zip(ORDER) {
            let Some((x, sum)) = parts.get(part).zip(sums.get_mut(part)) else { continue };
            for (q, x) in place.iter_mut().zip(x) {
                *q = (x * inverse).round() as i8;
                *sum += i16::from(*q);
            }
        }
        Self { unit, sums, q }
    }
}

/// A block's eight scales in the lower half and its eight offsets in the upper, a byte each.
#[target_feature(enable = "avx2")]
#[inline]
fn scales(block: &[u8; BYTES]) -> __m128i {
    let word = |at: usize| -> u32 {
        let bytes = block.get(4 + at..8 + at).and_then(|bytes| bytes.try_into().ok());
        u32::from_le_bytes(bytes.unwrap_or_default())
    };
    let (a, b, c) = (word(0), word(4), word(8));
    // The first four scales and offsets are the low 6 bits of a and b; the last four have their low 4 bits in c, and their
    // high 2 bits on top of a and b.
    let scales = (a & 0x3f3f_3f3f, (c & 0x0f0f_0f0f) | ((a >> 6) & 0x0303_0303) << 4);
    let offsets = (b & 0x3f3f_3f3f, ((c >> 4) & 0x0f0f_0f0f) | ((b >> 6) & 0x0303_0303) << 4);
    let join = |(low, high): (u32, u32)| (u64::from(high) << 32 | u64::from(low)) as i64;
    _mm_set_epi64x(join(offsets), join(scales))
}

/// The block's two factors: of scales and of offsets.
#[target_feature(enable = "avx2,f16c")]
#[inline]
fn factors(block: &[u8; BYTES]) -> (f32, f32) {
    let bytes = block.first_chunk::<4>().copied().unwrap_or_default();
    let both = _mm_cvtph_ps(_mm_cvtsi32_si128(i32::from_le_bytes(bytes)));
    (_mm_cvtss_f32(both), _mm_cvtss_f32(_mm_movehdup_ps(both)))
}

/// Shuffles that repeat one of eight scales of 16 bits, another for each 128 bits of the vector.
const fn pick<const BYTES: usize>(parts: [u8; 4]) -> [u8; BYTES] {
    let mut out = [0; BYTES];
    let mut i = 0;
    while i < BYTES {
        #[expect(clippy::indexing_slicing, reason = "in a constant, where going too far is a compile error")]
        {
            out[i] = 2 * parts[i / 16] + (i % 2) as u8;
        }
        i += 1;
    }
    out
}

/// The weights' bytes of a block, in two halves.
#[inline]
fn halves(block: &[u8; BYTES]) -> [&[u8; 64]; 2] {
    const NONE: [u8; 64] = [0; 64];
    let half = |from: usize| block.get(from..).and_then(|rest| rest.first_chunk()).unwrap_or(&NONE);
    [half(BYTES - 128), half(BYTES - 64)]
}

#[target_feature(enable = "avx512f")]
#[inline]
#[expect(unsafe_code, reason = "a load from memory")]
fn load_512<T: Copy>(from: &[T; 64]) -> __m512i {
    const { assert!(size_of::<T>() == 1) };
    // SAFETY: 64 bytes can be read there, and the load needs no alignment.
    unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
#[inline]
#[expect(unsafe_code, reason = "a load from memory")]
fn load_256<T: Copy>(from: &[T; 32]) -> __m256i {
    const { assert!(size_of::<T>() == 1) };
    // SAFETY: 32 bytes can be read there, and the load needs no alignment.
    unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
#[inline]
#[expect(unsafe_code, reason = "a load from memory")]
fn load_sums(from: &[i16; 8]) -> __m128i {
    // SAFETY: 16 bytes can be read there, and the load needs no alignment.
    unsafe { _mm_loadu_si128(from.as_ptr().cast()) }
}

/// A row by the activations.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2,fma,f16c")]
fn dot_512(row: &[[u8; BYTES]], activations: &[Activations]) -> f32 {
    let low = _mm512_set1_epi8(0x0f);
    let picks = [
        (load_512(&const { pick([0, 0, 2, 2]) }), load_512(&const { pick([1, 1, 3, 3]) })),
        (load_512(&const { pick([4, 4, 6, 6]) }), load_512(&const { pick([5, 5, 7, 7]) })),
    ];
    let (mut sum, mut offset) = (_mm512_setzero_ps(), _mm_setzero_ps());
    for (block, x) in row.iter().zip(activations) {
        let packed = scales(block);
        let (factor, factor_of_offsets) = factors(block);
        let each = _mm512_broadcast_i32x4(_mm_cvtepu8_epi16(packed));
        let mut whole = _mm512_setzero_si512();
        let (q, _) = x.q.as_chunks::<64>();
        let (pairs, _) = q.as_chunks::<2>();
        for (([x_low, x_high], bytes), (pick_low, pick_high)) in pairs.iter().zip(halves(block)).zip(picks) {
            let bytes = load_512(bytes);
            let products = _mm512_maddubs_epi16(_mm512_and_si512(bytes, low), load_512(x_low));
            whole = _mm512_dpwssd_epi32(whole, products, _mm512_shuffle_epi8(each, pick_low));
            let high = _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), low);
            let products = _mm512_maddubs_epi16(high, load_512(x_high));
            whole = _mm512_dpwssd_epi32(whole, products, _mm512_shuffle_epi8(each, pick_high));
        }
        sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole), _mm512_set1_ps(factor * x.unit), sum);
        offset = with_offsets(packed, factor_of_offsets, x, offset);
    }
    _mm512_reduce_add_ps(sum) - total(offset)
}

/// The same in vectors of 256 bits.
#[target_feature(enable = "avx2,fma,f16c")]
fn dot_256(row: &[[u8; BYTES]], activations: &[Activations]) -> f32 {
    const PICKS: [[u8; 32]; 8] = {
        let mut all = [[0; 32]; 8];
        let mut part = 0;
        while part < 8 {
            #[expect(clippy::indexing_slicing, reason = "in a constant, where going too far is a compile error")]
            {
                all[part] = pick([part as u8; 4]);
            }
            part += 1;
        }
        all
    };
    let low = _mm256_set1_epi8(0x0f);
    let (mut sum, mut offset) = (_mm256_setzero_ps(), _mm_setzero_ps());
    for (block, x) in row.iter().zip(activations) {
        let packed = scales(block);
        let (factor, factor_of_offsets) = factors(block);
        let each = _mm256_broadcastsi128_si256(_mm_cvtepu8_epi16(packed));
        let mut whole = _mm256_setzero_si256();
        let (q, _) = x.q.as_chunks::<SUB>();
        // Four parts for each half: low and high, of its first 32 bytes and of its second.
        let (quads, _) = q.as_chunks::<4>();
        let (picks, _) = PICKS.as_chunks::<4>();
        for ((half, [low_a, low_b, high_a, high_b]), [pick_a, pick_b, pick_c, pick_d]) in
            halves(block).into_iter().zip(quads).zip(picks)
        {
            let (bytes, _) = half.as_chunks::<SUB>();
            let pairs = [(low_a, high_a, pick_a, pick_b), (low_b, high_b, pick_c, pick_d)];
            for (bytes, (x_low, x_high, pick_low, pick_high)) in bytes.iter().zip(pairs) {
                let bytes = load_256(bytes);
                let products = _mm256_maddubs_epi16(_mm256_and_si256(bytes, low), load_256(x_low));
                let scaled = _mm256_madd_epi16(products, _mm256_shuffle_epi8(each, load_256(pick_low)));
                whole = _mm256_add_epi32(whole, scaled);
                let high = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), low);
                let products = _mm256_maddubs_epi16(high, load_256(x_high));
                let scaled = _mm256_madd_epi16(products, _mm256_shuffle_epi8(each, load_256(pick_high)));
                whole = _mm256_add_epi32(whole, scaled);
            }
        }
        sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole), _mm256_set1_ps(factor * x.unit), sum);
        offset = with_offsets(packed, factor_of_offsets, x, offset);
    }
    let sum = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps::<1>(sum));
    total(sum) - total(offset)
}

/// Adds a block's offsets, each times the sum of its part's activations.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn with_offsets(packed: __m128i, factor: f32, x: &Activations, sum: __m128) -> __m128 {
    let offsets = _mm_cvtepu8_epi16(_mm_unpackhi_epi64(packed, packed));
    let whole = _mm_madd_epi16(offsets, load_sums(&x.sums));
    _mm_fmadd_ps(_mm_cvtepi32_ps(whole), _mm_set1_ps(factor * x.unit), sum)
}

/// The sum of four.
#[target_feature(enable = "avx2")]
#[inline]
fn total(of: __m128) -> f32 {
    let pairs = _mm_add_ps(of, _mm_movehl_ps(of, of));
    _mm_cvtss_f32(pairs) + _mm_cvtss_f32(_mm_movehdup_ps(pairs))
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Module as _, Tensor, quantized::QMatMul};

    use super::*;

    #[test]
    fn a_row_by_blocks_equals_the_row_by_the_dequantised_matrix() {
        let weight = Tensor::randn(0.0_f32, 1.0, (70, 768), &Device::Cpu).unwrap();
        let weight = Arc::new(QTensor::quantize(&weight, GgmlDType::Q4K).unwrap());
        let x = Tensor::randn(0.5_f32, 1.0, (1, 768), &Device::Cpu).unwrap();
        let right = x.matmul(&weight.dequantize(&Device::Cpu).unwrap().t().unwrap()).unwrap();
        let right: Vec<f32> = right.flatten_all().unwrap().to_vec1().unwrap();
        let candles = QMatMul::from_arc(Arc::clone(&weight)).unwrap().forward(&x).unwrap();
        let candles: Vec<f32> = candles.flatten_all().unwrap().to_vec1().unwrap();
        let size: f32 = right.iter().map(|y| y * y).sum::<f32>().sqrt();
        let error = |ours: &[f32]| {
            let squares: f32 = ours.iter().zip(&right).map(|(a, b)| (a - b).powi(2)).sum();
            squares.sqrt() / size
        };
        let Some(op) = RowByQ4K::of(&weight) else { return };
        for unit in [Unit::Avx2, op.unit] {
            let op = RowByQ4K { weight: Arc::clone(&weight), unit };
            let ours: Vec<f32> = x.apply_op1_no_bwd(&op).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            // Both round activations to 8 bits.
            assert!(error(&ours) < 0.01 && error(&ours) < 1.5 * error(&candles), "{unit:?}: {}", error(&ours));
        }
        let broken = Tensor::from_vec(vec![f32::NAN; 768], (1, 768), &Device::Cpu).unwrap();
        let out: Vec<f32> = broken.apply_op1_no_bwd(&op).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        assert!(out.iter().all(|y| y.is_nan()));
    }

    #[test]
    fn other_matrices_are_left_to_candle() {
        let weight = Tensor::zeros((32, 256), candle_core::DType::F32, &Device::Cpu).unwrap();
        assert!(RowByQ4K::of(&Arc::new(QTensor::quantize(&weight, GgmlDType::Q6K).unwrap())).is_none());
    }
}
