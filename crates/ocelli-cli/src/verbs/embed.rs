//! `ocelli embed`

use std::path::PathBuf;

use clap::Args;
use ocelli::{EmbedEvent, EmbedOptions, EmbeddingFormat};

use crate::errors::Failure;
use crate::flags::EmbedFlags;
use crate::interrupt::{self, stopped};
use crate::output::{eprintln, message, new_file, println, progress_bar, shown};
use crate::photos::photos_at;
use crate::text::{count, counted};

/// Compute features of photos (embeddings)
///
/// Features are the pooled output of the last stage of a model's backbone, or of a pretrained one: as the
/// network's head takes them, usually the maximum and then the average of each channel. FILE.index.csv lists
/// all photos with their rows in FILE; a photo that cannot be read has none, and a reason there. The exit
/// status is then 1.
///
/// Run the same command again to continue after an interruption: FILE.journal records which photos are done,
/// by path, size and modification time. Other settings are refused then.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli embed efficientnet_lite0 photos --out features.npy
  ocelli embed runs/photos-1 photos --normalize --out features.csv")]
pub struct Embed {
    #[command(flatten)]
    network: EmbedFlags,
    /// Photos, and folders of photos; -: paths from standard input, one per line
    ///
    /// - may stand among other paths. A photo that is named more than once has one row.
    #[arg(required = true, value_name = "PHOTO")]
    photos: Vec<PathBuf>,

    /// File to write: .npy, .npz, .csv, .jsonl or .parquet
    ///
    /// .npy: an array [photos, features] of 32-bit floats. .npz: the arrays features and paths. .csv: a table
    /// of paths and features. .jsonl: a JSON object per photo. .parquet: the columns path and features, lists of
    /// 32-bit floats. No existing file is overwritten. Where no photo can be read, no file is written.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Scale the features of each photo to length 1 (L2)
    #[arg(long)]
    normalize: bool,
    /// Print only errors
    #[arg(long, short)]
    quiet: bool,
}

impl Embed {
    pub fn run(&self) -> Result<(), Failure> {
        let out = new_file(&self.out, "--out")?;
        let Some(format) = EmbeddingFormat::of_path(&out) else {
            let out = shown(out.display());
            return Err(Failure::Error(format!(
                "--out {out}: its extension must name a format: .npy, .npz, .csv, .jsonl or .parquet"
            )));
        };
        let embedder = self.network.embedder()?;
        let named = photos_at(&self.photos)?;
        let photos = &named.photos;
        interrupt::finish("this batch");
        let bar =
            progress_bar("   computing features {bar:30} {human_pos} of {human_len} photos · {eta} left");
        let options = EmbedOptions { format, normalize: self.normalize };
        let written = embedder.write(photos, &out, options, &mut |event| {
            match event {
                EmbedEvent::Resumed(done) if !self.quiet => bar.suspend(|| {
                    eprintln!("continuing after {}", counted(done, "photo"));
                }),
                EmbedEvent::Resumed(_) => {}
                EmbedEvent::Skipped(path, reason) => {
                    bar.suspend(|| eprintln!("{}: {}", shown(path.display()), message(reason)));
                }
                EmbedEvent::Progress(done, total) => {
                    bar.set_length(total as u64);
                    bar.set_position(done as u64);
                }
            }
            interrupt::flow()
        });
        bar.finish_and_clear();
        let written = stopped(written, "to continue, run the same command again")?;
        if !self.quiet {
            println!(
                "{}  {} × {} features   index {}",
                shown(out.display()),
                counted(written.rows, "photo"),
                count(written.features),
                shown(written.index.display())
            );
        }
        if written.skipped > 0 {
            eprintln!("skipped: {} of {} files could not be read as photos", written.skipped, photos.len());
            return Err(Failure::Printed);
        }
        named.conclude()
    }
}
