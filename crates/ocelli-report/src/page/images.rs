//! Galleries of each class, and visualisations of the network.

use ocelli::interpret::{Inside, Interpretation, Ranking};
use ocelli_data::RgbImage;
use serde::Serialize;

use crate::pictures::{Album, Source};

#[derive(Serialize)]
pub(super) struct Gallery {
    pub(super) class: usize,
    pub(super) correct: Vec<usize>,
    pub(super) incorrect: Vec<usize>,
    pub(super) uncertain: Vec<usize>,
}

#[derive(Serialize, Default)]
pub(super) struct InsidePart {
    pub(super) filters: Option<String>,
    /// The photo, then stage by stage: title and picture.
    pub(super) photo: Option<usize>,
    pub(super) stages: Vec<(String, String)>,
    pub(super) patches: Vec<(String, String)>,
}

/// The number of top losses.
const LOSSES: usize = 24;

/// The most images of each ranking in a gallery.
const IN_A_GALLERY: usize = 8;

impl InsidePart {
    /// The visualisations of a network; `photo` is the number of the image that they are of.
    pub(super) fn new(inside: &Inside, photo: Option<usize>) -> Self {
        let stages = inside.stages.iter().map(|stage| {
            let [height, width] = stage.side;
            let title = format!("Stage {} · {} maps of {width} × {height}", stage.stage + 1, stage.channels);
            (title, jpeg(&stage.picture))
        });
        let patches = inside.patches.iter();
        Self {
            filters: inside.filters.as_ref().map(jpeg),
            photo,
            stages: stages.collect(),
            patches: patches
                .map(|patches| (format!("Stage {}", patches.stage + 1), jpeg(&patches.picture)))
                .collect(),
        }
    }
}

/// The images with the highest losses.
pub(super) fn top_losses(named: &Interpretation, album: &mut Album) -> Vec<usize> {
    let top = named.top_losses(LOSSES);
    top.iter().filter_map(|ranked| album.add(Source::Evaluated, ranked.index)).collect()
}

pub(super) fn galleries(named: &Interpretation, album: &mut Album) -> Vec<Gallery> {
    // Each class gets an equal part of the room; the classes with most errors come first.
    let classes = named.classes.len();
    let each = (Album::ROOM / 2 / (3 * classes)).clamp(1, IN_A_GALLERY);
    let wrong = |class: usize| named.rows_in_order(Ranking::MostIncorrect, class).len();
    let mut order: Vec<(usize, usize)> = (0..classes).map(|class| (wrong(class), class)).collect();
    order.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut galleries: Vec<Gallery> = order
        .into_iter()
        .map(|(_, class)| {
            let mut of = |order| {
                let indices = named.rows_in_order(order, class).into_iter().take(each);
                indices.filter_map(|index| album.add(Source::Evaluated, index)).collect()
            };
            Gallery {
                class,
                incorrect: of(Ranking::MostIncorrect),
                uncertain: of(Ranking::MostUncertain),
                correct: of(Ranking::MostCorrect),
            }
        })
        .collect();
    galleries.sort_by_key(|gallery| gallery.class);
    galleries
}

fn jpeg(image: &RgbImage) -> String {
    image.to_inline_jpeg(85)
}
