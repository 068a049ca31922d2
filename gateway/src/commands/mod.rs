//! What the command line can do, one file a command. `main` parses and prints errors; the work is
//! here.

pub mod price;
