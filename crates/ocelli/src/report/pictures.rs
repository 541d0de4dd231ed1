//! The images on a page: small, framed as the network sees them, some with their heat maps.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ocelli_data::{BadImages, Decoder, Loader, LoaderOptions, Preprocessing, RgbImage};
use ocelli_nn::Backbone;
use rayon::prelude::*;
use serde::Serialize;

use super::Subject;
use crate::data::to_tensor::to_tensor;
use crate::error::Result;
use crate::interpret::Interpretation;
use crate::interpret::{
    HeatMap, Inside, Strongest, explained_stages, filters, heat_maps, in_place, stage_picture,
};

/// Where an image's predictions are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// Among those that were measured on.
    Measured,
    /// Among those whose labels are in doubt.
    Doubted,
}

/// Chooses the images of a page, each once, the most important first, as long as there is room.
#[derive(Default)]
pub(super) struct Album {
    chosen: Vec<(Source, usize)>,
    numbers: HashMap<(Source, usize), usize>,
    counts: [usize; 2],
}

/// An image on the page.
#[derive(Serialize)]
pub(super) struct Picture {
    id: String,
    /// The address of a JPEG that is in it; empty where the image is not shown.
    jpeg: String,
    /// Why it is not shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'static str>,
    truth: Vec<usize>,
    said: Vec<usize>,
    /// The most probable classes.
    top: Vec<(usize, f32)>,
    loss: f64,
    /// Where the network looks for what it says: columns, rows, bytes in base 64.
    heat: Option<(usize, usize, String)>,
}

/// The side of a small image, and of one whose label is to be judged.
const SIDE: usize = 128;
const SIDE_TO_JUDGE: usize = 224;
const QUALITY: u8 = 70;
/// Images that get a heat map: the first that were chosen.
const HEAT_MAPS: usize = 192;
/// Images that pass through the network at once.
const BATCH: usize = 32;
/// Classes whose probabilities stand under an image.
const TOP: usize = 3;

impl Album {
    /// So many images that were measured on have room: about 4 MB.
    pub(super) const ROOM: usize = 640;
    /// So many whose labels are in doubt.
    const ROOM_FOR_DOUBTS: usize = 180;

    /// The image's number on the page; nothing where there is no more room.
    pub(super) fn add(&mut self, source: Source, place: usize) -> Option<usize> {
        let (kind, room) = match source {
            Source::Measured => (0, Self::ROOM),
            Source::Doubted => (1, Self::ROOM_FOR_DOUBTS),
        };
        if let Some(&number) = self.numbers.get(&(source, place)) {
            return Some(number);
        }
        if self.counts[kind] == room {
            return None;
        }
        self.counts[kind] += 1;
        let number = self.chosen.len();
        self.chosen.push((source, place));
        self.numbers.insert((source, place), number);
        Some(number)
    }

    /// Whether the image is on the page.
    pub(super) fn has(&self, source: Source, place: usize) -> bool {
        self.numbers.contains_key(&(source, place))
    }

    /// Makes the pictures, and those of the inside on the way; then the number of the photo that those show.
    pub(super) fn develop(&self, subject: &Subject) -> Result<(Vec<Picture>, Inside, Option<usize>)> {
        let of = |source: Source| match source {
            Source::Measured => subject.named,
            Source::Doubted => subject.doubts.map_or(subject.named, |doubts| &doubts.named),
        };
        let seen = subject.model.contract().preprocessing;
        let side = |source| match source {
            Source::Doubted => SIDE_TO_JUDGE,
            Source::Measured => SIDE.min(seen.size),
        };
        let lost = Whereabouts::of(subject);
        let jpegs: Vec<std::result::Result<String, &'static str>> = self
            .chosen
            .par_iter()
            .map(|&(source, place)| {
                if let Some(why) = lost.of_id(&of(source).ids[place]) {
                    return Err(why);
                }
                if subject.stop.is_set() {
                    return Err("left out");
                }
                let small = Preprocessing { size: side(source), ..seen };
                let image = framed(&of(source).paths[place], &subject.model.decoder(), &small)
                    .ok_or("cannot be read")?;
                Ok(image.to_inline_jpeg(QUALITY))
            })
            .collect();
        subject.stop.ask()?;
        let (mut heat, inside, photo) = self.look(subject, &lost)?;
        let pictures = self.chosen.iter().zip(jpegs).enumerate();
        let pictures = pictures
            .map(|(number, (&(source, place), jpeg))| picture(of(source), place, jpeg, heat.remove(&number)));
        Ok((pictures.collect(), inside, photo))
    }

