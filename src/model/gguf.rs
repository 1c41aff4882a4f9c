//! The header of a GGUF file: metadata, and where each tensor lies.
//!
//! Every length is checked against what is left of the file before anything is allocated, so that a header that lies ends
//! with a sentence. candle's reader knows no type that it can't compute with; this one names them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use candle_core::quantized::GgmlDType;
use memmap2::Mmap;

use super::{ModelError, files, weights::tensors::bytes};

/// A GGUF file: its header read, its tensors where they lie.
#[derive(Debug)]
pub(crate) struct Gguf {
    path: PathBuf,
    map: Mmap,
    metadata: BTreeMap<String, Value>,
    tensors: BTreeMap<String, TensorInfo>,
    data_start: usize,
}

/// A value of the metadata; all integers and all floats are alike.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// An integer of any width and sign.
    Integer(i128),
    /// A float of either width.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// UTF-8, made so where it is not.
    Text(String),
    /// Of values of one type.
    Array(Vec<Self>),
}

/// A tensor as the header describes it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TensorInfo {
    /// Columns first, as GGUF writes them.
    pub(crate) dims: Vec<u64>,
    /// The number of its type.
    pub(crate) kind: u32,
    /// From the beginning of the data.
    pub(crate) offset: u64,
}

impl TensorInfo {
    /// Elements, if they can be counted.
    pub(crate) fn elements(&self) -> Option<u64> {
        self.dims.iter().try_fold(1_u64, |product, dim| product.checked_mul(*dim))
    }
}

