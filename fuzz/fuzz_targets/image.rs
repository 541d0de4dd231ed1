//! Bytes as an image of any format: no panic that is not an error, and one verdict at every size.
#![no_main]

use std::sync::Once;

use libfuzzer_sys::{Corpus, fuzz_target};
use ocelli_data::{Channels, Decoder};
// For its limit of memory.
use ocelli_fuzz as _;

/// Few enough for some hundred decodes a second, and for the limit of memory.
const MAX_PIXELS: u64 = 1 << 20;
/// What the paths of this project's files have in them.
const OURS: [&str; 2] = ["ocelli-data", "fuzz_targets"];
static READY: Once = Once::new();

fuzz_target!(|bytes: &[u8]| -> Corpus {
    // A library's decoder that panics is answered with an error, and is no finding; a panic of this project's is one.
    READY.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            if panic.location().is_some_and(|place| OURS.iter().any(|ours| place.file().contains(ours))) {
                eprintln!("{panic}");
                std::process::abort();
            }
        }));
    });
    let decoder = Decoder { max_pixels: MAX_PIXELS, ..Decoder::default() };
    let probe = decoder.probe(bytes);
    let _ = Decoder::default().probe(bytes);
    let whole = decoder.decode(bytes);
    for side in [1, 32, 64, 224] {
        let part = decoder.decode_for(bytes, side);
        assert_eq!(part.is_ok(), whole.is_ok(), "two verdicts at {side}: {part:?}, {whole:?}");
        if let (Ok(part), Ok(whole)) = (part, &whole) {
            let needed = side.min(whole.width()).min(whole.height());
            assert!(part.width().min(part.height()) >= needed, "{part:?} of {whole:?}, asked for {side}");
        }
    }
    if let (Ok(probe), Ok(whole)) = (&probe, &whole) {
        assert_eq!((probe.width, probe.height), (whole.width(), whole.height()), "{probe:?}");
    }
    let channels = Channels { bands: Some([1, 1, 1]), value_range: Some([0.0, 1000.0]) };
    let _ = Decoder { channels, ..decoder }.decode(bytes);
    // What is no image by its first bytes teaches nothing.
    if ocelli_data::Format::of(bytes).is_some() { Corpus::Keep } else { Corpus::Reject }
});
