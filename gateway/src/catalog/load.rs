//! From folders to files: what [`Catalog::load`] reads, and how much of it at most.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::Catalog;
use super::error::{CatalogError, Problem};

/// Far more than a catalog of every host there is needs; a wrong folder is found out early.
const MOST_FILES: usize = 512;
const LARGEST_FILE: usize = 1 << 20;
const DEEPEST_FOLDER: usize = 4;

impl Catalog {
    /// The catalog of these folders, a later one adding to an earlier. Reads every `*.toml` below
    /// them but hidden ones; all of it is taken or nothing.
    pub fn load(folders: &[PathBuf]) -> Result<Catalog, CatalogError> {
        let mut files = BTreeMap::new();
        let mut shown = BTreeMap::new();
        for (index, folder) in folders.iter().enumerate() {
            for path in catalog_files(folder, DEEPEST_FOLDER)? {
                let below = path.strip_prefix(folder).unwrap_or(&path);
                let mut key = below.to_string_lossy().replace('\\', "/");
                if index > 0 {
                    key = format!("{}:{key}", index + 1);
                }
                files.insert(key.clone(), read(&path)?);
                shown.insert(key, path.display().to_string());
                if files.len() > MOST_FILES {
                    return Err(CatalogError::TooLarge {
                        path: folder.clone(),
                        limit: MOST_FILES,
                        what: "files",
                    });
                }
            }
        }
        Self::from_named_files(files, &shown)
    }
}

fn catalog_files(folder: &Path, depth: usize) -> Result<Vec<PathBuf>, CatalogError> {
    let unreadable = |error| CatalogError::Unreadable {
        path: folder.to_owned(),
        error,
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            if depth > 1 {
                found.extend(catalog_files(&path, depth - 1)?);
            }
        } else if name.ends_with(".toml") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path) -> Result<String, CatalogError> {
    let unreadable = |error| CatalogError::Unreadable {
        path: path.to_owned(),
        error,
    };
    let bytes = fs::read(path).map_err(unreadable)?;
    if bytes.len() > LARGEST_FILE {
        return Err(CatalogError::TooLarge {
            path: path.to_owned(),
            limit: LARGEST_FILE,
            what: "bytes",
        });
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = error.as_bytes().iter().take(valid);
        CatalogError::Rejected(vec![Problem {
            file: path.display().to_string(),
            line: before.filter(|byte| **byte == b'\n').count() + 1,
            message: "this is not UTF-8: save the file as UTF-8 text".to_owned(),
        }])
    })
}
