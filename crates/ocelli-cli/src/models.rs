//! `ocelli models`

use std::io::{self, Write};

use ocelli::{Arch, ArchInfo, Precision, Publisher, Speed, WeightStore, built_in_weights};
use serde_json::json;

use crate::arguments::Models;
use crate::output::{eprintln, unwritten};
use crate::words::{size, table};
use crate::{Failure, interrupt};

pub fn run(arguments: &Models) -> Result<(), Failure> {
    crate::train::use_threads(arguments.threads)?;
    let device = arguments.device.open()?;
    let named: Vec<Arch> = arguments.names.iter().map(|name| name.parse()).collect::<Result<_, _>>()?;
    let archs = if named.is_empty() { Arch::ALL.to_vec() } else { named };
    let precision = arguments.precision.precision().unwrap_or_else(Precision::fastest);
    let store = WeightStore::from_environment()?;
    let mut out = io::stdout();
    let mut rows = Vec::new();
    if arguments.measure {
        interrupt::finish("this backbone");
    }
    for arch in archs {
        if interrupt::asked() {
            break;
        }
        let side = arguments.size.unwrap_or(arch.info().size);
        if side < arch.info().smallest {
            let smallest = arch.info().smallest;
            return Err(Failure::Error(format!("--size {side}: {arch} takes images from {smallest} px on")));
        }
        let measure = || {
            if !arguments.json {
                eprintln!("measuring {arch} at {side} px");
            }
            Speed::measure(arch, side, arguments.batch, arguments.runs, precision, &device)
        };
        let speed = arguments.measure.then(measure).transpose()?;
        let here = built_in_weights(arch).is_some() || store.find(arch).is_ok_and(|path| path.is_some());
        if arguments.json {
            written(writeln!(out, "{}", object(arch, speed.map(|speed| (side, speed)), here)))?;
        } else {
            rows.push(row(&arch.info(), speed, here));
        }
    }
    if arguments.json {
        return ended();
    }
    let mut heads =
        vec!["name", "size", "accuracy", "parameters", "multiply-adds", "late layers from", "weights"];
    if arguments.measure {
        heads.extend(["images/s", "training"]);
    }
    written(write!(out, "{}", table(&heads, &rows)))?;
    let note =
        "accuracy: top-1 on ImageNet, as published, at that size in pixels; weights: * are on this machine";
    written(writeln!(out, "\n{note}"))?;
    ended()
}

/// What was measured is printed, also where the rest is not to be.
fn ended() -> Result<(), Failure> {
    if interrupt::asked() { Err(Failure::Interrupted) } else { Ok(()) }
}

fn row(info: &ArchInfo, speed: Option<Speed>, here: bool) -> Vec<String> {
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
    if let Some(speed) = speed {
        row.extend([format!("{:.1}", speed.forward), format!("{:.1}", speed.training)]);
    }
    row
}

/// What the table says, and more, for programs.
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

fn written(result: io::Result<()>) -> Result<(), Failure> {
    result.map_err(unwritten)
}
