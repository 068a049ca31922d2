//! Translations side by side, and what must hold of every answer.
