//! Errors of data sets, for people: what was found, where, what was expected, what to do.

use std::io;
use std::path::{Path, PathBuf};

/// Why a data set, a split or a setting cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The path does not exist.
    #[error("{path} does not exist; give the folder that holds the photos", path = .path.display())]
    Missing {
        /// The path as given.
        path: PathBuf,
    },
    /// A file where a folder of photos is needed.
    #[error("{path} is a file; give the folder that holds the photos", path = .path.display())]
    NotAFolder {
        /// The path as given.
        path: PathBuf,
    },
    /// The folder contains no usable image.
    #[error("{path} holds no images ({found}); give a folder with a folder of images for each class", path = .path.display())]
    NoImages {
        /// The folder.
        path: PathBuf,
        /// What it contains instead.
        found: String,
    },
    /// The images are directly in the folder, so their classes are unknown.
    #[error("{path} holds {images} images but no class folders; put the images of each class into a folder of its name, or give a CSV file of labels", path = .path.display())]
    NoClassFolders {
        /// The folder.
        path: PathBuf,
        /// The number of images in it.
        images: usize,
    },
    /// A classifier needs at least two classes.
    #[error("{path} has the single class \"{class}\"; a classifier needs at least two: add a folder for each further class", path = .path.display())]
    SingleClass {
        /// The folder of class folders.
        path: PathBuf,
        /// The one class.
        class: String,
    },
    /// A class has no image to train on.
    #[error("the class \"{class}\" has no usable images in {path} ({found}); add images of it or remove the class", path = .path.display())]
    ClassWithoutImages {
        /// The class.
        class: String,
        /// Where its images should be.
        path: PathBuf,
        /// What is there instead.
        found: String,
    },
    /// A class loses more than a tenth of its images.
    #[error("the class \"{class}\" loses {lost} of {of} images in {path} ({found}); repair or convert them, take them out of the folder, or let bad images be skipped", path = .path.display())]
    ClassLosesImages {
        /// The class.
        class: String,
        /// Where its images are.
        path: PathBuf,
        /// Images that cannot be used.
        lost: usize,
        /// All of its images.
        of: usize,
        /// Why.
        found: String,
    },
    /// The validation or test folder has a class that the training folder does not have.
    #[error("{path} has the class \"{class}\", which {train} does not (it has: {known}); rename {path}, or train on one folder with a validation fraction", path = .path.display(), train = .train.display())]
    UnknownClass {
        /// The folder of the unknown class.
        path: PathBuf,
        /// Its name.
        class: String,
        /// The training folder.
        train: PathBuf,
        /// The classes that the training folder has.
        known: String,
    },
    /// There is a validation folder without a training folder.
    #[error("{path} has the folder {present}/ but no {missing}/; add {missing}/, or give {path}/{present} as one folder of class folders", path = .path.display())]
    HalfASplit {
        /// The data folder.
        path: PathBuf,
        /// The folder that is there.
        present: String,
        /// The folder that is not.
        missing: String,
    },
    /// A table of labels, or of a split, cannot be used.
    #[error("{path}{row} {detail}; {advice}", path = .path.display(), row = .row.map(|row| format!(": row {row}")).unwrap_or_default())]
    Table {
        /// The table.
        path: PathBuf,
        /// The line of the file, from 1.
        row: Option<u64>,
        /// What is wrong.
        detail: String,
        /// What to do.
        advice: String,
    },
    /// The split leaves one part empty.
    #[error("{reason}; {advice}")]
    Split {
        /// What is wrong.
        reason: String,
        /// What to do.
        advice: String,
    },
    /// A setting is outside of its range.
    #[error("{name} is {value}; it must be {expected}")]
    Setting {
        /// The setting's name.
        name: &'static str,
        /// The value found.
        value: String,
        /// The values allowed.
        expected: &'static str,
    },
    /// A custom transform is named whose function this program does not have.
    #[error(
        "the custom transform \"{name}\" is not registered in this program; register it first (CustomTransform::register), or use the program that it was trained with"
    )]
    TransformNotRegistered {
        /// The transform.
        name: String,
    },
    /// A custom transform failed.
    #[error("the custom transform \"{name}\" {reason}")]
    Transform {
        /// The transform.
        name: String,
        /// What it did.
        reason: String,
    },
    /// An image cannot be used, and bad images are errors.
    #[error("{path}: {reason}", path = .path.display())]
    BadImage {
        /// The image file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        reason: DecodeError,
    },
    /// The system cannot start another thread.
    #[error("cannot start a thread: {}; ask for fewer threads", io_reason(source))]
    Threads {
        /// The system's reason.
        source: io::Error,
    },
    /// Reading or writing failed.
    #[error("cannot {action} {path}: {reason}", path = .path.display(), reason = io_reason(source))]
    Io {
        /// What was tried: "read", "list", "write".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl DataError {
    /// A setting that is outside of its range.
    pub(crate) fn setting(name: &'static str, value: impl ToString, expected: &'static str) -> Self {
        Self::Setting { name, value: value.to_string(), expected }
    }

    /// Wraps the system's reason with what was tried on which path.
    pub fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |source| DataError::Io { action, path: path.as_ref().to_owned(), source }
    }
}

