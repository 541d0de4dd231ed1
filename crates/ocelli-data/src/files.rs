//! Files are written whole or not at all.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::DataError;

/// Writes `bytes` to `path`: into a temporary file beside it, forced to the disk, then renamed. Whoever reads
/// `path` sees the old content or the new, never a part, even after a crash. Folders on the way are made.
pub fn write_whole(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), DataError> {
    let path = path.as_ref();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(DataError::io("create", folder))?;
    let write = || {
        let mut file = tempfile::Builder::new()
            .prefix(".writing-")
            .permissions(readable_by_others())
            .tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        // The rename itself lasts once the folder is on the disk; systems that cannot sync folders need not.
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
        Ok(())
    };
    write().map_err(DataError::io("write", path))
}

/// Temporary files are private by default; results are for everyone whom the system's mask admits.
fn readable_by_others() -> fs::Permissions {
    #[cfg(unix)]
    return std::os::unix::fs::PermissionsExt::from_mode(0o666);
    #[cfg(not(unix))]
    return tempfile::tempfile().and_then(|file| file.metadata()).expect("a temporary file").permissions();
}
