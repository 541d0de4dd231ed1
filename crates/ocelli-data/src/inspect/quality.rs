//! Photos with nothing to see in them: blank, nearly black, nearly white, very blurred.
//!
//! The measures and their thresholds are CleanVision's (<https://github.com/cleanlab/cleanvision>, version
//! 0.3): they are set so that what is listed is nearly always rightly so, and much that people would call
//! dark or blurred is not.

use serde::Serialize;

use super::ImageFacts;
use super::report::{Case, Report};
use crate::resize::{Filter, Resize};
use crate::text::count;
use crate::{Decoder, Items, RgbImage};

/// Blank: fewer bits of entropy.
const LEAST_ENTROPY: f32 = 3.0;
/// Nearly black: 99 % of the pixels are darker than this part of white …
const DARK: f32 = 0.32;
/// … and nearly white: 95 % are lighter than this.
const LIGHT: f32 = 0.95;
/// Very blurred: a lower score of sharpness.
const LEAST_SHARPNESS: f32 = 0.29;
/// Sharpness is measured with the longer side at this length.
const SHARPNESS_SIDE: u32 = 64;
/// The part that few grey levels add to sharpness counts from here on: drawings have no texture.
const FEW_LEVELS: f64 = 0.18;
/// Samples of more than 8 bits are nearly black where they reach no more than this part of white in the whole
/// data set.
const LEAST_REACH: f64 = 0.25;

const BINS: usize = 4096;

/// What can be seen in a photo.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quality {
    /// The entropy of the pixels' values in bits, 0 to 9.6.
    pub entropy: f32,
    /// The brightness that 99 % of the pixels do not exceed, 0 (black) to 1 (white).
    pub bright: f32,
    /// The brightness that 5 % of the pixels do not exceed.
    pub dark: f32,
    /// How much the photo changes from pixel to pixel at a length of 64, 0 to 1.
    pub sharpness: f32,
}

impl Quality {
    /// Measures an image.
    pub fn of(image: &RgbImage) -> Self {
        let pixels = image.pixels().as_chunks::<3>().0;
        let mut values = [0u64; 256 * 3];
        let mut brightness = vec![0u64; BINS];
        for pixel in pixels {
            let [red, green, blue] = pixel.map(usize::from);
            values[red] += 1;
            values[256 + green] += 1;
            values[512 + blue] += 1;
            let squares =
                0.241 * (red * red) as f32 + 0.691 * (green * green) as f32 + 0.068 * (blue * blue) as f32;
            brightness[(squares.sqrt() / 255.0 * (BINS - 1) as f32 + 0.5) as usize] += 1;
        }
        // Of a grey image the three bands are one.
        let grey = pixels.iter().all(|[red, green, blue]| red == green && green == blue);
        let values = if grey { &values[..256] } else { &values[..] };
        Quality {
            entropy: entropy(values) as f32,
            bright: percentile(&brightness, pixels.len(), 0.99),
            dark: percentile(&brightness, pixels.len(), 0.05),
            sharpness: sharpness(image) as f32,
        }
    }

    fn is_blank(&self) -> bool {
        self.entropy < LEAST_ENTROPY
    }

    fn is_black(&self) -> bool {
        !self.is_blank() && self.bright < DARK
    }

    fn is_white(&self) -> bool {
        !self.is_blank() && self.dark > LIGHT
    }

    fn is_blurred(&self) -> bool {
        !self.is_blank() && !self.is_black() && !self.is_white() && self.sharpness < LEAST_SHARPNESS
    }
}

/// The number that is white, to judge by the largest one that occurs.
fn white_of(largest: f64) -> f64 {
    if largest >= 1.0 { 2f64.powf((largest + 1.0).log2().ceil()) - 1.0 } else { largest }
}

/// The range to try where all values lie between these.
fn range_to_try(smallest: f64, largest: f64) -> String {
    let white = white_of(largest);
    match smallest < 0.0 {
        // With an equals sign: a number that begins with a minus would be taken for another option.
        true => format!("the range {smallest},{white} (`value_range`={smallest},{white})"),
        false => format!("the range 0,{white} (`value_range`)"),
    }
}

/// Some of the images, spread over all, which are looked at for a notice.
fn some(indices: &[usize]) -> impl Iterator<Item = &usize> {
    const SOME: usize = 16;
    indices.iter().step_by(indices.len().div_ceil(SOME).max(1))
}

