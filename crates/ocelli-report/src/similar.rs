//! Similar photos, or groups of near duplicates, as a page without a script.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use ocelli::{Decoder, Filter, Framing, Normalization, Preprocessing, text_of};
use ocelli_data::text::count;
use rayon::prelude::*;

use crate::html::{document, escaped};

/// A photo and those near it, or a group of near duplicates.
#[derive(Debug, Clone, PartialEq)]
pub struct SimilarPhotos {
    /// The photo whose neighbours these are, if there is one.
    pub query: Option<PathBuf>,
    /// Photos, and their similarity (cosine).
    pub near: Vec<(PathBuf, f32)>,
}

/// The side of a thumbnail in pixels; its quality as JPEG.
const SIDE: usize = 144;
const QUALITY: u8 = 75;
/// The most pictures on a page: about 8 MB. Further photos are listed by name.
const PICTURES: usize = 1200;

/// The page; `about` is the line below the title.
pub fn similar_page(title: &str, about: &str, groups: &[SimilarPhotos], decoder: &Decoder) -> String {
    let all = groups.iter().flat_map(|group| group.query.iter().chain(group.near.iter().map(|near| &near.0)));
    let mut chosen = BTreeSet::new();
    for path in all {
        if chosen.len() < PICTURES {
            chosen.insert(path.as_path());
        }
    }
    let framed = Preprocessing {
        size: SIDE,
        framing: Framing::Pad,
        filter: Filter::Bicubic,
        normalization: Normalization::IMAGENET,
    };
    let pictures: HashMap<&Path, String> = chosen
        .into_par_iter()
        .filter_map(|path| {
            let image = framed.frame_file(path, decoder).ok()?;
            Some((path, image.to_inline_jpeg(QUALITY)))
        })
        .collect();
    let mut out = String::new();
    let mut put = |text: String| out.push_str(&text);
    put(format!(
        "<header id=\"top\"><h1>{}</h1>\n<p class=\"quiet\">{}</p></header>\n<main id=\"content\" tabindex=\"-1\">\n",
        escaped(title),
        escaped(about)
    ));
    if groups.is_empty() {
        put("<p>None were found.</p>\n".to_owned());
    }
    for (number, group) in groups.iter().enumerate() {
        let name = match &group.query {
            Some(query) => escaped(&text_of(query)),
            None => format!("Group {}: {} photos", number + 1, count(group.near.len())),
        };
        put(format!("<section><h2>{name}</h2>\n<div class=\"strip\">"));
        let query = group.query.iter().map(|query| (query, "the query".to_owned()));
        let near = group.near.iter().map(|(path, similarity)| (path, format!("{similarity:.4}")));
        let mut names = String::new();
        for (path, similarity) in query.chain(near) {
            let id = escaped(&text_of(path));
            if let Some(url) = pictures.get(path.as_path()) {
                put(format!(
                    "<img src=\"{url}\" alt=\"{id}, {similarity}\" title=\"{id}, {similarity}\" loading=\"lazy\">"
                ));
            }
            let _ = writeln!(names, "<li>{similarity}: {id}</li>");
        }
        put(format!("</div>\n<ul class=\"names\">\n{names}</ul>\n</section>\n"));
    }
    put(format!("<footer>Ocelli {}. No file was changed.</footer>\n</main>", env!("CARGO_PKG_VERSION")));
    document(&format!("{title} · Ocelli"), &out)
}
