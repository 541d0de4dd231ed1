//! `ocelli predict`
//!
//! | to change | file |
//! |---|---|
//! | which photos, from arguments and standard input | `input.rs` |
//! | what is printed or written about each | `output.rs` |
//! | photos in folders by class | `sort.rs` |

mod input;
mod output;
mod sort;

use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::ProgressBar;
use ocelli::{DeviceName, Ensemble, FALSE_REFUSALS, Model, Tta};

use crate::errors::Failure;
use crate::flags::{ComputeFlags, Int8Flags, PixelFlags};
use crate::interrupt;
use crate::output::{eprintln, is_dash, message, println, progress_bar, shown};
use crate::photos::{PhotoFinder, photos_of};
use crate::text::{count, counted};
use crate::values::{OrNone, probability, tta};
use input::{Photos, StandardInput};
use output::{Output, OutputFlags};
use sort::{SortFlags, Sorter};

/// Classify photos with a trained model
///
/// Files that cannot be read are listed on standard error with the reason, and are rows with an error in tables.
/// The exit status is then 1, except for files that are common among photos: texts, tables, hidden files,
/// thumbnails.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli predict runs/photos-1 garden.jpg holiday/
  find . -name '*.jpg' -print0 | ocelli predict model.safetensors -0 --csv
  ocelli predict runs/photos-1 all/ --resume-from all.csv --copy-to sorted")]
pub struct Predict {
    /// Model file, or the folder of its run
    model: PathBuf,
    /// Photos, folders; none or -: paths from standard input
    ///
    /// Paths on standard input stand one per line; - may stand among other paths. Photos are classified as soon as
    /// their paths arrive. A photo that is named more than once is classified once; from standard input each time,
    /// except into a table of --out or --resume-from.
    photos: Vec<PathBuf>,
    /// Paths on standard input end with a zero byte (find -print0)
    #[arg(long, short = '0')]
    null: bool,
    /// Another model: probabilities are averaged (an ensemble)
    ///
    /// Can be given several times. The classes must be those of the first model, in any order; each model sees
    /// photos at its own size.
    #[arg(long = "with", value_name = "MODEL")]
    with: Vec<PathBuf>,

    #[command(flatten)]
    output: OutputFlags,
    /// Predict no class where the highest probability is below P
    ///
    /// The class is then "no class" in text, empty in CSV, and null in JSON; the probability is that of the most
    /// probable class as ever. Not for models with several labels per photo, whose classes have thresholds of
    /// their own.
    #[arg(long, value_name = "P", allow_negative_numbers = true, value_parser = probability)]
    min_probability: Option<f32>,
    #[command(flatten)]
    sort: SortFlags,
    /// Calibrate probabilities (temperature scaling)
    #[arg(long)]
    calibrated: bool,
    /// Test-time augmentation: views, corners or none
    #[arg(long, value_name = "VIEWS", value_parser = tta)]
    tta: Option<OrNone<Tta>>,
    #[command(flatten)]
    int8: Int8Flags,
    #[command(flatten)]
    pixels: PixelFlags,
    #[command(flatten)]
    compute: ComputeFlags,
}

/// A note where test-time augmentation changes nothing.
pub fn say_equal_views(models: &[Model], tta: Option<Tta>) {
    if tta.is_some_and(|tta| models.iter().any(|model| !model.has_views(&tta))) {
        eprintln!(
            "note: the model was trained without augmentation, so all views of --tta are the same; --tta corners has \
             others"
        );
    }
}

impl Predict {
    pub fn run(&self) -> Result<(), Failure> {
        input::check(&self.photos, self.null)?;
        self.sort.check()?;
        let destination = self.output.destination()?;
        let models = self.models()?;
        let sorter = self.sort.sorter(models.classes(), &self.photos, self.output.unknown)?;
        let tta = self.tta.and_then(|tta| tta.0);
        say_equal_views(models.models(), tta);
        let device = self.compute.device.to_string();
        let out = self.output.open(destination, &models, tta, &device, sorter.is_some())?;
        interrupt::finish("this batch");
        let bar = progress_bar("   predicting     {bar:30} {human_pos} of {human_len} photos · {eta} left");
        let (finder, tally) = (PhotoFinder::default(), Tally::default());
        let mut batches = Batches { models, tta, out, sorter, bar, finder, tally };
        let predicted = batches.place_kept().and_then(|()| self.predict(&mut batches));
        batches.bar.finish_and_clear();
        batches.conclude(predicted)
    }

