//! Weights that are on this machine already are found without a network, and without the feature `download`.

use std::fs;
use std::path::Path;

use ocelli_hub::{Error, RetryPolicy, WeightStore};
use ocelli_nn::Arch;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const HUB: Arch = Arch::EfficientNetLite1;

/// A store that keeps to a folder.
fn store(folder: &TempDir) -> WeightStore {
    WeightStore {
        folder: folder.path().join("weights"),
        torch_hub: Some(folder.path().join("torch")),
        hugging_face: Some(folder.path().join("hub")),
        torchvision_url: "http://weights.invalid".to_owned(),
        hugging_face_url: "http://weights.invalid".to_owned(),
        retry: RetryPolicy::default(),
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file that was found once is compared with what it was then.
#[test]
fn a_file_in_the_cache_folder_is_found_and_compared_ever_after() {
    let folder = TempDir::new().unwrap();
    let store = store(&folder);
    assert_eq!(store.find(HUB).unwrap(), None);
    let path = store.folder.join(store.remote(HUB).name);
    fs::create_dir_all(&store.folder).unwrap();
    fs::write(&path, b"weights").unwrap();
    assert_eq!(store.find(HUB).unwrap(), Some(path.clone()));
    fs::write(&path, b"others!").unwrap();
    let error = store.find(HUB).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
}

#[test]
fn hugging_face_s_cache_is_used_where_it_is_whole() {
    let folder = TempDir::new().unwrap();
    let store = store(&folder);
    let repository = folder.path().join("hub/models--timm--tf_efficientnet_lite1.in1k");
    let put = |commit: &str, content: &[u8], name: &str| {
        let snapshot = repository.join("snapshots").join(commit);
        fs::create_dir_all(&snapshot).unwrap();
        fs::create_dir_all(repository.join("blobs")).unwrap();
        fs::write(repository.join("blobs").join(name), content).unwrap();
        let link = snapshot.join("model.safetensors");
        let _ = fs::remove_file(&link);
        #[cfg(unix)]
        std::os::unix::fs::symlink(Path::new("../../blobs").join(name), &link).unwrap();
        #[cfg(not(unix))]
        fs::copy(repository.join("blobs").join(name), &link).unwrap();
        link
    };
    let old = put("0ld", b"an older version", &sha256(b"an older version"));
    assert_eq!(store.find(HUB).unwrap(), Some(old));
    let new = put("new", b"a newer version", &sha256(b"a newer version"));
    fs::create_dir_all(repository.join("refs")).unwrap();
    fs::write(repository.join("refs/main"), "new").unwrap();
    assert_eq!(store.find(HUB).unwrap(), Some(new));
    #[cfg(unix)] // elsewhere there are no links that tell the checksum
    {
        put("new", b"damaged", &sha256(b"a newer version"));
        assert_eq!(store.find(HUB).unwrap(), None);
    }
}
