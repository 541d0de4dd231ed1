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
        }
    }
}
