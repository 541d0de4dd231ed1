//! Whether folders are classes, or parts of a split: where names do not decide, nothing is guessed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;

use super::classes::download_of;
use super::part::{Inner, Part};
use super::{Reader, images, some_names};
use crate::DataError;
use crate::names::look_of;
use crate::source::role::{self, Role};
use crate::source::table::are_surely_parts;
use crate::source::{id_of, is_split_name, masks};

/// The first level of published collections of plants and animals.
const TAXA: [&str; 22] = [
    "animalia",
    "plantae",
    "fungi",
    "chromista",
    "protozoa",
    "protista",
    "bacteria",
    "archaea",
    "aves",
    "mammalia",
    "insecta",
    "reptilia",
    "amphibia",
    "arachnida",
    "actinopterygii",
    "mollusca",
    "amphibians",
    "birds",
    "mammals",
    "insects",
    "plants",
    "reptiles",
];

/// The folders of a split, as far as there are any.
pub(super) struct SplitFolders {
    pub(super) train: Option<Part>,
    pub(super) valid: Option<Part>,
    pub(super) test: Option<Part>,
}

impl Reader<'_> {
    /// Which folders are those of a split; `None` where all are classes.
    pub(super) fn split_folders(
        &mut self,
        parts: &[Part],
        roles: &[Option<Role>],
    ) -> Result<Option<SplitFolders>, DataError> {
        let [train, valid, test] =
            [Role::Train, Role::Valid, Role::Test].map(|role| of_role(role, parts, roles));
        let others: Vec<&Part> = parts
            .iter()
            .zip(roles)
            .filter(|(part, role)| role.is_none() && part.may_be_class())
            .map(|(part, _)| part)
            .collect();
        let each = [(Role::Train, &train), (Role::Valid, &valid), (Role::Test, &test)];
        let twice = each.iter().find(|(_, parts)| parts.len() > 1);
        if let (Some((role, twice)), true) = (twice, !train.is_empty() || others.is_empty()) {
            return match self.class_and_part_in_one(parts) {
                Some(_) if self.outermost => Ok(None),
                problem => Err(problem.unwrap_or_else(|| two_of(*role, twice))),
            };
        }
        // `cats_train`, `cats_val`, `dogs_train`: one of each part, but more than one class.
        let is_of_one_class = |train: &&&Part| !train.holds_folders() && self.known.is_none();
        let of_one_class = train.first().filter(is_of_one_class);
        if let Some(problem) = of_one_class.and_then(|_| self.class_and_part_in_one(parts)) {
            return if self.outermost { Ok(None) } else { Err(problem) };
        }
        let measured = valid.first().or(test.first());
        let folders = || {
            let part = |parts: &[&Part]| {
                parts.first().map(|part| Part { path: part.path.clone(), ..Part::default() })
            };
            SplitFolders { train: part(&train), valid: part(&valid), test: part(&test) }
        };
        match (train.first(), measured) {
            (None, None) => {
                if self.known.is_none() {
                    self.same_subfolders(&self.root.clone(), parts);
                    if let Some(problem) = self.sets_side_by_side(&others).filter(|_| !self.outermost) {
                        self.report(problem);
                    }
                }
                Ok(None)
            }
            (Some(_), Some(_)) => Ok(Some(folders())),
            (Some(_), None) if others.is_empty() => Ok(Some(folders())),
            (Some(train), None) if self.known.is_some() => Ok(train.holds_folders().then(folders)),
            // A train may be what is on the photos.
            (Some(train), None) if train.subfolders.len() < 2 || train.direct => Ok(None),
            (Some(train), None) => {
                if !self.outermost {
                    self.report(self.train_or_class(train, &others));
                }
                Ok(None)
            }
            (None, Some(_)) if self.known.is_some() => Ok(Some(folders())),
            (None, Some(measured)) if others.is_empty() => Err(DataError::HalfASplit {
                present: measured.name(),
                missing: Role::Train.name().to_owned(),
                path: self.root.clone(),
            }),
            (None, Some(measured)) => {
                let role = if valid.is_empty() { Role::Test } else { Role::Valid };
                if !self.outermost {
                    self.report(self.nothing_to_train_on(measured, role, &others));
                }
                Ok(None)
            }
        }
    }

    /// That folders are no classes: some hold the classes, and others are called as the images of a test are, or as folders
    /// of a project: `simpsons_dataset/bart` beside `simpsons_testset/1.jpg`, `data/cat` beside `results/1.png`.
    fn sets_side_by_side(&self, parts: &[&Part]) -> Option<DataError> {
        const PROJECT: [&str; 28] = [
            "result",
            "results",
            "output",
            "outputs",
            "docs",
            "doc",
            "plot",
            "plots",
            "figure",
            "figures",
            "figs",
            "fig",
            "asset",
            "assets",
            "static",
            "model",
            "models",
            "runs",
            "logs",
            "checkpoints",
            "screenshot",
            "screenshots",
            "report",
            "reports",
            "media",
            "templates",
            "notebooks",
            "readme",
        ];
        let words = |part: &Part| {
            let name = part.name().to_lowercase().replace(|c: char| !c.is_alphanumeric(), " ");
            name.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        // A word of a set beside that of a test: there are classes called "test strip".
        let is_of_test = |part: &Part| {
            let named = role::named_role(&part.name());
            let of_set = ["set", "testset", "images", "testimages", "data", "testdata"];
            named.is_some_and(|named| named.sure && named.role == Role::Test && !named.rest.is_empty())
                && words(part).iter().any(|word| of_set.contains(&word.as_str()))
        };
        let is_of_project = |part: &Part| words(part).iter().all(|word| PROJECT.contains(&word.as_str()));
        let (hold_folders, others): (Vec<&Part>, Vec<&Part>) =
            parts.iter().partition(|part| part.holds_folders() && part.subfolders.len() > 1);
        let (container, other) = (hold_folders.first()?, others.first()?);
        let are_no_classes = others.iter().all(|part| is_of_test(part))
            || hold_folders.len() == 1 && others.iter().all(|part| is_of_project(part));
        are_no_classes.then(|| DataError::Split {
            reason: format!(
                "{} holds folders of images ({}), and {} beside it is called as {} are: these are hardly two classes",
                container.path.display(),
                some_names(container.subfolders.iter().map(crate::text_of)),
                other.name(),
                if is_of_test(other) { "images of a test" } else { "folders of a project" }
            ),
            advice: format!(
                "to train on one of them, give it alone: {}; if they are classes, say so (`class_folders`)",
                container.path.display()
            ),
        })
    }

    /// That a folder may be what is to be trained on, or a class.
    fn train_or_class(&self, train: &Part, others: &[&Part]) -> DataError {
        let (name, inside) = (train.name(), train.subfolders.iter().map(crate::text_of));
        DataError::Split {
            reason: format!(
                "{} has the folder {name}, which holds folders of images itself ({}), and beside it {}: it is not clear \
                 whether {name} is a class, or what is to be trained on",
                self.root.display(),
                some_names(inside),
                some_names(others.iter().map(|part| part.name())),
            ),
            advice: format!(
                "give {} alone or move the others out, or, if it is a class, say so (`class_folders`)",
                train.path.display()
            ),
        }
    }

    /// That a folder is called as one to measure on, and the others may be classes to train on.
    fn nothing_to_train_on(&self, measured: &Part, role: Role, others: &[&Part]) -> DataError {
        DataError::Split {
            reason: format!(
                "{} has the folder {}, which is called as {} images are, but none to train on: beside it there is {}",
                self.root.display(),
                measured.name(),
                role.purpose(),
                some_names(others.iter().map(|part| part.name())),
            ),
            advice: format!(
                "put the class folders to train on into {}, or, if {} is a class, rename it, or say so (`class_folders`)",
                self.root.join(Role::Train.name()).display(),
                measured.name()
            ),
        }
    }

    /// That folders are called by their class and their part of the split at once: `ants_train`,
    /// `bees_train`, `ants_test`.
    pub(super) fn class_and_part_in_one(&self, parts: &[Part]) -> Option<DataError> {
        let named: Vec<(String, Role, String)> = parts
            .iter()
            .filter_map(|part| {
                role::named_role(&part.name()).map(|named| (part.name(), named.role, named.rest))
            })
            .collect();
        let classes: BTreeSet<&str> = named.iter().map(|(.., rest)| rest.as_str()).collect();
        if classes.len() < 2 || classes.contains("") {
            return None;
        }
        let folder = |(_, role, rest): &(String, Role, String)| {
            format!("{}/", self.root.join(role.name()).join(rest).display())
        };
        Some(DataError::Split {
            reason: format!(
                "the folders in {} are called by class and part of the split at once: {}",
                self.root.display(),
                some_names(named.iter().map(|(name, ..)| name.clone()))
            ),
            advice: format!(
                "move each into a folder for its part, as a folder of its class: {}; if they are classes, say so (`class_folders`)",
                some_names(named.iter().map(folder))
            ),
        })
    }

    /// Says which classes hold images in folders inside of theirs, whose own names count for nothing. Where such
    /// a name is that of another class, or of a part of a split, its images are hardly of the class around it.
    pub(super) fn say_inner(&mut self, folder: &Path, parts: &[Part]) {
        let classes: Vec<(&Part, String)> =
            parts.iter().filter(|part| part.may_be_class()).map(|part| (part, part.class())).collect();
        if let Some((part, class)) = classes.iter().find(|(part, _)| part.of_index.is_some()) {
            self.notices.push(format!(
                "the folders in {} are the first letters of those in them, which are the classes: {} is \"{class}\"",
                folder.display(),
                id_of(folder, &part.path)
            ));
        }
        let looks: Vec<String> = classes.iter().map(|(_, class)| look_of(class).to_lowercase()).collect();
        let (mut among, mut merged) = (Vec::new(), Vec::new());
        for (number, (part, class)) in classes.iter().enumerate() {
            let inner = part.inner();
            for Inner { folder, images: inside } in &inner {
                for name in folder.split('/') {
                    let look = look_of(name).to_lowercase();
                    let other =
                        looks.iter().position(|other| *other == look).filter(|other| *other != number);
                    let move_out = "move its images to where they belong, or rename it if they are of the class around it";
                    let (is, advice) = match other {
                        Some(other) => (
                            format!("is that of the class \"{}\" beside it", classes[other].1),
                            move_out.to_owned(),
                        ),
                        None if is_split_name(Path::new(name)) => {
                            let around = folder.split('/').take_while(|other| *other != name);
                            let around = around.fold(part.path.clone(), |path, name| path.join(name));
                            let advice = format!(
                                "if {} is the data set, give it alone; else {move_out}",
                                around.display()
                            );
                            ("is that of a part of a split".to_owned(), advice)
                        }
                        None => continue,
                    };
                    self.report(DataError::Split {
                        reason: format!(
                            "{} ({}) lies in the folder of the class \"{class}\", and its name {is}",
                            part.path.join(folder).display(),
                            images(inside.len())
                        ),
                        advice,
                    });
                }
            }
            if inner.is_empty() {
                continue;
            }
            let named =
                some_names(inner.iter().map(|inner| format!("{} {}", inner.folder, inner.images.len())));
            match part.direct {
                true => among.push(format!("{class} ({named})")),
                false if part.branches().len() > 1 => merged.push(format!("{} ({named})", part.name())),
                false => {}
            }
        }
        if !among.is_empty() {
            self.notices.push(format!(
                "warning: images in folders inside of a class's folder count for the class: {}; move them out if they are not of it",
                some_names(among)
            ));
        }
        if merged.is_empty() || self.known.is_some() {
            return;
        }
        if let Some(problem) = self.taxonomy(folder, &classes) {
            self.report(problem);
            return;
        }
        self.notices.push(format!(
            "the classes are the folders directly in {}, and what lies in their folders is of their class: {}. Where the \
             inner folders are the classes, move them up, or give a table of labels",
            folder.display(),
            some_names(merged)
        ));
    }

    /// That folders are a taxonomy (`Animalia/Chordata/…/corvus_corax`), of which any level may be the classes:
    /// kingdoms and the like, or three levels of folders and more with names of their own.
    fn taxonomy(&self, folder: &Path, classes: &[(&Part, String)]) -> Option<DataError> {
        if self.outermost || classes.len() < 2 || classes.iter().any(|(part, _)| part.direct) {
            return None;
        }
        let inner: Vec<(&str, Vec<String>)> = classes
            .iter()
            .flat_map(|(part, class)| part.inner().into_iter().map(|inner| (class.as_str(), inner.folder)))
            .map(|(class, folder)| (class, folder.split('/').map(str::to_owned).collect()))
            .collect();
        let depth = inner.iter().map(|(_, way)| way.len()).min()?;
        let last: BTreeSet<&String> = inner.iter().filter_map(|(_, way)| way.last()).collect();
        let own_names = last.len() == inner.len() && inner.iter().all(|(_, way)| way.len() == depth);
        if !own_names || inner.len() < 2 * classes.len() {
            return None;
        }
        let at = |level: usize| {
            inner.iter().map(|(class, way)| (*class, &way[..level])).collect::<BTreeSet<_>>().len()
        };
        let branching = (0..depth).filter(|&level| at(level + 1) > at(level)).count();
        let of_life = classes.iter().all(|(_, class)| TAXA.contains(&class.to_lowercase().as_str()));
        if branching < 3 && !of_life {
            return None;
        }
        Some(DataError::Split {
            reason: format!(
                "the folders in {} ({}) hold {} folders with names of their own, {} deep, such as {}: it is not clear \
                 which of them are the classes",
                folder.display(),
                some_names(classes.iter().map(|(_, class)| class.clone())),
                inner.len(),
                depth,
                inner.first().map(|(class, way)| format!("{class}/{}", way.join("/"))).unwrap_or_default()
            ),
            advice: "if the outermost are, say so (`class_folders`); if the innermost are, give a table of labels \
                     (`from_csv`) with a row for each photo: its path, and the class"
                .to_owned(),
        })
    }

    /// Whether folders hold the same folders, as parts of a split do, or years, and classes seldom.
    pub(super) fn same_subfolders(&mut self, folder: &Path, parts: &[Part]) {
        let classes: Vec<&Part> = parts.iter().filter(|part| part.has_images()).collect();
        if classes.len() < 2 || self.outermost {
            return;
        }
        let outer: BTreeSet<String> = classes.iter().map(|part| part.name()).collect();
        let root = folder.display();
        if outer.iter().all(|name| download_of(name).is_some()) {
            self.report(DataError::Split {
                reason: format!(
                    "the folders in {root} ({}) are parts of one download, as Google Drive cuts it",
                    some_names(outer)
                ),
                advice: "put the folders of all parts together: what is in each part into one folder, those of the same \
                         name into one"
                    .to_owned(),
            });
            return;
        }
        let holds_classes = |part: &&&Part| part.branches().len() > 1;
        if let Some(part) =
            classes.iter().find(holds_classes).filter(|_| outer.iter().all(|name| says_version(name)))
        {
            self.report(DataError::Split {
                reason: format!(
                    "the folders in {root} ({}) are named as collections of photos, not as classes",
                    some_names(outer)
                ),
                advice: format!(
                    "to train on one of them, give it: {}; if they are the classes, say so (`class_folders`)",
                    part.path.display()
                ),
            });
            return;
        }
        // Names that differ in case only are the same.
        let lower = |name: OsString| name.to_str().map_or(name.clone(), |text| text.to_lowercase().into());
        let branches: Vec<BTreeSet<OsString>> =
            classes.iter().map(|part| part.branches().into_iter().map(lower).collect()).collect();
        // A few may lack one: a patient without the disease.
        let several: Vec<&BTreeSet<OsString>> =
            branches.iter().filter(|branches| branches.len() > 1).collect();
        let mut common = several.first().map(|first| (*first).clone()).unwrap_or_default();
        for branches in &several {
            common.retain(|name| branches.contains(name));
        }
        let alike = several.iter().all(|branches| 2 * common.len() >= branches.len())
            && 5 * several.len() >= 4 * branches.len();
        if common.len() < 2 || !alike {
            let inside = innermost_in_common(&classes);
            if !inside.is_empty() {
                let outside = some_names(classes.iter().map(|part| part.name()));
                let inside = some_names(inside);
                self.report(DataError::Split {
                    reason: format!(
                        "the folders in {} ({outside}) hold folders whose names come again in others of them ({inside}): it is \
                         not clear which of both are the classes",
                        folder.display()
                    ),
                    advice: format!(
                        "if {inside} are, put their images together in one folder a class; if {outside} are, say so \
                         (`class_folders`), or give a table of labels"
                    ),
                });
            }
            return;
        }
        let inside: Vec<String> = common.iter().map(crate::text_of).collect();
        // Years, sessions and formats are no classes.
        let says_no_class = |names: &BTreeSet<String>| {
            are_surely_parts(names) || names.iter().all(|name| masks::says_photos(name))
        };
        if says_no_class(&inside.iter().cloned().collect()) && !says_no_class(&outer) {
            return;
        }
        let roles = role::roles(&inside.iter().map(String::as_str).collect::<Vec<_>>());
        let outside = some_names(classes.iter().map(|part| part.name()));
        let inside_named = some_names(inside.iter().cloned());
        let (reason, advice) = match roles.iter().all(Option::is_some) {
            true => (
                format!("the folders in {root} ({outside}) are each divided into {inside_named}"),
                format!(
                    "turn it around: {}, with a folder for each class in them",
                    roles
                        .iter()
                        .flatten()
                        .map(|role| format!("{}/", folder.join(role.name()).display()))
                        .collect::<BTreeSet<_>>()
                        .into_iter()
                        .collect::<Vec<_>>()
                        .join(" and ")
                ),
            ),
            false => (
                format!(
                    "the folders in {root} ({outside}) all hold the same folders ({inside_named}): it is not clear which \
                     of both are the classes"
                ),
                format!(
                    "to train on one of them, as where they hold the same photos in other versions, give it: {}; if \
                     {inside_named} are the classes of different photos, call the others train and valid, or put their images \
                     together in one folder a class; if {outside} are, say so (`class_folders`), or give a table of labels",
                    classes[0].path.display()
                ),
            ),
        };
        self.report(DataError::Split { reason, advice });
    }

    pub(super) fn report(&mut self, problem: DataError) {
        self.problem.get_or_insert(problem);
    }
}

