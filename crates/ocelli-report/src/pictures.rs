//! The images on a page: thumbnails, preprocessed as the network sees them, some with heat maps.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ocelli::interpret::{HeatMap, Inside, Interpretation};
use ocelli::{Preprocessing, Result};
use rayon::prelude::*;
use serde::Serialize;

use crate::Subject;

/// Which predictions an image belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// Those of the evaluation.
    Evaluated,
    /// Those of the label review.
    Reviewed,
}

/// Chooses the images of a page, each once, the most important first, as long as there is room.
#[derive(Default)]
pub(crate) struct Album {
    chosen: Vec<(Source, usize)>,
    numbers: HashMap<(Source, usize), usize>,
    counts: [usize; 2],
}

/// An image on the page.
#[derive(Serialize)]
pub(crate) struct Picture {
    id: String,
    /// A data URL of a JPEG; empty if the image is not shown.
    jpeg: String,
    /// Why it is not shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'static str>,
    truth: Vec<usize>,
    predicted: Vec<usize>,
    /// The most probable classes.
    top: Vec<(usize, f32)>,
    loss: f64,
    /// The heat map of the predicted class: columns, rows, bytes in base64.
    heat: Option<(usize, usize, String)>,
}

/// The side of a thumbnail, and of one whose label is to be reviewed.
const SIDE: usize = 128;
const SIDE_TO_JUDGE: usize = 224;
const QUALITY: u8 = 70;
/// The number of images with a heat map: those chosen first.
const HEAT_MAPS: usize = 192;
/// The number of classes whose probabilities are shown below an image.
const TOP: usize = 3;

impl Album {
    /// The most evaluated images: about 4 MB.
    pub(crate) const ROOM: usize = 640;
    /// The most images of the label review.
    const ROOM_FOR_REVIEW: usize = 180;

    /// The image's number on the page; `None` if there is no more room.
    pub(crate) fn add(&mut self, source: Source, index: usize) -> Option<usize> {
        let (kind, room) = match source {
            Source::Evaluated => (0, Self::ROOM),
            Source::Reviewed => (1, Self::ROOM_FOR_REVIEW),
        };
        if let Some(&number) = self.numbers.get(&(source, index)) {
            return Some(number);
        }
        if self.counts[kind] == room {
            return None;
        }
        self.counts[kind] += 1;
        let number = self.chosen.len();
        self.chosen.push((source, index));
        self.numbers.insert((source, index), number);
        Some(number)
    }

    /// Whether the image is on the page.
    pub(crate) fn has(&self, source: Source, index: usize) -> bool {
        self.numbers.contains_key(&(source, index))
    }

    /// Makes the thumbnails, and the visualisations of the network; returns the number of the photo in those.
    pub(crate) fn develop(&self, subject: &Subject) -> Result<(Vec<Picture>, Inside, Option<usize>)> {
        let &Subject { named, review, ref stop, .. } = subject;
        let of = |source: Source| match source {
            Source::Evaluated => named,
            Source::Reviewed => review.map_or(named, |review| &review.predictions),
        };
        let (seen, decoder) = (subject.model.config().preprocessing, subject.model.decoder());
        let side = |source| match source {
            Source::Reviewed => SIDE_TO_JUDGE,
            Source::Evaluated => SIDE.min(seen.size),
        };
        let lost = Whereabouts::of(subject);
        let jpegs: Vec<std::result::Result<String, &'static str>> = self
            .chosen
            .par_iter()
            .map(|&(source, index)| {
                if let Some(why) = lost.of_id(&of(source).ids[index]) {
                    return Err(why);
                }
                if stop.is_set() {
                    return Err("left out");
                }
                let framed = Preprocessing { size: side(source), ..seen };
                let image = framed.frame_file(&of(source).paths[index], &decoder);
                let image = image.map_err(|_| "cannot be read")?;
                Ok(image.to_inline_jpeg(QUALITY))
            })
            .collect();
        stop.check()?;
        let (mut heat, inside, photo) = self.look(subject, &lost)?;
        let pictures = self.chosen.iter().zip(jpegs).enumerate();
        let pictures = pictures
            .map(|(number, (&(source, index), jpeg))| picture(of(source), index, jpeg, heat.remove(&number)));
        Ok((pictures.collect(), inside, photo))
    }

    /// Passes the first evaluated images through the network: heat maps by the numbers of images here,
    /// visualisations, and the number of the image that they show.
    fn look(
        &self,
        subject: &Subject,
        lost: &Whereabouts,
    ) -> Result<(HashMap<usize, HeatMap>, Inside, Option<usize>)> {
        let named = subject.named;
        let measured = self.chosen.iter().enumerate().filter(|(_, (source, _))| *source == Source::Evaluated);
        let measured = measured.filter(|(_, (_, row))| lost.of_id(&named.ids[*row]).is_none());
        let (mut images, mut numbers) = (Vec::new(), HashMap::new());
        for (number, &(_, row)) in measured.take(HEAT_MAPS) {
            let item = named.predictions.items()[row];
            images.push((item, named.predictions.most_probable(row)));
            numbers.insert(item, number);
        }
        let look = subject.model.look_at(subject.data.items(), &images, subject.threads, &subject.stop)?;
        let heat = look.heat_maps.into_iter().map(|(item, heat)| (numbers[&item], heat)).collect();
        Ok((heat, look.inside, look.shown.map(|item| numbers[&item])))
    }
}

/// Which images are not shown because they are missing or have changed.
struct Whereabouts<'a>(HashMap<&'a str, &'static str>);

impl<'a> Whereabouts<'a> {
    fn of(subject: &'a Subject) -> Self {
        let missing = subject.lost.missing.iter().map(|id| (id.as_str(), "no longer there"));
        let changed = subject.lost.changed.iter().map(|id| (id.as_str(), "changed since the run"));
        Self(missing.chain(changed).collect())
    }

    fn of_id(&self, id: &str) -> Option<&'static str> {
        self.0.get(id).copied()
    }
}

fn picture(
    named: &Interpretation,
    index: usize,
    jpeg: std::result::Result<String, &'static str>,
    heat: Option<HeatMap>,
) -> Picture {
    let row = named.predictions.row(index);
    let mut order: Vec<usize> = (0..row.len()).collect();
    order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
    Picture {
        id: named.ids[index].clone(),
        why: jpeg.as_ref().err().copied(),
        jpeg: jpeg.unwrap_or_default(),
        truth: named.truth(index).to_vec(),
        predicted: named.predictions.predicted_labels(index),
        top: order.into_iter().take(TOP).map(|class| (class, row[class])).collect(),
        loss: named.predictions.losses()[index],
        heat: heat.map(|heat| {
            let bytes: Vec<u8> = heat.values.iter().map(|value| (value * 255.0) as u8).collect();
            (heat.width, heat.height, STANDARD.encode(&bytes))
        }),
    }
}
