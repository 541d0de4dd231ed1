//! `ocelli explain`

use std::collections::HashSet;

use anstream::{eprintln, println};
use ocelli::interpret::Wanted;
use ocelli::{Found, Model, Skipped, outside, photos_in, photos_of_run, text_of, write_drawing};

use crate::Failure;
use crate::arguments::Explain;
use crate::train::use_threads;

pub fn run(arguments: &Explain) -> Result<(), Failure> {
    use_threads(arguments.threads)?;
    let model = Model::load(&arguments.model)?.threads(arguments.threads);
    let wanted = arguments.class.clone().map_or(Wanted::Best, Wanted::Class);
    let (mut photos, mut folders, mut failed) = (Vec::new(), Vec::new(), 0);
    for path in &arguments.photos {
        if !path.is_dir() {
            photos.push(path.clone());
            continue;
        }
        let Found { photos: found, skipped } = photos_in(path)?;
        if found.is_empty() {
            return Err(Failure::Error(format!("{}: there are no photos in this folder", path.display())));
        }
        for Skipped { path, reason, .. } in skipped.iter().filter(|skipped| !skipped.is_usual) {
            failed += 1;
            eprintln!("{}: {reason}", path.display());
        }
        folders.push(path.as_path());
        photos.extend(found);
    }
    let total = photos.len() + failed;
    let (out, said) = match &arguments.out {
        Some(out) => (out.clone(), None),
        None => {
            let photos = photos_of_run(&arguments.model);
            folders.extend(photos.as_deref());
            outside("explained", &folders)?
        }
    };
    said.iter().for_each(|said| eprintln!("{said}"));
    let mut names = HashSet::new();
    for photo in &photos {
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
        let stem = photo.file_stem().map(text_of).unwrap_or_default();
        let mut name = stem.clone();
        let mut number = 2;
        while !names.insert(name.clone()) {
            name = format!("{stem}-{number}");
            number += 1;
        }
        let path = out.join(name).with_added_extension("png");
        write_drawing(&explained.side_by_side(), &path)?;
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
            eprintln!("{failed} of {total} photos could not be read");
            Err(Failure::Said)
        }
    }
}
