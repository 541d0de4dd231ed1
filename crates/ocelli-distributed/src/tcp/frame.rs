//! Messages over TCP: a header of fixed length, the lengths of the parts, the parts.

use std::io::{self, Read, Write};

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The sender is alive.
    Heartbeat,
    /// The sender leaves the job, as all do.
    Leave,
    /// The job is over: rank, host and reason.
    Abort,
    /// A process is lost: rank, host and reason.
    Lost,
    /// To rank 0 the bytes of one process, from it those of all.
    AllGather,
    /// To rank 0 a part for each process, from it a part of each process.
    AllToAll,
}

impl Kind {
    const ALL: [Self; 6] =
        [Self::Heartbeat, Self::Leave, Self::Abort, Self::Lost, Self::AllGather, Self::AllToAll];

    /// Its name, for messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Heartbeat => "a heartbeat",
            Self::Leave => "the end",
            Self::Abort | Self::Lost => "a failure",
            Self::AllGather => "all-gather",
            Self::AllToAll => "all-to-all",
        }
    }
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    /// How many operations the sender has called before.
    pub(super) sequence: u64,
    pub(super) parts: Vec<Vec<u8>>,
}

/// The most bytes of one message. Memory grows with what has arrived, not with what is announced.
const MOST_BYTES: u64 = 1 << 40;
/// The most parts of one message: the most processes of a job.
pub(super) const MOST_PARTS: u32 = 4096;

/// Writes a message whose parts are borrowed.
pub(super) fn write(mut to: impl Write, kind: Kind, sequence: u64, parts: &[&[u8]]) -> io::Result<()> {
    let mut header = Vec::with_capacity(13 + 8 * parts.len());
    header.push(kind as u8);
    header.extend(sequence.to_le_bytes());
    header.extend((parts.len() as u32).to_le_bytes());
    for part in parts {
        header.extend((part.len() as u64).to_le_bytes());
    }
    // Small messages are one packet.
    if let [part] = parts
        && part.len() < 1024
    {
        header.extend_from_slice(part);
        return to.write_all(&header);
    }
    to.write_all(&header)?;
    parts.iter().try_for_each(|part| to.write_all(part))
}

/// Reads a message.
pub(super) fn read(mut from: impl Read) -> io::Result<Frame> {
    let mut header = [0; 13];
    from.read_exact(&mut header)?;
    let invalid =
        |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("not a message of Ocelli: {what}"));
    let kind = Kind::ALL.get(usize::from(header[0])).copied().ok_or_else(|| invalid("unknown kind"))?;
    let sequence = u64::from_le_bytes(header[1..9].try_into().expect("eight bytes"));
    let count = u32::from_le_bytes(header[9..].try_into().expect("four bytes"));
    if count > MOST_PARTS {
        return Err(invalid("too many parts"));
    }
    let mut lengths = vec![0; 8 * count as usize];
    from.read_exact(&mut lengths)?;
    let lengths: Vec<u64> = lengths.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
    if lengths
        .iter()
        .try_fold(0u64, |sum, length| sum.checked_add(*length))
        .is_none_or(|sum| sum > MOST_BYTES)
    {
        return Err(invalid("too many bytes"));
    }
    let part = |length: u64| {
        let mut part = Vec::new();
        let read = from.by_ref().take(length).read_to_end(&mut part)?;
        if read as u64 == length { Ok(part) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    };
    let parts = lengths.into_iter().map(part).collect::<io::Result<_>>()?;
    Ok(Frame { kind, sequence, parts })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            kind in prop::sample::select(Kind::ALL.to_vec()),
            sequence: u64,
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2000), 0..5),
        ) {
            let mut bytes = Vec::new();
            let borrowed: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            write(&mut bytes, kind, sequence, &borrowed).unwrap();
            prop_assert_eq!(read(&bytes[..]).unwrap(), Frame { kind, sequence, parts });
            // A connection that is cut off anywhere gives an error, never a shorter message.
            let cut = bytes.len() - 1 - sequence as usize % bytes.len().min(20);
            prop_assert!(read(&bytes[..cut]).is_err());
        }

        #[test]
        fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes[..]);
        }
    }

    #[test]
    fn announced_bytes_take_no_memory() {
        let mut bytes = vec![Kind::AllGather as u8];
        bytes.extend(0u64.to_le_bytes());
        bytes.extend(1u32.to_le_bytes());
        bytes.extend((MOST_BYTES - 1).to_le_bytes());
        assert_eq!(read(&bytes[..]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        *bytes.last_mut().unwrap() = 255;
        assert_eq!(read(&bytes[..]).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
