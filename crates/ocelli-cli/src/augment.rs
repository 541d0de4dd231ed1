//! `ocelli augment`

use anstream::println;
use ocelli::{Augmentation, Decoder, Filter, Normalization, Preprocessing, contact_sheet};

use crate::Failure;
use crate::arguments::Augment;
use crate::source::{augmentation, channels};

pub fn run(arguments: &Augment) -> Result<(), Failure> {
    let preprocessing = Preprocessing {
        size: arguments.size,
        framing: arguments.framing.framing(),
        filter: Filter::Bicubic,
        normalization: Normalization::IMAGENET,
    };
    preprocessing.validate()?;
    let augmentation = augmentation(&arguments.augment).unwrap_or_else(Augmentation::none);
    let image = {
        let channels = channels(&arguments.bands, &arguments.range)?;
        let decoder = Decoder { channels, ..Decoder::default() };
        decoder.decode_file_for(&arguments.photo, augmentation.needed(&preprocessing))?
    };
    let id = arguments.photo.file_name().unwrap_or_default().to_string_lossy();
    let (columns, rows) = (arguments.columns, arguments.rows);
    let sheet = contact_sheet(&image, &id, &preprocessing, &augmentation, arguments.seed, (columns, rows))?;
    sheet.write_png(&arguments.out)?;
    println!(
        "{}   the photo as in validation, then as in {} epochs",
        arguments.out.display(),
        columns * rows - 1
    );
    Ok(())
}
