//! Writes JSON straight into bytes: a prompt of megabytes is escaped once, into its place.

use serde::Serialize;

/// A document being written. Commas are set by what stands last: only an opening bracket is
/// followed by none.
pub(super) struct Json {
    out: Vec<u8>,
}

impl Json {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Json {
            out: Vec::with_capacity(bytes),
        }
    }

    pub(super) fn open(&mut self, bracket: u8) {
        self.out.push(bracket);
    }

    pub(super) fn close(&mut self, bracket: u8) {
        self.out.push(bracket);
    }

    /// Before the next member of an object: its key and colon.
    pub(super) fn key(&mut self, key: &str) {
        self.item();
        self.value(key);
        self.out.push(b':');
    }

    /// Before the next item of an array.
    pub(super) fn item(&mut self) {
        if !matches!(self.out.last(), Some(b'{' | b'[')) {
            self.out.push(b',');
        }
    }

    /// A value; what is written here always has a JSON form.
    pub(super) fn value<T: Serialize + ?Sized>(&mut self, value: &T) {
        if serde_json::to_writer(&mut self.out, value).is_err() {
            self.out.extend_from_slice(b"null");
        }
    }

    pub(super) fn raw(&mut self, json: &str) {
        self.out.extend_from_slice(json.as_bytes());
    }

    /// Members as text, each with a comma after it.
    pub(super) fn members(&mut self, members: &str) {
        if let Some(members) = members.strip_suffix(',') {
            self.item();
            self.raw(members);
        }
    }

    pub(super) fn member<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) {
        self.key(key);
        self.value(value);
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.out
    }
}
