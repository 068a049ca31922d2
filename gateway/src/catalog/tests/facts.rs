//! What the real files say.
