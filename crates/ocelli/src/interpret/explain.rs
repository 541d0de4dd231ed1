//! Grad-CAM: where in a photo the evidence for a class lies (Selvaraju et al. 2017,
//! <https://arxiv.org/abs/1610.02391>).

use std::path::Path;

use burn::tensor::{FloatDType, Tensor, TensorData};
use ocelli_data::{RgbImage, names};
use ocelli_nn::layer::Pool;
use ocelli_nn::{Backbone, Network, Pass, StageOutput};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::model::Model;
use crate::model::prediction::Prediction;
use crate::model::samples::Sample;

/// Where the evidence for a class lies in a photo, on the grid of the last stage's feature maps.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeatMap {
    /// Rows of the grid.
    pub height: usize,
    /// Columns of the grid.
    pub width: usize,
    /// `[height, width]`, 0 to 1; all 0 if there is no evidence.
    pub values: Vec<f32>,
}

/// A photo as the network sees it, its prediction, and the heat map of a class.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// The photo after preprocessing.
    pub image: RgbImage,
    /// The prediction.
    pub prediction: Prediction,
    /// The class that is explained.
    pub class: String,
    /// The heat map.
    pub heat: HeatMap,
}

/// Which class to explain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetClass {
    /// The most probable one.
    MostProbable,
    /// The class of this name.
    Named(String),
}

impl HeatMap {
    /// The value at a point of the photo, from 0 to 1 from the left and the top, interpolated linearly.
    pub fn at(&self, x: f64, y: f64) -> f32 {
        let along = |position: f64, cells: usize| {
            let at = (position * cells as f64 - 0.5).clamp(0.0, (cells - 1) as f64);
            let low = at.floor() as usize;
            (low, (low + 1).min(cells - 1), (at - at.floor()) as f32)
        };
        let ((left, right, across), (top, bottom, down)) = (along(x, self.width), along(y, self.height));
        let value = |row: usize, column: usize| self.values[row * self.width + column];
        let mix = |a: f32, b: f32, fraction: f32| a + (b - a) * fraction;
        let upper = mix(value(top, left), value(top, right), across);
        mix(upper, mix(value(bottom, left), value(bottom, right), across), down)
    }

    /// The photo overlaid with the heat map: red where the evidence is, darkened where there is none.
    pub fn over(&self, image: &RgbImage) -> RgbImage {
        let (width, height) = (image.width(), image.height());
        let mut pixels = image.pixels().to_vec();
        for (index, pixel) in pixels.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            let (x, y) = (index as u32 % width, index as u32 / width);
            let centre = |at: u32, of: u32| (f64::from(at) + 0.5) / f64::from(of);
            let heat = self.at(centre(x, width), centre(y, height));
            let colour = colour_of(heat);
            for (value, colour) in pixel.iter_mut().zip(colour) {
                *value = (f32::from(*value) * (1.0 - 0.55 * heat.max(0.25)) + colour * 0.55 * heat) as u8;
            }
        }
        RgbImage::new(width, height, pixels).expect("as many pixels as before")
    }
}

/// Yellow at the top, red in the middle, dark below.
fn colour_of(heat: f32) -> [f32; 3] {
    [(heat * 510.0).min(255.0), ((heat - 0.5) * 400.0).clamp(0.0, 200.0), 0.0]
}

impl Explanation {
    /// The photo, and the photo with its heat map, side by side.
    pub fn side_by_side(&self) -> RgbImage {
        let heated = self.heat.over(&self.image);
        let line = 3 * self.image.width() as usize;
        let lines = self.image.pixels().chunks_exact(line).zip(heated.pixels().chunks_exact(line));
        let pixels: Vec<u8> = lines.flat_map(|(left, right)| [left, right].concat()).collect();
        RgbImage::new(2 * self.image.width(), self.image.height(), pixels)
            .expect("two images of the same size")
    }
}

impl<B: Backbone> Model<B> {
    /// Computes the heat map of a photo for a class.
    ///
    /// # Errors
    /// Where the photo cannot be read, or there is no such class.
    pub fn explain(&self, photo: impl AsRef<Path>, class: &TargetClass) -> Result<Explanation> {
        let path = photo.as_ref();
        let image = self.decoder().decode_file_for(path, self.config().preprocessing.needed())?;
        let named = |error| match error {
            Error::NotFiniteOutput { model, class, value, .. } => {
                Error::NotFiniteOutput { model, photo: path.display().to_string(), class, value }
            }
            error => error,
        };
        let mut explanation = self.explain_image(&image, class).map_err(named)?;
        explanation.prediction.path = path.to_owned();
        Ok(explanation)
    }

