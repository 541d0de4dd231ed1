//! Vision transformer (Dosovitskiy et al. 2021, <https://arxiv.org/abs/2010.11929>); tensor names are timm's.

use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData};

use crate::arch::{ArchInfo, Entry, HALF, register, timm};
use crate::builder::Initial;
use crate::head::PublishedForm;
use crate::layer::{Attention, ConvAct, ConvSpec, LayerNorm, Pool};
use crate::op::{self, Activation};
use crate::{Backbone, Builder, Head, Pass};

/// A published size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VisionTransformerVariant {
    /// Features of a token.
    pub width: usize,
    /// Heads of attention.
    pub heads: usize,
    /// Blocks.
    pub depth: usize,
    /// The side of a patch in pixels.
    pub patch: usize,
    /// The side in patches of the images that the published position embedding is for.
    pub grid: usize,
}

/// A block's linear layers are wider inside by this factor.
const EXPANSION: usize = 4;

/// The backbone: patches become tokens with a position embedding, after a class token; blocks of attention; a
/// last norm. A stage each, the norm with the last block.
///
/// For image sizes other than the published one the position embedding is interpolated (bicubic); pixels
/// beyond the last whole patch are ignored.
#[derive(Module, Debug)]
pub struct VisionTransformer {
    patches: ConvAct,
    class_token: Param<Tensor<3>>,
    positions: Param<Tensor<3>>,
    blocks: Vec<Block>,
    norm: LayerNorm,
    #[module(skip)]
    grid: usize,
}

/// Norm and attention, norm and two linear layers with GELU between them; both are added to their input.
#[derive(Module, Debug)]
struct Block {
    norm_attention: LayerNorm,
    attention: Attention,
    norm_linear: LayerNorm,
    widen: ConvAct,
    narrow: ConvAct,
}

impl VisionTransformer {
    /// The backbone of one variant.
    pub fn new(builder: &Builder, variant: VisionTransformerVariant) -> Self {
        let VisionTransformerVariant { width, heads, depth, patch, grid } = variant;
        let patches = ConvSpec::new(builder.input_channels(), width, patch).stride(patch).unpadded();
        // As in the paper's code: normal of standard deviation 0.02.
        let small = Initial::KaimingNormal { inputs: 5000 };
        Self {
            patches: ConvAct::new(&builder.at("patch_embed.proj"), patches, Activation::None),
            class_token: builder.parameter("cls_token", [1, 1, width], Initial::Constant(0.0)),
            positions: builder.parameter("pos_embed", [1, 1 + grid * grid, width], small),
            blocks: (0..depth)
                .map(|block| Block::new(&builder.at("blocks").at(block), width, heads))
                .collect(),
            norm: LayerNorm::new(&builder.at("norm"), width),
            grid,
        }
    }

    /// Tokens as maps of one column, `[images, width, tokens, 1]`.
    fn embed(&self, images: Tensor<4>, pass: &Pass) -> Tensor<4> {
        let patches = self.patches.forward(images, None, pass);
        let [_, _, rows, columns] = patches.dims();
        op::embed_tokens(patches, pass.value(&self.class_token), self.positions_for(rows, columns, pass))
    }

    /// The position embedding for this many rows and columns of patches, `[1, 1 + rows · columns, width]`.
    fn positions_for(&self, rows: usize, columns: usize, pass: &Pass) -> Tensor<3> {
        let positions = pass.value(&self.positions);
        if (rows, columns) == (self.grid, self.grid) {
            return positions;
        }
        let [_, tokens, width] = positions.dims();
        let class_token = positions.clone().narrow(1, 0, 1);
        let grid = positions.narrow(1, 1, tokens - 1).reshape([self.grid, self.grid * width]);
        let device = grid.device().inner();
        let weights = |to: usize| {
            let data = TensorData::new(bicubic(self.grid, to), [to, self.grid]);
            Tensor::<2>::from_data(data, &device)
        };
        let grid = weights(rows).matmul(grid).reshape([rows, self.grid, width]);
        let grid = weights(columns).unsqueeze::<3>().repeat_dim(0, rows).matmul(grid);
        Tensor::cat(vec![class_token, grid.reshape([1, rows * columns, width])], 1)
    }
}

