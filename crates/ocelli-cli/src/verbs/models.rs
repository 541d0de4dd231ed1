//! `ocelli models`

use std::io::{self, Write};

use clap::Args;
use ocelli::{Arch, ArchInfo, Precision, Publisher, Speed, WeightStore, built_in_weights};
use serde_json::json;

use crate::errors::Failure;
use crate::flags::ComputeFlags;
use crate::interrupt;
use crate::output::{eprintln, unwritten};
use crate::text::{size, table};
use crate::values::{arch, batch_size, side, whole};

/// List the backbones, or benchmark them here
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli models
  ocelli models --benchmark resnet34 efficientnet_lite0 --size 128")]
pub struct Models {
    /// Backbones [default: all]
    #[arg(value_name = "NAME", value_parser = arch)]
    names: Vec<Arch>,

    /// Measure images per second
    ///
    /// Of the frozen network, and in training of all layers, with random weights.
    #[arg(long)]
    benchmark: bool,
    /// Image size in pixels [default: each backbone's]
    #[arg(long, value_name = "PIXELS", requires = "benchmark", value_parser = side)]
    size: Option<usize>,
    /// Images per batch
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = batch_size)]
    batch_size: usize,
    /// Batches to time; the median is printed
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = whole::<1, 10_000>)]
    batches: usize,
    /// Print JSON Lines, one object per backbone
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    compute: ComputeFlags,
}

/// The columns of the table; those of a benchmark follow them.
const COLUMNS: [&str; 7] =
    ["name", "size", "accuracy", "parameters", "multiply-adds", "late layers from", "weights"];

impl Models {
    pub fn run(&self) -> Result<(), Failure> {
        self.compute.threads.start()?;
        let archs = if self.names.is_empty() { Arch::ALL.to_vec() } else { self.names.clone() };
        let store = WeightStore::from_environment()?;
        let mut out = io::stdout();
        let mut rows = Vec::new();
        if self.benchmark {
            interrupt::finish("this backbone");
        }
        for arch in archs {
            if interrupt::asked() {
                break;
            }
            let speed = if self.benchmark { Some(self.measure(arch)?) } else { None };
            let here = built_in_weights(arch).is_some() || store.find(arch).is_ok_and(|path| path.is_some());
            if self.json {
                writeln!(out, "{}", object(arch, speed, here)).map_err(unwritten)?;
            } else {
                rows.push(row(arch.info(), speed, here));
            }
        }
        if !self.json {
            let mut columns = COLUMNS.to_vec();
            if self.benchmark {
                columns.extend(["images/s", "training"]);
            }
            write!(out, "{}", table(&columns, &rows)).map_err(unwritten)?;
            let note = "accuracy: published ImageNet top-1 at this size; weights: * = on this machine";
            writeln!(out, "\n{note}").map_err(unwritten)?;
        }
        // Measurements are printed even after an interruption.
        if interrupt::asked() { Err(Failure::Interrupted) } else { Ok(()) }
    }

    /// The speed of a backbone, and the image size.
    fn measure(&self, arch: Arch) -> Result<(usize, Speed), Failure> {
        let (side, smallest) = (self.size.unwrap_or(arch.info().size), arch.info().smallest);
        if side < smallest {
            return Err(Failure::Error(format!(
                "--size {side}: {arch} needs images of at least {smallest} px"
            )));
        }
        if !self.json {
            eprintln!("measuring {arch} at {side} px");
        }
        let precision = self.compute.precision.unwrap_or_else(Precision::fastest);
        let device = self.compute.device.open()?;
        Ok((side, Speed::measure(arch, side, self.batch_size, self.batches, precision, &device)?))
    }
}

fn row(info: &ArchInfo, speed: Option<(usize, Speed)>, here: bool) -> Vec<String> {
    let origin = match info.publisher {
        Publisher::Torchvision { .. } => "torchvision",
        Publisher::Timm { .. } => "timm",
    };
    let mut row = vec![
        info.name.to_owned(),
        info.size.to_string(),
        format!("{:.1} %", f64::from(info.accuracy) * 100.0),
        size(info.parameters),
        format!("{:.2} G", f64::from(info.multiply_adds) / 1000.0),
        info.late.to_owned(),
        format!("{origin}, {}{}", info.licence, if here { " *" } else { "" }),
    ];
    if let Some((_, speed)) = speed {
        row.extend([format!("{:.1}", speed.forward), format!("{:.1}", speed.training)]);
    }
    row
}

/// The table's values, and more, for programs.
fn object(arch: Arch, speed: Option<(usize, Speed)>, here: bool) -> serde_json::Value {
    let info = arch.info();
    let mut object = json!({
        "name": info.name,
        "published_name": info.published_name(),
        "size": info.size,
        "smallest_size": info.smallest,
        "mean": info.mean,
        "std": info.std,
        "accuracy": info.accuracy,
        "parameters": info.parameters,
        "multiply_adds_millions": info.multiply_adds,
        "late_layers_from": info.late,
        "licence": info.licence,
        "weights_here": here,
    });
    object["weights"] = match info.publisher {
        Publisher::Torchvision { file } => json!({ "publisher": "torchvision", "file": file }),
        Publisher::Timm { repository, .. } => json!({ "publisher": "timm", "repository": repository }),
    };
    if let Some((side, speed)) = speed {
        object["measured"] = json!({
            "size": side,
            "forward_images_per_second": speed.forward,
            "training_images_per_second": speed.training,
        });
    }
    object
}
