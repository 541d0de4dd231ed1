//! `ocelli augment`

use std::path::{Path, PathBuf};

use clap::Args;
use ocelli::{
    Augmentation, Decoder, Filter, Framing, Normalization, Preprocessing, contact_sheet, photos_in, text_of,
    write_drawing,
};

use crate::errors::Failure;
use crate::flags::{ChannelFlags, combined};
use crate::output::{free, new_file, no_photos, println, shown};
use crate::values::{names_help, one_of, seed, side, whole};

/// Show what augmentations do to a photo
///
/// Writes one picture: the photo as in validation, then as in training, epoch by epoch.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli augment cat.jpg --augment side-on,color-jitter,cutout
  ocelli augment field.tif --augment top-down --columns 8 --out field.png")]
pub struct Augment {
    /// Photo, or a folder whose first photo is used
    photo: PathBuf,

    /// Augmentations, separated by commas
    #[arg(long_help = names_help("Augmentations; several are combined", Augmentation::NAMES))]
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "side-on")]
    #[arg(value_parser = one_of::<Augmentation>(Augmentation::NAMES), hide_possible_values = true)]
    augment: Vec<Augmentation>,
    /// Image size in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 224, value_parser = side)]
    size: usize,
    /// How photos are made square
    #[arg(long, value_name = "MODE", default_value = "crop", value_parser = one_of::<Framing>(Framing::NAMES))]
    framing: Framing,
    /// Pictures per row
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = whole::<1, 1000>)]
    columns: usize,
    /// Rows of pictures
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = whole::<1, 1000>)]
    rows: usize,
    /// Random seed
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = seed)]
    seed: u64,
    /// Output file [default: augmented.png, or a free name like it]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    channels: ChannelFlags,
}

impl Augment {
    pub fn run(&self) -> Result<(), Failure> {
        let out = match &self.out {
            Some(out) => {
                let ending = out.extension().filter(|ending| !ending.eq_ignore_ascii_case("png"));
                if let Some(ending) = ending {
                    return Err(Failure::Error(format!(
                        "--out {}: the picture is a PNG file; give a name that ends in .png instead of .{}",
                        shown(out.display()),
                        shown(ending.display())
                    )));
                }
                new_file(out, "--out")?
            }
            None => free(Path::new("augmented.png")),
        };
        let preprocessing = Preprocessing {
            size: self.size,
            framing: self.framing,
            filter: Filter::Bicubic,
            normalization: Normalization::IMAGENET,
        };
        preprocessing.validate()?;
        let augmentation = combined(&self.augment).unwrap_or_else(Augmentation::none);
        let photo = self.photo()?;
        let decoder = Decoder { channels: self.channels.channels(), ..Decoder::default() };
        let image = decoder.decode_file_for(&photo, augmentation.needed(&preprocessing))?;
        let id = photo.file_name().map(text_of).unwrap_or_default();
        let (columns, rows) = (self.columns, self.rows);
        let sheet = contact_sheet(&image, &id, &preprocessing, &augmentation, self.seed, (columns, rows))?;
        write_drawing(&sheet, &out)?;
        println!(
            "{}   {}: as in validation, then as in {} epochs",
            shown(out.display()),
            shown(photo.display()),
            columns * rows - 1
        );
        Ok(())
    }

    fn photo(&self) -> Result<PathBuf, Failure> {
        if !self.photo.is_dir() {
            return Ok(self.photo.clone());
        }
        let found = photos_in(&self.photo)?;
        let first = found.photos.into_iter().next();
        first.ok_or_else(|| no_photos(&self.photo, &found.skipped))
    }
}
