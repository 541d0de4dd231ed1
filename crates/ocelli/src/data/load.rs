//! Reads, splits and checks image data.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ocelli_data::inspect::{
    Report, images_of_many_bands, images_of_several_pages, inspect, shallow_images, telltale,
};
use ocelli_data::source::UNUSED;
use ocelli_data::source::table::Labelled;
use ocelli_data::split::k_fold;
use ocelli_data::{
    BadImages, ClassLoss, Classes, DataError, Dataset, Digest, Item, Items, Skipped, Split, Target,
    check_classes, class_losses, digests, timeline, undecodable_classes,
};

use crate::data::builder::{AS_THE_TABLE_SAYS, DRAWN, ImageDataBuilder};
use crate::data::valid_split::ValidSplit;
use crate::data::{ImageData, decisions, notices};
use crate::error::{Error, Result};

/// Images with their split.
struct Divided {
    items: Items,
    digests: Vec<Digest>,
    split: Split,
    /// The origin of the split.
    origin: &'static str,
    /// Whether the source itself defines a validation set.
    source_holds_out: bool,
    skipped: Vec<Skipped>,
    notices: Vec<String>,
    losses: Vec<ClassLoss>,
    label_separator: Option<char>,
    /// The group of each image that must be on one side of a split.
    groups: Option<Vec<Option<String>>>,
}

impl ImageDataBuilder {
    /// Reads names, splits, hashes every file, and checks that every class has an image that can be decoded.
    ///
    /// # Errors
    /// [`Error::Data`](crate::Error::Data), which names the folder or file and what to do.
    pub fn load(self) -> Result<ImageData> {
        self.options.check()?;
        let Divided {
            mut items,
            digests,
            mut split,
            origin,
            source_holds_out,
            skipped,
            mut notices,
            losses,
            label_separator,
            groups,
        } = self.divide()?;
        let (mut dropped, mut undecided) = (Vec::new(), None);
        if let Some(path) = &self.decisions {
            let decided = self.decisions_of(path, &items)?;
            decisions::add_classes(&decided, path, &mut items, &split)?;
            undecided = Some(Arc::new(items.items.iter().map(|item| item.target.clone()).collect()));
            let applied = decisions::apply(&decided, path, &mut items, &mut split)?;
            notices.push(applied.to_string());
            dropped = applied.dropped;
        }
        notices.extend(notices::contradictions(&items, &digests, 0..items.len()));
        notices.extend(notices::shared_images(&items, &digests, &split));
        // The reader has already checked the source's own validation set.
        if !source_holds_out || self.valid_split.is_some() {
            notices.extend(notices::nothing_held_out(&items, &split));
        }
        notices.extend(notices::few_held_out(&items, &split));
        if self.options.balanced_sampling {
            notices.extend(notices::balance(&items, &split));
        }
        let _span = timeline::span("check images");
        self.check_images(&items, &split, &mut notices)?;
        notices.extend(images_of_many_bands(&items, &split.train, &self.options.loading.decoder));
        notices.extend(images_of_several_pages(&items, &split.train, &self.options.loading.decoder));
        notices.extend(shallow_images(&items, &split.train, &self.options.loading.decoder));
        notices.extend(telltale(&items, &split.train, &self.options.loading.decoder));
        let data = ImageData::new(items, split, digests, origin, &self);
        // Images that are found unreadable here are listed when their batch is loaded.
        let groups = groups.map(Arc::new);
        Ok(ImageData {
            label_separator,
            dropped,
            undecided,
            losses,
            notices,
            groups,
            ..data.skipping(skipped)
        })
    }