/// The reason of an I/O error, for people: a clause to follow "cannot read NAME:", without the system's error
/// number.
pub fn io_reason(error: &io::Error) -> String {
    // An error with a text of its own knows more than its kind.
    if error.get_ref().is_none()
        && let Some(words) = io_words(error.kind(), error.raw_os_error())
    {
        return words.to_owned();
    }
    let message = error.to_string();
    // That of a temporary file ends with its path, which nobody has chosen.
    let message =
        message.split_once(") at path \"").map_or(message.clone(), |(before, _)| format!("{before})"));
    // Libraries append the system's text, with its number, to their own.
    let number =
        message.rsplit_once(" (os error ").and_then(|(_, number)| number.strip_suffix(')')?.parse().ok());
    let Some(number) = number else { return message };
    let system = io::Error::from_raw_os_error(number);
    let text = system.to_string();
    let own = message.strip_suffix(&text).unwrap_or_default();
    match io_words(system.kind(), Some(number)) {
        Some(words) => format!("{own}{words}"),
        None => format!("{own}{}", text[..text.len() - format!(" (os error {number})").len()].to_lowercase()),
    }
}

/// Error numbers without a kind in the standard library, the same on all Unixes.
const INPUT_OUTPUT: i32 = 5;
const TOO_MANY_IN_SYSTEM: i32 = 23;
const TOO_MANY_IN_PROCESS: i32 = 24;

fn io_words(kind: io::ErrorKind, number: Option<i32>) -> Option<&'static str> {
    use io::ErrorKind as Kind;
    if cfg!(unix) {
        match number {
            Some(INPUT_OUTPUT) => {
                return Some("the device fails to read or write it, or is no longer connected");
            }
            Some(TOO_MANY_IN_SYSTEM | TOO_MANY_IN_PROCESS) => {
                return Some(
                    "too many files are open; close other programs, or raise the limit, such as with ulimit -n 4096",
                );
            }
            _ => {}
        }
    }
    Some(match kind {
        Kind::NotFound => "it does not exist",
        Kind::PermissionDenied => "permission denied",
        Kind::AlreadyExists => "something of that name exists already",
        Kind::IsADirectory => "it is a folder, and a file is needed",
        Kind::NotADirectory => "it, or a part of its path, is a file, and a folder is needed",
        Kind::DirectoryNotEmpty => "the folder is not empty",
        Kind::StorageFull => "no space is left on the device",
        Kind::QuotaExceeded => "your quota of space is used up",
        Kind::ReadOnlyFilesystem => "the file system is read-only",
        Kind::FileTooLarge => "the file would be larger than the file system, or a limit, allows",
        Kind::InvalidFilename => "the name is too long, or not allowed there",
        Kind::InvalidInput => "the name, or the position in the file, is not valid",
        Kind::InvalidData => "its content is not UTF-8 text, or not as expected",
        Kind::UnexpectedEof => "it ends too early",
        Kind::WriteZero => "nothing more can be written to it",
        Kind::BrokenPipe => "its reader has closed it",
        Kind::NotSeekable => "it is a pipe or a device, and a file is needed",
        Kind::ResourceBusy | Kind::ExecutableFileBusy => "another process is using it",
        Kind::Deadlock => "several processes wait for each other",
        Kind::CrossesDevices => "the two paths are on different file systems",
        Kind::TooManyLinks => "too many links lead to it",
        Kind::StaleNetworkFileHandle => "the network file system has lost it",
        Kind::OutOfMemory => "there is not enough memory",
        Kind::TimedOut => "there was no response in time",
        Kind::WouldBlock => "it is not ready",
        Kind::Interrupted => "it was interrupted",
        Kind::Unsupported => "the system cannot do that",
        Kind::ArgumentListTooLong => "the arguments are too long",
        Kind::ConnectionRefused => "nothing listens there, or it refuses",
        Kind::ConnectionReset | Kind::ConnectionAborted => "the connection was cut",
        Kind::NotConnected => "there is no connection",
        Kind::AddrInUse => "something listens at that address already",
        Kind::AddrNotAvailable => "this machine does not have that address",
        Kind::HostUnreachable | Kind::NetworkUnreachable => "there is no route to it",
        Kind::NetworkDown => "the network is down",
        _ => return None,
    })
}

