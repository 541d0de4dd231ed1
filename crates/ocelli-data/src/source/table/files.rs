//! Which files the names in a table mean.
//!
//! A name is looked for as it is written, then below the folder: with the ending that it lacks, in another
//! case or Unicode form, with `\` for `/`, and at last by the end of its path, where the folders at its
//! beginning are not here. What could be several files is never decided in silence.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::{self, Display};
use std::path::{Component, Path, PathBuf};

use walkdir::WalkDir;

use super::sheet::{ends_as_image, is_image_ending};
use crate::names::{composed, is_digits};
use crate::source::listing;
use crate::source::masks::Masks;
use crate::text::count;
use crate::text_of;

/// The files below a folder, to be found by what people call them.
#[derive(Debug, Clone)]
pub struct Finder {
    root: PathBuf,
    files: Vec<Known>,
    /// By path from the folder, folded.
    by_path: Called,
    /// By file name, folded.
    by_name: Called,
    /// Images by path from the folder without its ending, folded.
    by_path_stem: Called,
    /// Images by file name without its ending, folded.
    by_stem: Called,
    /// Names of folders, folded.
    folders: HashSet<String>,
}

/// Files by what they are called. Those of one name are in the order of their folders, the innermost compared first: the
/// ones that end like a path lie side by side.
type Called = HashMap<String, Vec<usize>>;

/// A file below the folder.
#[derive(Debug, Clone)]
struct Known {
    /// Its path from there, separated by `/`.
    relative: String,
    /// The same, folded.
    folded: String,
    path: PathBuf,
}

/// What a name in a table means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// A file.
    Found(Found),
    /// None; possibly with a reason for people.
    Missing(Option<String>),
    /// Any of several.
    Ambiguous(Several),
}

/// Files that a name could mean equally well; displayed as "a or b".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Several {
    /// The first ones, by their paths from the folder.
    first: Vec<String>,
    /// How many there are besides.
    others: usize,
}

impl Display for Several {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.first.join(" or "))?;
        match self.others {
            0 => Ok(()),
            1 => f.write_str(" or another one"),
            others => write!(f, " or one of {} others", count(others)),
        }
    }
}

/// A file, and how its name led to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The file.
    pub path: PathBuf,
    /// Its path from the folder, separated by `/`; outside of the folder, its name as it was given.
    pub relative: String,
    /// Whether it lies in the folder.
    pub within: bool,
    /// The folder before the name, from the root; empty for none.
    pub(super) folder: String,
    /// The ending that the name lacks, with its dot; empty for none.
    pub(super) ending: String,
    /// Whether case or Unicode form differ.
    pub(super) folded: bool,
    /// The folders at the beginning of the name that are not here.
    pub(super) dropped: String,
    /// Other files that the name could mean, by their paths from the folder; fewer names speak for them.
    pub also: Vec<String>,
}

/// The files that end like a path, as far as one does.
struct Nearest<'a> {
    files: &'a [usize],
    /// How many parts at the path's end they share, the name counted as one.
    depth: usize,
    lacks_ending: bool,
}

/// The files that a name could mean.
struct Candidates {
    files: Vec<Candidate>,
    /// How many there are besides, which could be meant no less.
    others: usize,
}

/// A file that a name could mean.
#[derive(Debug, Clone)]
struct Candidate {
    file: usize,
    /// How many of the name's parts it has at its end.
    depth: usize,
    /// The folder before those, from the root.
    folder: String,
    /// The ending that the name lacks.
    ending: String,
    /// How well the spelling agrees: 0 to the byte, 1 but for the Unicode form, 2 but for case.
    spelling: u8,
}

/// The parts of a name in a table.
struct Name {
    /// As it was written, separated by `/`.
    text: String,
    parts: Vec<String>,
    /// Whether it begins at the system's root or leads upwards.
    outside: bool,
}

