//! Groups of images: of one patient, one site, one burst of a camera. Metrics on an image are too good if
//! others of its group are training images.

use std::collections::HashMap;

use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::source::table::Column;
use crate::{DataError, Items};

/// What defines the groups of images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grouping {
    /// A column of the table of labels: images with the same text are a group. An empty cell is no group.
    Column(Column),
    /// A regular expression that is searched in the file's name, or, if it contains a `/`, in the id: the
    /// group is its first capture group, or the whole match.
    Pattern(String),
}

/// The group of each item, found in its name by a regular expression; see [`Grouping::Pattern`].
///
/// # Errors
/// Where it is not a regular expression, and where it does not match a name.
pub fn by_pattern(items: &Items, pattern: &str) -> Result<Vec<Option<String>>, DataError> {
    let refused = |reason: String| DataError::Split {
        reason,
        advice:
            "give a regular expression such as \"^(patient[0-9]+)_\", whose first group is what images share"
                .to_owned(),
    };
    let regex = Regex::new(pattern).map_err(|error| {
        // The parser's drawing of where it stopped needs lines of its own.
        let error = error.to_string();
        let reason = error.lines().last().unwrap_or(&error).trim_start_matches("error: ");
        refused(format!("the pattern of groups, {pattern}, is no regular expression: {reason}"))
    })?;
    let whole = pattern.contains('/');
    let group = |id: &str| {
        let name = if whole { id } else { id.rsplit('/').next().unwrap_or(id) };
        let found = regex.captures(name)?;
        let group = if regex.captures_len() > 1 { found.get(1)? } else { found.get(0)? };
        Some(group.as_str().to_owned())
    };
    let groups: Vec<Option<String>> = items.items.iter().map(|item| group(&item.id)).collect();
    let without = groups.iter().filter(|group| group.is_none()).count();
    match items.items.iter().zip(&groups).find(|(_, group)| group.is_none()) {
        None => Ok(groups),
        Some((item, _)) => Err(refused(format!(
            "the pattern of groups, {pattern}, does not match {without} of {} names; the first is {}",
            items.len(),
            item.id
        ))),
    }
}

/// Images whose names say that they are others changed: augmented before the split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedImages {
    /// What the images have in common that are one changed; `None` for one without others.
    pub groups: Vec<Option<String>>,
    /// The pattern of groups that keeps them together.
    pub pattern: &'static str,
    /// One of them, and what it is of.
    pub example: (String, String),
}

/// Roboflow's: `cat_jpg.rf.HASH.jpg`.
const ROBOFLOW: &str = r"([^/]+?)(?:\.rf\.[^/]*)?$";
/// What programs that augment images add to their names: `cat_aug.png`, `cat-flip.png`, `cat_rot90.png`.
const CHANGED: &str = r"(?i)([^/]+?)(?:[_ -]+(?:aug(?:mented)?|[hv]?flip(?:ped)?|mirror(?:ed)?|rot(?:ate|ated)?|crop(?:ped)?|blur(?:red)?|noise|noisy|bright(?:ness|er)?|dark(?:er)?|contrast|gr[ae]y|shift(?:ed)?|zoom(?:ed)?|shear|edited|copy)[_-]?[0-9]*)*\.[^/.]+$";

/// The images among these whose names say that they are others changed; `None` where there are hardly any.
pub fn changed_images_of(items: &Items) -> Option<ChangedImages> {
    let by_roboflow = changed_by(items, ROBOFLOW, |name, _| name.contains(".rf."));
    by_roboflow.or_else(|| {
        changed_by(items, CHANGED, |name, stem| name.rsplit_once('.').is_some_and(|(all, _)| all != stem))
    })
}

fn changed_by(
    items: &Items,
    pattern: &'static str,
    is_changed: impl Fn(&str, &str) -> bool,
) -> Option<ChangedImages> {
    let regex = Regex::new(pattern).expect("a valid pattern");
    let key = |id: &str| {
        let name = id.rsplit('/').next()?;
        let stem = regex.captures(name)?.get(1)?.as_str();
        // Of a folder: in another there are other images of the same names.
        let folder = id.rsplit_once('/').map_or("", |(folder, _)| folder);
        Some((format!("{folder}/{stem}"), is_changed(name, stem)))
    };
    let found: Vec<Option<(String, bool)>> = items.items.iter().map(|item| key(&item.id)).collect();
    let mut groups: HashMap<&str, (usize, Option<usize>, usize)> = HashMap::new();
    for (index, (key, is_changed)) in
        found.iter().enumerate().filter_map(|(index, key)| Some((index, key.as_ref()?)))
    {
        let (count, changed, first) = groups.entry(key).or_insert((0, None, index));
        *count += 1;
        match is_changed {
            true if changed.is_none() && index != *first => *changed = Some(index),
            true => {}
            false => *first = index,
        }
    }
    let is_group =
        |key: &str| groups.get(key).is_some_and(|(count, changed, _)| *count > 1 && changed.is_some());
    let mut changed: Vec<(usize, usize)> = groups
        .values()
        .filter(|(count, ..)| *count > 1)
        .filter_map(|(_, changed, first)| {
            Some((*changed.as_ref()?, *first)).filter(|(one, other)| one != other)
        })
        .collect();
    changed.sort_unstable();
    // A few names may be so by chance.
    const FEWEST: usize = 3;
    let &(one, other) = changed.first().filter(|_| changed.len() >= FEWEST)?;
    let name = |index: usize| items[index].id.clone();
    let groups = found
        .iter()
        .map(|key| key.as_ref().map(|(key, _)| key.clone()).filter(|key| is_group(key)))
        .collect();
    Some(ChangedImages { groups, pattern, example: (name(one), name(other)) })
}
