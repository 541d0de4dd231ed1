//! `ocelli show`
//!
//! | to change | file |
//! |---|---|
//! | the text about each kind of file | `text.rs` |

mod text;

use std::path::PathBuf;

use clap::Args;
use ocelli::{FileSummary, Model};

use crate::errors::Failure;
use crate::output::{println, raw, shown};

/// Describe a model, a checkpoint, weights or ONNX file
///
/// Says what the file itself holds: network, image size, preprocessing, classes, thresholds, how it was trained and
/// validated, and the licence of the pretrained weights. In the folder of a run, its records are read too. The
/// content is compared with the digest in the file.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli show runs/photos-1
  ocelli show model.safetensors --card > README.md")]
pub struct Show {
    /// Model, run folder, checkpoint, weights or ONNX file
    ///
    /// Of a run that is not finished, the last checkpoint.
    model: PathBuf,

    /// List all classes; without it the first 20
    #[arg(long)]
    classes: bool,
    /// List the tensors with their shapes and types
    #[arg(long)]
    tensors: bool,
    /// List the operations of a model, in inference
    ///
    /// Each with its output's shape for one image and the numbers of its inputs; batch norms and activations are part
    /// of the convolution before them.
    #[arg(long, conflicts_with_all = ["json", "card"])]
    operations: bool,
    /// Print a JSON object; tensors with --tensors
    #[arg(long)]
    json: bool,
    /// Print a model card in Markdown, as on the Hugging Face hub
    ///
    /// The licence is left to be chosen. Nothing is said that the file does not say.
    #[arg(long, conflicts_with_all = ["json", "tensors", "classes"])]
    card: bool,
}

impl Show {
    pub fn run(&self) -> Result<(), Failure> {
        let summary = FileSummary::read(&self.model)?;
        if self.card {
            let FileSummary::Model(model) = &summary else {
                let path = shown(summary.file().path.display());
                return Err(Failure::Error(format!("{path}: --card is for models, and this is none")));
            };
            raw(model.card().as_bytes());
            return Ok(());
        }
        if self.json {
            let summary = if self.tensors { summary } else { summary.without_tensors() };
            raw(format!("{}\n", serde_json::to_string_pretty(&summary)?).as_bytes());
            return Ok(());
        }
        text::print(&summary, self.classes);
        if self.operations {
            let FileSummary::Model(model) = &summary else {
                let path = shown(summary.file().path.display());
                return Err(Failure::Error(format!("{path}: --operations is for models, and this is none")));
            };
            println!("\n{}", Model::load(&model.file.path)?.graph()?.to_string().trim_end());
        }
        if self.tensors {
            text::print_tensors(summary.file());
        }
        Ok(())
    }
}
