//! What the drawn transforms add up to: one affine map, some colour maps, some filters.

use super::custom::CustomTransform;

/// The weights of red, green and blue in luma.
pub(crate) const LUMA: [f64; 3] = [0.299, 0.587, 0.114];

/// x' = a·x + b·y + c, y' = d·x + e·y + f, in pixel indices.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Affine(pub [f64; 6]);

impl Affine {
    pub(crate) const IDENTITY: Affine = Affine([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);

    /// Moves by (x, y).
    pub(crate) fn shift(x: f64, y: f64) -> Affine {
        Affine([1.0, 0.0, x, 0.0, 1.0, y])
    }

    /// Where (x, y) is taken to.
    pub(crate) fn of(self, x: f64, y: f64) -> (f64, f64) {
        let Affine([a, b, c, d, e, f]) = self;
        (a * x + b * y + c, d * x + e * y + f)
    }

    /// First `first`, then `self`.
    pub(crate) fn after(self, first: Affine) -> Affine {
        let (Affine([a, b, c, d, e, f]), Affine([p, q, r, s, t, u])) = (self, first);
        Affine([
            a * p + b * s,
            a * q + b * t,
            a * r + b * u + c,
            d * p + e * s,
            d * q + e * t,
            d * r + e * u + f,
        ])
    }

    /// The linear map [[a, b], [d, e]] about a centre.
    pub(crate) fn about((x, y): (f64, f64), [a, b, d, e]: [f64; 4]) -> Affine {
        Affine([a, b, x - a * x - b * y, d, e, y - d * x - e * y])
    }
}

/// A change of colour of single pixels, of values in 0..=255; what leaves that range is clipped.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Colour {
    /// x ↦ scale · x + offset, in every channel.
    Scale { scale: f32, offset: f32 },
    /// Rows of red, green and blue.
    Matrix([[f32; 3]; 3]),
    /// New values by channel of the value rounded.
    Table(Box<[[f32; 256]; 3]>),
}

impl Colour {
    pub(crate) fn scale(scale: f64, offset: f64) -> Colour {
        Colour::Scale { scale: scale as f32, offset: offset as f32 }
    }

    /// Blends with grey: 0 is grey, 1 unchanged.
    pub(crate) fn saturation(factor: f64) -> Colour {
        let row = |own: usize| {
            let weight =
                |channel: usize| (1.0 - factor) * LUMA[channel] + if channel == own { factor } else { 0.0 };
            [weight(0) as f32, weight(1) as f32, weight(2) as f32]
        };
        Colour::Matrix([row(0), row(1), row(2)])
    }

    /// Changes a line of pixels.
    #[inline(always)]
    pub(crate) fn apply(&self, row: &mut [f32]) {
        match self {
            Colour::Scale { scale, offset } => {
                row.iter_mut().for_each(|value| *value = (scale * *value + offset).clamp(0.0, 255.0));
            }
            Colour::Matrix(rows) => {
                for pixel in row.chunks_exact_mut(3) {
                    let changed = rows.map(|[r, g, b]| r * pixel[0] + g * pixel[1] + b * pixel[2]);
                    pixel.copy_from_slice(&changed.map(|value| value.clamp(0.0, 255.0)));
                }
            }
            Colour::Table(tables) => {
                for pixel in row.chunks_exact_mut(3) {
                    for (value, table) in pixel.iter_mut().zip(tables.iter()) {
                        *value = table[usize::from((*value + 0.5) as u8)];
                    }
                }
            }
        }
    }
}

/// A change of a pixel that depends on others, of the finished sample.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    /// A Gaussian of 2 · strength − 1 pixels.
    Blur { strength: usize },
    /// Blends with a smoothed image: 0 is smooth, 1 unchanged, 2 sharp.
    Sharpness { factor: f64 },
    /// Black squares: centres as fractions of the sides, and the length of a side as such a fraction.
    Holes { centres: Vec<(f64, f64)>, length: f64 },
    /// A custom transform, and the key of its draws.
    Custom { transform: CustomTransform, key: u64 },
}

/// What is to be done to one image.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    /// From pixels of the result to pixels of the resized image with its border.
    pub map: Affine,
    pub colours: Vec<Colour>,
    pub effects: Vec<Effect>,
    width: u32,
    height: u32,
}

impl Plan {
    pub(crate) fn new(width: u32, height: u32) -> Self {
        Plan { map: Affine::IDENTITY, colours: Vec::new(), effects: Vec::new(), width, height }
    }

    /// The size of the image so far.
    pub(crate) fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// Adds a transform that keeps the size, given as the map from its result back to its image.
    pub(crate) fn warp(&mut self, back: Affine) {
        self.map = self.map.after(back);
    }

    /// Turns counter-clockwise about OpenCV's whole-pixel centre.
    pub(crate) fn rotate(&mut self, degrees: f64) {
        let (sin, cos) = degrees.to_radians().sin_cos();
        self.warp(Affine::about(self.whole_middle(), [cos, -sin, sin, cos]));
    }

    /// Mirrors left and right.
    pub(crate) fn flip(&mut self) {
        self.warp(Affine([-1.0, 0.0, f64::from(self.width - 1), 0.0, 1.0, 0.0]));
    }

    /// Turns by 90° counter-clockwise.
    pub(crate) fn quarter_turn(&mut self) {
        self.warp(Affine([0.0, -1.0, f64::from(self.width - 1), 1.0, 0.0, 0.0]));
        std::mem::swap(&mut self.width, &mut self.height);
    }

    /// The middle between the outermost pixels.
    pub(crate) fn middle(&self) -> (f64, f64) {
        (f64::from(self.width - 1) / 2.0, f64::from(self.height - 1) / 2.0)
    }

    /// OpenCV's centre of rotation in fastai: whole pixels.
    pub(crate) fn whole_middle(&self) -> (f64, f64) {
        (f64::from(self.width / 2), f64::from(self.height / 2))
    }
}
