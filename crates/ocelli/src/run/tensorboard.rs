//! TensorBoard's event file of a run: `tensorboard --logdir runs` shows losses, metrics and learning rates by epoch, while
//! the run goes on.
//!
//! The file is a sequence of records, each with its length and checksums (TFRecord), and each holds a message `Event` of
//! Protocol Buffers: <https://github.com/tensorflow/tensorboard/blob/master/tensorboard/compat/proto/event.proto>. The few
//! fields that are needed are written here.
//!
//! | step | record |
//! |---|---|
//! | 0 | the version, then the configuration as text |
//! | N | the scalars of the run's Nth epoch |
//! | after the last | metrics with test-time augmentation, and the confusion matrix |
//!
//! A run that is resumed keeps the records of the epochs that its checkpoint has, and no others, so no step is there twice.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use ocelli_data::files;

use crate::error::{Error, Result};
use crate::event::{Event, Observer};
use crate::file;
use crate::metric::record::EpochRecord;

/// TensorBoard looks for files with `tfevents` in their names.
pub(crate) const FILE: &str = "events.out.tfevents.ocelli";

/// Writes a run's epochs into its event file.
pub(crate) struct TensorBoard {
    path: PathBuf,
    /// Epochs that are written.
    epochs: usize,
}

impl TensorBoard {
    /// Begins the event file of a run folder, or continues it after the epochs of `history`.
    ///
    /// # Errors
    /// Where the file cannot be read or written.
    pub(crate) fn open(folder: &Path, config: &str, history: &[EpochRecord]) -> Result<Self> {
        let path = folder.join(FILE);
        let before = match files::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            bytes => bytes.map_err(Error::io("read", &path))?,
        };
        let (mut bytes, kept) = kept(&before, history.len());
        if bytes.is_empty() {
            let version = Message::default().text(3, "brain.Event:2");
            bytes =
                [record(&event(0, version)), record(&event(0, summary(&[text("config", config)])))].concat();
        }
        for (row, step) in history.iter().zip(1..).skip(kept) {
            bytes.extend(epoch(row, step));
        }
        file::write_whole(&path, &bytes)?;
        Ok(Self { path, epochs: history.len() })
    }

    fn append(&self, bytes: &[u8]) -> Result<()> {
        files::append(&self.path, bytes).map_err(Error::io("write", &self.path))
    }
}

