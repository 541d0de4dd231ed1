//! `ocelli export`

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use ocelli::{
    Agreement, ExportOutput, ExportPhotos, ExportPreprocessing, Model, OnnxOptions, OnnxPrecision,
    TfliteOptions, WebOptions, WebRuntime,
};

use crate::errors::Failure;
use crate::flags::{CacheFlags, ThreadFlags};
use crate::output::{destination, eprintln, message, new_folder, path_line, println, quoted};
use crate::photos::{NamedPhotos, photos_at};
use crate::text::counted;
use crate::values::{names_help, one_of};

/// Write a model as an ONNX file, a TFLite file, or a web page
///
/// An ONNX file is for onnxruntime, OpenVINO, browsers and other engines. Before it is written, another engine
/// runs it on photos that the model was not trained on: where it does not compute what the model computes,
/// there is an error and no file. The model's configuration is inside, as the metadata "ocelli".
///
/// --format tflite writes a file of 32-bit floats for LiteRT, on phones and small boards: images in rows of pixels,
/// "labels.txt" packed into it. LiteRT is not part of this program: before the file is written, it is read back, and
/// a slow interpreter of Ocelli's own computes what it says.
///
/// --format web writes a folder: a page that classifies photos in the browser, the model, and its engine, the npm
/// package onnxruntime-web, which is downloaded once (33 MB). Any web server can serve it; photos stay in the
/// visitor's browser.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli export runs/photos-1
  ocelli export model.safetensors --photos photos --preprocessing all
  ocelli export runs/photos-1 --format tflite
  ocelli export runs/photos-1 --format web --out site

Environment:
  NPM_CONFIG_REGISTRY                             mirror of npm's registry
  HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY    proxies")]
pub struct Export {
    /// Model file, or the folder of its run
    model: PathBuf,

    /// What is written: onnx, tflite or web
    #[arg(long_help = names_help("What is written", FORMATS), hide_possible_values = true)]
    #[arg(long, value_name = "FORMAT", default_value = "onnx", value_parser = one_of::<Format>(FORMATS))]
    format: Format,
    /// What the file takes: normalize, all or none
    #[arg(long_help = names_help("What the file takes", ExportPreprocessing::NAMES), hide_possible_values = true)]
    #[arg(long, value_name = "KIND", default_value = "normalize")]
    #[arg(value_parser = one_of::<ExportPreprocessing>(ExportPreprocessing::NAMES))]
    preprocessing: ExportPreprocessing,
    /// What it gives: probabilities, logits or features
    #[arg(long_help = names_help("What the file gives", ExportOutput::NAMES), hide_possible_values = true)]
    #[arg(long, value_name = "KIND", default_value = "probabilities")]
    #[arg(value_parser = one_of::<ExportOutput>(ExportOutput::NAMES))]
    output: ExportOutput,
    /// Store weights in 16 bits: half the size, computed in 32 bits
    #[arg(long)]
    half: bool,
    /// Quantize to 8-bit integers: about a third of the size
    ///
    /// Static quantization: weights per output channel, the ranges of activations from up to 100 training images of
    /// the run (of every second of `--photos`). The file is refused where its accuracy is more than 0.02 below the
    /// model's on up to 200 validation images; where classes are unknown, where more than 2 % of the photos become
    /// another class.
    #[arg(long, conflicts_with = "half")]
    int8: bool,
    /// Calibrate probabilities (temperature scaling)
    #[arg(long)]
    calibrated: bool,
    /// Photos or folders to compare on [default: the run's]
    ///
    /// [default: the validation images of the model's run]
    #[arg(long, value_name = "PATH", num_args = 1..)]
    photos: Vec<PathBuf>,
    /// With --format web: the npm package onnxruntime-web
    ///
    /// Its archive as `npm pack` writes it, or the folder that holds its package.json. [default: it is downloaded into
    /// the cache folder]
    #[arg(long, value_name = "PATH")]
    runtime: Option<PathBuf>,
    /// Output file or folder [default: NAME.onnx, NAME.tflite, NAME-web]
    ///
    /// A folder must be new or empty. [default: the name of the run or of the model's file, or the first free name
    /// like NAME-2.onnx]
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
    /// Print only the path
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    threads: ThreadFlags,
    #[command(flatten)]
    cache: CacheFlags,
}

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Onnx,
    Tflite,
    Web,
}

