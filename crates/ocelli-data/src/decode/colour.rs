//! Colour profiles: RGB images in another space than sRGB (Display P3 of phones, Adobe RGB of cameras) become
//! sRGB.
//!
//! Profiles of primaries and curves are followed, relative to the medium's white. Those of printers and
//! scanners, with tables instead, and those of grey and CMYK are not; nor is a profile that is damaged. An
//! image without a profile is taken for sRGB, and one whose profile is sRGB in all but name stays as it is,
//! to the bit.
//!
//! ICC.1:2022. The sums are done here, in one order on every machine, where the library takes the widest
//! instructions that it finds.

use std::cell::RefCell;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use image::{ImageDecoder, ImageReader};
use moxcms::{ColorProfile, DataColorSpace, ToneReprCurve};

use super::{Format, RgbImage, jpeg, tiff};

/// Larger profiles are not those of primaries and curves.
const MOST_BYTES: usize = 1 << 20;
/// A profile whose colours differ from sRGB's by at most this much is sRGB.
const ALIKE: u8 = 2;
/// Steps of linear light in the table of sRGB's curve.
const STEPS: usize = 1 << 14;

/// Makes the colours of an image those of sRGB, as its file's profile tells.
pub(super) fn to_srgb(mut image: RgbImage, bytes: &[u8], format: Format) -> RgbImage {
    if let Some(profile) = profile(bytes, format)
        && let Some(conversion) = conversion(&profile)
    {
        image.pixels.as_chunks_mut::<3>().0.iter_mut().for_each(|pixel| *pixel = conversion.of(*pixel));
    }
    image
}

/// The profile in a file.
fn profile(bytes: &[u8], format: Format) -> Option<Vec<u8>> {
    let profile = match format {
        Format::Jpeg => in_jpeg(bytes)?,
        Format::Tiff => tiff::profile(bytes)?,
        Format::Heic => {
            let file = heifer_isobmff::HeifFile::parse(bytes).ok()?;
            let id = file.primary_item().ok()?.id;
            file.icc_profile(id).ok()??.to_vec()
        }
        Format::Png | Format::WebP => {
            let reader = ImageReader::with_format(Cursor::new(bytes), format.kind()?);
            reader.into_decoder().ok()?.icc_profile().ok()??
        }
        _ => return None,
    };
    (profile.len() <= MOST_BYTES).then_some(profile)
}

/// The parts of a profile in their order, from the segments before the first scan.
fn in_jpeg(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<(u8, &[u8])> = Vec::new();
    for segment in jpeg::Segments::of(bytes).take_while(|segment| segment.marker != jpeg::SCAN) {
        if let Some([number, _, part @ ..]) = segment.content.strip_prefix(b"ICC_PROFILE\0")
            && segment.marker == 0xE2
        {
            parts.push((*number, part));
        }
    }
    parts.sort_by_key(|(number, _)| *number);
    let whole: Vec<u8> = parts.into_iter().flat_map(|(_, part)| part).copied().collect();
    (!whole.is_empty()).then_some(whole)
}

/// A profile, and what it does to colours.
type Known = (Vec<u8>, Option<Arc<Conversion>>);

thread_local! {
    /// A folder's photos mostly have one profile.
    static LAST: RefCell<Option<Known>> = const { RefCell::new(None) };
}

fn conversion(profile: &[u8]) -> Option<Arc<Conversion>> {
    let known = LAST.with_borrow(|last| match last {
        Some((bytes, conversion)) if bytes == profile => Some(conversion.clone()),
        _ => None,
    });
    known.unwrap_or_else(|| {
        // A damaged profile is no reason to refuse a photo.
        let made = catch_unwind(AssertUnwindSafe(|| Conversion::new(profile))).ok().flatten();
        let made = made.filter(|conversion| !conversion.is_nothing()).map(Arc::new);
        LAST.set(Some((profile.to_vec(), made.clone())));
        made
    })
}

/// From a space of primaries and curves to sRGB.
struct Conversion {
    /// The linear light of each value of red, green and blue.
    linear: [[f32; 256]; 3],
    matrix: [[f32; 3]; 3],
    /// sRGB's values of linear light.
    encoded: Vec<u8>,
}