impl Name {
    fn of(text: &str) -> Self {
        let text = text.replace('\\', "/");
        let drive = text.as_bytes().get(1) == Some(&b':');
        let mut parts: Vec<String> = Vec::new();
        let mut outside = text.starts_with('/') || drive;
        for part in text.split('/') {
            match part {
                "" | "." => {}
                ".." => outside |= parts.pop().is_none(),
                part => parts.push(part.to_owned()),
            }
        }
        Self { text, parts, outside }
    }
}

/// What a web address says of a path: without its query, and with the characters that `%20` and the like stand
/// for; `None` where that is the same.
pub(super) fn web_path(text: &str) -> Option<String> {
    let is_address = ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme));
    let path = if is_address { text.split(['?', '#']).next().unwrap_or_default() } else { text };
    let bytes = path.as_bytes();
    let code = |at: usize| {
        let digits = bytes.get(at + 1..at + 3).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
        u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let (mut decoded, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        match bytes[at] {
            b'%' if let Some(byte) = code(at) => {
                decoded.push(byte);
                at += 3;
            }
            byte => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).ok().filter(|decoded| decoded != text)
}

/// The name of a file that was uploaded to Label Studio, which puts eight hexadecimal digits before it:
/// `/data/upload/1/0a1b2c3d-cat.jpg`.
pub(super) fn uploaded_name(text: &str) -> Option<&str> {
    let last = text.rsplit(['/', '\\']).next()?;
    let (digits, name) = last.split_once('-')?;
    let is_one = digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_one && text.contains("upload")).then_some(name)
}

/// One spelling for all: composed, in small letters.
fn fold(text: &str) -> String {
    if text.is_ascii() { text.to_ascii_lowercase() } else { composed(text).to_lowercase() }
}

/// A path's parts, separated by `/`.
fn slashed(path: &Path) -> String {
    path.components().map(|part| text_of(part.as_os_str())).collect::<Vec<_>>().join("/")
}

/// The folders of a path, the innermost first.
fn folders_of(path: &str) -> impl Iterator<Item = &str> {
    path.rsplit('/').skip(1)
}

/// How many of the files that a name could mean are named to people.
const NAMED_OF_SEVERAL: usize = 4;

/// How many files of a name are compared with it where none lies in its folders.
const COMPARED: usize = 64;

/// How it is said that a file has another ending than its name in the table.
pub(super) const ANOTHER_ENDING: &str = "with another ending";

impl Finder {
    /// Looks at the names of all files below a folder, hidden ones left out.
    pub fn new(root: impl AsRef<Path>) -> Self {
        let root = root.as_ref();
        let mut finder = Self::empty(root);
        let walk = WalkDir::new(root).min_depth(1).follow_links(true).sort_by_file_name().into_iter();
        // What is no photo of anybody's is not found by its name either.
        for entry in
            walk.filter_entry(|entry| entry.depth() == 0 || listing::refused(entry).is_none()).flatten()
        {
            let Ok(relative) = entry.path().strip_prefix(root) else { continue };
            if entry.file_type().is_dir() {
                finder.folders.insert(fold(&text_of(entry.file_name())));
            } else if entry.file_type().is_file() {
                finder.add(slashed(relative), entry.path().to_owned());
            }
        }
        let is_image = |path: &&Path| ends_as_image(&text_of(path.file_name().unwrap_or_default()));
        let images = finder.files.iter().map(|file| file.path.as_path()).filter(is_image);
        let masks = Masks::find(root, images);
        finder.order(&masks);
        finder
    }

    /// Of these files, by their paths from `root`.
    pub fn of(root: impl AsRef<Path>, files: impl IntoIterator<Item = PathBuf>) -> Self {
        let root = root.as_ref();
        let mut finder = Self::empty(root);
        for path in files {
            let relative = path.strip_prefix(root).unwrap_or(&path);
            let folders = relative.parent().into_iter().flat_map(Path::components);
            finder.folders.extend(folders.map(|part| fold(&text_of(part.as_os_str()))));
            let relative = slashed(relative);
            finder.add(relative, path);
        }
        finder.order(&Masks::default());
        finder
    }

