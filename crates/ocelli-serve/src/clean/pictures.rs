//! Photos for the page: decoded small, and kept in memory up to a bound.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use ocelli::Error;
use ocelli::clean::LabelCleaning;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::refusal::Refusal;
use axum::http::StatusCode;

/// How large a photo is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Size {
    Small,
    Large,
}

impl Size {
    /// The longer side in pixels.
    fn side(self) -> u32 {
        match self {
            Self::Small => 224,
            Self::Large => 1024,
        }
    }
}

/// Photos as JPEGs.
pub(super) struct Pictures {
    cleaning: Arc<LabelCleaning>,
    kept: Arc<Mutex<Kept>>,
    /// Bounds how many are decoded at a time.
    places: Semaphore,
}

/// The pictures that were made last.
#[derive(Default)]
struct Kept {
    pictures: HashMap<(usize, Size), Arc<Vec<u8>>>,
    order: VecDeque<(usize, Size)>,
    bytes: usize,
}

/// The most bytes of pictures that are kept.
const MOST_BYTES: usize = 64 << 20;
/// The most photos that are decoded at a time.
const AT_A_TIME: usize = 4;

impl Pictures {
    pub(super) fn new(cleaning: Arc<LabelCleaning>) -> Self {
        Self { cleaning, kept: Arc::default(), places: Semaphore::new(AT_A_TIME) }
    }

    /// A photo as JPEG.
    pub(super) async fn jpeg(&self, photo: usize, size: Size) -> Result<Vec<u8>, Refusal> {
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(picture) = kept().pictures.get(&(photo, size)).cloned() {
            return Ok(picture.to_vec());
        }
        let _place = self.places.acquire().await;
        let cleaning = self.cleaning.clone();
        let made = spawn_blocking(move || cleaning.jpeg(photo, size.side())).await;
        let made = made.map_err(|_| {
            let message = "this photo makes Ocelli fail, which is a defect; please report it, with the photo if you can";
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, message)
        })?;
        let picture = made.map_err(|error| match error {
            Error::Photo { reason, .. } => Refusal::new(StatusCode::GONE, reason),
            error => Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        })?;
        kept().add((photo, size), Arc::new(picture.clone()));
        Ok(picture)
    }
}

impl Kept {
    fn add(&mut self, key: (usize, Size), picture: Arc<Vec<u8>>) {
        self.bytes += picture.len();
        self.order.push_back(key);
        if let Some(before) = self.pictures.insert(key, picture) {
            // Two have asked for it at the same time.
            self.bytes -= before.len();
            self.order.pop_back();
        }
        while self.bytes > MOST_BYTES {
            let Some(oldest) = self.order.pop_front() else { break };
            self.bytes -= self.pictures.remove(&oldest).map_or(0, |picture| picture.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded() {
        let mut kept = Kept::default();
        for photo in 0..100 {
            kept.add((photo, Size::Large), Arc::new(vec![0; MOST_BYTES / 10]));
            kept.add((photo, Size::Large), Arc::new(vec![0; MOST_BYTES / 10]));
        }
        assert_eq!(kept.pictures.len(), 10);
        assert_eq!(kept.order.len(), 10);
        assert_eq!(kept.bytes, 10 * (MOST_BYTES / 10));
        assert!(kept.pictures.contains_key(&(99, Size::Large)));
    }
}
