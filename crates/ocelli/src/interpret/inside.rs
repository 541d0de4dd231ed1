//! Visualisations of the network: first-layer filters, each stage's feature maps of a photo, and the image
//! patches that filters respond to most strongly (Zeiler & Fergus 2014, <https://arxiv.org/abs/1311.2901>).

use burn::tensor::Tensor;
use ocelli_data::RgbImage;
use ocelli_nn::{Backbone, Network};

/// Visualisations of a network.
#[derive(Debug, Clone)]
pub struct Inside {
    /// The first convolution's filters side by side, each on its own scale, if it takes colours.
    pub filters: Option<RgbImage>,
    /// Feature maps of every stage for one photo.
    pub stages: Vec<StagePicture>,
    /// The patches that filters of some stages respond to most strongly.
    pub patches: Vec<Patches>,
}

/// Feature maps of one stage for a photo.
#[derive(Debug, Clone)]
pub struct StagePicture {
    /// The stage, from 0.
    pub stage: usize,
    /// Channels of the stage's maps.
    pub channels: usize,
    /// Rows and columns of the stage's maps.
    pub side: [usize; 2],
    /// The channels with the strongest responses, side by side, bright where they respond.
    pub picture: RgbImage,
}

/// The patches that filters of a stage respond to most strongly: one row per filter, the strongest first.
#[derive(Debug, Clone)]
pub struct Patches {
    /// The stage, from 0.
    pub stage: usize,
    /// The channels, one per row.
    pub channels: Vec<usize>,
    /// The patches.
    pub picture: RgbImage,
}

/// Pixels of a drawn filter or patch, and of a map.
const TILE: usize = 48;
const MAP: usize = 96;
/// Maps of a stage that are shown.
const MAPS: usize = 8;
/// Filters of a stage whose patches are shown.
const FILTERS: usize = 6;
/// Patches of a filter.
const STRONGEST: usize = 9;

/// The colours of a square, row by row.
type Tile = Vec<[u8; 3]>;

/// The first convolution's filters, 8 in a row.
pub(crate) fn filters<B: Backbone>(network: &Network<B>) -> Option<RgbImage> {
    let tensors = network.to_tensors();
    let first = |name: &&str| {
        let shape = &tensors.get(name).expect("a listed name").shape;
        shape.len() == 4
            && shape[1] == 3
            && !name.starts_with("head.")
            && network.backbone().stage_of(name) == 0
    };
    let name = tensors.names().find(first)?;
    let tensor = tensors.get(name)?;
    let [filters, _, height, width] = tensor.shape[..] else { return None };
    let tiles = tensor.values.chunks_exact(3 * height * width).take(filters).map(|filter| {
        let low = filter.iter().copied().fold(f32::INFINITY, f32::min);
        let high = filter.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let scaled = |value: f32| ((value - low) / (high - low).max(f32::MIN_POSITIVE) * 255.0) as u8;
        tile(TILE, |x, y| {
            let (column, row) = (x * width / TILE, y * height / TILE);
            std::array::from_fn(|colour| scaled(filter[(colour * height + row) * width + column]))
        })
    });
    Some(sheet(tiles.collect(), TILE, 8))
}

/// Collects the strongest responses while batches of photos pass through the stages.
pub(crate) struct Strongest {
    /// For each watched stage: its number, its channels, and for each the strongest responses so far.
    watched: Vec<Watched>,
}

struct Watched {
    stage: usize,
    channels: Vec<usize>,
    strongest: Vec<Vec<Response>>,
}

/// Where a filter responds: in which photo, at which point from 0 to 1, and the side of its patch as a
/// fraction.
#[derive(Debug, Clone, Copy)]
struct Response {
    strength: f32,
    photo: usize,
    point: [f64; 2],
    part: f64,
}

impl Strongest {
    /// Watches an early, a middle and a late stage.
    pub(crate) fn new<B: Backbone>(network: &Network<B>) -> Self {
        let stages = network.backbone().stages();
        let mut chosen = vec![stages / 4, stages / 2, stages - 1];
        chosen.dedup();
        let watched = chosen.into_iter().map(|stage| Watched { stage, channels: vec![], strongest: vec![] });
        Self { watched: watched.collect() }
    }

    /// Takes the maps `[photos, channels, height, width]` of a stage, of the photos from `first` on.
    pub(crate) fn look(&mut self, stage: usize, maps: &Tensor<4>, first: usize) {
        let Some(watched) = self.watched.iter_mut().find(|watched| watched.stage == stage) else { return };
        let [photos, channels, height, width] = maps.dims();
        let values =
            maps.clone().inner().into_data().convert::<f32>().try_into_vec::<f32>().expect("converted");
        let map = |photo: usize, channel: usize| {
            &values[(photo * channels + channel) * height * width..][..height * width]
        };
        if watched.channels.is_empty() {
            let highest = |photo, channel| map(photo, channel).iter().copied().fold(f32::MIN, f32::max);
            watched.channels =
                choosy(channels, |channel| (0..photos).map(|photo| highest(photo, channel)).collect());
            watched.strongest = vec![Vec::new(); watched.channels.len()];
        }
        for (channel, strongest) in watched.channels.iter().zip(&mut watched.strongest) {
            for photo in 0..photos {
                let map = map(photo, *channel);
                let best = (0..map.len()).fold(0, |best, at| if map[at] > map[best] { at } else { best });
                let middle = |at: usize, of: usize| (at as f64 + 0.5) / of as f64;
                strongest.push(Response {
                    strength: map[best],
                    photo: first + photo,
                    point: [middle(best % width, width), middle(best / width, height)],
                    // The receptive field of deeper filters is larger than their stride: about twice, up to
                    // the whole photo.
                    part: (2.5 / width.min(height) as f64).min(1.0),
                });
            }
            strongest.sort_by(|a, b| b.strength.total_cmp(&a.strength));
            strongest.truncate(STRONGEST);
        }
    }

