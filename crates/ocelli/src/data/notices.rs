//! Notices about data that matter for trusting a result, one sentence each.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};

use ocelli_data::groups::{RelatedImages, related_images_of};
use ocelli_data::sampler::{self, ClassDraws};
use ocelli_data::source::table::UnusedGroups;
use ocelli_data::{Digest, Items, Split, Target, Task, text};

use crate::data::builder::{AS_THE_TABLE_SAYS, BY_FOLDS, DRAWN, ONE_FOLD};

/// A warning where the same image among these has different labels: at most one of them can be right.
pub(super) fn contradictions(
    items: &Items,
    digests: &[Digest],
    among: impl Iterator<Item = usize>,
) -> Option<String> {
    let mut by_digest: HashMap<Digest, Vec<usize>> = HashMap::new();
    let labelled = |item: &usize| items[*item].target != Target::Unlabelled;
    among.filter(labelled).for_each(|item| by_digest.entry(digests[item]).or_default().push(item));
    let differ = |group: &Vec<usize>| group.iter().any(|&item| items[item].target != items[group[0]].target);
    let mut groups: Vec<Vec<usize>> = by_digest.into_values().filter(differ).collect();
    groups.sort_unstable();
    let named = groups.iter().take(3).map(|group| {
        // One of each label.
        let mut shown: Vec<usize> = Vec::new();
        for &item in group {
            if shown.iter().all(|&other| items[other].target != items[item].target) {
                shown.push(item);
            }
        }
        let names: Vec<&str> = shown.iter().take(4).map(|&item| items[item].id.as_str()).collect();
        let files =
            if group.len() > names.len() { format!(" ({} files)", group.len()) } else { String::new() };
        names.join(" = ") + &files
    });
    let named = named.collect::<Vec<_>>().join(", ");
    let more = if groups.len() > 3 { ", …" } else { "" };
    let images =
        if groups.len() == 1 { "1 image has".to_owned() } else { format!("{} images have", groups.len()) };
    (!groups.is_empty()).then(|| {
        format!("warning: {images} different labels in several files, byte for byte the same: {named}{more}")
    })
}

/// A notice of images among these that are others once more: figures count each, and are less sure than they say.
pub(super) fn repeated(items: &Items, digests: &[Digest], among: &[usize]) -> Option<String> {
    let mut first: HashMap<Digest, usize> = HashMap::new();
    let mut repeated = among.iter().filter_map(|&item| match first.entry(digests[item]) {
        Entry::Occupied(other) => Some((item, *other.get())),
        Entry::Vacant(free) => {
            free.insert(item);
            None
        }
    });
    let (copy, original) = repeated.next()?;
    let number = 1 + repeated.count();
    Some(format!(
        "warning: {} of {} images are byte for byte others once more, and count again, so that the intervals are too \
         narrow; the first is {} = {}",
        text::count(number),
        text::count(among.len()),
        items[original].id,
        items[copy].id
    ))
}

/// A notice of classes that cross-validation does not measure, since their only image is trained on in every fold.
pub(super) fn never_held_out(items: &Items, digests: &[Digest], split: &Split) -> Option<String> {
    let mut images: HashMap<usize, HashSet<Digest>> = HashMap::new();
    for &item in split.train.iter().chain(&split.valid) {
        if let (Task::SingleLabel, [class]) = (items.task, items[item].target.classes()) {
            images.entry(*class).or_default().insert(digests[item]);
        }
    }
    let alone = images.into_iter().filter(|(_, images)| images.len() == 1);
    let alone: BTreeSet<&str> = alone.filter_map(|(class, _)| items.classes.name(class)).collect();
    let what = match alone.len() {
        1 => "has a single image, which is trained on in every fold, so that it is not evaluated",
        _ => "have a single image, which is trained on in every fold, so that they are not evaluated",
    };
    some_classes(what, alone.len(), alone.into_iter(), items.classes.len())
}

/// A notice of classes without validation images.
pub(super) fn nothing_held_out(items: &Items, split: &Split) -> Option<String> {
    if split.valid.is_empty() {
        return None;
    }
    let counts = items.class_counts(&split.valid);
    let without: BTreeSet<&str> = (0..items.classes.len())
        .filter(|&class| counts[class] == 0)
        .filter_map(|class| items.classes.name(class))
        .collect();
    let (have, are) = if without.len() == 1 { ("has", "is") } else { ("have", "are") };
    let what = format!("{have} no validation images and {are} not evaluated");
    some_classes(&what, without.len(), without.into_iter(), items.classes.len())
}

