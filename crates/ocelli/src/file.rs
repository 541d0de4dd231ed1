//! Files that are written whole or not at all.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::{Error, Result};

/// Writes `bytes` to `path`: into a temporary file beside it, forced to the disk, then renamed. Whoever reads
/// `path` sees the old content or the new, never a part, even after a crash.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let failed = || Error::io("write", path);
    let mut file = tempfile::Builder::new()
        .prefix(".writing-")
        .permissions(readable_by_others())
        .tempfile_in(folder)
        .map_err(failed())?;
    file.write_all(bytes).map_err(failed())?;
    file.as_file().sync_all().map_err(failed())?;
    file.persist(path).map_err(|error| failed()(error.error))?;
    // The rename itself lasts once the folder is on the disk; systems that cannot sync folders need not.
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
    Ok(())
}

/// Temporary files are private by default; results are for everyone whom the system's mask admits.
fn readable_by_others() -> fs::Permissions {
    #[cfg(unix)]
    return std::os::unix::fs::PermissionsExt::from_mode(0o666);
    #[cfg(not(unix))]
    return tempfile::tempfile().and_then(|file| file.metadata()).expect("a temporary file").permissions();
}