    fn explain_image(&self, image: &RgbImage, class: &TargetClass) -> Result<Explanation> {
        let framed = self.config().preprocessing.frame(image)?;
        self.explain_sample(&self.sample(image)?, framed, class)
    }

    /// As [`explain`](Self::explain), of an image in memory: its [sample](Self::sample), and the image
    /// [framed](ocelli_data::Preprocessing::frame). The prediction's path is empty.
    ///
    /// # Errors
    /// Where there is no such class.
    pub fn explain_sample(
        &self,
        sample: &Sample,
        framed: RgbImage,
        class: &TargetClass,
    ) -> Result<Explanation> {
        let size = self.config().preprocessing.size;
        let images = TensorData::new(sample.values.clone(), [1, size, size, 3]);
        let images = Tensor::<4>::from_data(images, &self.network.device()).permute([0, 3, 1, 2]);
        let output = self.network.infer_stages(images, 0, explained_stages(&self.network));
        let prediction = self.predict_samples(std::slice::from_ref(sample)).remove(0)?;
        let class = match class {
            TargetClass::MostProbable => prediction.best().class,
            TargetClass::Named(class) => names::composed(class),
        };
        let known = self.config().classes.iter().position(|known| *known == class);
        let index =
            known.ok_or_else(|| Error::setting("class", class.clone(), "one of the model's classes"))?;
        let heat = heat_maps(&self.network, output, &[index]).remove(0);
        Ok(Explanation { image: framed, prediction, class, heat })
    }
}

/// Whether a network's feature maps are tokens, with a class token first.
fn has_tokens<B: Backbone>(network: &Network<B>) -> bool {
    matches!(network.backbone().pool(), Pool::ClassToken | Pool::ClassTokenAndAverage)
}

/// The number of stages before the maps that are explained: all; for a network of tokens all but the last,
/// after which only the class token may matter.
pub(crate) fn explained_stages<B: Backbone>(network: &Network<B>) -> usize {
    network.backbone().stages() - usize::from(has_tokens(network))
}

/// Maps `[images, channels, height, width]` by position in the image: tokens without the class token, row by
/// row.
pub(crate) fn in_place<B: Backbone>(network: &Network<B>, maps: Tensor<4>) -> Tensor<4> {
    if !has_tokens(network) {
        return maps;
    }
    let [images, channels, tokens, _] = maps.dims();
    let side = ((tokens - 1) as f64).sqrt() as usize;
    maps.narrow(2, 1, side * side).reshape([images, channels, side, side])
}

/// Heat maps from what the network puts out after [`explained_stages`], for one class per image.
///
/// The gradient of the class's logit flows through the rest of the network in inference mode; its mean over a
/// channel's map is the channel's weight, and the positive part of the weighted sum of maps is the heat map.
pub(crate) fn heat_maps<B: Backbone>(
    network: &Network<B>,
    output: StageOutput,
    classes: &[usize],
) -> Vec<HeatMap> {
    let images = classes.len();
    let maps = output.maps.cast(FloatDType::F32);
    let leaf = maps.clone().autodiff().require_grad();
    let logits = network.forward_from(
        explained_stages(network),
        StageOutput { maps: leaf.clone(), depths: output.depths },
        &Pass::differentiable(),
    );
    let all = logits.dims()[1];
    let mut chosen = vec![0.0f32; images * all];
    for (image, class) in classes.iter().enumerate() {
        chosen[image * all + class] = 1.0;
    }
    let chosen = Tensor::<2>::from_data(TensorData::new(chosen, [images, all]), &logits.device());
    // In inference mode images do not affect each other, so one sum serves all.
    let gradients = (logits * chosen).sum().backward();
    let gradient = in_place(network, leaf.grad(&gradients).expect("the maps take part"));
    let maps = in_place(network, maps.inner());
    let [_, _, height, width] = maps.dims();
    let weights = gradient.mean_dim(3).mean_dim(2);
    let heat = (maps * weights).sum_dim(1).reshape([images, height * width]);
    let heat = heat.into_data().try_into_vec::<f32>().expect("maps are f32");
    heat.chunks_exact(height * width)
        .map(|values| {
            let highest = values.iter().copied().fold(0.0, f32::max);
            let scale = |value: &f32| if highest > 0.0 { value.max(0.0) / highest } else { 0.0 };
            HeatMap { height, width, values: values.iter().map(scale).collect() }
        })
        .collect()
}
