//! What a server tells whoever runs it.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::Method;

/// Something that happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A request was answered, or refused.
    Access(Access),
    /// A model's file was replaced, and is used from now on.
    Reloaded {
        /// The model's name.
        model: String,
    },
    /// A model's file was replaced, and the new one cannot be used: the old model goes on.
    NotReloaded {
        /// The model's name.
        model: String,
        /// What is wrong with the new file.
        reason: String,
    },
    /// This many requests were cut off, since they took too long after the server was asked to end.
    CutOff(usize),
}

/// A line of the access log. [`Display`](fmt::Display) writes it for people, [`to_json`](Self::to_json) for programs. What
/// comes from the client is escaped in both: printable ASCII is left.
#[derive(Debug, Clone)]
pub struct Access {
    /// When the request had arrived.
    pub time: SystemTime,
    /// The client's address.
    pub client: String,
    /// `GET`, `POST`, …
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The answer's status.
    pub status: u16,
    /// From the headers' arrival to the answer's begin.
    pub duration: Duration,
    /// The number of images.
    pub images: usize,
}

/// The longest path that is logged.
const LONGEST: usize = 200;

impl Access {
    pub(crate) fn new(client: String, method: &Method, path: &str) -> Self {
        let method = escaped(method.as_str());
        let (time, duration) = (SystemTime::now(), Duration::ZERO);
        Self { time, client, method, path: escaped(path), status: 0, duration, images: 0 }
    }

    /// An object in one line.
    pub fn to_json(&self) -> String {
        serde_json::json!({
            "time": utc(self.time),
            "client": self.client,
            "method": self.method,
            "path": self.path,
            "status": self.status,
            "milliseconds": self.milliseconds(),
            "images": self.images,
        })
        .to_string()
    }

    /// To a tenth.
    fn milliseconds(&self) -> f64 {
        (self.duration.as_secs_f64() * 1e4).round() / 10.0
    }
}

impl fmt::Display for Access {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, method, path, status, images, .. } = self;
        let images = match images {
            0 => String::new(),
            1 => " · 1 image".to_owned(),
            images => format!(" · {images} images"),
        };
        write!(
            out,
            "{} {client} {method} {path} {status} · {:.1} ms{images}",
            utc(self.time),
            self.milliseconds()
        )
    }
}

/// Text of a client: what is not printable ASCII becomes `%` and its bytes in hexadecimal digits.
fn escaped(text: &str) -> String {
    let mut safe = String::new();
    for &byte in text.as_bytes().iter().take(LONGEST) {
        match byte {
            b'!'..=b'~' => safe.push(byte.into()),
            byte => safe += &format!("%{byte:02X}"),
        }
    }
    if text.len() > LONGEST {
        safe += "...";
    }
    safe
}

/// `2026-11-28T22:10:00.123Z`
fn utc(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = ((since.as_secs() / 86_400) as i64, since.as_secs() % 86_400);
    // Howard Hinnant's days_from_civil, the other way round: years begin in March.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", since.subsec_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        let at = |seconds: u64| utc(UNIX_EPOCH + Duration::from_millis(seconds * 1000 + 7));
        assert_eq!(at(0), "1970-01-01T00:00:00.007Z");
        // From `date -u -d @…`.
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.007Z");
        assert_eq!(at(1_709_251_199), "2024-02-29T23:59:59.007Z");
        assert_eq!(at(4_102_444_800), "2100-01-01T00:00:00.007Z");
    }

    #[test]
    fn a_clients_text_cannot_end_a_line_or_colour_it() {
        let access = Access::new("127.0.0.1".to_owned(), &Method::GET, "/a b\n\u{1b}[31m\u{202e}\"");
        let (line, json) = (access.to_string(), access.to_json());
        assert!(line.contains("/a%20b%0A%1B[31m%E2%80%AE\" 0"), "{line}");
        assert!(json.contains(r#""/a%20b%0A%1B[31m%E2%80%AE\"""#), "{json}");
        assert!(Access::new(String::new(), &Method::GET, &"/".repeat(9999)).path.len() < 300);
    }
}
