//! Where HTTP meets the house. Below this floor nothing knows of paths, headers or pages.

pub mod dashboard;
