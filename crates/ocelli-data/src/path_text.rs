//! Paths in files of text, such as settings: as [`text_of`] writes them, so that every path comes back as it
//! was. For serde's `with`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serializer};

use crate::names::{path_of, text_of};

/// Writes a path.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&text_of(path))
}

/// Reads a path.
///
/// # Errors
/// Where there is no text.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    Ok(path_of(&String::deserialize(deserializer)?))
}

/// The same for a path that may be absent.
pub mod option {
    use super::{Deserialize, Deserializer, PathBuf, Serializer, path_of, text_of};

    /// Writes a path, if there is one.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
        match path {
            Some(path) => serializer.serialize_some(&text_of(path)),
            None => serializer.serialize_none(),
        }
    }

    /// Reads a path, if there is one.
    ///
    /// # Errors
    /// Where there is something else than text.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
        Ok(Option::<String>::deserialize(deserializer)?.map(|text| path_of(&text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Paths {
        #[serde(with = "super")]
        one: PathBuf,
        #[serde(default, with = "super::option", skip_serializing_if = "Option::is_none")]
        other: Option<PathBuf>,
    }

    #[test]
    fn paths_come_back() {
        let odd = path_of("/tmp/caf\\xE9");
        for paths in [
            Paths { one: "fotos/süß".into(), other: None },
            Paths { one: "".into(), other: Some("a\nb".into()) },
            Paths { one: odd.clone(), other: Some(odd.clone()) },
        ] {
            let text = serde_json::to_string(&paths).unwrap();
            assert_eq!(serde_json::from_str::<Paths>(&text).unwrap(), paths, "{text}");
        }
        assert_eq!(odd.to_str().is_none(), cfg!(unix), "it is bytes, not text");
    }
}