    fn models(&self) -> Result<Ensemble, Failure> {
        let threads = self.compute.threads.start()?;
        let device = if self.compute.device == DeviceName::default() {
            None
        } else {
            Some(self.compute.device.open()?)
        };
        let int8 = self.int8.ranges()?;
        let mut models = Vec::new();
        for path in std::iter::once(&self.model).chain(&self.with) {
            let mut model = self.pixels.apply(Model::load(path)?.threads(threads));
            if let Some(precision) = self.compute.precision {
                model = model.precision(precision);
            }
            if let Some(device) = &device {
                model = model.to_device(device);
            }
            model = int8.apply(model, path)?;
            if self.calibrated {
                model = model.calibrated()?;
            }
            if self.output.unknown {
                model = model.false_refusals(self.output.false_refusals.unwrap_or(FALSE_REFUSALS))?;
            }
            models.push(model);
        }
        if self.output.unknown && models.len() > 1 {
            let message = "--unknown is for one model: the scores of several have no common threshold";
            return Err(Failure::Error(message.to_owned()));
        }
        let models = Ensemble::of(models)?;
        Ok(match self.min_probability {
            Some(probability) => models.min_probability(probability)?,
            None => models,
        })
    }

    /// Predicts what the arguments name, in their order.
    fn predict(&self, batches: &mut Batches) -> Result<(), Failure> {
        if self.photos.is_empty() {
            return match self.predict_standard_input(batches)? {
                0 => Err(Failure::Error(input::NOTHING_GIVEN.to_owned())),
                _ => Ok(()),
            };
        }
        let is_alone = self.photos.len() == 1;
        // What stands between two `-`; a second one finds standard input at its end.
        for (number, paths) in self.photos.split(|path| is_dash(path)).enumerate() {
            // With `-` an empty list is not an error.
            if number == 1 {
                self.predict_standard_input(batches)?;
            }
            if !paths.is_empty() {
                let mut photos = Photos::default();
                paths.iter().try_for_each(|path| batches.find(path, true, is_alone, &mut photos))?;
                batches.predict(photos)?;
            }
        }
        Ok(())
    }

    /// The number of paths that were there.
    fn predict_standard_input(&self, batches: &mut Batches) -> Result<usize, Failure> {
        let mut lines = StandardInput::new(self.null);
        // A table has one row per photo; else every line is answered, since the file may be another by then.
        let once = batches.out.is_file();
        while let Some(paths) = lines.next_paths()? {
            let mut photos = Photos::default();
            paths.iter().try_for_each(|path| batches.find(path, once, false, &mut photos))?;
            batches.predict(photos)?;
        }
        Ok(lines.count)
    }
}

/// Predicts batches of photos, and prints, writes and sorts the results.
struct Batches {
    models: Ensemble,
    tta: Option<Tta>,
    out: Output,
    sorter: Option<Sorter>,
    bar: ProgressBar,
    finder: PhotoFinder,
    tally: Tally,
}

/// Counts of files, without those whose rows were there already.
#[derive(Default)]
struct Tally {
    /// Photos, and files that may be photos.
    total: usize,
    /// Those of them that could not be read.
    failed: usize,
    /// Photos that were predicted, or failed.
    predicted: usize,
    /// Folders that have no photos, or cannot be listed.
    unusable: usize,
}

impl Batches {
    /// Places the photos of the rows that were there.
    fn place_kept(&mut self) -> Result<(), Failure> {
        let Some(sorter) = &mut self.sorter else { return Ok(()) };
        self.out.each_kept(&mut |row| {
            if interrupt::asked() {
                return Err(ocelli::Error::Stopped);
            }
            sorter.place_kept(&row, &self.bar)
        })
    }

