//! The data: counts, sizes, skipped images.

use ocelli::{ClassCount, ImageData, Stop};
use ocelli_plot::{Figure, Layout};
use rayon::prelude::*;
use serde::Serialize;

use crate::Subject;

#[derive(Serialize)]
pub(super) struct DataPart {
    pub(super) train: usize,
    pub(super) valid: usize,
    pub(super) counts: Vec<ClassCount>,
    pub(super) origin: String,
    /// The number of images in the sample of sizes, then the smallest, median and largest shorter side.
    pub(super) sizes: Option<[usize; 4]>,
    pub(super) sizes_chart: Option<Layout>,
    pub(super) skipped: Vec<Vec<String>>,
    pub(super) skipped_in_all: usize,
}

/// The most skipped images on the page.
const SKIPPED: usize = 200;

/// The most images in the sample of sizes.
const SIZES: usize = 2000;

/// Width and height of images, or of a sample of many.
pub(crate) fn sizes(data: &ImageData, stop: &Stop) -> Vec<[u32; 2]> {
    let all: Vec<usize> = data.split().train.iter().chain(&data.split().valid).copied().collect();
    let step = all.len().div_ceil(SIZES).max(1);
    let some: Vec<usize> = all.into_iter().step_by(step).collect();
    let decoder = data.decoder();
    let size = |&item: &usize| {
        let path = &data.items()[item].path;
        if stop.is_set() || !path.is_file() {
            return None;
        }
        let probe = decoder.probe_file(path).ok()?;
        Some([probe.width, probe.height])
    };
    some.par_iter().filter_map(size).collect()
}

pub(super) fn data(subject: &Subject, sizes: Option<&Figure>) -> DataPart {
    let data = subject.data;
    let mut skipped = match subject.records {
        Some(records) => records.skipped.clone(),
        None => data.skipped().iter().map(|s| vec![s.path.display().to_string(), s.reason.clone()]).collect(),
    };
    let skipped_in_all = skipped.len();
    skipped.truncate(SKIPPED);
    let recorded = subject.records.and_then(|records| records.data.as_ref());
    let origin = match recorded {
        Some(recorded) => format!("{}; split.csv says which", recorded.origin),
        None if subject.records.is_some() => "split.csv says which".to_owned(),
        None => data.split_origin().to_owned(),
    };
    let mut shorter: Vec<usize> = subject.sizes.iter().map(|size| size[0].min(size[1]) as usize).collect();
    shorter.sort_unstable();
    let of_sizes = match shorter[..] {
        [] => None,
        _ => Some([shorter.len(), shorter[0], shorter[shorter.len() / 2], shorter[shorter.len() - 1]]),
    };
    DataPart {
        train: subject.train_len(),
        valid: recorded.map_or_else(|| data.valid_len(), |recorded| recorded.valid),
        counts: subject.class_counts(),
        origin,
        sizes: of_sizes,
        sizes_chart: sizes.and_then(|figure| figure.layouts().pop()),
        skipped,
        skipped_in_all,
    }
}
