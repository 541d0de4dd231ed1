//! A table of labels, with options: the first byte chooses them.
#![no_main]

use std::path::Path;
use std::sync::Once;

use libfuzzer_sys::fuzz_target;
use ocelli_data::Task;
use ocelli_data::source::table::{self, Column, TableOptions};

/// A folder with files that a table may name.
fn folder() -> &'static Path {
    static READY: Once = Once::new();
    let folder = ocelli_fuzz::folder();
    READY.call_once(|| {
        std::fs::create_dir_all(folder.join("cats")).unwrap();
        for name in ["a.png", "b.jpg", "c.png", "1.jpg", "2.jpg", "cats/a.png"] {
            std::fs::write(folder.join(name), "").unwrap();
        }
    });
    folder
}

fuzz_target!(|input: &[u8]| {
    let [choice, bytes @ ..] = input else { return };
    let mut options = TableOptions { allow_missing: choice & 1 != 0, ..TableOptions::default() };
    match choice >> 1 & 7 {
        1 => options.header = Some(false),
        2 => options.header = Some(true),
        3 => (options.id_column, options.label_columns) = (Some(Column::Index(0)), vec![Column::Index(1)]),
        4 => {
            (options.label_columns, options.group_column) =
                (vec![Column::Index(1), Column::Index(2)], Some(Column::Index(3)))
        }
        5 => options.suffix = Some(".png".to_owned()),
        6 => options.split_column = Some(Column::Index(2)),
        7 => options.label_columns = vec![Column::Name("label".to_owned())],
        _ => {}
    }
    match choice >> 4 & 7 {
        1 => options.label_separator = Some('|'),
        2 => options.label_separator = Some(' '),
        3 => options.task = Some(Task::MultiLabel),
        4 => options.task = Some(Task::SingleLabel),
        _ => {}
    }
    let name = if choice & 0x80 != 0 { "labels.jsonl" } else { "labels.csv" };
    let path = folder().join(name);
    std::fs::write(&path, bytes).unwrap();
    if let Ok(read) = table::read(&path, &options) {
        let items = &read.dataset.items;
        let classes = items.classes.names().len();
        for item in &items.items {
            assert!(
                item.target.classes().iter().all(|&class| class < classes),
                "{item:?} of {classes} classes"
            );
        }
        if let Some(split) = &read.dataset.split {
            let all = [&split.train, &split.valid, &split.test];
            let mut all: Vec<usize> = all.into_iter().flatten().copied().collect();
            all.sort_unstable();
            assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "an image on two sides: {split:?}");
            assert!(all.last().is_none_or(|&last| last < items.items.len()), "{split:?}");
        }
        assert!(read.groups.is_none_or(|groups| groups.len() == items.items.len()));
    }
});
