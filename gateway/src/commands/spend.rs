//! `tollgate spend`.
