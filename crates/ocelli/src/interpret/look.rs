//! One pass of photos through a network, for heat maps and visualisations.

use std::collections::HashMap;
use std::sync::Arc;

use ocelli_data::{BadImages, Items, Loader, LoaderOptions, Preprocessing, RgbImage};
use ocelli_nn::{Backbone, StageOutput};

use crate::data::to_tensor::to_tensor;
use crate::error::Result;
use crate::interpret::explain::{HeatMap, explained_stages, heat_maps, in_place};
use crate::interpret::inside::{Inside, Strongest, filters, stage_picture};
use crate::model::Model;
use crate::stop::Stop;

/// Heat maps of some photos, and visualisations of the network.
#[derive(Debug, Clone)]
pub struct Look {
    /// Heat maps of the given classes, by item; images that cannot be read have none.
    pub heat_maps: HashMap<usize, HeatMap>,
    /// Visualisations of the network.
    pub inside: Inside,
    /// The item whose feature maps [`Inside::stages`] shows.
    pub shown: Option<usize>,
}

/// The batch size.
const BATCH: usize = 32;
/// The largest side of photos that patches are cropped from.
const LARGE: usize = 448;

impl<B: Backbone> Model<B> {
    /// Passes images through the network, each given as an item and the class of its heat map.
    ///
    /// # Errors
    /// [`Error::Stopped`](crate::Error::Stopped) where `stop` is set; where the images cannot be loaded.
    pub fn look_at(
        &self,
        items: &Items,
        images: &[(usize, usize)],
        threads: usize,
        stop: &Stop,
    ) -> Result<Look> {
        let network = &self.network;
        let mut look = Look {
            heat_maps: HashMap::new(),
            inside: Inside { filters: filters(network), stages: Vec::new(), patches: Vec::new() },
            shown: None,
        };
        if images.is_empty() {
            return Ok(look);
        }
        let preprocessing = self.config().preprocessing;
        let options = LoaderOptions {
            batch_size: BATCH,
            threads,
            bad_images: BadImages::Skip,
            decoder: self.decoder(),
            ..LoaderOptions::default()
        };
        let loader = Loader::new(Arc::new(items.clone()), preprocessing, options)?;
        let class_of: HashMap<usize, usize> = images.iter().copied().collect();
        let mut strongest = Strongest::new(network);
        let mut seen: Vec<usize> = Vec::new();
        for batch in loader.batches(images.iter().map(|image| image.0).collect::<Vec<_>>(), 0)? {
            stop.check()?;
            let mut batch = batch?;
            if batch.indices.is_empty() {
                continue;
            }
            let mut output = StageOutput::from(to_tensor(&mut batch, &network.device()));
            let mut explained = None;
            for stage in 0..network.backbone().stages() {
                output = network.infer_stages(output, stage, stage + 1);
                if stage + 1 == explained_stages(network) {
                    explained = Some(output.clone());
                }
                let in_place = in_place(network, output.maps.clone());
                strongest.look(stage, &in_place, seen.len());
                if seen.is_empty() {
                    look.inside.stages.push(stage_picture(stage, &in_place));
                    look.shown = Some(batch.indices[0]);
                }
            }
            let explained = explained.expect("a network has stages");
            let classes: Vec<usize> = batch.indices.iter().map(|item| class_of[item]).collect();
            look.heat_maps.extend(batch.indices.iter().copied().zip(heat_maps(network, explained, &classes)));
            seen.extend(&batch.indices);
        }
        let mut photos: HashMap<usize, Option<RgbImage>> = HashMap::new();
        look.inside.patches = strongest.patches(|number| {
            let item = seen[number];
            let framed = Preprocessing { size: preprocessing.size.min(LARGE), ..preprocessing };
            let photo = || framed.frame_file(&items[item].path, &self.decoder()).ok();
            photos.entry(item).or_insert_with(photo).clone()
        });
        Ok(look)
    }
}
