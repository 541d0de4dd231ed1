//! One value for each of some images, as text.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use crate::metric::paired::paired_p_value;

/// One value for each of some images. Serialised as text: base64 of the bytes of all indices, then of all
/// values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) struct Packed {
    pub(super) items: Vec<u32>,
    pub(super) values: Vec<f32>,
}

impl From<Packed> for String {
    fn from(packed: Packed) -> Self {
        let items = packed.items.iter().flat_map(|item| item.to_le_bytes());
        let values = packed.values.iter().flat_map(|value| value.to_le_bytes());
        BASE64_STANDARD.encode(items.chain(values).collect::<Vec<u8>>())
    }
}

impl TryFrom<String> for Packed {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = BASE64_STANDARD.decode(text).map_err(|error| error.to_string())?;
        if bytes.len() % 8 != 0 {
            return Err(format!("{} bytes are not an index and a value for each image", bytes.len()));
        }
        let words = bytes.as_chunks::<4>().0;
        let (items, values) = words.split_at(words.len() / 2);
        Ok(Self {
            items: items.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect(),
            values: values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        })
    }
}

impl Packed {
    /// The values of these items, in the same order.
    pub(crate) fn new(items: &[usize], values: &[f64]) -> Self {
        Self {
            items: items.iter().map(|item| *item as u32).collect(),
            values: values.iter().map(|value| *value as f32).collect(),
        }
    }

    /// By a paired test; `None` where the values are not of the same items.
    pub(crate) fn p_value(&self, other: &Self) -> Option<f64> {
        let values = |packed: &Self| packed.values.iter().map(|value| f64::from(*value)).collect::<Vec<_>>();
        if self.items != other.items {
            return None;
        }
        paired_p_value(&values(self), &values(other))
    }

    pub(crate) fn items(&self) -> Vec<usize> {
        self.items.iter().map(|item| *item as usize).collect()
    }

    /// Whether all are among so many items.
    pub(crate) fn is_among(&self, items: usize) -> bool {
        self.items.iter().all(|item| (*item as usize) < items)
    }
}
