//! `ocelli serve`

use std::path::{Path, PathBuf};

use clap::Args;
use ocelli::{DeviceName, Model, Precision};
use ocelli_serve::{Classifiers, ServeOptions};

use crate::errors::Failure;
use crate::flags::listen::{ListenFlags, Log, failure};
use crate::flags::{ComputeFlags, Int8Flags, Int8Ranges};
use crate::values::{pixels, whole};

/// Answer predictions over HTTP, with a page to try it
///
/// POST /predict takes an image as the body, or several as multipart/form-data, and answers as predict --json does.
/// GET / is a page for browsers; GET /openapi.json describes the rest. With several models the first is the default,
/// and each is at /models/NAME/predict, where NAME is that of its run's folder or of its file.
///
/// Nothing is written to disk, but for --int8 the ranges beside the model. Ctrl-C or SIGTERM finishes the requests that
/// have begun.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli serve runs/photos-1
  ocelli serve model.safetensors other.safetensors --port 9000 --log json
  curl --data-binary @garden.jpg http://127.0.0.1:8000/predict")]
pub struct Serve {
    /// Model files, or the folders of their runs
    #[arg(required = true, value_name = "MODEL")]
    models: Vec<PathBuf>,

    #[command(flatten)]
    listen: ListenFlags,
    /// Load models again whose files are replaced
    ///
    /// Requests that have begun go on with the old model. Where the new file is damaged, that is said, and the old model
    /// goes on.
    #[arg(long)]
    watch: bool,
    /// Calibrate probabilities (temperature scaling)
    #[arg(long)]
    calibrated: bool,

    /// Longest body of a request, in megabytes
    #[arg(help_heading = "Limits")]
    #[arg(long, value_name = "MB", default_value_t = 20, value_parser = whole::<1, 1000>)]
    max_body: usize,
    /// Most images in a request
    #[arg(help_heading = "Limits")]
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = whole::<1, 10_000>)]
    max_files: usize,
    /// Most images that wait or are computed; more: 503
    #[arg(help_heading = "Limits")]
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = whole::<1, 100_000>)]
    queue: usize,
    /// Largest image to read, in pixels [default: 178956970]
    #[arg(hide_short_help = true, help_heading = "Limits")]
    #[arg(long, value_name = "PIXELS", value_parser = pixels)]
    max_pixels: Option<u64>,
    #[command(flatten)]
    int8: Int8Flags,
    #[command(flatten)]
    compute: ComputeFlags,
}

/// How each model is loaded, now and again.
struct Loading {
    threads: usize,
    device: Option<ocelli::Device>,
    precision: Option<Precision>,
    max_pixels: Option<u64>,
    calibrated: bool,
    int8: Int8Ranges,
}

impl Loading {
    fn load(&self, path: &Path) -> ocelli::Result<Model> {
        let mut model = Model::load(path)?.threads(self.threads);
        if let Some(precision) = self.precision {
            model = model.precision(precision);
        }
        if let Some(pixels) = self.max_pixels {
            model = model.max_pixels(pixels);
        }
        if let Some(device) = &self.device {
            model = model.to_device(device);
        }
        let model = self.int8.apply(model, path)?;
        if self.calibrated { model.calibrated() } else { Ok(model) }
    }
}

impl Serve {
    pub fn run(&self) -> Result<(), Failure> {
        let threads = self.compute.threads.start()?;
        let is_default = self.compute.device == DeviceName::default();
        let loading = Loading {
            threads,
            device: if is_default { None } else { Some(self.compute.device.open()?) },
            precision: self.compute.precision,
            max_pixels: self.max_pixels,
            calibrated: self.calibrated,
            int8: self.int8.ranges()?,
        };
        let listening = self.listen.listening(Log::Lines)?;
        let options = ServeOptions {
            listen: listening.options.clone(),
            max_body: self.max_body * 1_000_000,
            max_files: self.max_files,
            queue: self.queue.max(self.max_files),
            threads,
            watch: self.watch,
        };
        let models = Classifiers::load(&self.models, move |path| loading.load(path), &options);
        let models = models.map_err(failure)?;
        let names = models.names().join(", ");
        listening.run(models, &names)
    }
}
