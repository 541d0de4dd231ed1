//! An inspection as people read it: the figures, and the findings.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use rayon::prelude::*;
use serde::Serialize;

use super::{ImageFacts, Inspection};
use crate::threads::pool;
use crate::{DataError, Decoder, Items, RgbImage, Skipped, Split};

/// An image whose shorter side is less than this part of the network's is called tiny.
const TINY: u32 = 4;
/// An image whose longer side is more than this many times its shorter one is called long.
const LONG: f64 = 3.0;

/// A data set, and all that there is to say of it before it is trained on.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The folder or table as it was given.
    pub data: PathBuf,
    /// The images.
    pub items: Items,
    /// Which of them would be trained on, and which held out.
    pub split: Split,
    /// The group of each image, where groups are known.
    pub groups: Option<Vec<Option<String>>>,
    /// Files and folders that were left out, sorted by path.
    pub skipped: Vec<Skipped>,
    /// What people should know, a sentence each.
    pub notices: Vec<String>,
    /// Why nothing can be held out.
    pub problem: Option<String>,
    /// The side in pixels of the square that a network is to see.
    pub size: u32,
    /// What is in the images.
    pub inspection: Inspection,
}

/// Images of a class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClassCounts {
    /// The class.
    pub class: String,
    /// Images to train on.
    pub train: usize,
    /// Images held out.
    pub valid: usize,
    /// Images for the end.
    pub test: usize,
    /// How much of the area a centre crop to a square leaves out on average, in percent.
    pub lost_by_crop: u32,
}

/// How many images have each width, or height.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Histogram {
    /// Where the first bin begins, in pixels.
    pub start: u32,
    /// The width of a bin, in pixels.
    pub step: u32,
    /// Images in each bin.
    pub counts: Vec<usize>,
    /// Images beyond the last bin.
    pub beyond: usize,
}

/// Something that people should look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was found.
    pub title: &'static str,
    /// What it means, or what to do.
    pub advice: &'static str,
    /// Every case.
    pub cases: Vec<Case>,
}

/// One case of a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Case {
    /// The images that it is about, as indices of items; none where it is not about images.
    pub items: Vec<usize>,
    /// The case in words.
    pub text: String,
}

impl Report {
    /// How many images each class has, in the order of the classes.
    pub fn class_counts(&self) -> Vec<ClassCounts> {
        let [train, valid, test] = [&self.split.train, &self.split.valid, &self.split.test]
            .map(|side| self.items.class_counts(side));
        let mut lost = vec![(0.0, 0usize); self.items.classes.len()];
        for image in self.inspection.images.iter().filter(|image| image.probe.is_some()) {
            for &class in self.items[image.item].target.classes() {
                lost[class].0 += image.lost_by_crop();
                lost[class].1 += 1;
            }
        }
        let names = self.items.classes.names().iter().enumerate();
        let counts = names.map(|(class, name)| ClassCounts {
            class: name.clone(),
            train: train[class],
            valid: valid[class],
            test: test[class],
            lost_by_crop: (lost[class].0 * 100.0 / lost[class].1.max(1) as f64).round() as u32,
        });
        counts.collect()
    }

    /// Small pictures of some items, their longer side at most `side` pixels, decoded with `threads` threads
    /// (0: one for each core). Those that cannot be decoded are left out.
    ///
    /// # Errors
    /// Where no threads can be started.
    pub fn thumbnails(
        &self,
        items: impl IntoIterator<Item = usize>,
        decoder: &Decoder,
        side: u32,
        threads: usize,
    ) -> Result<HashMap<usize, RgbImage>, DataError> {
        let thumbnail = |&item: &usize| {
            let image = decoder.decode_file_for(&self.items[item].path, side).ok()?;
            Some((item, image.bounded(side)))
        };
        let items: Vec<usize> = items.into_iter().collect();
        Ok(pool(threads)?.install(|| items.par_iter().filter_map(thumbnail).collect()))
    }

    /// Widths and heights of the upright images, each sorted.
    pub fn sizes(&self) -> (Vec<u32>, Vec<u32>) {
        let probes = || self.inspection.images.iter().filter_map(|image| image.probe);
        let (mut widths, mut heights): (Vec<u32>, Vec<u32>) =
            (probes().map(|probe| probe.width).collect(), probes().map(|probe| probe.height).collect());
        widths.sort_unstable();
        heights.sort_unstable();
        (widths, heights)
    }

    /// How much of the area a centre crop to a square leaves out on average, 0 to 1.
    pub fn lost_by_crop(&self) -> f64 {
        let lost: Vec<f64> = self
            .inspection
            .images
            .iter()
            .filter(|image| image.probe.is_some())
            .map(ImageFacts::lost_by_crop)
            .collect();
        lost.iter().sum::<f64>() / lost.len().max(1) as f64
    }