impl Gguf {
    /// Reads the header.
    pub(crate) fn open(path: &Path) -> Result<Self, ModelError> {
        let map = files::map(path)?;
        let header = Header::read(&map).map_err(|what| ModelError::file(path, what))?;
        let Header { metadata, tensors, data_start } = header;
        Ok(Self { path: path.to_owned(), map, metadata, tensors, data_start })
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Lets the system begin to read a part of the file.
    pub(crate) fn fetch(&self, part: &[u8]) {
        files::fetch(&self.map, part);
    }

    /// A value of the metadata.
    pub(crate) fn value(&self, key: &str) -> Option<&Value> {
        self.metadata.get(key)
    }

    /// A text of the metadata.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        match self.value(key) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// An integer of the metadata that counts something.
    pub(crate) fn integer(&self, key: &str) -> Option<u64> {
        match self.value(key) {
            Some(Value::Integer(value)) => u64::try_from(*value).ok(),
            _ => None,
        }
    }

    /// A number of the metadata.
    pub(crate) fn number(&self, key: &str) -> Option<f64> {
        match self.value(key) {
            Some(Value::Float(value)) => Some(*value),
            Some(Value::Integer(value)) => Some(*value as f64),
            _ => None,
        }
    }

    /// An array of the metadata.
    pub(crate) fn array(&self, key: &str) -> Option<&[Value]> {
        match self.value(key) {
            Some(Value::Array(values)) => Some(values),
            _ => None,
        }
    }

    /// A tensor by its name.
    pub(crate) fn tensor(&self, name: &str) -> Result<&TensorInfo, ModelError> {
        self.tensors.get(name).ok_or_else(|| self.error(format!("the tensor {name} is missing")))
    }

    /// The type of a tensor, if it is one that can be computed with.
    pub(crate) fn kind(&self, name: &str) -> Result<GgmlDType, ModelError> {
        let info = self.tensor(name)?;
        kind_of(info.kind).ok_or_else(|| {
            let known = "F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 and Q2_K to Q6_K";
            let stored = type_name(info.kind);
            self.error(format!("the tensor {name} is stored as {stored}, which can't be read here; {known} can"))
        })
    }

    /// A tensor's bytes.
    pub(crate) fn data(&self, name: &str) -> Result<&[u8], ModelError> {
        let kind = self.kind(name)?;
        let info = self.tensor(name)?;
        let elements = info.elements().filter(|elements| elements.is_multiple_of(kind.block_size() as u64));
        let elements = elements.and_then(|elements| usize::try_from(elements).ok()).filter(|e| *e < usize::MAX >> 6);
        let Some(elements) = elements else {
            return Err(self.error(format!("the tensor {name} has dimensions that can't be: {:?}", info.dims)));
        };
        let start = usize::try_from(info.offset).ok().and_then(|offset| self.data_start.checked_add(offset));
        let end = start.and_then(|start| start.checked_add(bytes(kind, elements)));
        let range = start.zip(end).and_then(|(start, end)| self.map.get(start..end));
        range.ok_or_else(|| {
            self.error(format!(
                "the tensor {name} reaches beyond the end of the file; it is cut off, download it again"
            ))
        })
    }

    /// An error that names this file.
    pub(crate) fn error(&self, message: impl Into<String>) -> ModelError {
        ModelError::file(&self.path, message)
    }
}

struct Header {
    metadata: BTreeMap<String, Value>,
    tensors: BTreeMap<String, TensorInfo>,
    data_start: usize,
}

impl Header {
    fn read(file: &[u8]) -> Result<Self, String> {
        let mut reader = Reader { file, at: 0, wide: true, elements_left: ELEMENTS_MAX };
        if reader.take(4)? != b"GGUF" {
            return Err("this is no GGUF file: it doesn't begin as one".to_owned());
        }
        match reader.u32()? {
            1 => reader.wide = false,
            2 | 3 => {}
            version if version.swap_bytes() <= 3 => {
                return Err("this GGUF file was written for big-endian machines; convert it again".to_owned());
            }
            version => return Err(format!("GGUF version {version} is not known here; versions 1 to 3 are")),
        }
        let tensor_count = reader.length()?;
        let value_count = reader.length()?;
        let mut metadata = BTreeMap::new();
        // A value takes 9 bytes at least, a tensor 24.
        for _ in 0..reader.fits(value_count, 9, "values")? {
            let key = reader.string()?;
            let kind = reader.u32()?;
            metadata.insert(key, reader.value(kind, 0)?);
        }
        let mut tensors = BTreeMap::new();
        for _ in 0..reader.fits(tensor_count, 24, "tensors")? {
            let name = reader.string()?;
            let info = reader.tensor(&name)?;
            tensors.insert(name, info);
        }
        let alignment = match metadata.get("general.alignment") {
            Some(Value::Integer(alignment)) => usize::try_from(*alignment).unwrap_or(0),
            _ => 32,
        };
        if !alignment.is_power_of_two() || alignment > 1 << 20 {
            return Err(format!("the file says that its tensors are aligned to {alignment} bytes, which can't be"));
        }
        Ok(Self { metadata, tensors, data_start: reader.at.next_multiple_of(alignment) })
    }
}

/// The most elements of all arrays together: vocabularies have a few hundred thousand.
const ELEMENTS_MAX: u64 = 1 << 23;

struct Reader<'a> {
    file: &'a [u8],
    at: usize,
    /// Lengths have 64 bits, as since version 2.
    wide: bool,
    elements_left: u64,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(length);
        let taken = end.and_then(|end| self.file.get(self.at..end));
        let taken = taken.ok_or("the file is cut off within its header; download it again")?;
        self.at += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.take(N)?.try_into().map_err(|_never| "a number is cut off".to_owned())
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    fn length(&mut self) -> Result<u64, String> {
        if self.wide { self.u64() } else { self.u32().map(u64::from) }
    }

    /// `count` things of at least `least` bytes each, if the rest of the file can hold them.
    fn fits(&self, count: u64, least: u64, what: &str) -> Result<u64, String> {
        let left = (self.file.len() - self.at) as u64;
        if count.checked_mul(least).is_some_and(|needed| needed <= left) {
            return Ok(count);
        }
        Err(format!("the header speaks of {count} {what}, more than the file can hold; it is cut off or damaged"))
    }

    fn string(&mut self) -> Result<String, String> {
        let length = self.length()?;
        let length = self.fits(length, 1, "bytes of text")?;
        let raw = self.take(usize::try_from(length).unwrap_or(usize::MAX))?;
        // Some writers end their texts as C does.
        Ok(String::from_utf8_lossy(raw).trim_end_matches('\0').to_owned())
    }

