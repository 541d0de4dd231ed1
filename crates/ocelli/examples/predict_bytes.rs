//! Predictions from bytes in memory, such as uploads to a server, instead of files.
//!
//!     cargo run --release -p ocelli --example predict_bytes

use ocelli::prelude::*;

fn main() -> ocelli::Result<()> {
    let photos = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/emoji");
    let data = ImageData::from_folder(photos).size(32).load()?;
    let mut learner = Learner::pretrained(Arch::EfficientNetLite0, data)?;
    learner.cache_features()?;
    learner.fit(1e-2, Epochs(4))?;
    // A program that only predicts begins here, with `Model::load(path)`.
    let model = learner.to_model();

    // The bytes of any image format that is read: JPEG, PNG, WebP, …
    let upload = include_bytes!("../../../samples/emoji/flags/de.png");
    let prediction = model.predict_bytes(upload)?;
    for class in prediction.ranked().iter().take(3) {
        println!("{:20} {:.3}", class.class, class.probability);
    }
    // The same as for the file, to the bit.
    let of_file = model.predict([format!("{photos}/flags/de.png")])?.next().expect("one photo")?;
    assert_eq!(prediction.probabilities, of_file.probabilities);

    // What is no image is an error, not a panic.
    match model.predict_bytes(b"not an image") {
        Ok(_) => unreachable!("these bytes are no image"),
        Err(error) => println!("refused: {error}"),
    }
    Ok(())
}
