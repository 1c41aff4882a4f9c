//! Whether stored weights are numbers.

use candle_core::quantized::GgmlDType;
use rayon::prelude::*;

use super::source::Check;
use crate::model::ModelError;

/// Bytes looked at between two looks at whether to go on.
const STRETCH: usize = 64 << 20;

/// Whether no value is NaN or infinite: all of a dense tensor, the scales of a quantised one.
pub(crate) fn all(kind: GgmlDType, raw: &[u8], check: &mut Check<'_>) -> Result<bool, ModelError> {
    let block = kind.type_size();
    for stretch in raw.chunks(STRETCH / block * block) {
        check()?;
        let piece = (1 << 16) / block * block;
        if !stretch.par_chunks(piece.max(block)).all(|piece| piece_is_finite(kind, piece)) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn piece_is_finite(kind: GgmlDType, piece: &[u8]) -> bool {
    // An exponent of ones means infinite or NaN. No early end: the compiler then looks at many at once.
    let half = |raw: &[u8], mask: u16| {
        let bad = |raw: &[u8; 2]| u16::from_le_bytes(*raw) & mask == mask;
        !raw.as_chunks().0.iter().fold(false, |any, raw| any | bad(raw))
    };
    const HALF: u16 = 0x7C00;
    match kind {
        GgmlDType::F32 => {
            let bad = |raw: &[u8; 4]| u32::from_le_bytes(*raw) & 0x7F80_0000 == 0x7F80_0000;
            !piece.as_chunks().0.iter().fold(false, |any, raw| any | bad(raw))
        }
        GgmlDType::BF16 => half(piece, 0x7F80),
        GgmlDType::F16 => half(piece, HALF),
        _ => {
            let (start, length) = scales(kind);
            let scale = |block: &[u8]| block.get(start..start + length).is_some_and(|raw| half(raw, HALF));
            piece.chunks_exact(kind.type_size()).all(scale)
        }
    }
}

/// Where the f16 scales of a block stand: the first byte, and how many.
const fn scales(kind: GgmlDType) -> (usize, usize) {
    match kind {
        GgmlDType::Q4_1 | GgmlDType::Q5_1 | GgmlDType::Q4K | GgmlDType::Q5K => (0, 4),
        GgmlDType::Q2K => (80, 4),
        GgmlDType::Q3K => (108, 2),
        GgmlDType::Q6K => (208, 2),
        _ => (0, 2),
    }
}