const FORMATS: &[(&str, &str)] = &[
    ("onnx", "an ONNX file"),
    ("tflite", "a TFLite file, for LiteRT"),
    ("web", "a folder with a page that classifies photos in the browser"),
];

impl FromStr for Format {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "onnx" => Ok(Self::Onnx),
            "tflite" => Ok(Self::Tflite),
            "web" => Ok(Self::Web),
            _ => Err("expected onnx, tflite or web"),
        }
    }
}

impl Export {
    pub fn run(&self) -> Result<(), Failure> {
        self.check()?;
        let threads = self.threads.start()?;
        let model = Model::load(&self.model)?.threads(threads);
        let mut named = NamedPhotos::default();
        let photos = match &self.photos[..] {
            [] => ExportPhotos::of_run(&self.model)?,
            given => {
                named = photos_at(given)?;
                ExportPhotos { validation: std::mem::take(&mut named.photos), ..ExportPhotos::default() }
            }
        };
        let name = name_of(&self.model);
        let precision = match (self.half, self.int8) {
            (true, _) => OnnxPrecision::F16,
            (_, true) => OnnxPrecision::Int8,
            _ => OnnxPrecision::F32,
        };
        match self.format {
            Format::Onnx => {
                let out = destination(self.out.as_deref(), &format!("{name}.onnx"), &[])?;
                let options = OnnxOptions {
                    preprocessing: self.preprocessing,
                    output: self.output,
                    precision,
                    calibrated: self.calibrated,
                };
                let agreement = model.export_onnx(&out, &options, &photos)?;
                self.print(&agreement);
                path_line(&out);
            }
            Format::Tflite => {
                let out = destination(self.out.as_deref(), &format!("{name}.tflite"), &[])?;
                let options = TfliteOptions {
                    preprocessing: self.preprocessing,
                    output: self.output,
                    calibrated: self.calibrated,
                };
                let agreement = model.export_tflite(&out, &options, &photos)?;
                self.print(&agreement);
                path_line(&out);
                if !self.quiet {
                    let note = "LiteRT is not part of this program and has not run the file; the guide shows how, in Python";
                    eprintln!("note: {note}");
                }
            }
            Format::Web => {
                let out = match &self.out {
                    Some(out) => new_folder(out, "--out")?,
                    None => destination(None, &format!("{name}-web"), &[])?,
                };
                let options = WebOptions { precision, calibrated: self.calibrated };
                let agreement = model.export_web(&out, &options, &self.web_runtime()?, &photos)?;
                self.print(&agreement);
                path_line(&out);
                if !self.quiet {
                    eprintln!("to try it:  python3 -m http.server --directory {}", quoted(out.as_os_str()));
                }
            }
        }
        named.conclude()
    }

    /// Refuses flags that do not go with the format.
    fn check(&self) -> Result<(), Failure> {
        let reason = match self.format {
            Format::Onnx | Format::Tflite if self.runtime.is_some() => "--runtime is for --format web",
            Format::Tflite if self.preprocessing == ExportPreprocessing::All => {
                "--preprocessing all is for --format onnx: a TFLite file takes images of the model's size; resize and \
                 crop them in your program, and give normalize, or none"
            }
            Format::Tflite if self.half || self.int8 => {
                "--half and --int8 are for --format onnx and web: a TFLite file has 32-bit floats"
            }
            Format::Web if self.preprocessing != ExportPreprocessing::Normalize => {
                "--preprocessing is for --format onnx: the page resizes photos itself"
            }
            Format::Web if self.output != ExportOutput::Probabilities => {
                "--output is for --format onnx: the page shows probabilities"
            }
            _ => return Ok(()),
        };
        Err(Failure::Error(reason.to_owned()))
    }