    fn value(&mut self, kind: u32, depth: u32) -> Result<Value, String> {
        Ok(match kind {
            0 => Value::Integer(self.array().map(u8::from_le_bytes)?.into()),
            1 => Value::Integer(self.array().map(i8::from_le_bytes)?.into()),
            2 => Value::Integer(self.array().map(u16::from_le_bytes)?.into()),
            3 => Value::Integer(self.array().map(i16::from_le_bytes)?.into()),
            4 => Value::Integer(self.u32()?.into()),
            5 => Value::Integer(self.array().map(i32::from_le_bytes)?.into()),
            6 => Value::Float(self.array().map(f32::from_le_bytes)?.into()),
            7 => Value::Bool(self.array().map(u8::from_le_bytes)? != 0),
            8 => Value::Text(self.string()?),
            9 if depth < 4 => {
                let kind = self.u32()?;
                let count = self.length()?;
                let count = self.fits(count, smallest(kind), "elements of an array")?;
                let left = self.elements_left.checked_sub(count);
                self.elements_left = left.ok_or("the header's arrays are larger than any model's")?;
                Value::Array((0..count).map(|_| self.value(kind, depth + 1)).collect::<Result<_, _>>()?)
            }
            10 => Value::Integer(self.u64()?.into()),
            11 => Value::Integer(self.array().map(i64::from_le_bytes)?.into()),
            12 => Value::Float(self.array().map(f64::from_le_bytes)?),
            _ => return Err(format!("the header holds a value of type {kind}, which GGUF doesn't know")),
        })
    }

    fn tensor(&mut self, name: &str) -> Result<TensorInfo, String> {
        let rank = self.u32()?;
        if !(1..=4).contains(&rank) {
            return Err(format!("the tensor {name} has {rank} dimensions; 1 to 4 are possible"));
        }
        let dims = (0..rank).map(|_| self.length()).collect::<Result<_, _>>()?;
        Ok(TensorInfo { dims, kind: self.u32()?, offset: self.u64()? })
    }
}

/// The least bytes that a value of a type takes.
const fn smallest(kind: u32) -> u64 {
    match kind {
        2 | 3 => 2,
        4..=6 | 8 => 4,
        9..=12 => 8,
        _ => 1,
    }
}

/// The types that can be computed with, by ggml's numbers.
const fn kind_of(number: u32) -> Option<GgmlDType> {
    Some(match number {
        0 => GgmlDType::F32,
        1 => GgmlDType::F16,
        2 => GgmlDType::Q4_0,
        3 => GgmlDType::Q4_1,
        6 => GgmlDType::Q5_0,
        7 => GgmlDType::Q5_1,
        8 => GgmlDType::Q8_0,
        10 => GgmlDType::Q2K,
        11 => GgmlDType::Q3K,
        12 => GgmlDType::Q4K,
        13 => GgmlDType::Q5K,
        14 => GgmlDType::Q6K,
        30 => GgmlDType::BF16,
        _ => return None,
    })
}

/// The number that ggml gives a type.
pub(crate) fn number_of(kind: GgmlDType) -> Option<u32> {
    (0..=30).find(|number| kind_of(*number) == Some(kind))
}

/// A type's name as llama.cpp writes it.
pub(crate) fn type_name(number: u32) -> String {
    const NAMES: [&str; 41] = [
        "F32",
        "F16",
        "Q4_0",
        "Q4_1",
        "Q4_2",
        "Q4_3",
        "Q5_0",
        "Q5_1",
        "Q8_0",
        "Q8_1",
        "Q2_K",
        "Q3_K",
        "Q4_K",
        "Q5_K",
        "Q6_K",
        "Q8_K",
        "IQ2_XXS",
        "IQ2_XS",
        "IQ3_XXS",
        "IQ1_S",
        "IQ4_NL",
        "IQ3_S",
        "IQ2_S",
        "IQ4_XS",
        "I8",
        "I16",
        "I32",
        "I64",
        "F64",
        "IQ1_M",
        "BF16",
        "Q4_0_4_4",
        "Q4_0_4_8",
        "Q4_0_8_8",
        "TQ1_0",
        "TQ2_0",
        "IQ4_NL_4_4",
        "IQ4_NL_4_8",
        "IQ4_NL_8_8",
        "MXFP4",
        "NVFP4",
    ];
    NAMES.get(number as usize).map_or_else(|| format!("type {number}"), |name| (*name).to_owned())
}
