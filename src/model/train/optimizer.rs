//! AdamW over one vector of parameters, and the loss scale of f16.

use candle_core::{DType, Result, Tensor};

/// AdamW as PyTorch's: decoupled weight decay, moments in f32.
#[derive(Clone, Debug)]
pub(super) struct AdamW {
    pub(super) learning_rate: f64,
    pub(super) weight_decay: f64,
    steps: i32,
    first: Tensor,
    second: Tensor,
}

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;
const EPS: f64 = 1e-8;

impl AdamW {
    /// For parameters like these: a vector in f32.
    pub(super) fn new(parameters: &Tensor, learning_rate: f64, weight_decay: f64) -> Result<Self> {
        let zeros = || Tensor::zeros(parameters.shape(), DType::F32, parameters.device());
        Ok(Self { learning_rate, weight_decay, steps: 0, first: zeros()?, second: zeros()? })
    }

    /// The parameters after a step with `factor` · `gradient`.
    pub(super) fn step(&mut self, parameters: &Tensor, gradient: &Tensor, factor: f64) -> Result<Tensor> {
        self.steps = self.steps.saturating_add(1);
        let unbias = |beta: f64| 1.0 / (1.0 - beta.powi(self.steps));
        self.first = (self.first.affine(BETA_1, 0.0)? + gradient.affine(factor * (1.0 - BETA_1), 0.0)?)?;
        let square = gradient.affine(factor, 0.0)?.sqr()?.affine(1.0 - BETA_2, 0.0)?;
        self.second = (self.second.affine(BETA_2, 0.0)? + square)?;
        let deviation = self.second.affine(unbias(BETA_2), 0.0)?.sqrt()?.affine(1.0, EPS)?;
        let change = (self.first.affine(self.learning_rate * unbias(BETA_1), 0.0)? / deviation)?;
        parameters.affine(1.0 - self.learning_rate * self.weight_decay, 0.0)? - change
    }
}

/// What the loss is multiplied by, so that small gradients in f16 don't become zero.
///
/// It begins at 2¹⁵: a row's largest gradient at the logits is then 64 at 512 rows, a thousandth of f16's largest value, and
/// gradients down to 2⁻²⁴ ÷ 2¹⁵ still count. A step whose norm is not finite is skipped and halves it; 200 finite steps in a
/// row double it.
#[derive(Clone, Debug)]
pub(super) struct LossScale {
    value: f64,
    finite_steps: u32,
    dynamic: bool,
}

impl LossScale {
    const FIRST: f64 = 32768.0;
    const MOST: f64 = 65536.0;
    const DOUBLES_AFTER: u32 = 200;

    /// Only f16 needs one; f32 and bf16 have the range.
    pub(super) fn new(dtype: DType) -> Self {
        let dynamic = dtype == DType::F16;
        Self { value: if dynamic { Self::FIRST } else { 1.0 }, finite_steps: 0, dynamic }
    }

    pub(super) const fn value(&self) -> f64 {
        self.value
    }

    /// Learns how the last step went.
    pub(super) fn update(&mut self, finite: bool) {
        if !self.dynamic {
            return;
        }
        if !finite {
            self.value = (self.value / 2.0).max(1.0);
            self.finite_steps = 0;
            return;
        }
        self.finite_steps += 1;
        if self.finite_steps >= Self::DOUBLES_AFTER {
            self.value = (self.value * 2.0).min(Self::MOST);
            self.finite_steps = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn adamw_steps_as_written_out() {
        let parameters = Tensor::new(&[1.0_f32, -2.0], &Device::Cpu).unwrap();
        let gradient = Tensor::new(&[0.5_f32, 4.0], &Device::Cpu).unwrap();
        let mut adamw = AdamW::new(&parameters, 0.1, 0.01).unwrap();
        let once = adamw.step(&parameters, &gradient, 1.0).unwrap();
        // The first step moves by the learning rate in the gradient's direction, whatever its size.
        let expected = [1.0 * 0.999 - 0.1, -2.0 * 0.999 - 0.1];
        for (value, expected) in once.to_vec1::<f32>().unwrap().into_iter().zip(expected) {
            assert!((f64::from(value) - expected).abs() < 1e-6, "{value} {expected}");
        }
        // And a second one with half the gradient, by the formula in f64.
        let twice = adamw.step(&once, &gradient, 0.5).unwrap().to_vec1::<f32>().unwrap();
        for ((value, before), g) in twice.into_iter().zip(expected).zip([0.5, 4.0]) {
            let first = 0.9 * 0.1 * g + 0.1 * 0.5 * g;
            let second: f64 = 0.999 * 0.001 * g * g + 0.001 * 0.25 * g * g;
            let change = 0.1 * (first / (1.0 - 0.81)) / ((second / (1.0 - 0.998_001)).sqrt() + 1e-8);
            assert!((f64::from(value) - (before * 0.999 - change)).abs() < 1e-6);
        }
    }

    #[test]
    fn the_scale_halves_on_overflow_and_comes_back() {
        let mut scale = LossScale::new(DType::F16);
        scale.update(false);
        assert_eq!(scale.value(), 16384.0);
        for _ in 0..LossScale::DOUBLES_AFTER {
            scale.update(true);
        }
        assert_eq!(scale.value(), 32768.0);
        let mut none = LossScale::new(DType::BF16);
        none.update(false);
        assert_eq!(none.value(), 1.0);
    }
}
