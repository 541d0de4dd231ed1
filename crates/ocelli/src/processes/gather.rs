//! Photos of which each process has a part, brought together on every machine.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use ocelli_data::source::{list, table};
use ocelli_data::{Digest, digests, stem_of, text_of};
use serde::{Deserialize, Serialize};

use crate::data::of_run::digest_of;
use crate::error::{Error, Result};
use crate::file;
use crate::processes::ProcessGroup;

/// The bytes that processes send between two looks at what has arrived.
const ROUND: u64 = 64 << 20;
/// The digits of a digest in names.
const DIGITS: usize = 12;

/// The photos of one process.
#[derive(Serialize, Deserialize)]
struct Parts {
    /// The name of their folder.
    folder: String,
    parts: Vec<Part>,
}

/// A photo of one process.
#[derive(Serialize, Deserialize)]
struct Part {
    /// Its path in the folder, separated by `/`.
    path: String,
    bytes: u64,
    digest: Digest,
}

/// A photo of all processes.
struct Photo {
    /// Its path in the folder of all.
    path: PathBuf,
    bytes: u64,
    digest: Digest,
    /// The processes that have it, and its place among theirs.
    owners: BTreeMap<usize, usize>,
}

/// How far it is: bytes received, and all that this process lacks.
pub type GatherProgress<'a> = &'a mut dyn FnMut(u64, u64);

impl ProcessGroup {
    /// Brings the photos together of which each process has a part in a folder of its own, and returns the folder of
    /// all below `store`, which is the same on every machine. Photos are told apart by path and content: the same one
    /// of several processes is one photo, and different ones of one path all stay, with some digits of their digests in
    /// their names. What lies in the store already, or on the machine, is not sent again; processes on one machine may
    /// have one store. Folders and names give the labels, so that the result is that of one folder with all photos.
    ///
    /// # Errors
    /// Where a folder has a table of labels, or no photos; where a photo cannot be read or written, or changes
    /// meanwhile; where a process is lost.
    pub fn gather_photos(&self, folder: &Path, store: &Path, progress: GatherProgress) -> Result<PathBuf> {
        let found = list::images_below(folder).0;
        if let Some(table) =
            table::Tables::of(folder).one(folder).ok().filter(|_| table::says_the_classes(folder))
        {
            let expected = "a folder without a table of labels, since that of one process says nothing of others' photos";
            return Err(Error::setting("data_per_rank", table.display(), expected));
        }
        let own = Parts { folder: name_of(folder), parts: parts_of(folder, &found)? };
        let mut all: Vec<Parts> = Vec::new();
        for (rank, bytes) in
            self.all_gather(&serde_json::to_vec(&own).expect("plain values serialise"))?.iter().enumerate()
        {
            let parts = serde_json::from_slice(bytes);
            all.push(parts.map_err(|_| Error::ProcessesDiverged { what: "messages", rank })?);
        }
        let photos = union_of(&all);
        if photos.is_empty() {
            return Err(Error::setting(
                "data_per_rank",
                folder.display(),
                "a folder of photos, in some process at least",
            ));
        }
        let mut name = blake3::Hasher::new();
        for photo in &photos {
            name.update(photo.path.as_os_str().as_encoded_bytes()).update(&[0]).update(&photo.digest);
        }
        let name = format!("gathered-{}", &name.finalize().to_hex()[..DIGITS]);
        let root = store.join(name).join(name_of(Path::new(&all[0].folder)));
        let mut lacking = Vec::new();
        for (number, photo) in photos.iter().enumerate() {
            let to = root.join(&photo.path);
            let is_there = digest_of(&to).is_some_and(|digest| digest == photo.digest);
            match photo.owners.get(&self.rank()).filter(|_| !is_there) {
                Some(&part) => place(&found[part], &to)?,
                None if !is_there => lacking.push(number as u64),
                None => {}
            }
        }
        self.exchange(&photos, &lacking, &found, &root, progress)?;
        Ok(root)
    }

