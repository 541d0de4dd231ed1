//! Whether something that is not in the pictures tells their class: the format of their files, their colours, their size.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Decoder, Items, Task};

/// So many images of each class are looked at …
const LOOKED_AT: usize = 20;
/// … and so many must be, at least.
const FEWEST: usize = 4;
/// The most classes of which that is asked.
const MOST_CLASSES: usize = 100;

/// A warning that all images of each class are alike in something that those of other classes are not, by some of these
/// images: a model may learn that instead of what is to be seen.
pub fn telltale(items: &Items, indices: &[usize], decoder: &Decoder) -> Option<String> {
    let classes = items.classes.len();
    if items.task != Task::SingleLabel || !(2..=MOST_CLASSES).contains(&classes) {
        return None;
    }
    let mut of_class: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for &index in indices {
        if let [class] = items[index].target.classes() {
            of_class.entry(*class).or_default().push(index);
        }
    }
    if of_class.len() < classes || of_class.values().any(|images| images.len() < FEWEST) {
        return None;
    }
    let mut found: [BTreeMap<usize, BTreeSet<String>>; 3] = Default::default();
    for (&class, images) in &of_class {
        let step = images.len().div_ceil(LOOKED_AT);
        for &index in images.iter().step_by(step) {
            let Ok(probe) = decoder.probe_file(&items[index].path) else { continue };
            let size = format!("{} × {} px", probe.width, probe.height);
            let values = [probe.format.name().to_owned(), probe.colour_name(), size];
            for (found, value) in found.iter_mut().zip(values) {
                found.entry(class).or_default().insert(value);
            }
            // Nothing is the same in all of the class's images.
            if found.iter().all(|found| found[&class].len() > 1) {
                break;
            }
        }
    }
    for (what, found) in ["format of the files", "colours", "size"].into_iter().zip(&found) {
        let all_of_one = found.len() == classes && found.values().all(|values| values.len() == 1);
        let different: BTreeSet<&String> = found.values().flatten().collect();
        if !all_of_one || different.len() < 2 {
            continue;
        }
        let named = found.iter().take(3).map(|(class, values)| {
            let value = values.first().map_or("", String::as_str);
            format!("{value} in {}", items.classes.name(*class).unwrap_or_default())
        });
        let more = if classes > 3 { ", …" } else { "" };
        return Some(format!(
            "warning: the {what} tells the classes apart: {}{more}; a model may learn that instead of what is to be seen, and \
             fail where images are made in another way",
            named.collect::<Vec<_>>().join(", ")
        ));
    }
    None
}
