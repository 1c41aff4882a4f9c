//! Whether llama.cpp runs the same model as this program: what both write greedily after the same few tokens.
//!
//! No program of llama.cpp's takes a prompt of tokens and shows their ids. But in the vocabulary of synthetic models no two
//! pieces can be merged, so that every text becomes its bytes; and the piece of every token is known, so that what must be
//! printed is known byte by byte.

use std::path::Path;

use super::LlamaSession;
use crate::{
    engine::{EngineId, parity::Parity},
    measure::{Context, Fingerprint, Phase, Stop},
    workload::Origin,
};

/// The text after which both write.
const PROMPT: &str = "roofline";

/// The first ids of a synthetic vocabulary are the unknown, the beginning and the end, then come the bytes, then words.
const SPECIAL: [&str; 3] = ["<unk>", "<s>", "</s>"];
const FIRST_BYTE: u32 = 3;
const FIRST_WORD: u32 = FIRST_BYTE + 256;
const BEGIN: u32 = 1;
const END: u32 = 2;

/// Finds it out, once a session.
pub(super) fn of(session: &mut LlamaSession, context: &mut Context) -> Result<Parity, Stop> {
    if let Some(known) = &session.parity {
        return Ok(known.clone());
    }
    let found = Parity::of(find(session, context))?;
    session.parity = Some(found.clone());
    Ok(found)
}

fn find(session: &LlamaSession, context: &mut Context) -> Result<Parity, Stop> {
    let Some(model) = session.services.tiny.clone().filter(|model| model.origin == Origin::Synthetic) else {
        return Ok(Parity::Unknown("there is no small model to compare by".to_owned()));
    };
    let Some(simple) = session.simple.clone() else {
        return Ok(Parity::Unknown("this llama.cpp has no llama-simple, which writes greedily".to_owned()));
    };
    context.phase(Phase::Working("comparing a small model's tokens".to_owned()))?;
    let reference = (session.services.oracle)(&model, &prompt_ids(), context)?;
    let files = (session.services.shelf)(EngineId::LlamaCpp, &model, context)?;
    let written = simple.greedy_bytes(Path::new(&files.path), PROMPT, Fingerprint::TOKENS, context)?;
    Ok(compare(&written, &reference.tokens))
}

/// The prompt as both see it: the beginning, then the bytes of the text with its spaces written as "▁", one before it.
fn prompt_ids() -> Vec<u32> {
    let bytes = format!("\u{2581}{PROMPT}");
    [BEGIN].into_iter().chain(bytes.bytes().map(|byte| FIRST_BYTE + u32::from(byte))).collect()
}

/// What a token is printed as.
fn piece(id: u32) -> Vec<u8> {
    if let Some(special) = SPECIAL.get(id as usize) {
        return special.as_bytes().to_vec();
    }
    match id.checked_sub(FIRST_BYTE).and_then(|byte| u8::try_from(byte).ok()) {
        // A byte of zero ends the text that is printed.
        Some(0) => Vec::new(),
        Some(byte) => vec![byte],
        None => format!(" w{id}").into_bytes(),
    }
}

/// What was written, beside the tokens that it must be.
fn compare(written: &[u8], reference: &[u32]) -> Parity {
    let prompt: Vec<u8> = prompt_ids().into_iter().flat_map(piece).collect();
    let Some(mut rest) = written.strip_suffix(b"\n").unwrap_or(written).strip_prefix(prompt.as_slice()) else {
        return Parity::Unknown("llama-simple did not print the prompt as it was expected".to_owned());
    };
    // It prints nothing for the end, and stops there.
    let wanted: Vec<u32> = reference.iter().copied().take_while(|id| *id != END).collect();
    let mut agreeing = 0;
    for id in &wanted {
        let Some(after) = rest.strip_prefix(piece(*id).as_slice()) else { break };
        // The number of a word may not go on.
        if *id >= FIRST_WORD && after.first().is_some_and(u8::is_ascii_digit) && !followed_by_digit(&wanted, agreeing) {
            break;
        }
        (rest, agreeing) = (after, agreeing + 1);
    }
    let count = wanted.len();
    let numbers = format!("{agreeing} of {count} greedy tokens are candle's");
    if agreeing == count && rest.is_empty() && count > 0 { Parity::Same(numbers) } else { Parity::Other(numbers) }
}

/// Whether the token after this one is the byte of a digit.
fn followed_by_digit(tokens: &[u32], index: usize) -> bool {
    tokens.get(index + 1).is_some_and(|next| piece(*next).first().is_some_and(u8::is_ascii_digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(tokens: &[u32]) -> Vec<u8> {
        let mut bytes: Vec<u8> = prompt_ids().iter().chain(tokens).flat_map(|id| piece(*id)).collect();
        bytes.push(b'\n');
        bytes
    }

    #[test]
    fn the_prompt_is_its_bytes() {
        let ids = prompt_ids();
        assert_eq!(ids[..5], [1, 3 + 0xe2, 3 + 0x96, 3 + 0x81, 3 + u32::from(b'r')]);
        assert_eq!(printed(&[300]), "<s>\u{2581}roofline w300\n".as_bytes());
    }

    #[test]
    fn what_is_written_are_the_tokens_or_not() {
        let newline = FIRST_BYTE + u32::from(b'\n');
        let reference = [300, 3 + 0xff, FIRST_BYTE, newline, 0, 301, FIRST_BYTE + u32::from(b'7'), newline];
        let same = compare(&printed(&reference), &reference);
        assert!(matches!(same, Parity::Same(ref numbers) if numbers.starts_with("8 of 8")), "{same:?}");
        for (tokens, agreeing) in [
            (vec![], 0),
            (vec![301], 0),
            (vec![3000], 0),
            (vec![300, 3 + 0xfe], 1),
            (vec![300, 3 + 0xff, newline, 1], 4),
            (vec![300, 3 + 0xff, newline, 0, 301], 6),
        ] {
            let Parity::Other(numbers) = compare(&printed(&tokens), &reference) else {
                panic!("{tokens:?} is the same")
            };
            assert!(numbers.starts_with(&format!("{agreeing} of 8")), "{tokens:?}: {numbers}");
        }
        let more: Vec<u32> = reference.iter().copied().chain([400]).collect();
        assert!(matches!(compare(&printed(&more), &reference), Parity::Other(_)));
        // After the end nothing is written.
        assert!(matches!(compare(&printed(&[300]), &[300, END, 7]), Parity::Same(_)));
        assert!(matches!(compare(b"", &reference), Parity::Unknown(_)));
        assert!(matches!(compare(&printed(&[]), &[]), Parity::Other(_)));
    }
}
