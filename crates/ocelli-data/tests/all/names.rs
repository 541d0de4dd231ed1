//! Of many files of one name, a path means the one that shares most folders with it.

use std::path::PathBuf;

use ocelli_data::source::table::{Finder, Match};
use proptest::prelude::*;

/// Paths of folders below each other, of few names, so that many ends are alike.
fn folders(depth: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", "B"]), 0..=depth)
        .prop_map(|parts| parts.into_iter().map(|part| part.to_owned() + "/").collect())
}

/// How many folders at their ends two paths share, in any case.
fn shared(one: &str, other: &str) -> usize {
    let (one, other) = (one.to_lowercase(), other.to_lowercase());
    let pairs = one.rsplit('/').skip(1).zip(other.rsplit('/').skip(1));
    pairs.take_while(|(one, other)| one == other).count()
}

proptest! {
    #[test]
    fn the_file_that_shares_most_folders_is_meant(
        files in prop::collection::btree_set(folders(5), 1..60),
        given in folders(6),
        lacks_ending in any::<bool>(),
    ) {
        let files: Vec<String> = files.into_iter().map(|folder| folder + "1.png").collect();
        let name = given + if lacks_ending { "1" } else { "1.png" };
        let finder = Finder::of("/data", files.iter().map(|file| PathBuf::from(format!("/data/{file}"))));
        let most = files.iter().map(|file| shared(file, &name)).max().unwrap();
        let alike: Vec<&String> = files.iter().filter(|file| shared(file, &name) == most).collect();
        match &finder.resolve(&[&name], None, &[])[0] {
            Match::Found(found) => {
                prop_assert!(alike.contains(&&found.relative), "{name} is not {}, but one of {alike:?}", found.relative);
            }
            Match::Ambiguous(several) => {
                let said = several.to_string();
                prop_assert!(alike.len() > 1, "{name} is {alike:?} alone, not {said}");
                let named = said.split(" or ").filter(|name| name.contains("1.png"));
                prop_assert!(named.clone().count() > 0 && named.clone().all(|file| alike.iter().any(|one| *one == file)), "{said}");
            }
            // The folder in which it is not.
            Match::Missing(why) => {
                let why = why.clone().unwrap_or_default();
                prop_assert!(alike.iter().any(|file| why.ends_with(&format!("there is {file}"))), "{name}: {why}");
            }
        }
    }
}

#[test]
fn thousands_of_files_of_one_name_are_told_apart_by_their_folders() {
    const FOLDERS: usize = 40_000;
    let files = (0..FOLDERS).map(|folder| PathBuf::from(format!("/data/{folder}/image.png")));
    let finder = Finder::of("/data", files);
    let names: Vec<String> = (0..FOLDERS).map(|folder| format!("elsewhere/{folder}/image.png")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for (folder, found) in finder.resolve(&names, None, &[]).into_iter().enumerate() {
        let Match::Found(found) = found else { panic!("{}: {found:?}", names[folder]) };
        assert_eq!(found.relative, format!("{folder}/image.png"));
    }
    // Names of which no folder is here.
    let others: Vec<String> = (0..FOLDERS).map(|folder| format!("set/{folder}x/image.png")).collect();
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    for found in finder.resolve(&others, None, &[]) {
        let Match::Ambiguous(several) = found else { panic!("{found:?}") };
        let expected = "0/image.png or 1/image.png or 10/image.png or 100/image.png or one of 39,996 others";
        assert_eq!(several.to_string(), expected);
    }
    // One name, again and again.
    let again = vec!["image.png"; FOLDERS];
    let all = finder.resolve(&again, None, &[]);
    assert!(all.len() == FOLDERS && all.iter().all(|found| matches!(found, Match::Ambiguous(_))));
}
