//! Low-rank adapters (LoRA): y = x·Wᵀ + (alpha ÷ rank)·(x·Aᵀ)·Bᵀ with W frozen.
//!
//! All parameters of all blocks lie in one vector in f32, so that an optimiser's step is a few kernels and not a few for each
//! matrix. Once a step they are cast into the activations' type and put together by [`Site`]: adapters over the same input
//! become one pair of products.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Result, Tensor};

use super::{ModelConfig, ModelError};
use crate::workload::{ModelShape, Target, random};

/// Which adapters there are.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraSettings {
    /// Rows of A and columns of B.
    pub rank: usize,
    /// The adapters' output is multiplied by `alpha` ÷ `rank`.
    pub alpha: f64,
    /// The matrices that have one.
    pub targets: Vec<Target>,
    /// Chooses the first values of A.
    pub seed: u32,
}

impl LoraSettings {
    /// Alpha is twice the rank, as in the reference and in most published recipes.
    pub fn new(rank: usize, targets: &[Target]) -> Self {
        Self { rank, alpha: 2.0 * rank as f64, targets: targets.to_vec(), seed: 0x7f4a_7c15 }
    }
}

/// A product of a block, with all targets that share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Site {
    /// q, k and v over the normed input.
    Qkv,
    /// The attention's output.
    O,
    /// gate and up over the normed middle.
    GateUp,
    /// The MLP's second half.
    Down,
}

impl Site {
    const ALL: [Self; 4] = [Self::Qkv, Self::O, Self::GateUp, Self::Down];

    /// Its targets in the order of their outputs.
    const fn targets(self) -> &'static [Target] {
        match self {
            Self::Qkv => &[Target::Q, Target::K, Target::V],
            Self::O => &[Target::O],
            Self::GateUp => &[Target::Gate, Target::Up],
            Self::Down => &[Target::Down],
        }
    }
}

/// The adapters of a model and where each lies.
#[derive(Clone, Debug)]
pub struct Lora {
    settings: LoraSettings,
    shape: ModelShape,
    slots: Vec<Slot>,
    /// All values, in f32.
    parameters: Tensor,
}

/// Where a target's A (layers × rank × inputs) and, right after it, B (layers × outputs × rank) lie in the vector.
#[derive(Clone, Copy, Debug)]
struct Slot {
    target: Target,
    start: usize,
    layers: usize,
    rank: usize,
    inputs: usize,
    outputs: usize,
}

impl Slot {
    const fn a_len(&self) -> usize {
        self.layers * self.rank * self.inputs
    }

    const fn b_len(&self) -> usize {
        self.layers * self.outputs * self.rank
    }

    fn a(&self, vector: &Tensor) -> Result<Tensor> {
        vector.narrow(0, self.start, self.a_len())?.reshape((self.layers, self.rank, self.inputs))
    }

    fn b(&self, vector: &Tensor) -> Result<Tensor> {
        vector.narrow(0, self.start + self.a_len(), self.b_len())?.reshape((self.layers, self.outputs, self.rank))
    }
}

impl Lora {
    /// Adapters that change nothing yet: A normal with variance 1 ÷ inputs, B zero.
    pub fn new(config: &ModelConfig, settings: LoraSettings, device: &Device) -> std::result::Result<Self, ModelError> {
        let shape = config.shape;
        let mut targets = settings.targets.clone();
        targets.sort_unstable();
        targets.dedup();
        if settings.rank == 0 || targets.is_empty() {
            let message =
                "LoRA needs a rank of at least 1 and one target; choose --lora-rank 8 and targets such as q, v";
            return Err(ModelError::Asked(message.to_owned()));
        }
        let mut slots = Vec::new();
        let mut start = 0;
        for target in targets {
            let (outputs, inputs) = target.dims(&shape);
            let (outputs, inputs) = (outputs as usize, inputs as usize);
            let slot = Slot { target, start, layers: config.layers(), rank: settings.rank, inputs, outputs };
            start += slot.a_len() + slot.b_len();
            slots.push(slot);
        }
        let parameters = Tensor::from_vec(first_values(&slots, settings.seed), start, device)?;
        Ok(Self { settings, shape, slots, parameters })
    }

    /// What they were made by.
    pub const fn settings(&self) -> &LoraSettings {
        &self.settings
    }

    /// All values in one vector, f32: for each target A (layers × rank × inputs), then B (layers × outputs × rank).
    pub const fn parameters(&self) -> &Tensor {
        &self.parameters
    }