/// `2 of 9 classes have …: a, b`; the first few are named.
fn some_classes<S: AsRef<str>>(
    what: &str,
    count: usize,
    names: impl Iterator<Item = S>,
    all: usize,
) -> Option<String> {
    const NAMED: usize = 5;
    let named: Vec<S> = names.take(NAMED).collect();
    let named = named.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join(", ");
    let more = if count > NAMED { ", …" } else { "" };
    (count > 0).then(|| format!("{count} of {all} classes {what}: {named}{more}"))
}

/// Validation images of a class from which on its figures say something.
const ENOUGH: usize = 5;

/// What is said of rare classes with so few validation images that their figures say little, beside others with enough.
pub(super) fn few_held_out(items: &Items, split: &Split) -> Option<String> {
    let counts = items.class_counts(&split.valid);
    if counts.iter().all(|count| *count < ENOUGH) {
        return None;
    }
    let few: Vec<String> = (0..items.classes.len())
        .filter(|&class| (1..ENOUGH).contains(&counts[class]))
        .filter_map(|class| Some(format!("{} {}", items.classes.name(class)?, counts[class])))
        .collect();
    let (have, their) = if few.len() == 1 { ("has", "its") } else { ("have", "their") };
    let what = format!("{have} fewer than {ENOUGH} validation images, so that {their} figures say little");
    some_classes(&what, few.len(), few.iter(), items.classes.len())
}

/// A warning where the same image is in several parts of the split, as may be in splits by folders.
pub(super) fn shared_images(items: &Items, digests: &[Digest], split: &Split) -> Option<String> {
    let shared = split.shared_images(digests);
    let first = shared.first()?;
    let names: Vec<&str> = first.iter().take(3).map(|&item| items[item].id.as_str()).collect();
    Some(format!(
        "warning: {} images are byte for byte in both the training set and the validation or test set, so metrics are too good; the first is {}",
        shared.len(),
        names.join(" = ")
    ))
}

/// A warning where a table gives all of several images to evaluate the same label.
pub(super) fn of_one_class(items: &Items, valid: &[usize]) -> Option<String> {
    const SEVERAL: usize = 5;
    let first = &items[*valid.first()?].target;
    let [class] = first.classes() else { return None };
    let all_same = valid.iter().all(|&item| items[item].target == *first);
    (all_same && valid.len() >= SEVERAL && items.classes.len() > 1).then(|| {
        format!(
            "warning: all {} images have the label \"{}\"; where it is a placeholder, as in the tables of competitions' test \
             images, the figures say nothing",
            text::count(valid.len()),
            items.classes.name(*class).unwrap_or_default()
        )
    })
}

/// How that warning begins.
pub(crate) const LOOK_ALIKES: &str = "warning: at least ";

/// A warning where images look like training images: pairs of their names, those of the training images second.
pub(crate) fn look_alikes(what: &str, pairs: &[(&str, &str)]) -> Option<String> {
    let (image, trained) = pairs.first()?;
    let images = match pairs.len() {
        1 => format!("1 {what} looks much like a training image"),
        several => format!("{} {what}s look much like training images", text::count(several)),
    };
    Some(format!(
        "{LOOK_ALIKES}{images}; where they are copies (resized, compressed anew) or of the same scene, metrics are too \
         good; the first is {image}, which looks like {trained}"
    ))
}

/// How often balanced sampling draws images of the rarest and the most frequent class in an epoch, or how much they weigh
/// in a logistic regression.
pub(super) fn balance(items: &Items, split: &Split) -> Option<String> {
    let classes = sampler::class_draws(items, &split.train);
    let described = |class: &ClassDraws| {
        let name = class.class.and_then(|class| items.classes.name(class)).unwrap_or("no class");
        let times = class.draws as f64 / class.items as f64;
        format!("each of {} images of {name} counts about {times:.2} times", class.items)
    };
    let rarest = classes.iter().min_by_key(|class| class.items)?;
    let commonest = classes.iter().max_by_key(|class| class.items)?;
    Some(format!(
        "balanced sampling: {}, {}; probabilities are those of a population where all classes are equally frequent",
        described(rarest),
        described(commonest)
    ))
}