    /// Passes the first images that were measured on through the network.
    fn look(&self, subject: &Subject, lost: &Whereabouts) -> Result<Looked> {
        let measured = self.chosen.iter().enumerate().filter(|(_, (source, _))| *source == Source::Measured);
        let measured = measured.filter(|(_, (_, place))| lost.of_id(&subject.named.ids[*place]).is_none());
        let numbers: Vec<(usize, usize)> =
            measured.map(|(number, &(_, place))| (number, place)).take(HEAT_MAPS).collect();
        let (network, named) = (&subject.model.network, subject.named);
        let mut inside = Inside { filters: filters(network), stages: Vec::new(), patches: Vec::new() };
        let (mut found, mut photo) = (HashMap::new(), None);
        if numbers.is_empty() {
            return Ok((found, inside, photo));
        }
        let preprocessing = subject.model.contract().preprocessing;
        let options = LoaderOptions {
            batch_size: BATCH,
            threads: subject.threads,
            bad_images: BadImages::Skip,
            decoder: subject.model.decoder(),
            ..LoaderOptions::default()
        };
        let loader = Loader::new(Arc::new(subject.data.items().clone()), preprocessing, options)?;
        let items: Vec<usize> = numbers.iter().map(|&(_, place)| named.predictions.items()[place]).collect();
        let by_item: HashMap<usize, (usize, usize)> = items.iter().copied().zip(numbers).collect();
        let mut strongest = Strongest::new(network);
        let mut looked_at: Vec<usize> = Vec::new();
        for batch in loader.batches(items, 0)? {
            subject.stop.ask()?;
            let mut batch = batch?;
            if batch.indices.is_empty() {
                continue;
            }
            let (mut maps, mut explained) = (to_tensor(&mut batch, &network.device()), None);
            for stage in 0..network.backbone().stages() {
                maps = network.infer_stages(maps, stage, stage + 1);
                if stage + 1 == explained_stages(network) {
                    explained = Some(maps.clone());
                }
                let seen = in_place(network, maps.clone());
                strongest.look(stage, &seen, looked_at.len());
                if looked_at.is_empty() {
                    inside.stages.push(stage_picture(stage, &seen));
                    photo = Some(by_item[&batch.indices[0]].0);
                }
            }
            let explained = explained.expect("a network has stages");
            let classes: Vec<usize> =
                batch.indices.iter().map(|item| likeliest(named.predictions.row(by_item[item].1))).collect();
            for (item, heat) in batch.indices.iter().zip(heat_maps(network, explained, &classes)) {
                found.insert(by_item[item].0, heat);
            }
            looked_at.extend(&batch.indices);
        }
        let large = Preprocessing { size: preprocessing.size.min(448), ..preprocessing };
        let items = subject.data.items();
        let mut kept: HashMap<usize, Option<RgbImage>> = HashMap::new();
        inside.patches = strongest.patches(|place| {
            let item = looked_at[place];
            kept.entry(item)
                .or_insert_with(|| framed(&items[item].path, &subject.model.decoder(), &large))
                .clone()
        });
        Ok((found, inside, photo))
    }
}

/// A photo as the network sees it, of another size.
fn framed(path: &Path, decoder: &Decoder, preprocessing: &Preprocessing) -> Option<RgbImage> {
    let image = decoder.decode_file_for(path, preprocessing.needed()).ok()?;
    preprocessing.frame(&image).ok()
}

/// Heat maps by the numbers of their images, what is inside, and the number of the image that shows it.
type Looked = (HashMap<usize, HeatMap>, Inside, Option<usize>);

/// Which images are not shown since they are not what they were, and why.
struct Whereabouts<'a>(HashMap<&'a str, &'static str>);

impl<'a> Whereabouts<'a> {
    fn of(subject: &'a Subject) -> Self {
        let missing = subject.lost.missing.iter().map(|id| (id.as_str(), "not there any more"));
        let changed = subject.lost.changed.iter().map(|id| (id.as_str(), "changed since"));
        Self(missing.chain(changed).collect())
    }

    fn of_id(&self, id: &str) -> Option<&'static str> {
        self.0.get(id).copied()
    }
}

fn picture(
    named: &Interpretation,
    place: usize,
    jpeg: std::result::Result<String, &'static str>,
    heat: Option<HeatMap>,
) -> Picture {
    let row = named.predictions.row(place);
    let mut order: Vec<usize> = (0..row.len()).collect();
    order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
    Picture {
        id: named.ids[place].clone(),
        why: jpeg.as_ref().err().copied(),
        jpeg: jpeg.unwrap_or_default(),
        truth: named.truth(place).to_vec(),
        said: named.predictions.predicted_labels(place),
        top: order.into_iter().take(TOP).map(|class| (class, row[class])).collect(),
        loss: named.predictions.losses()[place],
        heat: heat.map(|heat| {
            let bytes: Vec<u8> = heat.values.iter().map(|value| (value * 255.0) as u8).collect();
            (heat.width, heat.height, STANDARD.encode(&bytes))
        }),
    }
}

/// The class of the highest probability.
fn likeliest(row: &[f32]) -> usize {
    (0..row.len()).fold(0, |best, class| if row[class] > row[best] { class } else { best })
}