/// The weights `[to, from]` that resample `from` evenly spaced values to `to`: bicubic with a = −0.5 and, for
/// downsampling, widened against aliasing, as PyTorch's `interpolate` with `antialias` does it for timm.
fn bicubic(from: usize, to: usize) -> Vec<f32> {
    let kernel = |x: f64| {
        const A: f64 = -0.5;
        let x = x.abs();
        if x < 1.0 {
            ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
        } else if x < 2.0 {
            (((x - 5.0) * x + 8.0) * x - 4.0) * A
        } else {
            0.0
        }
    };
    let scale = from as f64 / to as f64;
    let width = scale.max(1.0);
    let mut weights = Vec::with_capacity(to * from);
    for output in 0..to {
        let centre = (output as f64 + 0.5) * scale;
        let row: Vec<f64> = (0..from).map(|at| kernel((at as f64 + 0.5 - centre) / width)).collect();
        let sum: f64 = row.iter().sum();
        weights.extend(row.iter().map(|weight| (weight / sum) as f32));
    }
    weights
}

impl Block {
    fn new(builder: &Builder, width: usize, heads: usize) -> Self {
        let wide = EXPANSION * width;
        Self {
            norm_attention: LayerNorm::new(&builder.at("norm1"), width),
            attention: Attention::new(&builder.at("attn"), width, heads),
            norm_linear: LayerNorm::new(&builder.at("norm2"), width),
            widen: ConvAct::linear(&builder.at("mlp.fc1"), width, wide, Activation::Gelu),
            narrow: ConvAct::linear(&builder.at("mlp.fc2"), wide, width, Activation::None),
        }
    }

    fn forward(&self, tokens: Tensor<4>, pass: &Pass) -> Tensor<4> {
        let x = self.norm_attention.forward_maps(tokens.clone(), pass);
        let tokens = self.attention.forward(x, tokens, pass);
        let x = self.norm_linear.forward_maps(tokens.clone(), pass);
        let x = self.widen.forward(x, None, pass);
        self.narrow.forward(x, Some(tokens), pass)
    }
}

impl Backbone for VisionTransformer {
    type Head = Head;

    fn stages(&self) -> usize {
        1 + self.blocks.len()
    }

    fn forward_stage(&self, stage: usize, input: Tensor<4>, pass: &Pass) -> Tensor<4> {
        let Some(block) = stage.checked_sub(1) else { return self.embed(input, pass) };
        let tokens = self.blocks[block].forward(input, pass);
        if stage + 1 == self.stages() { self.norm.forward_maps(tokens, pass) } else { tokens }
    }

    fn channels(&self) -> usize {
        self.norm.channels()
    }

    /// What the published classifier takes, and beside it what all patches say together.
    fn pool(&self) -> Pool {
        Pool::ClassTokenAndAverage
    }

    /// The middle.
    fn group_boundary(&self) -> usize {
        1 + self.blocks.len() / 2
    }

    fn stage_of(&self, tensor: &str) -> usize {
        let block = tensor.strip_prefix("blocks.").and_then(|rest| rest.split('.').next());
        match block.and_then(|block| block.parse::<usize>().ok()) {
            Some(block) => block + 1,
            None if tensor.starts_with("norm.") => self.blocks.len(),
            None => 0,
        }
    }
}

register! {
    VitTinyPatch16 = Entry {
        info: ArchInfo {
            smallest: 16,
            accuracy: 0.755,
            parameters: 5_717_416,
            multiply_adds: 1_254,
            ..timm(
                "vit_tiny_patch16",
                ["vit_tiny_patch16_224", "timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k"],
                "blocks.6",
                HALF,
            )
        },
        classifier: PublishedForm { pool: Pool::ClassToken, ..PublishedForm::linear("head") },
        build: |builder| {
            let variant = VisionTransformerVariant { width: 192, heads: 3, depth: 12, patch: 16, grid: 14 };
            VisionTransformer::new(builder, variant).into()
        },
    };
}
