//! Counts, in Prometheus's text format.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// What is counted.
#[derive(Default)]
pub(crate) struct Metrics {
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    /// By route and status.
    requests: BTreeMap<(String, u16), u64>,
    /// By route.
    durations: BTreeMap<String, Histogram<{ SECONDS.len() }>>,
    batches: Histogram<{ IMAGES.len() }>,
    images: u64,
}

/// Bounds in seconds.
const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// Bounds in images.
const IMAGES: [f64; 6] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0];

struct Histogram<const N: usize> {
    /// Values up to each bound, without those up to the one before.
    counts: [u64; N],
    count: u64,
    sum: f64,
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Self { counts: [0; N], count: 0, sum: 0.0 }
    }
}

impl<const N: usize> Histogram<N> {
    fn add(&mut self, value: f64, bounds: &[f64; N]) {
        if let Some(bound) = bounds.iter().position(|bound| value <= *bound) {
            self.counts[bound] += 1;
        }
        self.count += 1;
        self.sum += value;
    }

    fn write(&self, text: &mut String, name: &str, label: &str, bounds: &[f64; N]) {
        let comma = if label.is_empty() { "" } else { "," };
        let mut below = 0;
        for (bound, count) in bounds.iter().zip(self.counts) {
            below += count;
            let _ = writeln!(text, "{name}_bucket{{{label}{comma}le=\"{bound}\"}} {below}");
        }
        let braces = if label.is_empty() { String::new() } else { format!("{{{label}}}") };
        let _ = writeln!(text, "{name}_bucket{{{label}{comma}le=\"+Inf\"}} {}", self.count);
        let _ = writeln!(text, "{name}_sum{braces} {}", self.sum);
        let _ = writeln!(text, "{name}_count{braces} {}", self.count);
    }
}

impl Metrics {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// A request was answered. `route` is one of this crate's, not what the client sent.
    pub(crate) fn request(&self, route: &str, status: u16, duration: Duration) {
        let mut counts = self.counts();
        *counts.requests.entry((route.to_owned(), status)).or_default() += 1;
        counts.durations.entry(route.to_owned()).or_default().add(duration.as_secs_f64(), &SECONDS);
    }

    /// A batch was computed.
    pub(crate) fn batch(&self, images: usize) {
        let mut counts = self.counts();
        counts.batches.add(images as f64, &IMAGES);
        counts.images += images as u64;
    }

    /// The text that Prometheus reads; `waiting` images are in the queue.
    pub(crate) fn text(&self, waiting: usize) -> String {
        let counts = self.counts();
        let mut text = String::new();
        let head = |text: &mut String, name: &str, kind: &str, help: &str| {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        };
        head(
            &mut text,
            "ocelli_requests_total",
            "counter",
            "Requests by route and status; 4xx and 503 are refusals.",
        );
        for ((route, status), count) in &counts.requests {
            let _ = writeln!(text, "ocelli_requests_total{{route=\"{route}\",status=\"{status}\"}} {count}");
        }
        let name = "ocelli_request_duration_seconds";
        head(&mut text, name, "histogram", "From a request's headers to its answer, by route.");
        for (route, durations) in &counts.durations {
            durations.write(&mut text, name, &format!("route=\"{route}\""), &SECONDS);
        }
        head(&mut text, "ocelli_batch_images", "histogram", "Images that the network computed at once.");
        counts.batches.write(&mut text, "ocelli_batch_images", "", &IMAGES);
        head(&mut text, "ocelli_images_total", "counter", "Images that the network computed.");
        let _ = writeln!(text, "ocelli_images_total {}", counts.images);
        head(&mut text, "ocelli_queue_images", "gauge", "Images that wait or are computed.");
        let _ = writeln!(text, "ocelli_queue_images {waiting}");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_all_up_to_their_bound() {
        let metrics = Metrics::default();
        for images in [1, 2, 3, 32, 33] {
            metrics.batch(images);
        }
        metrics.request("/predict", 200, Duration::from_millis(30));
        metrics.request("/predict", 503, Duration::from_secs(60));
        let text = metrics.text(7);
        for line in [
            "ocelli_batch_images_bucket{le=\"2\"} 2",
            "ocelli_batch_images_bucket{le=\"4\"} 3",
            "ocelli_batch_images_bucket{le=\"32\"} 4",
            "ocelli_batch_images_bucket{le=\"+Inf\"} 5",
            "ocelli_batch_images_sum 71",
            "ocelli_images_total 71",
            "ocelli_requests_total{route=\"/predict\",status=\"503\"} 1",
            "ocelli_request_duration_seconds_bucket{route=\"/predict\",le=\"0.025\"} 0",
            "ocelli_request_duration_seconds_bucket{route=\"/predict\",le=\"0.05\"} 1",
            "ocelli_request_duration_seconds_count{route=\"/predict\"} 2",
            "ocelli_queue_images 7",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}:\n{text}");
        }
    }
}