/// How groups are split.
pub(super) fn groups(groups: &[Option<String>], split: &Split) -> Vec<String> {
    let mut notices = Vec::new();
    let among = |indices: &[usize]| {
        indices.iter().filter_map(|&item| groups[item].as_deref()).collect::<HashSet<_>>().len()
    };
    let (held_out, trained) = (among(&split.valid), among(&split.train));
    let images = split.train.len() + split.valid.len();
    let without = groups.iter().filter(|group| group.is_none()).count();
    let shared = split.shared_groups(groups);
    match shared.first() {
        None if !split.valid.is_empty() => notices.push(format!(
            "no group is in both the training and the validation set: {} of {} groups are for validation, {:.1} % of the \
             images",
            text::count(held_out),
            text::count(held_out + trained),
            100.0 * split.valid.len() as f64 / images.max(1) as f64
        )),
        None => {}
        Some(first) => notices.push(format!(
            "warning: {} groups have images in several parts of the split, so metrics are too good; the first is {}",
            text::count(shared.len()),
            groups[first[0]].as_deref().unwrap_or_default()
        )),
    }
    let all = groups.iter().flatten().collect::<HashSet<_>>().len();
    if all > 1 && all + without == groups.len() {
        notices.push(format!(
            "warning: each of the {} groups is a single image, so that nothing is kept together",
            text::count(all)
        ));
    }
    if without > 0 {
        notices.push(format!("{} images have no group, and count as one each", text::count(without)));
    }
    notices
}

/// A warning where images that a column says belong together are in several parts of the split.
fn unused_groups(unused: &UnusedGroups, split: &Split, by: &str) -> Option<String> {
    let UnusedGroups { column, groups } = unused;
    let shared = split.shared_groups(groups);
    let first = groups[*shared.first()?.first()?].as_deref().unwrap_or_default();
    let all = groups.iter().flatten().collect::<HashSet<_>>().len();
    Some(format!(
        "warning: the column \"{column}\" says which images belong together, and is not used: {} of its {} values have \
         images in several parts of the split, so metrics are too good; the first is {first} (to keep them together: {}\
         `group_column` \"{column}\")",
        text::count(shared.len()),
        text::count(all),
        undivided(by)
    ))
}

/// A warning that none of the test images is labelled, so that a model is measured on others.
pub(super) fn unlabelled_test(items: &Items, own: Option<&Split>) -> Option<String> {
    let test = &own?.test;
    let labelled = test.iter().any(|&item| items[item].target != Target::Unlabelled);
    (!test.is_empty() && !labelled).then(|| {
        format!(
            "warning: {} test images have no labels of the model's classes, and are not what is measured here",
            text::count(test.len())
        )
    })
}

/// Warnings where images seem to belong together that a split without groups has put into several of its parts: by the
/// folders that they lie in, their names, or a column of a table.
///
/// `by` says what the split is of, as people are told.
pub(super) fn not_grouped(
    items: &Items,
    split: &Split,
    by: &str,
    unused: Option<&UnusedGroups>,
) -> Vec<String> {
    let by_column = unused.and_then(|unused| unused_groups(unused, split, by));
    let found = [inner_folders(items, split, by), related_images(items, split, by), by_column];
    found.into_iter().flatten().collect()
}

/// What comes before groups are given, where the split is not drawn.
fn undivided(by: &str) -> &'static str {
    match by {
        DRAWN | ONE_FOLD | BY_FOLDS => "",
        AS_THE_TABLE_SAYS => "`split_column` none and ",
        _ => "put all into one folder without the split, and ",
    }
}

/// Inner folders have so many images, on average, where they may be of one patient each, or one video.
const OF_ONE: std::ops::RangeInclusive<usize> = 2..=100;

/// A warning where all images lie in many folders that are not those of their classes, and images of one such folder in
/// several parts of the split.
fn inner_folders(items: &Items, split: &Split, by: &str) -> Option<String> {
    // The innermost folder, or the one around it: `cats/clip 1/frames`.
    [1, 2].into_iter().find_map(|level| inner_folders_at(level, items, split, by))
}

fn inner_folders_at(level: usize, items: &Items, split: &Split, by: &str) -> Option<String> {
    let inner = |id: &str| id.rsplit('/').nth(level).map(str::to_owned);
    let is_class = |name: &String| items.classes.index(name).is_some();
    let groups: Option<Vec<Option<String>>> =
        items.items.iter().map(|item| inner(&item.id).filter(|name| !is_class(name)).map(Some)).collect();
    let groups = groups?;
    let names: HashSet<&String> = groups.iter().flatten().collect();
    let all = names.len();
    // Of few, their names must say it.
    let enough = all >= 3 * items.classes.len() || all > 1 && names.iter().all(|name| is_of_one(name));
    let is_many = enough && OF_ONE.contains(&(items.len() / all.max(1)));
    let shared = split.shared_groups(&groups);
    let first = groups[*shared.first()?.first()?].as_deref().unwrap_or_default();
    is_many.then(|| {
        format!(
            "warning: all images lie in folders that are not those of their classes, and {} of these {} have images in several \
             parts of the split, such as {first}; where such a folder is of one patient, animal or video, metrics are too good (to \
             keep them together: {}`group_pattern` '(?:^|/)([^/]+){}/[^/]+$')",
            text::count(shared.len()),
            text::count(all),
            undivided(by),
            "/[^/]+".repeat(level - 1)
        )
    })
}

