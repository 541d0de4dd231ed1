//! From classes to a target, and how several classes stand in one cell of a table.

use ocelli_data::{Target, Task};

/// Between the names of several classes in one cell.
pub(crate) const SEPARATOR: char = '|';

/// The target of an image with these classes.
pub(crate) fn target_of(task: Task, classes: Vec<usize>) -> Target {
    match task {
        Task::SingleLabel => classes.first().map_or(Target::Unlabelled, |&class| Target::Class(class)),
        Task::MultiLabel => Target::Classes(classes),
    }
}
