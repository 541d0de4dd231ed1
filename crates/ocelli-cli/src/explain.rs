//! `ocelli explain`

use std::collections::HashSet;

use anstream::{eprintln, println};
use ocelli::Model;
use ocelli::interpret::Wanted;

use crate::Failure;
use crate::arguments::Explain;
use crate::train::use_threads;

pub fn run(arguments: &Explain) -> Result<(), Failure> {
    use_threads(arguments.threads)?;
    let model = Model::load(&arguments.model)?.threads(arguments.threads);
    let wanted = arguments.class.clone().map_or(Wanted::Best, Wanted::Class);
    let (mut failed, mut names) = (0, HashSet::new());
    for photo in &arguments.photos {
        let explained = match model.explain(photo, &wanted) {
            Ok(explained) => explained,
            Err(error @ (ocelli::Error::Data(_) | ocelli::Error::Photo { .. })) => {
                failed += 1;
                eprintln!("{error}");
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        // Photos of the same name from several folders do not overwrite each other.
        let stem = photo.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut name = stem.clone();
        let mut number = 2;
        while !names.insert(name.clone()) {
            name = format!("{stem}-{number}");
            number += 1;
        }
        let path = arguments.out.join(name).with_added_extension("png");
        explained.side_by_side().write_png(&path)?;
        let best = explained.prediction.best();
        let of_class = explained.prediction.ranked().into_iter().find(|guess| guess.class == explained.class);
        let heat = match of_class {
            Some(guess) if guess.class != best.class => {
                format!("   heat of {} {:.4}", guess.class, guess.probability)
            }
            _ => String::new(),
        };
        println!("{}  {}  {:.4}{heat}   {}", photo.display(), best.class, best.probability, path.display());
    }
    match failed {
        0 => Ok(()),
        _ => {
            eprintln!("{failed} of {} photos could not be read", arguments.photos.len());
            Err(Failure::Said)
        }
    }
}