/// A notice that images have more bands than red, green, blue and alpha, of which three are read; a few of them tell.
pub fn images_of_many_bands(items: &Items, indices: &[usize], decoder: &Decoder) -> Option<String> {
    if decoder.channels.bands.is_some() {
        return None;
    }
    let bands =
        |index: &usize| decoder.probe_file(&items[*index].path).ok().map(|probe| probe.colour.channels);
    let most = some(indices).filter_map(bands).max().filter(|bands| *bands > 4)?;
    Some(format!(
        "images have {most} bands, of which the first three are read as red, green and blue; `bands` chooses others"
    ))
}

/// A notice that images have further pages or frames, which are not read; a few of them tell.
pub fn images_of_several_pages(items: &Items, indices: &[usize], decoder: &Decoder) -> Option<String> {
    let frames = |index: &&usize| {
        Some(decoder.probe_file(&items[**index].path).ok()?.frames).filter(|&frames| frames > 1)
    };
    let first = some(indices).find(|index| frames(index).is_some())?;
    Some(format!(
        "images have several pages or frames, of which the first is read, such as {} with {}",
        items[*first].id,
        count(frames(&first)? as usize)
    ))
}

/// A warning that images of more than 8 bits hold far smaller numbers than they could, and so are nearly of one
/// colour; a few of them tell.
pub fn shallow_images(items: &Items, indices: &[usize], decoder: &Decoder) -> Option<String> {
    if decoder.channels.value_range.is_some() {
        return None;
    }
    let (mut reach, mut smallest, mut largest, mut looked) = (0.0f64, 0.0f64, f64::NEG_INFINITY, 0);
    for &index in some(indices) {
        let path = &items[index].path;
        let Some((_, levels)) =
            std::fs::read(path).ok().and_then(|bytes| decoder.decode_and_look(path, &bytes).ok())
        else {
            continue;
        };
        // Usually the first has 8 bits, and is all that is read.
        let levels = levels?;
        (reach, largest, looked) = (reach.max(levels.reach), largest.max(levels.largest), looked + 1);
        smallest = smallest.min(levels.smallest);
    }
    (looked > 0 && largest > 0.0 && reach <= LEAST_REACH).then(|| {
        format!(
            "warning: images of more than 8 bits are seen nearly black or in one grey: of {looked}, the largest value is \
             {largest}; try {}",
            range_to_try(smallest, largest)
        )
    })
}

fn entropy(counts: &[u64]) -> f64 {
    let total = counts.iter().sum::<u64>().max(1) as f64;
    let parts = counts.iter().filter(|&&count| count > 0).map(|&count| count as f64 / total);
    parts.map(|part| part * part.recip().log2()).sum()
}

/// The value below which a part of the pixels lies, by the bins of their values.
fn percentile(bins: &[u64], total: usize, part: f64) -> f32 {
    let rank = part * (total.max(1) - 1) as f64;
    let mut before = 0.0;
    for (bin, &count) in bins.iter().enumerate() {
        before += count as f64;
        if before > rank {
            return bin as f32 / (bins.len() - 1) as f32;
        }
    }
    1.0
}

/// How strong edges are, and how unevenly grey levels are used.
fn sharpness(image: &RgbImage) -> f64 {
    let (width, height) = (image.width(), image.height());
    let longer = width.max(height);
    let small = match longer > SHARPNESS_SIDE {
        false => image.pixels().to_vec(),
        true => {
            let ratio = f64::from(longer) / f64::from(SHARPNESS_SIDE);
            let side = |side: u32| ((f64::from(side) / ratio).floor() as u32).max(1);
            let resize = Resize::whole(image, (side(width), side(height)));
            let (width, height) = resize.size();
            return sharpness_of(&resize.pixels(image, Filter::Bicubic), width as usize, height as usize);
        }
    };
    sharpness_of(&small, width as usize, height as usize)
}