    /// Reads and splits the source, or selects the photos of a run that is resumed.
    fn divide(&self) -> Result<Divided> {
        let scanning = timeline::span("scan");
        // A resumed run uses only the photos that it began with.
        let (Labelled { dataset, label_separator, groups, implied_split, unused_groups, .. }, says) =
            match &self.recorded {
                // Where so much is gone that its folders are none of a data set, what is gone is named below.
                Some(recorded) => {
                    let source = self.allowing_missing();
                    let known = recorded.classes();
                    let mut rest = |root: &Path| self.folder_options().read_known(root, &known);
                    let by_folders = source.clone().class_folders(true);
                    let read = source.read();
                    read.or_else(|error| {
                        let read = source.read_with(&mut rest).or_else(|_| by_folders.read_with(&mut rest));
                        read.map_err(|_| error)
                    })?
                }
                None => self.read()?,
            };
        drop(scanning);
        let Dataset { items, split: own, mut skipped, mut notices, mut losses } = dataset;
        match &self.recorded {
            Some(recorded) => losses.retain(|loss| recorded.has_class(&loss.class)),
            None => {
                self.may_lose(&losses, &mut notices)?;
                self.enough_classes(&items, says)?;
            }
        }
        let digests = {
            let _span = timeline::span("hash");
            let (done, total) = (AtomicUsize::new(0), items.len());
            let progress = || self.progress.call(done.fetch_add(1, Ordering::Relaxed) + 1, total);
            digests(&items, self.options.loading.threads, progress)?
        };
        let _span = timeline::span("split");
        let implied = implied_split.map(|implied| implied.by);
        let source_holds_out = own.as_ref().is_some_and(|own| !own.valid.is_empty());
        let (items, digests, split, origin, groups) = match &self.recorded {
            Some(recorded) => {
                let of_ids = groups.map(|groups| {
                    items.items.iter().map(|item| item.id.clone()).zip(groups).collect::<HashMap<_, _>>()
                });
                let restored = recorded.restore(items, &digests)?;
                notices.extend(restored.notices);
                skipped.extend(restored.skipped);
                let of =
                    |item: &Item| of_ids.as_ref().and_then(|groups| groups.get(&item.id).cloned().flatten());
                let groups = of_ids.is_some().then(|| restored.items.items.iter().map(of).collect());
                (restored.items, restored.digests, restored.split, "as the run began", groups)
            }
            None => {
                let (split, origin) =
                    self.split(own, &items, &digests, groups.as_deref(), says, implied, &mut notices)?;
                notices.extend(groups.iter().flat_map(|groups| notices::groups(groups, &split)));
                if groups.is_none() {
                    // Of several folds one is like the other.
                    let of_fold = self
                        .folds()
                        .and_then(|folds| k_fold(&items, &digests, &split.test, folds, 0, self.seed).ok());
                    let drawn = of_fold.as_ref().unwrap_or(&split);
                    notices.extend(notices::not_grouped(&items, drawn, origin, unused_groups.as_ref()));
                }
                notices.extend(self.left_out(&items, &split));
                (items, digests, split, origin, groups)
            }
        };
        Ok(Divided {
            items,
            digests,
            split,
            origin,
            source_holds_out,
            skipped,
            notices,
            losses,
            label_separator,
            groups,
        })
    }

    /// What a list of the split leaves out.
    fn left_out(&self, items: &Items, split: &Split) -> Option<String> {
        let listed = matches!(self.valid_split, Some(ValidSplit::File(_)));
        if listed { notices::in_no_part(items, split) } else { None }
    }

    /// The folds of a cross-validation.
    fn folds(&self) -> Option<usize> {
        match self.valid_split {
            Some(ValidSplit::Folds(folds)) => Some(folds),
            _ => None,
        }
    }

    /// Decisions about the labels of these items.
    fn decisions_of(&self, path: &Path, items: &Items) -> Result<Vec<decisions::Decision>> {
        let mut decided = decisions::read(path)?;
        if self.recorded.is_some() {
            // Photos may have been removed since the run began.
            let there: HashSet<&str> = items.items.iter().map(|item| item.id.as_str()).collect();
            decided.retain(|decision| there.contains(decision.id()));
        }
        Ok(decided)
    }

    /// Checks that every class has an image that can be decoded, or, if bad images are errors, every image.
    fn check_images(&self, items: &Items, split: &Split, notices: &mut Vec<String>) -> Result<()> {
        let (decoder, threads) = (&self.options.loading.decoder, self.options.loading.threads);
        let policy = self.options.loading.bad_images;
        if policy == BadImages::Skip {
            let (_, lost) = undecodable_classes(items, &split.train, decoder, threads)?;
            let (lost, without): (Vec<_>, Vec<_>) = lost.into_iter().partition(|loss| !loss.lost.is_empty());
            if lost.len() + without.len() == items.classes.len()
                && let Some(first) = lost.iter().flat_map(|loss| &loss.lost).next()
            {
                return Err(Error::NothingReadable {
                    data: items.root.clone(),
                    images: split.train.len(),
                    first: first.path.clone(),
                    reason: first.reason.to_string(),
                });
            }
            if !without.is_empty() {
                check_classes(items, &split.train, decoder, threads)?;
            }
            return self.may_lose(&lost, notices);
        }
        let bad = check_classes(items, &split.train, decoder, threads)?;
        match (policy, bad.first()) {
            (BadImages::Fail, Some(bad)) => Err(bad_image(bad)),
            _ => Ok(()),
        }
    }