    /// Receives the photos of these numbers, and sends those that others lack, from the files of this process.
    fn exchange(
        &self,
        photos: &[Photo],
        lacking: &[u64],
        found: &[PathBuf],
        root: &Path,
        progress: GatherProgress,
    ) -> Result<()> {
        let numbers: Vec<u8> = lacking.iter().flat_map(|number| number.to_le_bytes()).collect();
        let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes")) as usize;
        let all = self.all_gather(&numbers)?;
        // In the order of photos, so that all processes make the same rounds.
        let mut wanted: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (rank, bytes) in all.iter().enumerate() {
            for photo in bytes.chunks_exact(8).map(number).filter(|photo| *photo < photos.len()) {
                wanted.entry(photo).or_default().push(rank);
            }
        }
        let wanted: Vec<(&Photo, Vec<usize>)> =
            wanted.into_iter().map(|(photo, ranks)| (&photos[photo], ranks)).collect();
        let to_come: u64 = wanted
            .iter()
            .filter(|(_, ranks)| ranks.contains(&self.rank()))
            .map(|(photo, _)| photo.bytes)
            .sum();
        let mut arrived = 0;
        for round in rounds(&wanted) {
            let mut parts = vec![Vec::new(); self.size()];
            for (photo, ranks) in &wanted[round.clone()] {
                let Some((&owner, &part)) = photo.owners.first_key_value() else { continue };
                if owner == self.rank() {
                    let path = &found[part];
                    let bytes = fs::read(path).map_err(Error::io("read", path))?;
                    if *blake3::hash(&bytes).as_bytes() != photo.digest {
                        let reason = "it has changed since the photos were listed".to_owned();
                        return Err(Error::Photo { path: path.clone(), reason });
                    }
                    ranks.iter().for_each(|&rank| parts[rank].extend_from_slice(&bytes));
                }
            }
            let received = self.all_to_all(parts)?;
            let mut rest: Vec<&[u8]> = received.iter().map(Vec::as_slice).collect();
            for (photo, ranks) in &wanted[round] {
                let (Some((&owner, _)), true) =
                    (photo.owners.first_key_value(), ranks.contains(&self.rank()))
                else {
                    continue;
                };
                let split = rest[owner].split_at_checked(photo.bytes as usize);
                let (bytes, others) =
                    split.ok_or(Error::ProcessesDiverged { what: "messages", rank: owner })?;
                rest[owner] = others;
                if *blake3::hash(bytes).as_bytes() != photo.digest {
                    return Err(Error::ProcessesDiverged { what: "photos", rank: owner });
                }
                let to = root.join(&photo.path);
                make_folder_of(&to)?;
                file::write_whole(&to, bytes)?;
                arrived += photo.bytes;
                progress(arrived, to_come);
            }
        }
        Ok(())
    }
}

/// The name of a folder, whatever leads to it.
fn name_of(folder: &Path) -> String {
    let real = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    real.file_name().map_or_else(|| "photos".to_owned(), text_of)
}

/// The photos of this process.
fn parts_of(folder: &Path, found: &[PathBuf]) -> Result<Vec<Part>> {
    let items = list::read(found)?.items;
    let digests = digests(&items, 0, || ())?;
    let size = |path: &PathBuf| fs::metadata(path).map(|found| found.len()).map_err(Error::io("read", path));
    let parts = found.iter().zip(digests).map(|(path, digest)| {
        let path_in = path.strip_prefix(folder).unwrap_or(path);
        let words = path_in.iter().map(text_of).collect::<Vec<_>>();
        Ok(Part { path: words.join("/"), bytes: size(path)?, digest })
    });
    parts.collect()
}

/// The photos of all processes, by path and content.
fn union_of(all: &[Parts]) -> Vec<Photo> {
    type Owned = (u64, BTreeMap<usize, usize>);
    let mut by_path: BTreeMap<&str, BTreeMap<Digest, Owned>> = BTreeMap::new();
    for (rank, Parts { parts, .. }) in all.iter().enumerate() {
        for (number, part) in parts.iter().enumerate() {
            let (_, owners) = by_path
                .entry(&part.path)
                .or_default()
                .entry(part.digest)
                .or_insert((part.bytes, BTreeMap::new()));
            owners.insert(rank, number);
        }
    }
    let mut photos = Vec::new();
    for (path, contents) in by_path {
        let is_one = contents.len() == 1;
        for (digest, (bytes, owners)) in contents {
            // It comes from another machine: only names, which lead nowhere else.
            let words = path.split('/').filter(|word| !matches!(*word, "" | "." | ".."));
            let mut path: PathBuf = words.collect();
            if !is_one {
                let digits = &blake3::Hash::from_bytes(digest).to_hex()[..DIGITS];
                let stem = stem_of(&path);
                let ending = path.extension().map(|ending| format!(".{}", ending.to_string_lossy()));
                path.set_file_name(format!("{stem}-{digits}{}", ending.unwrap_or_default()));
            }
            photos.push(Photo { path, bytes, digest, owners });
        }
    }
    photos
}

/// Photos that are sent together: some at a time, so that they fit into memory, at least one.
fn rounds(wanted: &[(&Photo, Vec<usize>)]) -> Vec<Range<usize>> {
    let (mut rounds, mut from, mut bytes) = (Vec::new(), 0, 0);
    for (number, (photo, ranks)) in wanted.iter().enumerate() {
        bytes += photo.bytes * ranks.len() as u64;
        if bytes >= ROUND || number + 1 == wanted.len() {
            rounds.push(from..number + 1);
            (from, bytes) = (number + 1, 0);
        }
    }
    rounds
}

/// Puts a photo of this machine there: without a copy of its bytes, where the file system can.
fn place(from: &Path, to: &Path) -> Result<()> {
    make_folder_of(to)?;
    let real = from.canonicalize().map_err(Error::io("read", from))?;
    match fs::hard_link(&real, to) {
        Ok(()) => Ok(()),
        Err(_) => file::write_whole(to, &fs::read(&real).map_err(Error::io("read", from))?),
    }
}

fn make_folder_of(path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(folder).map_err(Error::io("make the folder", folder))
}
