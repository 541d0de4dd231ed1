//! `ocelli similar`

use std::path::{Path, PathBuf};

use clap::Args;
use ocelli::{Embedder, Embeddings, Nearest, duplicate_groups, nearest, text_of};
use serde_json::json;

use crate::errors::Failure;
use crate::flags::EmbedFlags;
use crate::interrupt::{self, stopped};
#[cfg(feature = "report")]
use crate::output::TextFile;
use crate::output::{eprintln, is_dash, message, println, progress_bar, raw, shown};
use crate::photos::{NamedPhotos, photos_at};
use crate::text::counted;
use crate::values::whole;

/// Find similar photos, or near duplicates
///
/// Similarity is the cosine of two photos' features, up to 1; every pair is compared. Computed features are
/// cached by the content of the photos, so that a second search is fast.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli similar efficientnet_lite0 cat.jpg --among photos
  ocelli similar runs/photos-1 --among photos --duplicates --html same.html")]
pub struct Similar {
    #[command(flatten)]
    network: EmbedFlags,
    /// Photos to find similar ones of, folders of photos; -: standard input
    #[arg(value_name = "QUERY", required_unless_present = "duplicates", conflicts_with = "duplicates")]
    queries: Vec<PathBuf>,

    /// Folder of photos to search, or a photo; may be repeated
    #[arg(long, required = true, value_name = "FOLDER")]
    among: Vec<PathBuf>,
    /// Similar photos to list for each query
    #[arg(long, value_name = "K", default_value_t = 5, value_parser = whole::<1, 10_000>)]
    top_k: usize,
    /// List groups of near duplicates instead
    ///
    /// Photos whose features, each normalised to mean 0 and variance 1 over all photos, have a cosine of at
    /// least 0.97. A group holds all photos that such pairs connect.
    #[arg(long)]
    duplicates: bool,
    /// Print JSON Lines, one object per query or group
    #[arg(long)]
    json: bool,
    /// Also write a page with the pictures; -: only that, to standard output
    #[cfg(feature = "report")]
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// A query and the photos near it, or a group of near duplicates.
struct Found {
    query: Option<PathBuf>,
    near: Vec<(PathBuf, f32)>,
}

impl Similar {
    pub fn run(&self) -> Result<(), Failure> {
        #[cfg(feature = "report")]
        let html = self.html.as_deref().map(|path| TextFile::new(path, "--html", self.json)).transpose()?;
        #[cfg(feature = "report")]
        let prints = html.as_ref().is_none_or(|file| !file.is_stdout());
        #[cfg(not(feature = "report"))]
        let prints = true;
        let embedder = self.network.embedder()?;
        if self.among.iter().any(|path| is_dash(path)) && self.queries.iter().any(|path| is_dash(path)) {
            let message =
                "QUERY and --among are both -, and standard input can be read once; name one of both";
            return Err(Failure::Error(message.to_owned()));
        }
        let named = photos_at(&self.among)?;
        let asked = if self.duplicates { NamedPhotos::default() } else { photos_at(&self.queries)? };
        let cache = self.network.cache.folder()?;
        let (among, queries) =
            (embed(&embedder, &named.photos, &cache)?, embed(&embedder, &asked.photos, &cache)?);
        let found = if self.duplicates { groups(&among) } else { self.neighbours(&queries, &among) };
        if found.is_empty() && self.duplicates && !self.json && prints {
            println!("no near duplicates among {}", counted(among.paths.len(), "photo"));
        }
        for (number, found) in found.iter().enumerate().filter(|_| prints) {
            if self.json {
                raw(format!("{}\n", found.json()).as_bytes());
            } else {
                found.print(number);
            }
        }
        #[cfg(feature = "report")]
        if let Some(html) = &html {
            self.write_page(html, &found, &embedder, among.paths.len())?;
        }
        crate::output::finish()?;
        let (skipped, all) = (
            among.skipped.len() + queries.skipped.len(),
            among.paths.len() + queries.paths.len() + among.skipped.len() + queries.skipped.len(),
        );
        if skipped > 0 {
            eprintln!("skipped: {skipped} of {all} files could not be read as photos");
            return Err(Failure::Printed);
        }
        named.conclude().and_then(|()| asked.conclude())
    }

