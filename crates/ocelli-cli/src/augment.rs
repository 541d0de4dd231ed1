//! `ocelli augment`

use crate::output::{free, new_file, println, shown};
use ocelli::{
    Augmentation, Decoder, Filter, Normalization, Preprocessing, contact_sheet, photos_in, text_of,
    write_drawing,
};

use crate::Failure;
use crate::arguments::Augment;
use crate::source::{augmentation, channels, no_photos};

pub fn run(arguments: &Augment) -> Result<(), Failure> {
    let out = match &arguments.out {
        Some(out) => new_file(out, "--out")?,
        None => free("augmented.png".as_ref()),
    };
    let preprocessing = Preprocessing {
        size: arguments.size,
        framing: arguments.framing.framing(),
        filter: Filter::Bicubic,
        normalization: Normalization::IMAGENET,
    };
    preprocessing.validate()?;
    let augmentation = augmentation(&arguments.augment).unwrap_or_else(Augmentation::none);
    let photo = match arguments.photo.is_dir() {
        false => arguments.photo.clone(),
        true => {
            let found = photos_in(&arguments.photo)?;
            let first = found.photos.into_iter().next();
            first.ok_or_else(|| no_photos(&arguments.photo, &found.skipped))?
        }
    };
    let channels = channels(&arguments.bands, &arguments.range)?;
    let decoder = Decoder { channels, ..Decoder::default() };
    let image = decoder.decode_file_for(&photo, augmentation.needed(&preprocessing))?;
    let id = photo.file_name().map(text_of).unwrap_or_default();
    let (columns, rows) = (arguments.columns, arguments.rows);
    let sheet = contact_sheet(&image, &id, &preprocessing, &augmentation, arguments.seed, (columns, rows))?;
    write_drawing(&sheet, &out)?;
    println!(
        "{}   {} as in validation, then as in {} epochs",
        shown(out.display()),
        if photo == arguments.photo { "the photo".to_owned() } else { shown(photo.display()) },
        columns * rows - 1
    );
    Ok(())
}