/// Whether a folder is called as one of a single patient, animal or video.
fn is_of_one(name: &str) -> bool {
    const WORDS: [&str; 14] = [
        "patient",
        "subject",
        "case",
        "person",
        "participant",
        "animal",
        "video",
        "clip",
        "seq",
        "sequence",
        "session",
        "scan",
        "specimen",
        "donor",
    ];
    let word: String = name.chars().take_while(|letter| letter.is_alphabetic()).collect();
    WORDS.contains(&word.to_lowercase().as_str())
}

/// A warning where names say that images belong together, as those augmented before the split, and some are in another part
/// of the split than those.
fn related_images(items: &Items, split: &Split, by: &str) -> Option<String> {
    let RelatedImages { groups, pattern, example: (one, other) } = related_images_of(items)?;
    let shared = split.shared_groups(&groups);
    (!shared.is_empty()).then(|| {
        format!(
            "warning: the names say that images belong together, as {one} and {other}, and {} of these groups are in several \
             parts of the split; where they do, metrics are too good (to keep them together: {}`group_pattern` '{pattern}')",
            text::count(shared.len()),
            undivided(by)
        )
    })
}

/// The notice that images are in no part of a split.
pub(super) fn in_no_part(items: &Items, split: &Split) -> Option<String> {
    let named = split.train.len() + split.valid.len() + split.test.len();
    let images = items.len().saturating_sub(named);
    (images > 0).then(|| {
        format!(
            "warning: {} of {} images are in no part of the split, and are left out",
            text::count(images),
            text::count(items.len())
        )
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use ocelli_data::{Classes, Item};

    use super::*;

    fn items(ids: &[String]) -> Items {
        let classes = Classes::new(["a", "b"]);
        let class = |id: &str| usize::from(id.split('/').any(|part| part == "b"));
        let item =
            |id: &String| Item { id: id.clone(), path: PathBuf::from(id), target: Target::Class(class(id)) };
        Items {
            root: PathBuf::new(),
            task: Task::SingleLabel,
            classes,
            items: ids.iter().map(item).collect(),
        }
    }

    /// Every second image is held out.
    fn halved(items: &Items) -> Split {
        let (train, valid) = (0..items.len()).partition(|item| item % 2 == 0);
        Split { train, valid, test: Vec::new() }
    }

    #[test]
    fn folders_of_one_patient_are_known_at_two_levels_and_by_their_names() {
        let of = |folder: &dyn Fn(usize) -> String| {
            let ids: Vec<String> = (0..24).map(|n| format!("{}/{n}.png", folder(n))).collect();
            let items = items(&ids);
            inner_folders(&items, &halved(&items), DRAWN)
        };
        let side = |n: usize| ["a", "b"][n / 12];
        let warned = of(&|n| format!("{}/p{}", side(n), n / 3)).unwrap();
        assert!(warned.contains("([^/]+)/[^/]+$'"), "{warned}");
        let warned = of(&|n| format!("{}/clip{}/frames", side(n), n / 3)).unwrap();
        assert!(warned.contains("such as clip0") && warned.contains("([^/]+)/[^/]+/[^/]+$'"), "{warned}");
        // Of few folders only the names tell.
        assert!(of(&|n| format!("{}/video_{}", side(n), n / 6)).is_some());
        assert_eq!(of(&|n| format!("{}/spring{}", side(n), n / 6)), None);
        assert!(of(&|n| format!("{}/{}/Patient_{}", ["train", "val"][n % 2], side(n), n / 3)).is_some());
    }

    #[test]
    fn contradictions_show_a_file_of_each_label() {
        let ids = ["a/1.png", "a/2.png", "b/1.png", "b/2.png"].map(str::to_owned);
        let items = items(&ids);
        let said = contradictions(&items, &[[0; 32]; 4], 0..4).unwrap();
        assert!(said.ends_with("a/1.png = b/1.png (4 files)"), "{said}");
        let said = contradictions(&items, &[[0; 32], [1; 32], [0; 32], [2; 32]], 0..4).unwrap();
        assert!(said.ends_with("a/1.png = b/1.png"), "{said}");
    }
}