    /// How many images have each format, and each kind of colour.
    pub fn kinds(&self) -> (BTreeMap<&'static str, usize>, BTreeMap<String, usize>) {
        let mut formats: BTreeMap<&str, usize> = BTreeMap::new();
        let mut colours: BTreeMap<String, usize> = BTreeMap::new();
        for probe in self.inspection.images.iter().filter_map(|image| image.probe) {
            *formats.entry(probe.format.name()).or_default() += 1;
            *colours.entry(probe.colour_name()).or_default() += 1;
        }
        (formats, colours)
    }

    /// Everything that people should look at, most important first.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = vec![self.undecodable()];
        findings.extend(self.duplicates());
        findings.extend(
            [self.blank(), self.shallow(), self.black(), self.white(), self.blurred()].map(Finding::new),
        );
        findings.extend([
            self.misnamed(),
            self.tiny(),
            self.long(),
            Finding::new(self.pages()),
            self.turned(),
        ]);
        findings.extend([self.class_names(), self.never_trained(), self.never_measured(), self.left_out()]);
        findings.retain(|finding| !finding.cases.is_empty());
        findings
    }

    /// The images that there is something to say of.
    fn cases(&self, text: impl Fn(&ImageFacts) -> Option<String>) -> Vec<Case> {
        let case = |image: &ImageFacts| Some(Case { items: vec![image.item], text: text(image)? });
        self.inspection.images.iter().filter_map(case).collect()
    }

    fn id(&self, image: &ImageFacts) -> &str {
        &self.items[image.item].id
    }

    fn undecodable(&self) -> Finding {
        Finding {
            title: "cannot be decoded",
            advice: "training skips them, but stops where a class loses more than a tenth; repair or remove them",
            cases: self.cases(|image| Some(format!("{}: {}", self.id(image), image.problem.as_ref()?))),
        }
    }

    /// Images that are the same, or look it, those with different labels or on several sides of the split
    /// first.
    fn duplicates(&self) -> [Finding; 7] {
        let identical = self.groups(&self.inspection.duplicates);
        let alike = self.groups(&self.inspection.near_duplicates);
        let too_good = "what is measured on them is too good; keep them on one side";
        [
            (
                "identical, with different labels",
                "at most one of the labels is right; correct or remove them",
                identical.0,
            ),
            ("identical, in training and held out", too_good, identical.1),
            (
                "groups with images in training and held out",
                "what is measured on them is too good; keep each group on one side",
                self.shared_groups(),
            ),
            ("identical otherwise", "they count more than once; keep one of each", identical.2),
            ("look the same, with different labels", "look whether the labels are right", alike.0),
            ("look the same, in training and held out", too_good, alike.1),
            ("look the same otherwise", "they count more than once", alike.2),
        ]
        .map(Finding::new)
    }

    fn misnamed(&self) -> Finding {
        let text =
            |image: &ImageFacts| Some(format!("{} is a .{} file", self.id(image), image.wrong_extension?));
        Finding {
            title: "with another ending than their format's",
            advice: "the content decides here, but other programs may go by the name",
            cases: self.cases(text),
        }
    }

    fn tiny(&self) -> Finding {
        let text = |image: &ImageFacts| {
            let tiny = image.problem.is_none() && image.smaller_than(self.size / TINY);
            tiny.then(|| format!("{} has {}", self.id(image), size(image)))
        };
        Finding {
            title: "tiny, less than a quarter of what the network sees",
            advice: "enlarged so much they are blurred",
            cases: self.cases(text),
        }
    }

    fn long(&self) -> Finding {
        let text = |image: &ImageFacts| {
            let lost = 100.0 * image.lost_by_crop();
            let long = image.problem.is_none() && image.aspect() > LONG;
            long.then(|| format!("{} has {}; a crop leaves out {lost:.0} %", self.id(image), size(image)))
        };
        Finding {
            title: "more than three times as long as wide",
            advice: "a centre crop leaves out most of them; padding or squishing keeps it",
            cases: self.cases(text),
        }
    }

    fn turned(&self) -> Finding {
        let text = |image: &ImageFacts| {
            let orientation = image.probe?.orientation;
            (orientation != 1).then(|| format!("{} has orientation {orientation}", self.id(image)))
        };
        Finding {
            title: "turned by a note of the camera",
            advice: "the note is followed here, but other programs may not do so",
            cases: self.cases(text),
        }
    }

    fn class_names(&self) -> Finding {
        Finding {
            title: "classes whose names differ in upper and lower case only",
            advice: "if they are one class, rename them",
            cases: self.case_collisions(),
        }
    }

    fn never_trained(&self) -> Finding {
        Finding {
            title: "classes with no image to train on",
            advice: "the network cannot learn them",
            cases: self.classes(&|counts| counts.train == 0),
        }
    }

    fn never_measured(&self) -> Finding {
        let nothing_held_out = self.split.valid.is_empty();
        Finding {
            title: "classes with no image held out",
            advice: "nothing is measured on them",
            cases: self.classes(&|counts| counts.train > 0 && counts.valid == 0 && !nothing_held_out),
        }
    }

    fn left_out(&self) -> Finding {
        let case = |skipped: &Skipped| Case {
            items: Vec::new(),
            text: format!("{}: {}", skipped.path.display(), skipped.reason),
        };
        Finding {
            title: "files and folders that are left out",
            advice: "",
            cases: self.skipped.iter().map(case).collect(),
        }
    }

    /// The names of an item's classes.
    pub fn label(&self, item: usize) -> String {
        let classes = self.items[item].target.classes();
        classes.iter().filter_map(|&class| self.items.classes.name(class)).collect::<Vec<_>>().join(" ")
    }

    /// Groups with different labels, groups on several sides of the split, and the others.
    fn groups(&self, groups: &[Vec<usize>]) -> (Vec<Case>, Vec<Case>, Vec<Case>) {
        let mut sides = vec![""; self.items.len()];
        for (side, indices) in
            [("train", &self.split.train), ("valid", &self.split.valid), ("test", &self.split.test)]
        {
            indices.iter().for_each(|&index| sides[index] = side);
        }
        let mut cases = (Vec::new(), Vec::new(), Vec::new());
        for group in groups {
            let (first, items) = (group[0], &self.items);
            let labels_differ = group.iter().any(|&item| items[item].target != items[first].target);
            let sides_differ = group.iter().any(|&item| sides[item] != sides[first]);
            let member = |&item: &usize| match (labels_differ, sides_differ) {
                (true, _) => format!("{} ({})", items[item].id, self.label(item)),
                (false, true) => format!("{} ({})", items[item].id, sides[item]),
                (false, false) => items[item].id.clone(),
            };
            let text = group.iter().map(member).collect::<Vec<_>>().join(" = ");
            let case = Case { items: group.clone(), text };
            match (labels_differ, sides_differ) {
                (true, _) => cases.0.push(case),
                (false, true) => cases.1.push(case),
                (false, false) => cases.2.push(case),
            }
        }
        cases
    }

    /// Groups on several sides of the split.
    fn shared_groups(&self) -> Vec<Case> {
        let Some(groups) = &self.groups else { return Vec::new() };
        let case = |items: Vec<usize>| {
            let name = groups[items[0]].as_deref().unwrap_or_default();
            let on = |side: &[usize]| items.iter().filter(|item| side.binary_search(item).is_ok()).count();
            let sides =
                [("train", &self.split.train), ("valid", &self.split.valid), ("test", &self.split.test)];
            let sides = sides
                .map(|(side, indices)| (side, on(indices)))
                .into_iter()
                .filter(|(_, images)| *images > 0);
            let sides: Vec<String> = sides.map(|(side, images)| format!("{images} in {side}")).collect();
            Case { text: format!("{name}: {}", sides.join(", ")), items }
        };
        self.split.shared_groups(groups).into_iter().map(case).collect()
    }

    fn case_collisions(&self) -> Vec<Case> {
        let mut groups: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for name in self.items.classes.names() {
            groups.entry(name.to_lowercase()).or_default().push(name);
        }
        let several = groups.into_values().filter(|group| group.len() > 1);
        several.map(|group| Case { items: Vec::new(), text: group.join(" = ") }).collect()
    }

    fn classes(&self, matches: &dyn Fn(&ClassCounts) -> bool) -> Vec<Case> {
        let classes = self.class_counts().into_iter().filter(matches);
        classes.map(|counts| Case { items: Vec::new(), text: counts.class }).collect()
    }
}