    /// The engine of a web page; messages go to standard error.
    fn web_runtime(&self) -> Result<WebRuntime, Failure> {
        if let Some(path) = &self.runtime {
            let is_archive = path.is_file();
            let found =
                if is_archive { WebRuntime::from_archive(path) } else { WebRuntime::from_folder(path) };
            return Ok(found?);
        }
        downloaded(&self.cache.folder()?, self.quiet).map_err(|failure| match failure {
            Failure::Error(text) => {
                let advice = "to use an npm package of your own:  --runtime node_modules/onnxruntime-web";
                Failure::Error(format!("{text}\n       {advice}"))
            }
            failure => failure,
        })
    }

    fn print(&self, agreement: &Agreement) {
        if !self.quiet {
            // Large networks are compared on few photos by the slow interpreter, however many there are.
            print(agreement, self.output, self.format == Format::Tflite);
        }
    }
}

#[cfg(feature = "hub")]
fn downloaded(cache: &Path, quiet: bool) -> Result<WebRuntime, Failure> {
    let mut transfer = crate::transfer::Transfer::new(quiet);
    Ok(WebRuntime::pull(cache, &mut |event| {
        transfer.observe(event);
        std::ops::ControlFlow::Continue(())
    })?)
}

/// This program was built without downloads.
#[cfg(not(feature = "hub"))]
fn downloaded(cache: &Path, _quiet: bool) -> Result<WebRuntime, Failure> {
    WebRuntime::find(cache)?.ok_or_else(|| {
        let package = WebRuntime::PACKAGE;
        let (url, path) = (package.remote(&ocelli::hub::npm_registry()).url, package.path(cache));
        Failure::Error(message(format!(
            "this program cannot download onnxruntime-web; get {url} and save it as {}",
            path.display()
        )))
    })
}

fn print(agreement: &Agreement, output: ExportOutput, is_slow: bool) {
    let Agreement { engine, photos, made_up, difference, .. } = agreement;
    let what = if output == ExportOutput::Features { "features" } else { "logits" };
    let beside = match made_up {
        0 => "",
        1 => ", and on noise",
        2 => ", and on noise and black",
        _ => ", and on noise, black and white",
    };
    println!("compared in {engine} on {}{beside}:", counted(*photos, "photo"));
    let accepted = |bound: f64| match agreement.bound {
        Some(of_logits) => format!(" (accepted: {:.0e})", bound * of_logits),
        None => String::new(),
    };
    println!("  {what} differ by at most {difference:.1e} of their spread{}", accepted(1.0));
    let of = if output == ExportOutput::Features { " of the model's head on them" } else { "" };
    println!("  probabilities{of} differ by at most {:.1e}", agreement.probabilities);
    println!("  the most probable class is the same for {} of {}", agreement.same_class, photos + made_up);
    if let Some([before, after]) = agreement.accuracy {
        println!("  accuracy {before:.4} → {after:.4} (accepted: 0.02 less)");
    }
    if let Some(found) = agreement.unknown_score {
        println!("  unknown scores differ by at most {found:.1e} of their spread{}", accepted(10.0));
    }
    if let Some(levels) = agreement.grey_levels {
        println!("  resized pixels differ by at most {levels:.1} of 255 grey levels (accepted: 2)");
    }
    if let Some(whole) = agreement.whole.as_ref().filter(|whole| whole.photos > 0) {
        println!(
            "  decoded at their whole size, as by other programs, {} that Ocelli decodes smaller: outputs differ by at \
             most {:.1e}, the most probable class is the same for {}",
            counted(whole.photos, "JPEG"),
            whole.difference,
            whole.same_class
        );
    }
    if *photos < 32 && !is_slow {
        eprintln!("note: {}", message("compared on fewer than 32 photos; --photos names more"));
    }
}

/// The name of a run's folder, or of a model's file.
fn name_of(model: &Path) -> String {
    let absolute = model.canonicalize().unwrap_or_else(|_| model.to_owned());
    let named = match absolute.file_stem() {
        Some(stem) if !model.is_dir() && stem == "model" => absolute.parent().and_then(Path::file_name),
        Some(stem) if !model.is_dir() => Some(stem),
        _ => absolute.file_name(),
    };
    named.map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned())
}
