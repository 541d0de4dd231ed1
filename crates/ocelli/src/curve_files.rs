//! The curve of the learning rate finder as files.

use std::path::Path;

use crate::error::Result;
use crate::file;
use crate::lr_finder::curve::LrCurve;

impl LrCurve {
    /// Writes NAME`.csv` into a folder, and with the feature `plot` NAME`.png` and NAME`.svg`.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub fn write(&self, folder: impl AsRef<Path>, name: &str) -> Result<()> {
        self.write_with(folder.as_ref(), name, None)
    }

    /// As [`write`](Self::write), with the learning rate marked that was used.
    pub(crate) fn write_with(&self, folder: &Path, name: &str, used: Option<f64>) -> Result<()> {
        file::write_whole(&folder.join(format!("{name}.csv")), self.to_csv().as_bytes())?;
        #[cfg(feature = "plot")]
        {
            let figure = self.plot();
            let figure = match used {
                Some(rate) => figure.with_vertical(format!("used {rate:.1e}"), rate),
                None => figure,
            };
            crate::charts::write_figure(&figure, folder, name)?;
        }
        #[cfg(not(feature = "plot"))]
        let _ = used;
        Ok(())
    }
}