    fn neighbours(&self, queries: &Embeddings, among: &Embeddings) -> Vec<Found> {
        let width = queries.features.len().checked_div(queries.paths.len()).unwrap_or(0);
        if width == 0 {
            return Vec::new();
        }
        let real: Vec<_> = among.paths.iter().map(|path| path.canonicalize().ok()).collect();
        // One more, since the query itself may be among them.
        let lists = nearest(&queries.features, &among.features, width, self.top_k + 1);
        let found = queries.paths.iter().zip(lists).map(|(query, list)| {
            let own = query.canonicalize().ok();
            let others = list.iter().filter(|near| own.is_none() || real[near.index] != own);
            Found { query: Some(query.clone()), near: named(others.take(self.top_k), among) }
        });
        found.collect()
    }

    #[cfg(feature = "report")]
    fn write_page(
        &self,
        html: &TextFile,
        found: &[Found],
        embedder: &Embedder,
        searched: usize,
    ) -> Result<(), Failure> {
        use ocelli_report::{SimilarPhotos, similar_page};
        let network = text_of(&self.network.network);
        let title = if self.duplicates { "Near duplicates" } else { "Similar photos" };
        let about = format!("{} searched by the features of {network}", counted(searched, "photo"));
        let groups: Vec<SimilarPhotos> = found
            .iter()
            .map(|found| SimilarPhotos { query: found.query.clone(), near: found.near.clone() })
            .collect();
        let page = similar_page(title, &about, &groups, &embedder.decoder());
        ocelli::write_whole(html.path(), page.as_bytes())?;
        if html.is_stdout() {
            return html.send();
        }
        if !self.json {
            println!("page {}", shown(html.path().display()));
        }
        Ok(())
    }
}

/// The features of photos, from the cache where it has them; lists those that cannot be read.
fn embed(embedder: &Embedder, photos: &[PathBuf], cache: &Path) -> Result<Embeddings, Failure> {
    interrupt::finish("this batch");
    let bar = progress_bar("   computing features {bar:30} {human_pos} of {human_len} photos · {eta} left");
    let all = embedder.embed_all(photos, Some(cache), &mut |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
        interrupt::flow()
    });
    bar.finish_and_clear();
    let all = stopped(all, "features that were computed so far are cached")?;
    for skipped in &all.skipped {
        eprintln!("{}: {}", shown(skipped.path.display()), message(&skipped.reason));
    }
    Ok(all)
}

fn groups(among: &Embeddings) -> Vec<Found> {
    let width = among.features.len().checked_div(among.paths.len()).unwrap_or(0);
    if width == 0 {
        return Vec::new();
    }
    let groups = duplicate_groups(&among.features, width);
    groups.iter().map(|group| Found { query: None, near: named(group.iter(), among) }).collect()
}

fn named<'a>(near: impl Iterator<Item = &'a Nearest>, among: &Embeddings) -> Vec<(PathBuf, f32)> {
    near.map(|near| (among.paths[near.index].clone(), near.similarity)).collect()
}

impl Found {
    fn json(&self) -> serde_json::Value {
        let near: Vec<serde_json::Value> = (self.near.iter())
            .map(|(path, similarity)| json!({ "path": text_of(path), "similarity": similarity }))
            .collect();
        match &self.query {
            Some(query) => json!({ "path": text_of(query), "similar": near }),
            None => json!({ "duplicates": near }),
        }
    }

    fn print(&self, number: usize) {
        match &self.query {
            Some(query) => println!("{}", shown(text_of(query))),
            None => println!("group {}: {}", number + 1, counted(self.near.len(), "photo")),
        }
        for (path, similarity) in &self.near {
            println!("  {similarity:.4}  {}", shown(text_of(path)));
        }
    }
}