    /// Replaces all values. The vector has the length and type of [`Lora::parameters`].
    pub fn set_parameters(&mut self, parameters: Tensor) -> std::result::Result<(), ModelError> {
        if parameters.dims() != self.parameters.dims() || parameters.dtype() != DType::F32 {
            return Err(ModelError::Asked(format!(
                "adapters of {:?} parameters in f32 can't take {:?} in {:?}",
                self.parameters.dims(),
                parameters.dims(),
                parameters.dtype()
            )));
        }
        self.parameters = parameters;
        Ok(())
    }

    /// Where a target's A and B lie in the vector: (start, length) of each; none if it has no adapter.
    pub fn ranges(&self, target: Target) -> Option<[(usize, usize); 2]> {
        let slot = self.slots.iter().find(|slot| slot.target == target)?;
        Some([(slot.start, slot.a_len()), (slot.start + slot.a_len(), slot.b_len())])
    }

    /// Those of A and of B of every target, in order.
    pub fn all_ranges(&self) -> Vec<(usize, usize)> {
        self.slots.iter().filter_map(|slot| self.ranges(slot.target)).flatten().collect()
    }

    /// The same with normal values of this deviation in every B, as if it had been trained: while B is zero, A has no
    /// gradient.
    pub fn with_moved_b(mut self, deviation: f64) -> std::result::Result<Self, ModelError> {
        let mut values = self.parameters.to_vec1::<f32>()?;
        for slot in &self.slots {
            let start = slot.start + slot.a_len();
            let seed = !self.settings.seed;
            for (at, value) in values.iter_mut().enumerate().skip(start).take(slot.b_len()) {
                *value = (deviation * normal(at as u32, seed)) as f32;
            }
        }
        self.parameters = Tensor::from_vec(values, self.parameters.dims(), self.parameters.device())?;
        Ok(self)
    }

    fn scale(&self) -> f64 {
        self.settings.alpha / self.settings.rank as f64
    }

    /// The adapted targets of a site, each with its index among them.
    fn at(&self, site: Site) -> Vec<Slot> {
        self.slots.iter().filter(|slot| site.targets().contains(&slot.target)).copied().collect()
    }

    /// The values as a step's products take them: in the activations' type, put together by site, B scaled.
    pub fn prepare(&self, dtype: DType) -> Result<Adapters> {
        let mut sites = BTreeMap::new();
        for site in Site::ALL {
            let slots = self.at(site);
            if slots.is_empty() {
                continue;
            }
            let a = slots.iter().map(|slot| slot.a(&self.parameters)).collect::<Result<Vec<_>>>()?;
            let a = Tensor::cat(&a, 1)?.to_dtype(dtype)?;
            let b = self.wide_b(site, &slots, dtype)?;
            sites.insert(site, SiteAdapters { a, b });
        }
        Ok(Adapters { sites })
    }

    /// layers × (all outputs of the site) × (rank · adapted targets): each target's B in its own rows and columns.
    fn wide_b(&self, site: Site, slots: &[Slot], dtype: DType) -> Result<Tensor> {
        let (rank, count) = (self.settings.rank, slots.len());
        let mut rows = Vec::new();
        for target in site.targets() {
            let outputs = target.dims(&self.shape).0 as usize;
            let found = slots.iter().enumerate().find(|(_, slot)| slot.target == *target);
            rows.push(if let Some((at, slot)) = found {
                let b = slot.b(&self.parameters)?.affine(self.scale(), 0.0)?.to_dtype(dtype)?;
                b.pad_with_zeros(2, at * rank, (count - 1 - at) * rank)?
            } else {
                let layers = self.shape.layers as usize;
                Tensor::zeros((layers, outputs, rank * count), dtype, self.parameters.device())?
            });
        }
        Tensor::cat(&rows, 1)?.contiguous()
    }

    /// The gradient of every parameter in the layout of [`Lora::parameters`], f32, from what the blocks collected.
    pub fn gradients(&self, collected: &Gradients) -> Result<Tensor> {
        let mut parts = Vec::new();
        for slot in &self.slots {
            let Some(site) = Site::ALL.into_iter().find(|site| site.targets().contains(&slot.target)) else { continue };
            let of_site = self.at(site);
            let column = self.settings.rank * of_site.iter().filter(|other| other.target < slot.target).count();
            let before = site.targets().iter().take_while(|target| **target != slot.target);
            let row: u64 = before.map(|target| target.dims(&self.shape).0).sum();
            let [a, b] = collected.stacked(site)?;
            let a = a.narrow(1, column, slot.rank)?.contiguous()?.flatten_all()?.to_dtype(DType::F32)?;
            let b = b.narrow(1, row as usize, slot.outputs)?.narrow(2, column, slot.rank)?.contiguous()?;
            // The forward pass multiplied by a B that held the scale.
            let b = b.flatten_all()?.to_dtype(DType::F32)?.affine(self.scale(), 0.0)?;
            parts.extend([a, b]);
        }
        Tensor::cat(&parts, 0)
    }
}

