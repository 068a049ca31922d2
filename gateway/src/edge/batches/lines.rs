//! The file of a batch, line by line: what each asks, and what is wrong with it. A file is read a
//! piece at a time, never whole.

use std::collections::HashSet;

use bytes::{Buf, Bytes, BytesMut};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::history::{Fault, Files, HistoryError, StoredFile};

/// Faults told of one file; who has more mends these first.
const MOST_FAULTS: usize = 100;
/// Longest id of a caller's.
const CUSTOM_ID: usize = 512;

/// Reads a file's lines in order.
pub(super) struct Lines<'a> {
    files: &'a Files,
    file: &'a StoredFile,
    next_chunk: u32,
    buffer: BytesMut,
    /// So much of the buffer holds no line end.
    searched: usize,
    number: u32,
    longest: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A line that is not blank, with its number from 1.
    Line(u32, Bytes),
    /// A line longer than may be; nothing is read behind it.
    TooLong(u32),
    End,
}

/// What a line asks.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub custom_id: String,
    pub body: Bytes,
}

impl<'a> Lines<'a> {
    pub(super) fn new(files: &'a Files, file: &'a StoredFile, longest: usize) -> Self {
        Lines {
            files,
            file,
            next_chunk: 0,
            buffer: BytesMut::new(),
            searched: 0,
            number: 0,
            longest,
        }
    }

    pub(super) async fn next(&mut self) -> Result<Next, HistoryError> {
        loop {
            let Some(line) = self.whole_line().await? else {
                return Ok(if self.buffer.is_empty() {
                    Next::End
                } else {
                    Next::TooLong(self.number + 1)
                });
            };
            self.number += 1;
            if line.len() > self.longest {
                return Ok(Next::TooLong(self.number));
            }
            if !line.trim_ascii().is_empty() {
                return Ok(Next::Line(self.number, line));
            }
        }
    }

    /// Without its end. `None`: there is none left, or one longer than may be is in the buffer.
    async fn whole_line(&mut self) -> Result<Option<Bytes>, HistoryError> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.buffer[self.searched..]) {
                let line = self.buffer.split_to(self.searched + end).freeze();
                self.buffer.advance(1);
                self.searched = 0;
                return Ok(Some(line));
            }
            self.searched = self.buffer.len();
            if self.searched > self.longest {
                return Ok(None);
            }
            if self.next_chunk == self.file.chunks {
                self.searched = 0;
                let last = self.buffer.split().freeze();
                return Ok((!last.is_empty()).then_some(last));
            }
            let chunk = self.files.chunk(self.file, self.next_chunk).await?;
            self.next_chunk += 1;
            self.buffer.extend_from_slice(&chunk);
        }
    }
}

/// Whether a file can be worked on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Checked {
    /// It has so many requests.
    Right(u32),
    Wrong(Vec<Fault>),
}

/// Reads a whole file and judges each line.
pub(super) async fn check(
    mut lines: Lines<'_>,
    endpoint: &str,
    most: u32,
) -> Result<Checked, HistoryError> {
    let mut faults = Vec::new();
    let mut total = 0_u32;
    // Digests, since ids may be long and many.
    let mut seen: HashSet<[u8; 32]> = HashSet::new();
    while faults.len() < MOST_FAULTS {
        match lines.next().await? {
            Next::End => break,
            Next::TooLong(number) => {
                let message = format!("this line is longer than {} bytes", lines.longest);
                faults.push(fault("line_too_long", Some(number), message, None));
                break;
            }
            Next::Line(number, line) => {
                total += 1;
                if total > most {
                    let message = format!("the file has more than {most} requests; make several");
                    faults.push(fault("too_many_requests", Some(number), message, None));
                    break;
                }
                match read(&line, number, endpoint) {
                    Ok(line) => {
                        let digest = blake3::hash(line.custom_id.as_bytes());
                        if !seen.insert(*digest.as_bytes()) {
                            let message = "another line has this custom_id; give each its own";
                            let message = message.to_owned();
                            let param = Some("custom_id");
                            faults.push(fault("duplicate_custom_id", Some(number), message, param));
                        }
                    }
                    Err(wrong) => faults.push(*wrong),
                }
            }
        }
    }
    if total == 0 && faults.is_empty() {
        let message = "the file has no requests; write one a line".to_owned();
        faults.push(fault("empty_file", None, message, None));
    }
    Ok(if faults.is_empty() {
        Checked::Right(total)
    } else {
        Checked::Wrong(faults)
    })
}

/// What a line asks.
pub(super) fn read(line: &Bytes, number: u32, endpoint: &str) -> Result<Line, Box<Fault>> {
    #[derive(Deserialize)]
    struct Form<'a> {
        custom_id: Option<String>,
        method: Option<String>,
        url: Option<String>,
        #[serde(borrow)]
        body: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Asked {
        stream: Option<Value>,
    }
    let wrong = |code: &str, param: Option<&str>, message: String| {
        Err(Box::new(fault(code, Some(number), message, param)))
    };
    // Some editors begin a file with a byte order mark.
    let text = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    let form: Form<'_> = match serde_json::from_slice(text) {
        Ok(form) => form,
        Err(error) => {
            return wrong(
                "invalid_json_line",
                None,
                format!("this line is no request: {error}"),
            );
        }
    };
    let custom_id = form.custom_id.unwrap_or_default();
    if custom_id.is_empty() || custom_id.len() > CUSTOM_ID {
        return wrong(
            "invalid_custom_id",
            Some("custom_id"),
            format!("`custom_id` must be a text of 1 to {CUSTOM_ID} bytes"),
        );
    }
    if form.method.as_deref() != Some("POST") {
        return wrong(
            "invalid_method",
            Some("method"),
            "`method` must be POST".to_owned(),
        );
    }
    if form.url.as_deref() != Some(endpoint) {
        return wrong(
            "invalid_url",
            Some("url"),
            format!("`url` must be the batch's endpoint, {endpoint}"),
        );
    }
    let Some(body) = form.body else {
        return wrong(
            "missing_required_parameter",
            Some("body"),
            "`body` is missing; it holds the request itself".to_owned(),
        );
    };
    match serde_json::from_str::<Asked>(body.get()) {
        Ok(asked) if asked.stream == Some(Value::Bool(true)) => wrong(
            "invalid_request",
            Some("body.stream"),
            "a batch has no streams; leave `stream` out".to_owned(),
        ),
        Ok(_) => Ok(Line {
            custom_id,
            body: Bytes::copy_from_slice(body.get().as_bytes()),
        }),
        Err(_) => wrong(
            "invalid_request",
            Some("body"),
            "`body` must be an object".to_owned(),
        ),
    }
}

fn fault(code: &str, line: Option<u32>, message: String, param: Option<&str>) -> Fault {
    Fault {
        code: code.to_owned(),
        line,
        message,
        param: param.map(str::to_owned),
    }
}
