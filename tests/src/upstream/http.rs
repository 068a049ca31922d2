//! Just enough HTTP/1.1 to read a request off a socket: a head, then a body by length or in chunks.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// A connection's reading half, with what was read beyond the last request.
pub(super) struct Reader<R> {
    from: R,
    buffer: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(super) fn new(from: R) -> Self {
        Reader {
            from,
            buffer: Vec::new(),
        }
    }

    async fn more(&mut self) -> io::Result<()> {
        if self.from.read_buf(&mut self.buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    async fn through(&mut self, mark: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            let found = self
                .buffer
                .windows(mark.len())
                .position(|window| window == mark);
            if let Some(at) = found {
                return Ok(self.buffer.drain(..at + mark.len()).collect());
            }
            self.more().await?;
        }
    }

    async fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < length {
            self.more().await?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    pub(super) async fn head(&mut self) -> io::Result<Request> {
        let head = self.through(b"\r\n\r\n").await?;
        let head = String::from_utf8_lossy(&head);
        let mut lines = head.lines();
        let mut first = lines.next().unwrap_or_default().split(' ');
        let (method, path) = (
            first.next().unwrap_or_default(),
            first.next().unwrap_or_default(),
        );
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Ok(Request {
            method: method.to_owned(),
            path: path.to_owned(),
            headers,
        })
    }

    pub(super) async fn body(&mut self, request: &Request) -> io::Result<Vec<u8>> {
        if let Some(length) = request.header("content-length") {
            return self
                .exactly(length.parse().map_err(io::Error::other)?)
                .await;
        }
        let mut body = Vec::new();
        if request.header("transfer-encoding").is_some() {
            loop {
                let size = self.through(b"\r\n").await?;
                let size = String::from_utf8_lossy(&size);
                let size = usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
                body.extend_from_slice(&self.exactly(size).await?);
                self.exactly(2).await?;
                if size == 0 {
                    break;
                }
            }
        }
        Ok(body)
    }

    /// Returns once the other side has closed, or sent what nobody asked for.
    pub(super) async fn closed(&mut self) {
        let _ = self.more().await;
    }
}