/// Normal values for each A and zeros for each B. Every value is a function of its place alone.
fn first_values(slots: &[Slot], seed: u32) -> Vec<f32> {
    use rayon::prelude::*;
    let mut values = Vec::new();
    for slot in slots {
        let deviation = 1.0 / (slot.inputs as f64).sqrt();
        let from = slot.start as u32;
        let value = |at: u32| (deviation * normal(from.wrapping_add(at), seed)) as f32;
        values.par_extend((0..slot.a_len() as u32).into_par_iter().map(value));
        values.resize(slot.start + slot.a_len() + slot.b_len(), 0.0);
    }
    values
}

/// A value of N(0, 1) for a place.
fn normal(at: u32, seed: u32) -> f64 {
    let place = at.wrapping_mul(2) ^ seed;
    let uniform = |input: u32| (f64::from(random::pcg(input)) + 0.5) / 4_294_967_296.0;
    (-2.0 * uniform(place).ln()).sqrt() * (std::f64::consts::TAU * uniform(place ^ 1)).cos()
}

/// Adapters as one step's products take them.
#[derive(Clone, Debug)]
pub struct Adapters {
    sites: BTreeMap<Site, SiteAdapters>,
}

/// Of all blocks at one site.
#[derive(Clone, Debug)]
struct SiteAdapters {
    /// layers × n·rank × inputs, n the adapted targets of the site.
    a: Tensor,
    /// layers × outputs × n·rank, with the scale.
    b: Tensor,
}

impl SiteAdapters {
    fn layer(&self, layer: usize) -> Result<[Tensor; 2]> {
        Ok([self.a.get(layer)?, self.b.get(layer)?])
    }
}

impl Adapters {
    /// Whether a site has any.
    pub fn has(&self, site: Site) -> bool {
        self.sites.contains_key(&site)
    }

    /// Adds what the adapters make of `x` (m × inputs) to the frozen product `y` (m × outputs). Where there are any, also
    /// gives x·Aᵀ (m × n·rank), which the backward pass wants.
    pub fn forward(&self, site: Site, layer: usize, x: &Tensor, y: Tensor) -> Result<(Tensor, Option<Tensor>)> {
        let Some(adapters) = self.sites.get(&site) else { return Ok((y, None)) };
        let [a, b] = adapters.layer(layer)?;
        let inner = x.matmul(&a.t()?)?;
        let y = (y + inner.matmul(&b.t()?)?)?;
        Ok((y, Some(inner)))
    }

    /// Collects the gradients of A and B, and adds the adapters' part of the input's gradient to `dx` where it is wanted.
    pub fn backward(
        &self,
        site: Site,
        layer: usize,
        Through { x, inner, dy }: Through<'_>,
        dx: Option<Tensor>,
        collected: &mut Gradients,
    ) -> Result<Option<Tensor>> {
        let Some(adapters) = self.sites.get(&site) else { return Ok(dx) };
        let [a, b] = adapters.layer(layer)?;
        let d_inner = dy.matmul(&b)?;
        let d_a = d_inner.t()?.matmul(x)?;
        let d_b = dy.t()?.matmul(inner)?;
        collected.sites.entry(site).or_default().insert(layer, [d_a, d_b]);
        dx.map(|dx| dx + d_inner.matmul(&a)?).transpose()
    }
}

/// What went through a site in the forward pass, and what comes back.
#[derive(Clone, Copy, Debug)]
pub struct Through<'a> {
    /// The input: m × inputs.
    pub x: &'a Tensor,
    /// x·Aᵀ: m × n·rank.
    pub inner: &'a Tensor,
    /// The gradient of the output: m × outputs.
    pub dy: &'a Tensor,
}

/// Gradients of A and of the scaled B of each site and block, in the activations' type.
#[derive(Clone, Debug, Default)]
pub struct Gradients {
    sites: BTreeMap<Site, BTreeMap<usize, [Tensor; 2]>>,
}

impl Gradients {
    /// Those of A and of B of all blocks, one after another in a new first dimension.
    fn stacked(&self, site: Site) -> Result<[Tensor; 2]> {
        let Some(layers) = self.sites.get(&site) else {
            return Err(candle_core::Error::Msg(format!("no gradient was collected for {site:?}")));
        };
        let a: Vec<_> = layers.values().map(|[a, _]| a).collect();
        let b: Vec<_> = layers.values().map(|[_, b]| b).collect();
        Ok([Tensor::stack(&a, 0)?, Tensor::stack(&b, 0)?])
    }
}
