//! Groups of images: of one patient, one site, one burst of a camera. Metrics on an image are too good if
//! others of its group are training images.

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