impl Conversion {
    /// `None` for profiles of another kind, and damaged ones.
    fn new(profile: &[u8]) -> Option<Self> {
        let from = ColorProfile::new_from_slice(profile).ok()?;
        if from.color_space != DataColorSpace::Rgb || from.lut_a_to_b_perceptual.is_some() {
            return None;
        }
        let to = ColorProfile::new_srgb();
        let matrix = product(inverse(primaries(&to))?, primaries(&from));
        let curve = |curve: &Option<ToneReprCurve>| {
            let curve = curve.as_ref()?;
            let mut values = [0.0; 256];
            for (at, value) in values.iter_mut().enumerate() {
                *value = linear(curve, at as f64 / 255.0)? as f32;
            }
            values.iter().all(|value| value.is_finite()).then_some(values)
        };
        let encode = |step: usize| {
            let light = step as f64 / (STEPS - 1) as f64;
            let value =
                if light <= 0.003_130_8 { 12.92 * light } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 };
            (255.0 * value + 0.5) as u8
        };
        let matrix = matrix.map(|row| row.map(|value| value as f32));
        matrix.iter().flatten().all(|value| value.is_finite()).then_some(())?;
        Some(Conversion {
            linear: [curve(&from.red_trc)?, curve(&from.green_trc)?, curve(&from.blue_trc)?],
            matrix,
            encoded: (0..STEPS).map(encode).collect(),
        })
    }

    fn of(&self, pixel: [u8; 3]) -> [u8; 3] {
        let light: [f32; 3] = std::array::from_fn(|band| self.linear[band][usize::from(pixel[band])]);
        self.matrix.map(|row| {
            let value = row[0] * light[0] + row[1] * light[1] + row[2] * light[2];
            self.encoded[(value.clamp(0.0, 1.0) * (STEPS - 1) as f32 + 0.5) as usize]
        })
    }

    fn is_nothing(&self) -> bool {
        let steps = || (0..=255u8).step_by(51);
        steps()
            .flat_map(|red| steps().flat_map(move |green| steps().map(move |blue| [red, green, blue])))
            .all(|pixel| {
                self.of(pixel).iter().zip(pixel).all(|(after, before)| after.abs_diff(before) <= ALIKE)
            })
    }
}

/// The linear light of a value, both from 0 to 1.
fn linear(curve: &ToneReprCurve, value: f64) -> Option<f64> {
    Some(match curve {
        ToneReprCurve::Lut(table) => match &table[..] {
            [] => value,
            [gamma] => value.powf(f64::from(*gamma) / 256.0),
            table => {
                let position = value * (table.len() - 1) as f64;
                let before = position.floor() as usize;
                let after = (before + 1).min(table.len() - 1);
                let [low, high] = [before, after].map(|at| f64::from(table[at]) / 65535.0);
                low + (high - low) * (position - before as f64)
            }
        },
        ToneReprCurve::Parametric(parameters) => {
            let at = |index: usize| f64::from(parameters[index]);
            match parameters.len() {
                1 => value.powf(at(0)),
                3 if value >= -at(2) / at(1) => (at(1) * value + at(2)).powf(at(0)),
                3 => 0.0,
                4 if value >= -at(2) / at(1) => (at(1) * value + at(2)).powf(at(0)) + at(3),
                4 => at(3),
                5 if value >= at(4) => (at(1) * value + at(2)).powf(at(0)),
                5 => at(3) * value,
                7 if value >= at(4) => (at(1) * value + at(2)).powf(at(0)) + at(5),
                7 => at(3) * value + at(6),
                _ => return None,
            }
        }
    })
}

type Matrix = [[f64; 3]; 3];

/// The columns are red, green and blue in the profile connection space.
fn primaries(profile: &ColorProfile) -> Matrix {
    let [red, green, blue] = [profile.red_colorant, profile.green_colorant, profile.blue_colorant];
    [[red.x, green.x, blue.x], [red.y, green.y, blue.y], [red.z, green.z, blue.z]]
}

fn product(a: Matrix, b: Matrix) -> Matrix {
    std::array::from_fn(|row| std::array::from_fn(|column| (0..3).map(|at| a[row][at] * b[at][column]).sum()))
}

fn inverse(m: Matrix) -> Option<Matrix> {
    let minor = |row: usize, column: usize| {
        let [a, b] = [(row + 1) % 3, (row + 2) % 3];
        let [c, d] = [(column + 1) % 3, (column + 2) % 3];
        m[a][c] * m[b][d] - m[a][d] * m[b][c]
    };
    let determinant: f64 = (0..3).map(|column| m[0][column] * minor(0, column)).sum();
    (determinant.abs() > 1e-9)
        .then(|| std::array::from_fn(|row| std::array::from_fn(|column| minor(column, row) / determinant)))
}