    fn empty(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            files: Vec::new(),
            by_path: Called::new(),
            by_name: Called::new(),
            by_path_stem: Called::new(),
            by_stem: Called::new(),
            folders: HashSet::new(),
        }
    }

    fn add(&mut self, relative: String, path: PathBuf) {
        let index = self.files.len();
        let folded = fold(&relative);
        let name = folded.rsplit('/').next().unwrap_or_default().to_owned();
        if let Some((stem, ending)) = folded.rsplit_once('.')
            && is_image_ending(ending)
        {
            let name = stem.rsplit('/').next().unwrap_or_default();
            self.by_stem.entry(name.to_owned()).or_default().push(index);
            self.by_path_stem.entry(stem.to_owned()).or_default().push(index);
        }
        self.by_name.entry(name).or_default().push(index);
        self.by_path.entry(folded.clone()).or_default().push(index);
        self.files.push(Known { relative, folded, path });
    }

    /// Puts files of the same name into order, after the last one was added.
    fn order(&mut self, masks: &Masks) {
        let Self { files, by_path, by_name, by_path_stem, by_stem, .. } = self;
        for called in [by_path, by_name, by_path_stem, by_stem] {
            for same in called.values_mut().filter(|same| same.len() > 1) {
                // A name that a photo and its segmentation mask have is the photo's.
                let is_photo = |file: &usize| !masks.contains(&files[*file].path);
                if !masks.is_empty() && same.iter().any(is_photo) {
                    same.retain(is_photo);
                }
                same.sort_by(|&a, &b| folders_of(&files[a].folded).cmp(folders_of(&files[b].folded)));
            }
        }
    }

    /// Whether a path ends in the name of a folder below the root.
    pub(super) fn has_folder(&self, path: &str) -> bool {
        let last = path.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().unwrap_or_default();
        !last.is_empty() && self.folders.contains(&fold(last))
    }

    /// The files' paths from the folder, sorted folder by folder.
    pub fn paths(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.files.iter().map(|file| (file.relative.as_str(), file.path.as_path()))
    }

    /// How many different files these names could mean, by their names alone: what tells a column of files
    /// from others.
    pub(super) fn hits<'a>(&self, names: impl Iterator<Item = &'a str>, suffix: Option<&str>) -> usize {
        let mut hit = HashSet::new();
        for text in names.filter(|text| !text.is_empty()) {
            let name = self.name(text, suffix);
            if let Some(Nearest { files: &[file, ..], .. }) = self.nearest(&name, suffix) {
                hit.insert(self.files[file].path.clone());
            } else if let Some(found) = self.as_given(&name, text, suffix, &[]) {
                hit.insert(found.path);
            }
        }
        hit.len()
    }

    /// The parts of a name; of a web address those of the file that it means, if no file has that name itself.
    /// Likewise of a name that Label Studio has given to an uploaded file.
    fn name(&self, text: &str, suffix: Option<&str>) -> Name {
        let name = Name::of(text);
        let others = [web_path(text), uploaded_name(text).map(str::to_owned)];
        if others.iter().all(Option::is_none)
            || self.nearest(&name, suffix).is_some()
            || self.as_given(&name, text, suffix, &[]).is_some()
        {
            return name;
        }
        let others = others.iter().flatten().map(|other| Name::of(other));
        others.into_iter().find(|other| self.nearest(other, suffix).is_some()).unwrap_or(name)
    }

    /// What each of these names means. What they lack to be file names is `suffix`, or found out; `beside`
    /// are folders besides the root that a path may begin at.
    pub fn resolve(&self, names: &[&str], suffix: Option<&str>, beside: &[PathBuf]) -> Vec<Match> {
        // A name that comes again means the same file.
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut different: Vec<&str> = Vec::new();
        let mut rows: Vec<usize> = Vec::with_capacity(names.len());
        for name in names {
            rows.push(*places.entry(name).or_insert(different.len()));
            if places.len() > different.len() {
                different.push(name);
            }
        }
        let matches = self.resolve_different(&different, suffix, beside);
        if different.len() == names.len() {
            return matches;
        }
        rows.into_iter().map(|place| matches[place].clone()).collect()
    }

    /// What each of these names means, of which none comes twice.
    fn resolve_different(&self, names: &[&str], suffix: Option<&str>, beside: &[PathBuf]) -> Vec<Match> {
        let parsed: Vec<Name> = names.iter().map(|name| self.name(name, suffix)).collect();
        let candidates: Vec<Candidates> = parsed.iter().map(|name| self.candidates(name, suffix)).collect();
        // Where a name could mean several files, what the names have in common that could mean only one decides, if
        // these are many: a missing photo leaves but its mask to mean, and says nothing about the others.
        let mut votes: HashMap<(&str, &str), usize> = HashMap::new();
        let mut unclear = 0;
        for (name, candidates) in parsed.iter().zip(&candidates) {
            let mut whole = candidates.files.iter().filter(|candidate| candidate.depth == name.parts.len());
            match (whole.next(), whole.next()) {
                (Some(only), None) => *votes.entry((&only.folder, &only.ending)).or_default() += 1,
                (Some(_), Some(_)) => unclear += 1,
                (None, _) => {}
            }
        }
        votes.retain(|_, number| *number >= unclear);
        let mut matches: Vec<Match> = parsed
            .iter()
            .zip(names)
            .zip(&candidates)
            .map(|((name, text), candidates)| self.decide(name, text, suffix, candidates, &votes, beside))
            .collect();
        self.settle_claims(&mut matches);
        Self::settle_folders(&parsed, &mut matches);
        Self::settle_twins(&parsed, &mut matches);
        matches
    }

    /// Where nearly all names mean files of one folder, and another holds files of the same names, a name that is only in
    /// the other is missing: it is another photo's there, as the numbers in `train` and `test` are.
    fn settle_twins(names: &[Name], matches: &mut [Match]) {
        let folder_of = |relative: &str, name: &Name| {
            let parts: Vec<&str> = relative.split('/').collect();
            parts[..parts.len().saturating_sub(name.parts.len())].join("/")
        };
        let mut found_in: HashMap<String, usize> = HashMap::new();
        let mut twins: HashSet<(String, String)> = HashSet::new();
        for (name, found) in names.iter().zip(&*matches) {
            let Match::Found(found) = found else { continue };
            *found_in.entry(found.folder.clone()).or_default() += 1;
            twins.extend(found.also.iter().map(|other| (found.folder.clone(), folder_of(other, name))));
        }
        for found in matches {
            let Match::Found(Found { folder, relative, also, .. }) = found else { continue };
            let is_twin = |(usual, other): &&(String, String)| {
                other == folder && usual != other && found_in[usual] >= 10 * found_in[other]
            };
            if also.is_empty()
                && let Some((usual, _)) = twins.iter().find(is_twin)
            {
                let why = format!(
                    "there is {relative}, but {} holds the other files, and both have files of the same names",
                    if usual.is_empty() { "the folder around it" } else { usual }
                );
                *found = Match::Missing(Some(why));
            }
        }
    }

    /// Where many names with folders are here as they are written, one whose folder is not here is missing: in another
    /// folder there may be another photo of its name.
    fn settle_folders(names: &[Name], matches: &mut [Match]) {
        let is_dropped = |found: &Match| matches!(found, Match::Found(found) if !found.dropped.is_empty());
        let dropped = matches.iter().filter(|found| is_dropped(found)).count();
        let is_whole = |(name, found): &(&Name, &Match)| {
            name.parts.len() > 1 && matches!(found, Match::Found(found) if found.dropped.is_empty())
        };
        let whole = names.iter().zip(&*matches).filter(is_whole).count();
        if whole < dropped {
            return;
        }
        // A path from elsewhere says nothing of the folders here.
        let inside = names.iter().zip(matches).filter(|(name, found)| !name.outside && is_dropped(found));
        for (_, found) in inside {
            if let Match::Found(Found { dropped, relative, .. }) = found {
                let why =
                    format!("its folder {dropped} is not here, as those of others are; there is {relative}");
                *found = Match::Missing(Some(why));
            }
        }
    }

    /// A name that begins with folders that are not here must not mean a file that another name means.
    fn settle_claims(&self, matches: &mut [Match]) {
        let mut claims: BTreeMap<PathBuf, BTreeMap<String, Vec<usize>>> = BTreeMap::new();
        for (row, found) in matches.iter().enumerate() {
            if let Match::Found(Found { path, dropped, .. }) = found {
                claims.entry(path.clone()).or_default().entry(dropped.clone()).or_default().push(row);
            }
        }
        for (path, by_dropped) in claims.into_iter().filter(|(_, by_dropped)| by_dropped.len() > 1) {
            let name = slashed(path.strip_prefix(&self.root).unwrap_or(&path));
            let plain = by_dropped.contains_key("");
            for row in by_dropped.iter().filter(|(dropped, _)| !dropped.is_empty()).flat_map(|(_, rows)| rows)
            {
                matches[*row] = Match::Missing(Some(match plain {
                    true => format!("{name} has that file name, but another row names it in full"),
                    false => format!("{name} has that file name, but so do the names of other rows"),
                }));
            }
        }
    }

    fn decide(
        &self,
        name: &Name,
        text: &str,
        suffix: Option<&str>,
        candidates: &Candidates,
        votes: &HashMap<(&str, &str), usize>,
        beside: &[PathBuf],
    ) -> Match {
        if name.parts.is_empty() {
            return Match::Missing(None);
        }
        if name.outside
            && let Some(found) = self.as_given(name, text, suffix, beside)
        {
            return Match::Found(found);
        }
        let Candidates { files: candidates, others } = candidates;
        let whole: Vec<&Candidate> =
            candidates.iter().filter(|candidate| candidate.depth == name.parts.len()).collect();
        if !whole.is_empty() {
            let votes_of = |candidate: &Candidate| {
                votes.get(&(candidate.folder.as_str(), candidate.ending.as_str())).copied().unwrap_or(0)
            };
            let all = whole.clone();
            let most = whole.iter().map(|candidate| votes_of(candidate)).max().unwrap_or(0);
            let best: Vec<&Candidate> =
                whole.into_iter().filter(|candidate| votes_of(candidate) == most).collect();
            // A path as it is written comes before one in some folder, and a folder for training before
            // others.
            let is_train = |folder: &str| matches!(&fold(folder)[..], "train" | "training");
            let rank = |candidate: &Candidate| match &candidate.folder[..] {
                "" => 0,
                folders if folders.split('/').any(is_train) => 1,
                _ => 2,
            };
            let least = best.iter().map(|candidate| rank(candidate)).min();
            let best: Vec<&Candidate> =
                best.into_iter().filter(|candidate| Some(rank(candidate)) == least).collect();
            return match self.one_of(name, best, 0) {
                Match::Found(mut found) => {
                    // Another spelling, or a file deeper than a path that is written in full, is no other file.
                    let exact = found.folder.is_empty() && found.ending.is_empty();
                    let others = all.iter().map(|candidate| &self.files[candidate.file].relative);
                    if !exact {
                        found.also = others.filter(|other| **other != found.relative).cloned().collect();
                    }
                    Match::Found(found)
                }
                other => other,
            };
        }
        if let Some(found) = self.as_given(name, text, suffix, beside) {
            return Match::Found(found);
        }
        let Some(first) = candidates.first() else { return Match::Missing(self.hint(name)) };
        let before = &name.parts[name.parts.len() - first.depth - 1];
        if self.folders.contains(&fold(before)) {
            let there = &self.files[first.file].relative;
            return Match::Missing(Some(format!(
                "its folder {before} is there without it; there is {there}"
            )));
        }
        self.one_of(name, candidates.iter().collect(), *others)
    }

    /// The one candidate, or the one that is spelled best; `others` could be meant besides.
    fn one_of(&self, name: &Name, candidates: Vec<&Candidate>, others: usize) -> Match {
        let best = candidates.iter().map(|candidate| candidate.spelling).min();
        let best: Vec<&Candidate> =
            candidates.into_iter().filter(|candidate| Some(candidate.spelling) == best).collect();
        match &best[..] {
            [candidate] if others == 0 => Match::Found(self.found(name, candidate)),
            several => {
                let first = several.iter().take(NAMED_OF_SEVERAL);
                let first: Vec<String> =
                    first.map(|candidate| self.files[candidate.file].relative.clone()).collect();
                let others = others + several.len() - first.len();
                Match::Ambiguous(Several { first, others })
            }
        }
    }

    fn found(&self, name: &Name, candidate: &Candidate) -> Found {
        let file = &self.files[candidate.file];
        let mut dropped = name.parts[..name.parts.len() - candidate.depth].join("/");
        if name.outside && dropped.is_empty() {
            // It leads out of the folder, and nothing is there.
            dropped = if name.text.starts_with("..") { "..".to_owned() } else { "/".to_owned() };
        }
        Found {
            path: file.path.clone(),
            relative: file.relative.clone(),
            within: true,
            folder: candidate.folder.clone(),
            ending: candidate.ending.clone(),
            folded: candidate.spelling > 0,
            dropped,
            also: Vec::new(),
        }
    }

    /// The files that a path may mean: those that are called so from the folder, or those that have most of
    /// its end.
    fn candidates(&self, name: &Name, suffix: Option<&str>) -> Candidates {
        let Some(Nearest { files, depth, lacks_ending }) = self.nearest(name, suffix) else {
            return Candidates { files: Vec::new(), others: 0 };
        };
        // Where folders are not as the name says, it may be that of a file in each folder.
        let compared = if depth < name.parts.len() { files.len().min(COMPARED) } else { files.len() };
        let others = files.len() - compared;
        let mut files = files[..compared].to_vec();
        files.sort_unstable();
        let last = name.parts.last().map_or("", |last| last);
        let last = format!("{last}{}", suffix.unwrap_or_default());
        let files =
            files.into_iter().map(|file| self.candidate(name, &last, file, depth, lacks_ending, suffix));
        Candidates { files: files.collect(), others }
    }

    /// The files of a name that share most folders with it.
    fn nearest(&self, name: &Name, suffix: Option<&str>) -> Option<Nearest<'_>> {
        name.parts.last()?;
        let whole = fold(&(name.parts.join("/") + suffix.unwrap_or_default()));
        let one_part = name.parts.len() == 1;
        let last = whole.rsplit('/').next().unwrap_or_default();
        let ways = [
            (&self.by_path, &whole[..], false, !one_part),
            (&self.by_path_stem, &whole, true, !one_part && suffix.is_none()),
            (&self.by_name, last, false, true),
            (&self.by_stem, last, true, suffix.is_none()),
        ];
        let mut ways = ways.into_iter().filter(|(.., allowed)| *allowed);
        let (same, lacks_ending) =
            ways.find_map(|(called, key, lacks_ending, _)| Some((called.get(key)?, lacks_ending)))?;
        // In this order those that share most stand where the path itself would.
        let there = |file: &usize| folders_of(&self.files[*file].folded);
        let given = || folders_of(&whole);
        let place = same.partition_point(|file| there(file).lt(given()));
        let beside = [place.checked_sub(1), Some(place)].into_iter().flatten();
        let shared = beside
            .filter_map(|place| same.get(place))
            .map(|file| there(file).zip(given()).take_while(|(there, given)| there == given).count())
            .max()?;
        let first = same[..place].partition_point(|file| there(file).take(shared).lt(given().take(shared)));
        let number = same[first..].partition_point(|file| there(file).take(shared).le(given().take(shared)));
        Some(Nearest { files: &same[first..first + number], depth: 1 + shared, lacks_ending })
    }

    fn candidate(
        &self,
        name: &Name,
        last: &str,
        file: usize,
        depth: usize,
        lacks_ending: bool,
        suffix: Option<&str>,
    ) -> Candidate {
        let known = &self.files[file];
        let parts: Vec<&str> = known.relative.split('/').collect();
        let (folders, file_name) = (&parts[..parts.len() - 1], parts[parts.len() - 1]);
        let (stem, ending) = match file_name.rsplit_once('.') {
            Some((stem, ending)) if lacks_ending => (stem, format!(".{ending}")),
            _ => (file_name, suffix.unwrap_or_default().to_owned()),
        };
        let spelling_of = |given: &str, there: &str| match given {
            given if given == there => 0,
            given if composed(given) == composed(there) => 1,
            _ => 2,
        };
        let mut spelling = spelling_of(last, stem);
        let given = name.parts[..name.parts.len() - 1].iter().rev().take(depth - 1);
        for (given, there) in given.zip(folders.iter().rev()) {
            spelling = spelling.max(spelling_of(given, there));
        }
        let folder = folders[..folders.len() - (depth - 1)].join("/");
        Candidate { file, depth, folder, ending, spelling }
    }

    /// The file that a path leads to as it is written, from the root or from a folder beside it.
    fn as_given(&self, name: &Name, text: &str, suffix: Option<&str>, beside: &[PathBuf]) -> Option<Found> {
        let suffix = suffix.unwrap_or_default();
        let spellings = [format!("{text}{suffix}"), format!("{}{suffix}", name.text)];
        let folders = std::iter::once(&self.root).chain(beside);
        let path = folders
            .flat_map(|folder| spellings.iter().map(|text| folder.join(text)))
            .find(|path| path.is_file() && path.to_str().is_some())?;
        let relative = self.relative(&path);
        // In the folder every file has one path, however it is named.
        let path = relative.as_ref().map_or(path, |relative| self.root.join(relative));
        Some(Found {
            within: relative.is_some(),
            relative: relative.unwrap_or_else(|| {
                // As it is written: the same wherever the command runs, and wherever the folder is.
                name.text.strip_prefix("./").unwrap_or(&name.text).to_owned() + suffix
            }),
            path,
            folder: String::new(),
            ending: suffix.to_owned(),
            folded: false,
            dropped: String::new(),
            also: Vec::new(),
        })
    }

    /// A path from the root, where it leads into it.
    fn relative(&self, path: &Path) -> Option<String> {
        let plain = |path: &Path| -> Option<PathBuf> {
            let mut plain = PathBuf::new();
            for part in std::path::absolute(path).ok()?.components() {
                match part {
                    Component::ParentDir => {
                        plain.pop();
                    }
                    Component::CurDir => {}
                    part => plain.push(part),
                }
            }
            Some(plain)
        };
        let below = |path: &Path, root: &Path| path.strip_prefix(root).ok().map(slashed);
        let lexical = || below(&plain(path)?, &plain(&self.root)?);
        let real = || {
            let folder = path.parent()?.canonicalize().ok()?;
            below(&folder.join(path.file_name()?), &self.root.canonicalize().ok()?)
        };
        lexical().or_else(real).filter(|relative| !relative.is_empty())
    }

    /// What a name that means no file may have been.
    fn hint(&self, name: &Name) -> Option<String> {
        let last = fold(name.parts.last()?);
        let there = |files: &Vec<usize>| files.iter().min().map(|&file| self.files[file].relative.clone());
        if let Some((stem, _)) = last.rsplit_once('.')
            && let Some(file) = self.by_stem.get(stem).and_then(there)
        {
            return Some(format!("there is {file}, {ANOTHER_ENDING}"));
        }
        let digits = last.strip_suffix(".0").unwrap_or(&last);
        if !is_digits(digits) {
            return None;
        }
        let padded = (digits.len()..=12).map(|width| format!("{digits:0>width$}"));
        let file = padded.filter_map(|stem| self.by_stem.get(&stem).and_then(there)).next()?;
        Some(format!("there is {file}; a spreadsheet may have changed the number"))
    }
}
