//! `tollgate key`.
