pub mod surfaces;
