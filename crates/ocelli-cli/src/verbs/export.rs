//! `ocelli export`

use std::path::{Path, PathBuf};

use clap::Args;
use ocelli::{Agreement, ExportPhotos, Model, OnnxOptions, OnnxOutput, OnnxPrecision, OnnxPreprocessing};

use crate::errors::Failure;
use crate::flags::ThreadFlags;
use crate::output::{destination, eprintln, message, path_line, println};
use crate::photos::{NamedPhotos, photos_at};
use crate::text::counted;
use crate::values::{names_help, one_of};

/// Write a model as an ONNX file
///
/// The file is for onnxruntime, OpenVINO, browsers and other engines. Before it is written, another engine
/// runs it on photos that the model was not trained on: where it does not compute what the model computes,
/// there is an error and no file. The model's configuration is inside, as the metadata "ocelli".
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli export runs/photos-1
  ocelli export model.safetensors --photos photos --preprocessing all")]
pub struct Export {
    /// Model file, or the folder of its run
    model: PathBuf,

    /// What the file takes: normalize, all or none
    #[arg(long_help = names_help("What the file takes", OnnxPreprocessing::NAMES), hide_possible_values = true)]
    #[arg(long, value_name = "KIND", default_value = "normalize")]
    #[arg(value_parser = one_of::<OnnxPreprocessing>(OnnxPreprocessing::NAMES))]
    preprocessing: OnnxPreprocessing,
    /// What it gives: probabilities, logits or features
    #[arg(long_help = names_help("What the file gives", OnnxOutput::NAMES), hide_possible_values = true)]
    #[arg(long, value_name = "KIND", default_value = "probabilities")]
    #[arg(value_parser = one_of::<OnnxOutput>(OnnxOutput::NAMES))]
    output: OnnxOutput,
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
    /// Output file [default: NAME.onnx]
    ///
    /// [default: the name of the run or of the model's file, or the first free name like NAME-2.onnx]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print only the path
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    threads: ThreadFlags,
}

impl Export {
    pub fn run(&self) -> Result<(), Failure> {
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
        let out = destination(self.out.as_deref(), &format!("{}.onnx", name_of(&self.model)), &[])?;
        let options = OnnxOptions {
            preprocessing: self.preprocessing,
            output: self.output,
            precision: match (self.half, self.int8) {
                (true, _) => OnnxPrecision::F16,
                (_, true) => OnnxPrecision::Int8,
                _ => OnnxPrecision::F32,
            },
            calibrated: self.calibrated,
        };
        let agreement = model.export_onnx(&out, &options, &photos)?;
        if !self.quiet {
            print(&agreement, self.output);
        }
        path_line(&out);
        named.conclude()
    }
}

fn print(agreement: &Agreement, output: OnnxOutput) {
    let Agreement { engine, photos, made_up, difference, .. } = agreement;
    let what = if output == OnnxOutput::Features { "features" } else { "logits" };
    let beside = if *made_up > 0 { ", and on noise, black and white" } else { "" };
    println!("compared in {engine} on {}{beside}:", counted(*photos, "photo"));
    let accepted = |bound: f64| match agreement.bound {
        Some(of_logits) => format!(" (accepted: {:.0e})", bound * of_logits),
        None => String::new(),
    };
    println!("  {what} differ by at most {difference:.1e} of their spread{}", accepted(1.0));
    if output != OnnxOutput::Features {
        println!("  probabilities differ by at most {:.1e}", agreement.probabilities);
        let (same, all) = (agreement.same_class, photos + made_up);
        println!("  the most probable class is the same for {same} of {all}");
    }
    if let Some([before, after]) = agreement.accuracy {
        println!("  accuracy {before:.4} → {after:.4} (accepted: 0.02 less)");
    }
    if let Some(found) = agreement.unknown_score {
        println!("  unknown scores differ by at most {found:.1e} of their spread{}", accepted(10.0));
    }
    if let Some(levels) = agreement.grey_levels {
        println!("  resized pixels differ by at most {levels:.1} of 255 grey levels (accepted: 2)");
    }
    if *photos < 32 {
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