fn sharpness_of(pixels: &[u8], width: usize, height: usize) -> f64 {
    // Pillow's grey.
    let grey = |[red, green, blue]: &[u8; 3]| {
        ((u32::from(*red) * 19595 + u32::from(*green) * 38470 + u32::from(*blue) * 7471 + 0x8000) >> 16)
            as i32
    };
    let grey: Vec<i32> = pixels.as_chunks().0.iter().map(grey).collect();
    let mut levels = [0.0f64; 256];
    grey.iter().for_each(|&level| levels[level as usize] += 1.0);
    // Pillow's FIND_EDGES, which leaves the border as it is.
    let edge = |at: usize| {
        let (x, y) = (at % width, at / width);
        if x == 0 || y == 0 || x + 1 == width || y + 1 == height {
            return f64::from(grey[at]);
        }
        let around: i32 =
            [at - width, at, at + width].iter().map(|&at| grey[at - 1] + grey[at] + grey[at + 1]).sum();
        f64::from((9 * grey[at] - around).clamp(0, 255))
    };
    let edges: Vec<f64> = (0..grey.len()).map(edge).collect();
    let score = |deviation: f64| 1.0 - (-0.01 * deviation).exp();
    let levels = score(deviation(&levels));
    let levels = if levels <= FEW_LEVELS { 0.0 } else { levels };
    (score(deviation(&edges)) + levels).min(1.0)
}

/// The standard deviation of all values.
fn deviation(values: &[f64]) -> f64 {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt()
}

/// A title, what to do, and the cases.
type Found = (&'static str, &'static str, Vec<Case>);

impl Report {
    fn seen(&self, matches: impl Fn(&Quality) -> bool, text: impl Fn(&Quality) -> String) -> Vec<Case> {
        let case = |image: &ImageFacts| {
            let quality = image.quality.as_ref().filter(|quality| matches(quality))?;
            let text = format!("{}: {}", self.items[image.item].id, text(quality));
            Some(Case { items: vec![image.item], text })
        };
        self.inspection.images.iter().filter_map(case).collect()
    }

    pub(super) fn blank(&self) -> Found {
        let text = |quality: &Quality| format!("{:.1} bits of entropy", quality.entropy);
        (
            "blank, or nearly so",
            "look whether there is anything to learn from in them",
            self.seen(Quality::is_blank, text),
        )
    }

    pub(super) fn black(&self) -> Found {
        let text =
            |quality: &Quality| format!("99 % of it is darker than {:.0} % of white", 100.0 * quality.bright);
        (
            "nearly black",
            "look whether anything can be seen in them; a range of values may make them lighter",
            self.seen(Quality::is_black, text),
        )
    }

    pub(super) fn white(&self) -> Found {
        let text =
            |quality: &Quality| format!("95 % of it is lighter than {:.0} % of white", 100.0 * quality.dark);
        ("nearly white", "look whether anything can be seen in them", self.seen(Quality::is_white, text))
    }

    pub(super) fn blurred(&self) -> Found {
        let text = |quality: &Quality| format!("sharpness {:.2} of 1", quality.sharpness);
        (
            "very blurred",
            "check whether their classes can be recognised",
            self.seen(Quality::is_blurred, text),
        )
    }

    /// Deep samples that use a small part of their depth in all files: 12 bits in 16.
    pub(super) fn shallow(&self) -> Found {
        let deep = || self.inspection.images.iter().filter_map(|image| Some((image, image.levels?)));
        let reach = deep().map(|(_, levels)| levels.reach).fold(0.0, f64::max);
        let largest = deep().map(|(_, levels)| levels.largest).fold(f64::NEG_INFINITY, f64::max);
        let smallest = deep().map(|(_, levels)| levels.smallest).fold(0.0, f64::min);
        let mut cases = Vec::new();
        if largest > 0.0 && reach <= LEAST_REACH {
            let items: Vec<usize> = deep().map(|(image, _)| image.item).collect();
            let text = format!(
                "{} images of more than 8 bits; the largest value in them is {largest}: try {}",
                count(items.len()),
                range_to_try(smallest, largest)
            );
            cases.push(Case { items, text });
        }
        ("deeper than what they hold, and so nearly black", "say which values are black and white", cases)
    }

    pub(super) fn pages(&self) -> Found {
        let case = |image: &ImageFacts| {
            let frames = image.probe.filter(|probe| probe.frames > 1 && image.problem.is_none())?.frames;
            let text = format!("{} has {}", self.items[image.item].id, count(frames as usize));
            Some(Case { items: vec![image.item], text })
        };
        let cases = self.inspection.images.iter().filter_map(case).collect();
        ("of several pages or frames", "only the first of each is read", cases)
    }
}