    /// Adds the photos at a path; with `once`, those that were not found before. A folder that cannot be used is
    /// an error where it is all that is named.
    fn find(&mut self, path: &Path, once: bool, is_alone: bool, photos: &mut Photos) -> Result<(), Failure> {
        let found = if once { self.finder.find(path) } else { photos_of(path) };
        match found {
            Ok(found) => photos.add(found),
            Err(Failure::Error(message)) if !is_alone => {
                self.bar.suspend(|| eprintln!("{message}"));
                self.tally.unusable += 1;
            }
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    fn predict(&mut self, photos: Photos) -> Result<(), Failure> {
        photos.print_usual();
        for skipped in photos.skipped.iter().filter(|skipped| !skipped.is_usual) {
            eprintln!("{}: {}", shown(skipped.path.display()), message(&skipped.reason));
            if !self.out.has_row(&skipped.path) {
                self.tally.total += 1;
                self.tally.failed += 1;
                self.out.write_error(&skipped.path, &skipped.reason)?;
            }
        }
        let mut photos = photos.photos;
        photos.retain(|photo| !self.out.has_row(photo));
        self.tally.total += photos.len();
        if self.out.is_file() {
            self.bar.inc_length(photos.len() as u64);
        }
        for prediction in self.models.predict_with(photos, self.tta)? {
            match prediction {
                Ok(prediction) => {
                    // Before its row, so that a photo that has one is in its folder.
                    if let Some(sorter) = &mut self.sorter {
                        sorter.place(&prediction, &self.bar)?;
                    }
                    self.out.write(&prediction)?;
                }
                Err(ocelli::Error::Photo { path, reason }) => {
                    self.tally.failed += 1;
                    self.bar.suspend(|| {
                        eprintln!("{}: {}", shown(path.display()), message(&reason));
                    });
                    self.out.write_error(&path, &reason)?;
                }
                // Not an error of the photo: no output of this model can be trusted.
                Err(error) => return Err(error.into()),
            }
            self.tally.predicted += 1;
            self.bar.inc(u64::from(self.out.is_file()));
            if interrupt::asked() {
                return Err(Failure::Interrupted);
            }
        }
        self.out.flush()
    }

    /// Ends the output, and says what there is to say.
    fn conclude(self, predicted: Result<(), Failure>) -> Result<(), Failure> {
        let Self { mut out, sorter, tally, finder, .. } = self;
        finder.print_repeated();
        if let Some(sorter) = &sorter {
            sorter.print();
        }
        let path = out.path().map(|path| shown(path.display()));
        match predicted {
            Ok(()) => {}
            Err(Failure::Interrupted) => {
                let resumable = out.is_resumable();
                out.interrupt()?;
                let predicted = counted(tally.predicted, "photo");
                match path {
                    Some(path) if resumable => {
                        eprintln!("stopped after {predicted}; to continue: --resume-from {path}");
                    }
                    Some(_) => eprintln!("stopped after {predicted}; nothing was written"),
                    None => eprintln!("stopped after {predicted}"),
                }
                return Err(Failure::Interrupted);
            }
            Err(failure) => {
                // The rows so far are right.
                out.flush()?;
                return Err(failure);
            }
        }
        let (rows, errors) = out.kept();
        let (total, failed) = (tally.total + rows, tally.failed + errors);
        match path {
            Some(path) if rows == 0 && failed == total && failed + tally.unusable > 0 => {
                out.discard()?;
                eprintln!("{path}: not written, since no photo could be read");
            }
            path => {
                out.finish()?;
                if let Some(path) = path {
                    let kept =
                        if rows > 0 { format!(" · {} were there", count(rows)) } else { String::new() };
                    println!("{path}   {}{kept}", counted(total, "photo"));
                }
            }
        }
        if failed > 0 {
            eprintln!("skipped: {failed} of {total} files could not be read as photos");
        }
        if tally.unusable > 0 {
            eprintln!("skipped: {} could not be used", counted(tally.unusable, "folder"));
        }
        let unplaced = sorter.is_some_and(|sorter| sorter.failed > 0);
        if failed + tally.unusable > 0 || unplaced { Err(Failure::Printed) } else { Ok(()) }
    }
}
