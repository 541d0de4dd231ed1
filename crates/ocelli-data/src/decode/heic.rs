//! HEIC: HEVC-coded images in a HEIF container, as phones write them; the primary image, turned as the
//! container says.

use heifer_isobmff::boxes::Property;

use super::{Colour, Decoder, Format, RgbImage, samples};
use crate::DecodeError;

/// What the container says of its primary image, turned and cropped.
pub(super) struct Header {
    pub width: u32,
    pub height: u32,
    pub colour: Colour,
}

/// Whether the first bytes announce a HEVC-coded image.
pub(super) fn announced(magic: &[u8]) -> bool {
    let [high, _, _, length, b'f', b't', b'y', b'p', brands @ ..] = magic else { return false };
    let is_heic = |brand: &[u8]| matches!(brand, b"heic" | b"heix" | b"heim" | b"heis");
    match brands.get(..4) {
        Some(b"mif1" | b"mif2" | b"msf1") if *high == 0 => {
            let end = usize::from(*length).clamp(8, magic.len());
            magic[8..end].chunks_exact(4).skip(2).any(is_heic)
        }
        Some(brand) => is_heic(brand),
        None => false,
    }
}

fn damaged(detail: impl std::fmt::Display) -> DecodeError {
    DecodeError::Damaged { format: Format::Heic.name(), detail: super::one_line(detail) }
}

/// Looks at the container.
pub(super) fn header(bytes: &[u8]) -> Result<Header, DecodeError> {
    let file = heifer_isobmff::HeifFile::parse(bytes).map_err(damaged)?;
    let id = file.primary_item().map_err(damaged)?.id;
    let (width, height) =
        file.image_size(id).map_err(damaged)?.ok_or_else(|| damaged("it does not say its size"))?;
    let (mut width, mut height) = (width, height);
    for property in file.item_properties(id).map_err(damaged)? {
        match property {
            Property::Rotation(quarters) if quarters % 2 == 1 => std::mem::swap(&mut width, &mut height),
            Property::CleanAperture { width: (wide, w), height: (high, h), .. } if *w > 0 && *h > 0 => {
                (width, height) = (width.min(wide / w), height.min(high / h));
            }
            _ => {}
        }
    }
    let tile = file.referenced_items(id, b"dimg").first().copied().unwrap_or(id);
    let config = file.hevc_config(tile).ok().flatten();
    let colour = match config {
        Some(config) => {
            Colour { channels: if config.chroma_format == 0 { 1 } else { 3 }, bits: config.bit_depth_luma }
        }
        None => Colour { channels: 3, bits: 8 },
    };
    Ok(Header { width, height, colour })
}

pub(super) fn decode(decoder: &Decoder, bytes: &[u8]) -> Result<RgbImage, DecodeError> {
    let Header { width, height, .. } = header(bytes)?;
    decoder.check_size(width, height, Format::Heic)?;
    // Images are decoded side by side already.
    let options = heifer::Options { max_threads: 1, max_pixels: decoder.max_pixels };
    let image = heifer::decode_rgba8(bytes, &options).map_err(|error| match error {
        heifer::Error::Unsupported(detail) => {
            DecodeError::Unsupported { format: Format::Heic.name(), detail: super::one_line(detail) }
        }
        error => damaged(error),
    })?;
    let (width, height) = (image.width, image.height);
    decoder.check_size(width, height, Format::Heic)?;
    let has_alpha = image.has_alpha;
    let pixels = image.data.as_chunks::<4>().0.iter().flat_map(|[red, green, blue, alpha]| {
        [*red, *green, *blue].map(|value| if has_alpha { samples::over_white(value, *alpha) } else { value })
    });
    RgbImage::new(width, height, pixels.collect()).ok_or_else(|| damaged("it has no pixels"))
}
