//! What a running gateway takes up, from folders on disk.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::catalog::Watch;

fn folder() -> (tempfile::TempDir, PathBuf) {
    let temporary = tempfile::tempdir().expect("a folder");
    let path = temporary.path().to_owned();
    for (file, text) in world() {
        let file = path.join(file);
        fs::create_dir_all(file.parent().expect("below the folder")).expect("folders");
        fs::write(file, text).expect("written");
    }
    (temporary, path)
}

#[test]
fn the_same_files_have_the_same_version_wherever_they_lie() {
    let (_one, first) = folder();
    let (_two, second) = folder();
    let load = |path| Catalog::load(&[path]).expect("the small world");
    let (first, second) = (load(first), load(second));
    assert_eq!(first.version, second.version);
    assert_eq!(
        first.version,
        super::load(world()).expect("from memory").version
    );
    assert_eq!(
        Catalog::from_files(first.files.clone())
            .expect("again")
            .version,
        first.version
    );
}

#[test]
fn a_second_folder_adds_to_a_host_and_sets_its_address() {
    let (_one, first) = folder();
    let acme = fs::read_to_string(first.join("acme.toml")).expect("read");
    let unset = acme.replace(
        "base_url = \"https://api.acme.example/v1\"",
        "operator_sets_url = true",
    );
    fs::write(first.join("acme.toml"), unset).expect("written");
    let two = tempfile::tempdir().expect("a folder");
    let more = "extends = \"acme\"\n[[endpoint]]\nregion = \"global\"\nbase_url = \"http://10.0.0.1/v1\"\n\
                jurisdiction = \"SE\"\nsource = \"us\"\nread = 2026-11-24\n\
                [[endpoint]]\nregion = \"second\"\nbase_url = \"http://10.0.0.2/v1\"\n\
                jurisdiction = \"SE\"\nsource = \"us\"\nread = 2026-11-24\n";
    fs::write(two.path().join("acme.toml"), more).expect("written");
    fs::write(two.path().join("acme.toml.example"), "not read").expect("written");
    fs::write(two.path().join(".acme.toml"), "not read").expect("written");
    let catalog = Catalog::load(&[first, two.path().to_owned()]).expect("both");
    let endpoints = &catalog.hosts["acme"].endpoints;
    let addresses: Vec<&str> = endpoints
        .iter()
        .filter_map(|one| one.base_url.as_ref())
        .map(|url| url.as_str())
        .collect();
    assert_eq!(addresses, ["http://10.0.0.1/v1", "http://10.0.0.2/v1"]);
    assert!(catalog.files.contains_key("2:acme.toml"));
    assert_eq!(
        Catalog::from_files(catalog.files.clone())
            .expect("recomputed")
            .version,
        catalog.version
    );
}

#[test]
fn a_missing_folder_is_an_error_that_names_it() {
    let error = Catalog::load(&[PathBuf::from("/nowhere/catalog")]).expect_err("missing");
    assert!(error.to_string().contains("/nowhere/catalog"), "{error}");
}

#[test]
fn a_problem_on_disk_is_told_with_the_path() {
    let (_guard, path) = folder();
    fs::write(
        path.join("acme.toml"),
        ACME.replace("Asia/Shanghai", "Asia/Beijing"),
    )
    .expect("written");
    let error = Catalog::load(std::slice::from_ref(&path)).expect_err("wrong");
    let start = format!("{}:40: ", path.join("acme.toml").display());
    assert!(error.to_string().starts_with(&start), "{error}");
}

#[test]
fn wrong_files_leave_the_old_catalog_in_force() {
    let (_guard, path) = folder();
    let watch = Watch::start(vec![path.clone()]).expect("started");
    let before = watch.current();
    let file = path.join("acme.toml");
    fs::write(&file, ACME.replace("1.32", "1.3200001")).expect("written");
    assert!(watch.reload().is_err());
    assert_eq!(watch.current().version, before.version);
    let error = watch.last_error().expect("an error");
    assert!(error.contains("acme.toml:"), "{error}");
    fs::write(&file, ACME.replace("1.32", "1.33")).expect("written");
    // The watching thread may have been faster; then there is nothing new to take up.
    watch.reload().expect("right again");
    assert_ne!(watch.current().version, before.version);
    assert_eq!(watch.last_error(), None);
}

#[tokio::test]
async fn a_file_renamed_into_place_is_taken_up_while_running() {
    let (_guard, path) = folder();
    let watch = Watch::start(vec![path.clone()]).expect("started");
    let before = watch.current().version.clone();
    let mut changes = watch.changes();
    let draft = path.join("acme.toml~");
    fs::write(&draft, ACME.replace("1.32", "1.33")).expect("written");
    fs::rename(&draft, path.join("acme.toml")).expect("renamed");
    tokio::time::timeout(Duration::from_secs(20), changes.changed())
        .await
        .expect("taken up in time")
        .expect("still watching");
    assert_ne!(watch.current().version, before);
    assert_eq!(*changes.borrow(), watch.current().version);
}