impl Observer for TensorBoard {
    fn observe(&mut self, happened: &Event) -> Result<ControlFlow<()>> {
        match happened {
            Event::Epoch(row) => {
                self.epochs += 1;
                self.append(&epoch(row, self.epochs))?;
            }
            Event::Finished(finished) if !finished.augmented.is_empty() => {
                let values = finished.augmented.iter();
                let values = values.map(|found| scalar(&format!("metric_tta/{}", found.metric), found.value));
                let message = summary(&values.collect::<Vec<_>>());
                self.append(&record(&event(self.epochs, message)))?;
            }
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Adds a picture to the event file of a run folder, if there is one.
///
/// # Errors
/// Where the file cannot be written.
#[cfg(feature = "plot")]
pub(crate) fn add_picture(folder: &Path, step: usize, tag: &str, png: &[u8]) -> Result<()> {
    let path = folder.join(FILE);
    if !path.exists() {
        return Ok(());
    }
    files::append(&path, &record(&event(step, summary(&[picture(tag, png)]))))
        .map_err(Error::io("write", &path))
}

/// The scalars of an epoch.
fn epoch(row: &EpochRecord, step: usize) -> Vec<u8> {
    let mut values = vec![scalar("loss/train", row.train_loss)];
    values.extend(row.valid_loss.map(|loss| scalar("loss/valid", loss)));
    values.extend(row.accuracy.map(|accuracy| scalar("metric/accuracy", accuracy)));
    values.extend(row.metrics.iter().map(|(metric, value)| scalar(&format!("metric/{metric}"), *value)));
    // As the columns of history.csv are called.
    let rates = ["early", "late", "head"].into_iter().zip(row.learning_rates.0);
    values.extend(rates.map(|(group, rate)| scalar(&format!("learning_rate/{group}"), rate)));
    values.push(scalar("epoch/phase", row.fit as f64));
    values.push(scalar("epoch/seconds", row.seconds));
    record(&event(step, summary(&values)))
}

/// A message of Protocol Buffers.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(mut self, mut value: u64) -> Self {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }

    fn number(self, field: u64, value: u64) -> Self {
        self.varint(field << 3).varint(value)
    }

    fn double(mut self, field: u64, value: f64) -> Self {
        self = self.varint(field << 3 | 1);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn float(mut self, field: u64, value: f32) -> Self {
        self = self.varint(field << 3 | 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self = self.varint(field << 3 | 2).varint(value.len() as u64);
        self.0.extend(value);
        self
    }

    fn text(self, field: u64, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    fn message(self, field: u64, value: &Self) -> Self {
        self.bytes(field, &value.0)
    }
}

/// A message `Event` with the field that `what` holds. [`step_of`] relies on the order of the first two.
fn event(step: usize, what: Message) -> Message {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let mut event = Message::default().double(1, now).number(2, step as u64);
    event.0.extend(what.0);
    event
}

/// The field `summary` of an `Event`.
fn summary(values: &[Message]) -> Message {
    let all = values.iter().fold(Message::default(), |all, value| all.message(1, value));
    Message::default().message(5, &all)
}

fn scalar(tag: &str, value: f64) -> Message {
    Message::default().text(1, tag).float(2, value as f32)
}

/// Text, which TensorBoard shows as Markdown: as a block of code.
fn text(tag: &str, text: &str) -> Message {
    /// `DataType::DT_STRING`
    const STRING: u64 = 7;
    /// `DataClass::DATA_CLASS_TENSOR`
    const TENSOR: u64 = 2;
    let indented: String = text.lines().map(|line| format!("    {line}\n")).collect();
    let shape = Message::default().message(2, &Message::default().number(1, 1));
    let tensor = Message::default().number(1, STRING).message(2, &shape).text(8, &indented);
    let plugin = Message::default().message(1, &Message::default().text(1, "text")).number(4, TENSOR);
    Message::default().text(1, tag).message(9, &plugin).message(8, &tensor)
}

#[cfg(feature = "plot")]
fn picture(tag: &str, png: &[u8]) -> Message {
    /// Red, green, blue.
    const COLOURS: u64 = 3;
    // Its header begins after 16 bytes with width and height.
    let side = |at: usize| {
        png.get(at..at + 4).map_or(0, |bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    };
    let image = Message::default().number(1, side(20).into()).number(2, side(16).into());
    Message::default().text(1, tag).message(4, &image.number(3, COLOURS).bytes(4, png))
}

/// A message as a record: its length, the length's checksum, the message, its checksum.
fn record(message: &Message) -> Vec<u8> {
    let length = (message.0.len() as u64).to_le_bytes();
    [&length[..], &masked(&length).to_le_bytes(), &message.0, &masked(&message.0).to_le_bytes()].concat()
}

/// The records of a file up to the epoch of this number, and the number of epochs in them. What is damaged, and all behind
/// it, is left out.
fn kept(bytes: &[u8], epochs: usize) -> (Vec<u8>, usize) {
    let (mut end, mut found) = (0, 0);
    // The version, the configuration, and the epochs.
    for step in std::iter::once(0).chain(0..=epochs) {
        let Some(message) = message_at(&bytes[end..]).filter(|message| step_of(message) == Some(step as u64))
        else {
            break;
        };
        end += message.len() + FRAME;
        found = step;
    }
    if end > 0 && message_at(bytes).is_some_and(|first| first.len() + FRAME == end) {
        // Without the configuration it begins again.
        return (Vec::new(), 0);
    }
    (bytes[..end].to_vec(), found)
}

/// Bytes of a record around its message.
const FRAME: usize = 16;

/// The message of the record at the begin of these bytes, if it is whole.
fn message_at(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*sum) != masked(length) {
        return None;
    }
    let (message, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    (u32::from_le_bytes(*rest.first_chunk()?) == masked(message)).then_some(message)
}

/// The step of an `Event` that was written here.
fn step_of(event: &[u8]) -> Option<u64> {
    // The time, and then the step's field.
    let rest = event.get(9..)?.strip_prefix(&[2 << 3])?;
    let mut step = 0;
    for (at, byte) in rest.iter().take(9).enumerate() {
        step |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some(step);
        }
    }
    None
}

/// CRC-32C, of Castagnoli's polynomial.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| (sum >> 8) ^ TABLE[usize::from(sum as u8 ^ byte)])
}

/// The checksum of each byte.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut sum, mut bit) = (byte as u32, 0);
        while bit < 8 {
            sum = (sum >> 1) ^ (0x82f6_3b78 * (sum & 1));
            bit += 1;
        }
        table[byte] = sum;
        byte += 1;
    }
    table
};

/// A checksum as TFRecord has it: of data that hold checksums themselves, too.
fn masked(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_rfc_3720() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46dd_794e);
    }

    #[test]
    fn what_follows_a_resumed_epoch_is_cut_off() {
        let steps = |bytes: &[u8]| {
            let (mut steps, mut rest) = (Vec::new(), bytes);
            while let Some(message) = message_at(rest) {
                steps.push(step_of(message).unwrap());
                rest = &rest[message.len() + FRAME..];
            }
            assert!(rest.is_empty());
            steps
        };
        let of = |step: usize| record(&event(step, Message::default()));
        // The version, the configuration, three epochs, and the end at the last one's step.
        let all: Vec<u8> = [0, 0, 1, 2, 3, 3].into_iter().flat_map(of).collect();
        for (epochs, expected, found) in
            [(9, &[0, 0, 1, 2, 3][..], 3), (3, &[0, 0, 1, 2, 3], 3), (2, &[0, 0, 1, 2], 2), (0, &[0, 0], 0)]
        {
            let (bytes, epochs) = kept(&all, epochs);
            assert_eq!((steps(&bytes), epochs), (expected.to_vec(), found));
        }
        // Cut off, and with a byte that has changed, in the record of the second epoch.
        let at = all.len() - 3 * of(1).len();
        let mut changed = all.clone();
        changed[at + 20] ^= 1;
        for damaged in [&all[..at + 5], &changed] {
            assert_eq!(steps(&kept(damaged, 9).0), [0, 0, 1]);
        }
        assert_eq!(kept(&of(0), 9), (Vec::new(), 0));
        assert_eq!(kept(&[], 9), (Vec::new(), 0));
        let large = record(&event(300, Message::default()));
        assert_eq!(step_of(message_at(&large).unwrap()), Some(300));
    }
}