/// Whether a folder's name says that it holds photos, or a version of them.
fn says_version(name: &str) -> bool {
    const VERSIONS: [&str; 9] = [
        "resized",
        "cropped",
        "thumbnails",
        "processed",
        "preprocessed",
        "augmented",
        "edited",
        "small",
        "original",
    ];
    masks::says_photos(name) || VERSIONS.contains(&name.to_lowercase().as_str())
}

/// The names of the innermost folders, in small letters, where they come again in several of these folders: two levels below
/// or more, `line 1/2024-01-01/OK`, or one in each, `patient 1/benign`. Empty where they do not, or say no class.
fn innermost_in_common(classes: &[&Part]) -> Vec<String> {
    /// Folders from which on it is no chance.
    const FEW: usize = 3;
    let mut found_in: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    let (mut innermost, mut one_level) = (0, false);
    for (number, part) in classes.iter().enumerate() {
        let inner = part.inner();
        if part.direct || inner.is_empty() {
            return Vec::new();
        }
        for Inner { folder, .. } in &inner {
            // Photos may lie one folder deeper: `patient 1/benign/images`.
            let mut folder = folder.as_str();
            while let Some((around, _)) = folder.rsplit_once('/').filter(|(_, last)| masks::says_photos(last))
            {
                folder = around;
            }
            let last = folder.rsplit('/').next().unwrap_or(folder);
            one_level |= last == folder;
            found_in.entry(last.to_lowercase()).or_default().insert(number);
            innermost += 1;
        }
    }
    let says_class = |name: &&String| name.chars().any(char::is_alphabetic) && !masks::says_photos(name);
    let names: Vec<String> = found_in.keys().filter(says_class).cloned().collect();
    let recurring = names.iter().filter(|name| found_in[*name].len() > 1).count();
    let is_level = match one_level {
        // Each has one, and together they are few.
        true => innermost == classes.len() && innermost >= FEW && names.len() < innermost && recurring > 0,
        false => 2 * names.len() <= innermost && 5 * recurring >= 4 * names.len() && recurring > 1,
    };
    if is_level && names.len() == found_in.len() && names.len() > 1 { names } else { Vec::new() }
}

/// That two folders are called as the same part of the split.
fn two_of(role: Role, parts: &[&Part]) -> DataError {
    let [first, second] = [0, 1].map(|part| parts[part].path.display());
    DataError::Split {
        reason: format!("{first} and {second} both hold {} images", role.purpose()),
        advice: "keep one of them, or put their images together".to_owned(),
    }
}

/// The folders of this role; an empty one does not count beside another.
fn of_role<'a>(role: Role, parts: &'a [Part], roles: &[Option<Role>]) -> Vec<&'a Part> {
    let all = parts.iter().zip(roles).filter(|(_, other)| **other == Some(role));
    let all: Vec<&Part> = all.map(|(part, _)| part).collect();
    // Nor does one of tables alone beside one of images.
    let with_images = all.iter().any(|part| part.has_images());
    let counts = |part: &&Part| if with_images { part.has_images() } else { part.may_be_class() };
    match all.iter().any(&counts) {
        false => all,
        true => all.into_iter().filter(counts).collect(),
    }
}
