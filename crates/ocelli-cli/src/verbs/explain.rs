//! `ocelli explain`

use std::path::{Path, PathBuf};

use clap::Args;
use ocelli::composed;
use ocelli::interpret::TargetClass;
use ocelli::{Found, Model, Skipped, photos_in, photos_of_run, text_of, write_drawing};

use crate::errors::Failure;
use crate::flags::ThreadFlags;
use crate::interrupt;
use crate::output::{eprintln, free, message, no_dash, no_photos, println, shown, usual_place};
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
    /// Photos, and folders of photos
    #[arg(required = true)]
    photos: Vec<PathBuf>,

    /// Class to explain [default: the predicted one]
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,
    /// Folder for the pictures [default: explained, or a free name like it]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    #[command(flatten)]
    threads: ThreadFlags,
}

/// Photos to explain, the folders that they were found in, and how many files could not be used.
#[derive(Default)]
struct Photos {
    photos: Vec<PathBuf>,
    folders: Vec<PathBuf>,
    failed: usize,
}

impl Explain {
    pub fn run(&self) -> Result<(), Failure> {
        let threads = self.threads.start()?;
        let model = Model::load(&self.model)?.threads(threads);
        if let Some(class) = &self.class {
            check_class(&model.config().classes, class)?;
        }
        let Photos { photos, folders, mut failed } = self.photos()?;
        let total = photos.len() + failed;
        let out = match &self.out {
            Some(out) => {
                no_dash(out, "--out")?;
                out.clone()
            }
            None => {
                let trained_on = photos_of_run(&self.model);
                let folders: Vec<&Path> =
                    folders.iter().chain(trained_on.iter()).map(PathBuf::as_path).collect();
                free(&usual_place("explained", &folders)?)
            }
        };
        interrupt::finish("this photo");
        for photo in &photos {
            if interrupt::asked() {
                eprintln!("stopped; the pictures so far are written");
                return Err(Failure::Interrupted);
            }
            match self.explain(&model, photo, &out) {
                Err(error @ (ocelli::Error::Data(_) | ocelli::Error::Photo { .. })) => {
                    failed += 1;
                    eprintln!("{}", message(error));
                }
                result => result?,
            }
        }
        if failed > 0 {
            eprintln!("{failed} of {total} photos could not be read");
            return Err(Failure::Printed);
        }
        Ok(())
    }

    fn photos(&self) -> Result<Photos, Failure> {
        let mut all = Photos::default();
        for path in &self.photos {
            if !path.is_dir() {
                all.photos.push(path.clone());
                continue;
            }
            let Found { photos, skipped } = photos_in(path)?;
            if photos.is_empty() && skipped.iter().all(|skipped| skipped.is_usual) {
                return Err(no_photos(path, &skipped));
            }
            for Skipped { path, reason, .. } in skipped.iter().filter(|skipped| !skipped.is_usual) {
                all.failed += 1;
                eprintln!("{}: {}", shown(path.display()), message(reason));
            }
            all.folders.push(path.clone());
            all.photos.extend(photos);
        }
        Ok(all)
    }

    /// Writes the picture of one photo.
    fn explain(&self, model: &Model, photo: &Path, out: &Path) -> ocelli::Result<()> {
        let class = self.class.clone().map_or(TargetClass::MostProbable, TargetClass::Named);
        let explained = model.explain(photo, &class)?;
        // Photos of the same name from several folders do not overwrite each other, nor existing files.
        let stem = photo.file_stem().map(text_of).unwrap_or_default();
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
