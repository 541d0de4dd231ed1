//! `ocelli explain`

use std::path::{Path, PathBuf};

use clap::Args;
use ocelli::composed;
use ocelli::interpret::{Explanation, TargetClass};
use ocelli::{Model, photos_of_run, stem_of, write_drawing};

use crate::errors::Failure;
use crate::flags::{PixelFlags, ThreadFlags};
use crate::interrupt;
use crate::output::{eprintln, free, message, no_dash, println, shown, usual_place};
use crate::photos::photos_at;
use crate::text::meant;

/// Show which parts of a photo a prediction is based on (Grad-CAM)
///
/// Writes a picture per photo: the photo as the network sees it, and with the Grad-CAM heat map, red where
/// the evidence for the class is.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli explain runs/photos-1 garden.jpg
  ocelli explain model.safetensors cat.jpg dog.jpg --class dogs --out heat")]
pub struct Explain {
    /// Model file, or the folder of its run
    model: PathBuf,
    /// Photos, and folders of photos; -: paths from standard input
    #[arg(required = true)]
    photos: Vec<PathBuf>,

    /// Class to explain [default: the predicted one]
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,
    /// Folder for the pictures [default: explained, or a free name like it]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    #[command(flatten)]
    pixels: PixelFlags,
    #[command(flatten)]
    threads: ThreadFlags,
}

impl Explain {
    pub fn run(&self) -> Result<(), Failure> {
        let threads = self.threads.start()?;
        let model = self.pixels.apply(Model::load(&self.model)?.threads(threads));
        if let Some(class) = &self.class {
            check_class(&model.config().classes, class)?;
        }
        let named = photos_at(&self.photos)?;
        let out = match &self.out {
            Some(out) => {
                no_dash(out, "--out")?;
                if out.exists() && !out.is_dir() {
                    return Err(Failure::Error(format!(
                        "--out {}: this is a file, where a folder for the pictures is expected; give another name",
                        shown(out.display())
                    )));
                }
                out.clone()
            }
            None => {
                let trained_on = photos_of_run(&self.model);
                let folders: Vec<&Path> =
                    named.folders.iter().chain(trained_on.iter()).map(PathBuf::as_path).collect();
                free(&usual_place("explained", &folders)?)
            }
        };
        interrupt::finish("this photo");
        let mut failed = 0;
        for photo in &named.photos {
            if interrupt::asked() {
                eprintln!("stopped; the pictures so far are written");
                return Err(Failure::Interrupted);
            }
            let class = self.class.clone().map_or(TargetClass::MostProbable, TargetClass::Named);
            match model.explain(photo, &class) {
                Err(error @ (ocelli::Error::Data(_) | ocelli::Error::Photo { .. })) => {
                    failed += 1;
                    eprintln!("{}", message(error));
                }
                explained => write(photo, &explained?, &out)?,
            }
        }
        if failed > 0 {
            eprintln!("{failed} of {} photos could not be read", named.photos.len());
            return Err(Failure::Printed);
        }
        named.conclude()
    }
}

/// Writes the picture of one photo.
fn write(photo: &Path, explained: &Explanation, out: &Path) -> Result<(), Failure> {
    // Photos of the same name from several folders do not overwrite each other, nor existing files.
    let stem = stem_of(photo);
    let path = free(&out.join(stem).with_added_extension("png"));
    write_drawing(&explained.side_by_side(), &path)?;
    let best = explained.prediction.best();
    let of_class = explained.prediction.ranked().into_iter().find(|guess| guess.class == explained.class);
    let heat = match of_class {
        Some(guess) if guess.class != best.class => {
            format!("   heat map of {} {:.4}", shown(guess.class), guess.probability)
        }
        _ => String::new(),
    };
    let (photo, class, path) = (shown(photo.display()), shown(&best.class), shown(path.display()));
    println!("{photo}  {class}  {:.4}{heat}   {path}", best.probability);
    Ok(())
}

/// Refuses a class that the model does not have, and lists its classes.
fn check_class(classes: &[String], class: &str) -> Result<(), Failure> {
    /// The most classes that are listed.
    const LISTED: usize = 30;
    if classes.contains(&composed(class)) {
        return Ok(());
    }
    let listed = classes.iter().take(LISTED).map(shown).collect::<Vec<_>>().join(", ");
    let more = match classes.len().saturating_sub(LISTED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let meant = meant(class, classes.iter().map(String::as_str));
    let class = shown(class);
    Err(Failure::Error(format!("--class {class}: the model has no such class{meant}; it has {listed}{more}")))
}