    /// The labelled images to evaluate a model of these classes on, as the validation set: the source's own
    /// test or validation images, or all of them; without those that the model was trained on.
    pub(crate) fn for_evaluation(self, classes: &[String]) -> Result<ImageData> {
        self.options.check_preprocessing()?;
        let known = Classes::new(classes.iter().cloned());
        let (Labelled { dataset, label_separator, groups, implied_split, .. }, says) =
            self.read_with(&mut |root| self.folder_options().read_known(root, &known))?;
        let Dataset { mut items, split: own, skipped, mut notices, losses } = dataset;
        self.may_lose(&losses, &mut notices)?;
        let digests = digests(&items, self.options.loading.threads, || ())?;
        let of = if says == AS_THE_TABLE_SAYS { self.source.path().to_owned() } else { items.root.clone() };
        notices.extend(take_classes(&mut items, known, &of)?);
        let (mut valid, mut origin) = match self.valid_split {
            None | Some(ValidSplit::Nothing | ValidSplit::Folds(_)) => {
                notices.extend(notices::unlabelled_test(&items, own.as_ref()));
                evaluated(own, &items, says, self.trained_on.is_some())?
            }
            Some(_) => {
                let implied = implied_split.map(|implied| implied.by);
                let (split, origin) =
                    self.split(own, &items, &digests, groups.as_deref(), says, implied, &mut notices)?;
                let labelled = |item: &usize| items[*item].target != Target::Unlabelled;
                match matches!(self.valid_split, Some(ValidSplit::File(_))) && split.test.iter().any(labelled)
                {
                    true => {
                        (split.test.into_iter().filter(labelled).collect(), "the test images of the split")
                    }
                    false => (split.valid, origin),
                }
            }
        };
        // Test images are what is evaluated here.
        notices.retain(|notice| !notice.contains(UNUSED));
        if let Some(trained_on) = &self.trained_on {
            let all = valid.len();
            let seen = trained_on.those_among(&digests, &valid);
            valid.retain(|item| !seen.contains(item));
            if valid.is_empty() && all > 0 {
                return Err(Error::AllTrainedOn { data: items.root.clone(), images: all });
            }
            if !seen.is_empty() {
                notices.push(format!(
                    "left out: {} of {all} images, which the model was trained on",
                    seen.len()
                ));
                origin = "those that the model was not trained on";
            }
            notices.extend(trained_on.look_alikes(&items, &valid, &self.options.loading)?);
        }
        if says == AS_THE_TABLE_SAYS {
            notices.extend(notices::of_one_class(&items, &valid));
        }
        notices.extend(notices::contradictions(&items, &digests, valid.iter().copied()));
        notices.extend(notices::repeated(&items, &digests, &valid));
        let mut data = ImageData::new(items, Split { valid, ..Split::default() }, digests, origin, &self);
        (data.options.augmentation, data.options.balanced_sampling) = (None, false);
        Ok(ImageData { label_separator, losses, notices, ..data.skipping(skipped) })
    }

    /// Decodes every image once and reports what is notable, whether or not it can be trained on. `progress`
    /// is called with the number of images after each, from any thread.
    ///
    /// # Errors
    /// Where the source cannot be read.
    pub fn inspect(self, progress: impl Fn(usize) + Sync) -> Result<Report> {
        self.options.check_preprocessing()?;
        // Problems that prevent training are reported, and everything else is still inspected.
        let problems: RefCell<Vec<String>> = RefCell::default();
        let mut look = |root: &Path| {
            let (dataset, problem) = self.folder_options().look(root)?;
            *problems.borrow_mut() = problem.iter().map(DataError::to_string).collect();
            Ok(dataset)
        };
        let (labelled, says) = match self.read_with(&mut look) {
            Ok(read) => {
                // Folders that a table is read instead of have no problem.
                if read.1 == AS_THE_TABLE_SAYS {
                    problems.borrow_mut().clear();
                }
                read
            }
            Err(error) => {
                let by_folders = || self.clone().class_folders(true);
                let read = self.allowing_missing().read_with(&mut look);
                let Ok(read) = read.or_else(|_| by_folders().read_with(&mut look)) else {
                    return Err(error);
                };
                problems.borrow_mut().push(error.to_string());
                read
            }
        };
        let mut problems = problems.into_inner();
        let Labelled { dataset, groups, implied_split, unused_groups, .. } = labelled;
        let Dataset { items, split: own, skipped, mut notices, losses } = dataset;
        let total = items.len();
        let inspection =
            inspect(&items, &self.options.loading.decoder, self.options.loading.threads, || progress(total))?;
        let bad = inspection.images.iter().filter_map(|image| {
            let reason = image.problem.as_ref()?;
            Some((image.item, Skipped::image(&items[image.item].path, reason)))
        });
        let bad: BTreeMap<usize, Skipped> = bad.collect();
        let all: Vec<usize> = (0..items.len()).collect();
        let later = class_losses(&items, &all, &losses, &bad);
        let reported: HashSet<String> = later.iter().map(|loss| loss.class.clone()).collect();
        let before = losses.into_iter().filter(|loss| !reported.contains(&loss.class));
        let serious = later.into_iter().chain(before).filter(ClassLoss::is_serious);
        problems.extend(serious.map(|loss| loss.error().to_string()));
        let implied = implied_split.map(|implied| implied.by);
        let digests = &inspection.digests;
        let (split, by) =
            match self.split(own, &items, digests, groups.as_deref(), says, implied, &mut notices) {
                Ok((split, by)) => (split, by),
                Err(error) => {
                    let of = error.setting_name().map_or_else(String::new, |name| format!("`{name}`: "));
                    problems.push(format!("{of}{error}"));
                    (Split::everything(&items, &[]), DRAWN)
                }
            };
        problems.extend(self.enough_classes(&items, says).err().map(|error| error.to_string()));
        notices.extend(groups.iter().flat_map(|groups| notices::groups(groups, &split)));
        if groups.is_none() {
            notices.extend(notices::not_grouped(&items, &split, by, unused_groups.as_ref()));
        }
        notices.extend(self.left_out(&items, &split));
        let problem = (!problems.is_empty()).then(|| problems.join("\n"));
        if self.options.balanced_sampling {
            notices.extend(notices::balance(&items, &split));
        }
        let data = self.source.path().to_owned();
        let size = self.options.size as u32;
        Ok(Report { data, items, split, groups, skipped, notices, problem, size, inspection })
    }

