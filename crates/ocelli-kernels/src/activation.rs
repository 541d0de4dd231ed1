//! Activation functions, applied by the kernels while values are in registers.

/// An element-wise activation function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Activation {
    /// `u`
    #[default]
    None,
    /// `max(u, 0)`
    Relu,
    /// `min(max(u, 0), 6)`
    Relu6,
    /// `u · sigmoid(u)` (also called swish)
    Silu,
    /// `u · min(max(u + 3, 0), 6) / 6` (MobileNetV3)
    HardSwish,
    /// `u · Φ(u)`, Φ being the normal distribution (ConvNeXt, transformers)
    Gelu,
}

impl Activation {
    /// The function's value at `u`.
    pub fn apply(self, u: f32) -> f32 {
        match self {
            Activation::None => u,
            // Written so that NaN stays NaN.
            Activation::Relu => {
                if u < 0.0 {
                    0.0
                } else {
                    u
                }
            }
            Activation::Relu6 => u.clamp(0.0, 6.0),
            Activation::Silu => u / (1.0 + (-u).exp()),
            Activation::HardSwish => u * (u + 3.0).clamp(0.0, 6.0) * (1.0 / 6.0),
            Activation::Gelu => u * normal(u).0,
        }
    }

    /// The function's derivative at `u`; at a kink the value PyTorch takes (0 at both ends of ReLU and ReLU6).
    pub fn derivative(self, u: f32) -> f32 {
        match self {
            Activation::None => 1.0,
            Activation::Relu => f32::from(u > 0.0),
            Activation::Relu6 => f32::from(u > 0.0 && u < 6.0),
            Activation::Silu => {
                let sigmoid = 1.0 / (1.0 + (-u).exp());
                sigmoid * (1.0 + u * (1.0 - sigmoid))
            }
            Activation::HardSwish if u < -3.0 => 0.0,
            Activation::HardSwish if u > 3.0 => 1.0,
            Activation::HardSwish => u * (1.0 / 3.0) + 0.5,
            Activation::Gelu => {
                let (below, density) = normal(u);
                below + u * density
            }
        }
    }
}

/// Coefficients of the normal distribution's tail: `p`, then those of t⁵ … t, halved (Abramowitz & Stegun 7.1.26, whose
/// error is at most 1.5e-7).
pub(crate) const TAIL: f32 = 0.327_591_1;
pub(crate) const TAIL_TERMS: [f32; 5] = [0.530_702_7, -0.726_576, 0.710_706_9, -0.142_248_4, 0.127_414_8];
/// `1 / √(2π)`
pub(crate) const DENSITY_AT_0: f32 = 0.398_942_3;

/// The normal distribution at `u`, and its density there.
fn normal(u: f32) -> (f32, f32) {
    let bell = (-0.5 * u * u).exp();
    let t = 1.0 / (1.0 + TAIL * std::f32::consts::FRAC_1_SQRT_2 * u.abs());
    let tail = TAIL_TERMS.iter().fold(0.0, |sum, term| sum * t + term) * t * bell;
    (if u > 0.0 { 1.0 - tail } else { tail }, DENSITY_AT_0 * bell)
}