    /// The patches, cropped from photos that `photo` loads by number; `None` if there was no photo.
    pub(crate) fn patches(&self, mut photo: impl FnMut(usize) -> Option<RgbImage>) -> Vec<Patches> {
        let mut found = Vec::new();
        for watched in self.watched.iter().filter(|watched| !watched.channels.is_empty()) {
            let mut tiles = Vec::new();
            for response in watched.strongest.iter().flatten() {
                tiles.push(photo(response.photo).map_or_else(blank, |photo| cut(&photo, response)));
            }
            // A row with fewer patches than others would shift those below it.
            if watched.strongest.iter().all(|row| row.len() == watched.strongest[0].len())
                && !tiles.is_empty()
            {
                let columns = watched.strongest[0].len();
                let picture = sheet(tiles, TILE, columns);
                found.push(Patches { stage: watched.stage, channels: watched.channels.clone(), picture });
            }
        }
        found
    }
}

/// The feature maps of a stage for one photo: its maps `[1, channels, height, width]`, or the first photo's.
pub(crate) fn stage_picture(stage: usize, maps: &Tensor<4>) -> StagePicture {
    let [_, channels, height, width] = maps.dims();
    let first = maps.clone().inner().slice([0..1, 0..channels, 0..height, 0..width]);
    let values = first.into_data().convert::<f32>().try_into_vec::<f32>().expect("converted");
    let map = |channel: usize| &values[channel * height * width..][..height * width];
    let mut order: Vec<usize> = (0..channels).collect();
    let spread: Vec<f32> = (0..channels).map(|channel| deviation(map(channel))).collect();
    order.sort_by(|&a, &b| spread[b].total_cmp(&spread[a]));
    let tiles = order.into_iter().take(MAPS).map(|channel| {
        let map = map(channel);
        let low = map.iter().copied().fold(f32::INFINITY, f32::min);
        let high = map.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let scale = 255.0 / (high - low).max(f32::MIN_POSITIVE);
        // Pixels of large maps are averaged; single points would be noise.
        let part = |at: usize, of: usize| at * of / MAP..((at + 1) * of / MAP).max(at * of / MAP + 1);
        tile(MAP, |x, y| {
            let (columns, rows) = (part(x, width), part(y, height));
            let count = columns.len() * rows.len();
            let sum: f32 = rows.map(|row| map[row * width..][columns.clone()].iter().sum::<f32>()).sum();
            [((sum / count as f32 - low) * scale) as u8; 3]
        })
    });
    let picture = sheet(tiles.collect(), MAP, MAPS);
    StagePicture { stage, channels, side: [height, width], picture }
}

/// Channels spread over the whole range: of each part, the one whose strongest response varies most between
/// photos.
fn choosy(channels: usize, highest: impl Fn(usize) -> Vec<f32>) -> Vec<usize> {
    let parts = FILTERS.min(channels);
    (0..parts)
        .map(|part| {
            let range = part * channels / parts..(part + 1) * channels / parts;
            let spread = |channel: &usize| deviation(&highest(*channel));
            range.max_by(|a, b| spread(a).total_cmp(&spread(b))).expect("a part has channels")
        })
        .collect()
}

fn deviation(values: &[f32]) -> f32 {
    let mean = values.iter().sum::<f32>() / values.len() as f32;
    values.iter().map(|value| (value - mean).powi(2)).sum::<f32>()
}

/// The patch of a photo that a filter responds to.
fn cut(photo: &RgbImage, response: &Response) -> Tile {
    let (width, height) = (photo.width() as usize, photo.height() as usize);
    let start = |point: f64| (point - response.part / 2.0).clamp(0.0, 1.0 - response.part);
    let (left, top) = (start(response.point[0]), start(response.point[1]));
    tile(TILE, |x, y| {
        let at = |start: f64, pixel: usize, of: usize| {
            let at = start + response.part * (pixel as f64 + 0.5) / TILE as f64;
            ((at * of as f64) as usize).min(of - 1)
        };
        let index = (at(top, y, height) * width + at(left, x, width)) * 3;
        std::array::from_fn(|colour| photo.pixels()[index + colour])
    })
}

fn blank() -> Tile {
    vec![[128; 3]; TILE * TILE]
}

fn tile(side: usize, colour: impl Fn(usize, usize) -> [u8; 3]) -> Tile {
    (0..side * side).map(|index| colour(index % side, index / side)).collect()
}

/// Tiles of this size in pixels next to each other, with a grey line between them.
fn sheet(tiles: Vec<Tile>, tile: usize, columns: usize) -> RgbImage {
    const GAP: usize = 2;
    let columns = columns.min(tiles.len()).max(1);
    let rows = tiles.len().div_ceil(columns);
    let side = |count: usize| count * (tile + GAP) - GAP;
    let (width, height) = (side(columns), side(rows));
    let mut pixels = vec![[128u8; 3]; width * height];
    for (tile_index, colours) in tiles.iter().enumerate() {
        let (left, top) = (tile_index % columns * (tile + GAP), tile_index / columns * (tile + GAP));
        for (row, line) in colours.chunks_exact(tile).enumerate() {
            pixels[(top + row) * width + left..][..tile].copy_from_slice(line);
        }
    }
    RgbImage::new(width as u32, height as u32, pixels.concat()).expect("tiles fill the sheet")
}