    /// Checks what classes have lost; serious losses that are allowed become notices.
    fn may_lose(&self, losses: &[ClassLoss], notices: &mut Vec<String>) -> Result<()> {
        let serious: Vec<&ClassLoss> = losses.iter().filter(|loss| loss.is_serious()).collect();
        match (self.options.loading.bad_images, serious.first()) {
            (BadImages::Few, Some(loss)) => Err(loss.error().into()),
            (BadImages::Fail, _) => match losses.first().and_then(|loss| loss.lost.first()) {
                Some(bad) => Err(bad_image(bad)),
                None => Ok(()),
            },
            _ => {
                notices.extend(serious.into_iter().map(|loss| format!("warning: {}", loss.error())));
                Ok(())
            }
        }
    }
}

fn bad_image(bad: &Skipped) -> Error {
    Error::BadImage { path: bad.path.clone(), reason: bad.reason.to_string() }
}

/// Maps items to the classes of a model, by name, or by one that looks the same but for upper and lower case,
/// as folders of a split are; says which.
fn take_classes(items: &mut Items, known: Classes, data: &Path) -> Result<Vec<String>> {
    let class = |&class: &usize| {
        let name = items.classes.name(class).unwrap_or_default();
        let alike = known.alike(name).and_then(|name| known.index(name));
        alike.ok_or_else(|| Error::ClassUnknownToModel { data: data.to_owned(), class: name.to_owned() })
    };
    let mut others = BTreeSet::new();
    let targets = items.items.iter().map(|item| match &item.target {
        Target::Unlabelled => Ok(Target::Unlabelled),
        target => {
            let classes = target.classes().iter().map(class).collect::<Result<Vec<_>>>()?;
            for (&here, &there) in target.classes().iter().zip(&classes) {
                let names = (items.classes.name(here), known.name(there));
                if names.0 != names.1 {
                    others.extend(names.0.zip(names.1));
                }
            }
            Ok(Target::new(items.task, classes))
        }
    });
    let targets = targets.collect::<Result<Vec<_>>>()?;
    let notices =
        others.into_iter().map(|(here, there)| format!("\"{here}\" is taken for the class \"{there}\""));
    let notices = notices.collect();
    items.items.iter_mut().zip(targets).for_each(|(item, target)| item.target = target);
    items.classes = known;
    Ok(notices)
}

/// The items that a model is evaluated on by default, and what they are. Where it is known which images it was trained
/// on, others of the part for training were held out.
fn evaluated(
    own: Option<Split>,
    items: &Items,
    says: &str,
    trained_is_known: bool,
) -> Result<(Vec<usize>, &'static str)> {
    let labelled = |item: &usize| items[*item].target != Target::Unlabelled;
    Ok(match own {
        Some(own) if own.test.iter().any(labelled) => {
            (own.test.into_iter().filter(labelled).collect(), "the test images")
        }
        Some(own) if !own.valid.is_empty() => (own.valid, "the part that is held out"),
        Some(own) if !own.train.is_empty() && trained_is_known => (own.train, "all labelled ones"),
        Some(own) if !own.train.is_empty() && says != AS_THE_TABLE_SAYS => {
            return Err(Error::NothingHeldOut { data: items.root.clone() });
        }
        _ => (Split::everything(items, &[]).train, "all"),
    })
}
