//! Several labels per image, from a table: which emoji is of which category, and whether its colours are warm.
//!
//!     cargo run --release -p ocelli --example labels_table

use std::fmt::Write;
use std::path::Path;

use ocelli::prelude::*;
use ocelli::{Decoder, Metric, photos_in};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let photos = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/emoji"));
    let folder = tempfile::tempdir()?;
    let table = folder.path().join("labels.csv");
    std::fs::write(&table, labels(photos)?)?;

    // The separator, and that images have several labels, is detected; `notices` say what was.
    let options = TableOptions { folder: Some(photos.to_owned()), ..TableOptions::default() };
    let data = ImageData::from_csv(&table, options).size(32).load()?;
    data.notices().iter().for_each(|notice| println!("note: {notice}"));
    println!("{} images with the labels {}", data.items().len(), data.classes().join(", "));

    // The loss is binary cross-entropy; the best weights are those with the highest F1.
    let f1: Metric = "f1".parse()?;
    let mut learner = Learner::pretrained(Arch::EfficientNetLite0, data)?;
    learner.keep_best(Some(f1));
    learner.cache_features()?;
    for record in learner.fit(1e-2, Epochs(6))? {
        println!("epoch {}: F1 {:.4}", record.epoch, record.value(f1).unwrap_or(f64::NAN));
    }
    learner.return_to_best();

    // From which probability on an image has a label: tuned on the validation images, for each label.
    let thresholds = learner.validate()?.best_thresholds(1.0);
    let model = learner.to_model().with_thresholds(thresholds)?;
    for prediction in
        model.predict([photos.join("flags/de.png"), photos.join("food-and-drink/avocado.png")])?
    {
        let prediction = prediction?;
        let labels = prediction.predicted_labels();
        let labels: Vec<String> =
            labels.iter().map(|label| format!("{} {:.3}", label.class, label.probability)).collect();
        println!("{}: {}", prediction.path.display(), labels.join(", "));
    }
    Ok(())
}

/// A table with the columns image and labels, such as `flags/de.png,flags warm`.
fn labels(photos: &Path) -> Result<String, Box<dyn std::error::Error>> {
    let mut table = "image,labels\n".to_owned();
    for path in photos_in(photos)?.photos {
        let name = path.strip_prefix(photos)?;
        let category = name.parent().unwrap_or(name).display();
        let [red, _, blue] = Decoder::default().decode_file(&path)?.means();
        let warm = if red > blue { " warm" } else { "" };
        writeln!(table, "{},{category}{warm}", name.display())?;
    }
    Ok(table)
}
