//! How many pages or frames a file holds, from its structure alone.

use super::Format;

/// Frames are counted up to here.
const MOST: u32 = 10_000;

/// 1 where nothing says that there are more.
pub(super) fn count(bytes: &[u8], format: Format) -> u32 {
    let count = match format {
        Format::Gif => gif(bytes),
        Format::Png => apng(bytes),
        Format::WebP => webp(bytes),
        _ => None,
    };
    count.unwrap_or(1).clamp(1, MOST)
}

/// The number in the animation control chunk, which comes before the pixels.
fn apng(bytes: &[u8]) -> Option<u32> {
    let mut rest = bytes.get(8..)?;
    loop {
        let (head, body) = rest.split_first_chunk::<8>()?;
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        match &head[4..] {
            b"acTL" => return Some(u32::from_be_bytes(*body.first_chunk()?)),
            b"IDAT" | b"IEND" => return None,
            // A checksum of four bytes ends each.
            _ => rest = body.get(usize::try_from(length).ok()?.checked_add(4)?..)?,
        }
    }
}

fn webp(bytes: &[u8]) -> Option<u32> {
    let mut rest = bytes.get(12..)?;
    let mut frames = 0;
    while let Some((head, body)) = rest.split_first_chunk::<8>() {
        frames += u32::from(&head[..4] == b"ANMF");
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        rest = body.get(length.checked_next_multiple_of(2)?..).unwrap_or_default();
    }
    Some(frames)
}

fn gif(bytes: &[u8]) -> Option<u32> {
    let table = |flags: u8| if flags & 0x80 != 0 { 3usize << (1 + (flags & 7)) } else { 0 };
    let mut rest = bytes.get(13 + table(*bytes.get(10)?)..)?;
    let mut frames = 0;
    loop {
        rest = match rest {
            [0x21, _, more @ ..] => more,
            [0x2C, _, _, _, _, _, _, _, _, flags, more @ ..] if frames < MOST => {
                frames += 1;
                more.get(1 + table(*flags)..)?
            }
            _ => return Some(frames),
        };
        // Blocks of up to 255 bytes, the last one empty.
        loop {
            let Some((&length, more)) = rest.split_first() else { return Some(frames) };
            rest = more.get(usize::from(length)..).unwrap_or_default();
            if length == 0 {
                break;
            }
        }
    }
}
