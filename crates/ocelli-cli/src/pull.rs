//! `ocelli pull`

use std::path::PathBuf;
use std::time::Duration;

use ocelli::{Arch, NetworkError, WeightStore, built_in_weights};

use crate::Failure;
use crate::arguments::Pull;
use crate::output::{path_line, println};

pub fn run(arguments: &Pull) -> Result<(), Failure> {
    let names = &arguments.names;
    let archs: Result<Vec<Arch>, NetworkError> = names.iter().map(|name| name.parse()).collect();
    let mut store = match &arguments.cache {
        Some(folder) => WeightStore::with_cache(folder),
        None => WeightStore::from_environment()?,
    };
    store.retry.read_timeout = Duration::from_secs(arguments.patience as u64);
    for arch in archs? {
        match built_in_weights(arch) {
            Some(_) => println!("{arch} is built in"),
            None => path_line(&fetched(&store, arch, arguments.quiet)?),
        }
    }
    Ok(())
}

/// The file with a backbone's weights, downloaded if this machine does not have it; progress goes to standard error.
#[cfg(feature = "hub")]
pub fn fetched(store: &WeightStore, arch: Arch, quiet: bool) -> Result<PathBuf, Failure> {
    let mut transfer = crate::transfer::Transfer::new(quiet);
    Ok(store.pull(arch, &mut |event| {
        transfer.observe(event);
        std::ops::ControlFlow::Continue(())
    })?)
}

/// The file with a backbone's weights, if this machine has it: this program was built without downloads.
#[cfg(not(feature = "hub"))]
pub fn fetched(store: &WeightStore, arch: Arch, _quiet: bool) -> Result<PathBuf, Failure> {
    match store.find(arch)? {
        Some(path) => Ok(path),
        None => {
            let file = store.remote(arch);
            Err(Failure::Error(format!(
                "the weights of {arch} are not on this machine, and this program was built without downloads (feature \
                 hub); get {} and save it as {}",
                file.url,
                store.folder.join(file.name).display()
            )))
        }
    }
}
