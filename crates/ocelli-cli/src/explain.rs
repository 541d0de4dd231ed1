//! `ocelli explain`

use crate::output::{eprintln, free, message, println, shown};
use ocelli::interpret::Wanted;
use ocelli::{Found, Model, Skipped, outside, photos_in, photos_of_run, text_of, write_drawing};

use crate::arguments::Explain;
use crate::source::no_photos;
use crate::train::use_threads;
use crate::words::meant;
use crate::{Failure, interrupt};

pub fn run(arguments: &Explain) -> Result<(), Failure> {
    use_threads(arguments.threads)?;
    let model = Model::load(&arguments.model)?.threads(arguments.threads);
    if let Some(class) = &arguments.class {
        must_have(&model.contract().classes, class)?;
    }
    let wanted = arguments.class.clone().map_or(Wanted::Best, Wanted::Class);
    let (mut photos, mut folders, mut failed) = (Vec::new(), Vec::new(), 0);
    for path in &arguments.photos {
        if !path.is_dir() {
            photos.push(path.clone());
            continue;
        }
        let Found { photos: found, skipped } = photos_in(path)?;
        if found.is_empty() && skipped.iter().all(|skipped| skipped.is_usual) {
            return Err(no_photos(path, &skipped));
        }
        for Skipped { path, reason, .. } in skipped.iter().filter(|skipped| !skipped.is_usual) {
            failed += 1;
            eprintln!("{}: {}", shown(path.display()), message(reason));
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
    let out = if arguments.out.is_some() { out } else { free(&out) };
    said.iter().for_each(|said| eprintln!("{}", message(said)));
    interrupt::finish("this photo");
    for photo in &photos {
        if interrupt::asked() {
            eprintln!("stopped; the pictures so far are kept");
            return Err(Failure::Interrupted);
        }
        let explained = match model.explain(photo, &wanted) {
            Ok(explained) => explained,
            Err(error @ (ocelli::Error::Data(_) | ocelli::Error::Photo { .. })) => {
                failed += 1;
                eprintln!("{}", message(error));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        // Photos of the same name from several folders do not overwrite each other, nor what was there before.
        let stem = photo.file_stem().map(text_of).unwrap_or_default();
        let path = free(&out.join(stem).with_added_extension("png"));
        write_drawing(&explained.side_by_side(), &path)?;
        let best = explained.prediction.best();
        let of_class = explained.prediction.ranked().into_iter().find(|guess| guess.class == explained.class);
        let heat = match of_class {
            Some(guess) if guess.class != best.class => {
                format!("   heat of {} {:.4}", shown(guess.class), guess.probability)
            }
            _ => String::new(),
        };
        let (photo, class, path) = (shown(photo.display()), shown(&best.class), shown(path.display()));
        println!("{photo}  {class}  {:.4}{heat}   {path}", best.probability);
    }
    match failed {
        0 => Ok(()),
        _ => {
            eprintln!("{failed} of {total} photos could not be read");
            Err(Failure::Said)
        }
    }
}

/// Refuses a class that the model does not have, and says which ones it has.
fn must_have(classes: &[String], class: &str) -> Result<(), Failure> {
    /// More are not listed.
    const LISTED: usize = 30;
    if classes.iter().any(|known| known == class) {
        return Ok(());
    }
    let listed = classes.iter().take(LISTED).map(shown).collect::<Vec<_>>().join(", ");
    let more = match classes.len().saturating_sub(LISTED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let meant = meant(class, classes.iter().map(String::as_str));
    let class = shown(class);
    Err(Failure::Error(format!("--class {class}: the model has no such class{meant}; it has {listed}{more}")))
}