impl Finding {
    pub(super) fn new((title, advice, cases): (&'static str, &'static str, Vec<Case>)) -> Self {
        Self { title, advice, cases }
    }
}

/// `640 × 480`
fn size(image: &ImageFacts) -> String {
    image.probe.map_or(String::new(), |probe| format!("{} × {}", probe.width, probe.height))
}

impl Histogram {
    /// Of sorted numbers, in at most `bins` bins of a round width that hold at least 98 % of them.
    pub fn of(sorted: &[u32], bins: usize) -> Histogram {
        let (first, last) = match sorted {
            [] => (0, 0),
            _ => (sorted[0], sorted[(sorted.len() - 1) * 98 / 100]),
        };
        let steps = (0..9).flat_map(|power| [1, 2, 5].map(|digit| digit * 10u32.pow(power)));
        let fits = |&step: &u32| ((last / step - first / step) as usize) < bins.max(1);
        let step = steps.into_iter().find(fits).unwrap_or(1_000_000_000);
        let start = first / step * step;
        let mut counts = vec![0; ((last - start) / step) as usize + 1];
        let mut beyond = 0;
        for value in sorted {
            match counts.get_mut(((value - start) / step) as usize) {
                Some(count) => *count += 1,
                None => beyond += 1,
            }
        }
        Histogram { start, step, counts, beyond }
    }
}