/// Why a file is not an image that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The file cannot be read.
    #[error("cannot be read: {}", io_reason(.0))]
    Io(#[from] io::Error),
    /// The content has changed since the data set was read.
    #[error("has changed since it was first read; the changed image is not used")]
    Changed,
    /// The file is empty.
    #[error("the file is empty")]
    Empty,
    /// The path is not a file.
    #[error("is {found}, and photos are read from files; copy it into a file")]
    NotAFile {
        /// What it is.
        found: &'static str,
    },
    /// The file has more bytes than the limit.
    #[error(
        "has {bytes} bytes, more than the limit of {limit} (64 MiB, and three for each pixel of `max_pixels`); raise `max_pixels` to read it"
    )]
    FileTooLarge {
        /// The length of the file, or what was read of it.
        bytes: u64,
        /// The largest number of bytes allowed.
        limit: u64,
    },
    /// A JPEG with more scans than the limit: each goes through the whole image.
    #[error("has {scans} scans, more than the limit of {limit} for a JPEG of its size; save it again")]
    TooManyScans {
        /// Scans in the file.
        scans: u64,
        /// The largest number of scans allowed.
        limit: u64,
    },
    /// The first bytes are not those of a known format.
    #[error("is not an image in a known format (JPEG, PNG, WebP, GIF, BMP, TIFF, PNM, HEIC)")]
    UnknownFormat,
    /// An image, or a container of images, in a known format that is not supported.
    #[error("is {kind}, which is not read; {remedy}")]
    Foreign {
        /// What it is, with an article.
        kind: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The image has no such band.
    #[error("has {count} bands ({format}), but band {band} is selected; choose from 1 to {count}")]
    Band {
        /// The band, from 1.
        band: u16,
        /// How many there are.
        count: usize,
        /// The file format.
        format: &'static str,
    },
    /// The image has more pixels than the limit.
    #[error(
        "has {width} × {height} pixels, more than the limit of {limit} in all; raise `max_pixels` to read it"
    )]
    TooLarge {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// The largest number of pixels allowed.
        limit: u64,
    },
    /// A feature of the format that the decoder does not support.
    #[error("uses a feature of {format} that is not supported: {detail}")]
    Unsupported {
        /// The file format.
        format: &'static str,
        /// What is not supported.
        detail: String,
    },
    /// The file is truncated or inconsistent.
    #[error("is damaged ({format}): {detail}")]
    Damaged {
        /// The file format.
        format: &'static str,
        /// The decoder's message.
        detail: String,
    },
}

/// The message of a panic that was caught.
pub(crate) fn panic_text(payload: &(dyn std::any::Any + Send)) -> Option<&str> {
    payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_put_in_words() {
        use io::ErrorKind as Kind;
        let kinds = [
            Kind::NotFound,
            Kind::AlreadyExists,
            Kind::IsADirectory,
            Kind::NotADirectory,
            Kind::DirectoryNotEmpty,
            Kind::StorageFull,
            Kind::QuotaExceeded,
            Kind::ReadOnlyFilesystem,
            Kind::FileTooLarge,
            Kind::InvalidFilename,
            Kind::InvalidInput,
            Kind::InvalidData,
            Kind::UnexpectedEof,
            Kind::WriteZero,
            Kind::BrokenPipe,
            Kind::NotSeekable,
            Kind::ResourceBusy,
            Kind::ExecutableFileBusy,
            Kind::Deadlock,
            Kind::CrossesDevices,
            Kind::TooManyLinks,
            Kind::StaleNetworkFileHandle,
            Kind::OutOfMemory,
            Kind::TimedOut,
            Kind::WouldBlock,
            Kind::Interrupted,
            Kind::Unsupported,
            Kind::ArgumentListTooLong,
            Kind::ConnectionRefused,
            Kind::ConnectionReset,
            Kind::ConnectionAborted,
            Kind::NotConnected,
            Kind::AddrInUse,
            Kind::AddrNotAvailable,
            Kind::HostUnreachable,
            Kind::NetworkUnreachable,
            Kind::NetworkDown,
        ];
        for kind in kinds {
            let text = io_reason(&io::Error::from(kind));
            // A clause of our own, not the standard library's name of the kind.
            assert_ne!(text, kind.to_string(), "{kind:?}");
            assert!(text.len() > 8 && !text.ends_with('.'), "{kind:?}: {text}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn no_number_of_the_system_is_left() {
        for number in 1..140 {
            let text = io_reason(&io::Error::from_raw_os_error(number));
            assert!(!text.contains("os error") && !text.is_empty(), "{number}: {text}");
        }
        let text = |number| io_reason(&io::Error::from_raw_os_error(number));
        assert!(text(24).starts_with("too many files are open"), "{}", text(24));
        assert_eq!(text(28), "no space is left on the device");
        assert_eq!(text(21), "it is a folder, and a file is needed");
        assert_eq!(text(36), "the name is too long, or not allowed there");
        assert_eq!(text(5), "the device fails to read or write it, or is no longer connected");
    }

    #[test]
    fn what_has_words_of_its_own_keeps_them() {
        let own = io::Error::new(io::ErrorKind::InvalidData, "it claims 12 tensors");
        assert_eq!(io_reason(&own), "it claims 12 tensors");
        #[cfg(unix)]
        {
            let within = io::Error::other(format!("tile 3: {}", io::Error::from_raw_os_error(2)));
            assert_eq!(io_reason(&within), "tile 3: it does not exist");
        }
        let error = DataError::io("read", "photos/a.csv")(io::ErrorKind::NotFound.into());
        assert_eq!(error.to_string(), "cannot read photos/a.csv: it does not exist");
    }
}
