//! Bodies that are sent whole or in parts (RFC 9110 §14, §15.3.7).

use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;
use http::Method;
use http::header::{self, HeaderValue};

use super::conditions::{ByteRange, Ranges, byte_ranges};
use super::flow::end;
use super::{Chosen, Decision, Rest, Source};
use crate::{Error, Request};

/// Bytes of a source that are read at once.
const PIECE: u64 = 64 * 1024;

/// None of the ranges is there: 416, with what `content-range` says of the whole if it is known.
pub(super) fn unsatisfiable(req: &mut Request, whole: Option<String>) -> Decision<()> {
    if let Some(whole) = whole {
        req.set_header(header::CONTENT_RANGE, whole)?;
    }
    end(req, 416)
}

/// Ranges in a unit of the resource's own.
pub(super) async fn own<R: Rest>(
    of: &mut R,
    req: &mut Request,
    chosen: &Chosen,
    unit: &str,
    range: &str,
) -> Decision<()> {
    let mut parts = of.provide_range(chosen, unit, range, req).await?;
    match parts.len() {
        0 => return unsatisfiable(req, None),
        1 => {
            let part = parts.remove(0);
            req.set_header(header::CONTENT_RANGE, format!("{unit} {}", part.range))?;
            return Ok(req.reply(206, (), part.body)?);
        }
        _ => {}
    }
    let multipart = Multipart::new(req);
    let mut body = Vec::new();
    for part in &parts {
        body.extend_from_slice(&multipart.head(&format!("{unit} {}", part.range)));
        body.extend_from_slice(&part.body);
    }
    body.extend_from_slice(&multipart.tail());
    Ok(req.reply(
        206,
        [(header::CONTENT_TYPE, multipart.content_type())],
        body,
    )?)
}

/// Several ranges in one body (RFC 9110 §14.6).
struct Multipart {
    boundary: String,
    /// The type of each part.
    of: Option<HeaderValue>,
}

impl Multipart {
    fn new(req: &Request) -> Multipart {
        // Whoever made the body cannot have known it.
        let random = RandomState::new();
        Multipart {
            boundary: format!("{:016x}{:016x}", random.hash_one(0), random.hash_one(1)),
            of: req.reply_headers().get(header::CONTENT_TYPE).cloned(),
        }
    }

    fn content_type(&self) -> String {
        format!("multipart/byteranges; boundary={}", self.boundary)
    }

    /// What stands before a part.
    fn head(&self, range: &str) -> Vec<u8> {
        let mut head = format!("\r\n--{}\r\n", self.boundary).into_bytes();
        if let Some(of) = &self.of {
            head.extend_from_slice(b"content-type: ");
            head.extend_from_slice(of.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(format!("content-range: {range}\r\n\r\n").as_bytes());
        head
    }

    /// What stands behind the last.
    fn tail(&self) -> Vec<u8> {
        format!("\r\n--{}--\r\n", self.boundary).into_bytes()
    }
}

/// A body that is cut and sent.
pub(super) enum Body {
    Bytes(Bytes),
    Source(Box<dyn Source>),
}

impl Body {
    fn length(&self) -> u64 {
        match self {
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::Source(source) => source.length(),
        }
    }

    /// Sends all of it.
    pub(super) async fn whole(
        &mut self,
        req: &mut Request,
        status: u16,
        method: &Method,
    ) -> Decision<()> {
        let size = self.length();
        self.one(req, status, 0, size, method).await
    }

    /// Sends of it what a `range` header wishes behind `bytes=`.
    pub(super) async fn cut(&mut self, req: &mut Request, range: &str) -> Decision<()> {
        let size = self.length();
        match byte_ranges(range, size) {
            Ranges::Unsatisfiable => unsatisfiable(req, Some(format!("bytes */{size}"))),
            Ranges::Whole => self.whole(req, 200, &Method::GET).await,
            Ranges::Of(ranges) => match ranges.as_slice() {
                [(first, last)] => {
                    let range = format!("bytes {first}-{last}/{size}");
                    req.set_header(header::CONTENT_RANGE, range)?;
                    self.one(req, 206, *first, last + 1 - first, &Method::GET)
                        .await
                }
                several => self.several(req, several, size).await,
            },
        }
    }

    async fn several(
        &mut self,
        req: &mut Request,
        ranges: &[ByteRange],
        size: u64,
    ) -> Decision<()> {
        let multipart = Multipart::new(req);
        let head =
            |(first, last): &ByteRange| multipart.head(&format!("bytes {first}-{last}/{size}"));
        let heads: Vec<Vec<u8>> = ranges.iter().map(head).collect();
        let tail = multipart.tail();
        let around = heads.iter().map(Vec::len).sum::<usize>() + tail.len();
        // They are no more than the body has, all together.
        let parts: u64 = ranges.iter().map(|(first, last)| last + 1 - first).sum();
        let headers = [
            (header::CONTENT_TYPE, multipart.content_type()),
            (header::CONTENT_LENGTH, (around as u64 + parts).to_string()),
        ];
        req.stream(206, headers)?;
        for (head, (first, last)) in heads.into_iter().zip(ranges) {
            req.send(head).await?;
            self.pour(req, *first, last + 1 - first).await?;
        }
        req.send(tail).await?;
        Ok(req.finish()?)
    }

    /// Sends one part of it as a reply.
    async fn one(
        &mut self,
        req: &mut Request,
        status: u16,
        from: u64,
        length: u64,
        method: &Method,
    ) -> Decision<()> {
        if let Body::Bytes(bytes) = self {
            let part = bytes.slice(from as usize..(from + length) as usize);
            return Ok(req.reply(status, (), part)?);
        }
        req.stream(status, [(header::CONTENT_LENGTH, length.to_string())])?;
        if *method != Method::HEAD {
            self.pour(req, from, length).await?;
        }
        Ok(req.finish()?)
    }

    /// Sends a part of it into a reply that has begun.
    async fn pour(&mut self, req: &mut Request, from: u64, length: u64) -> Decision<()> {
        let (mut at, end) = (from, from + length);
        let source = match self {
            Body::Bytes(bytes) => {
                return Ok(req.send(bytes.slice(at as usize..end as usize)).await?);
            }
            Body::Source(source) => source,
        };
        while at < end {
            let most = (end - at).min(PIECE) as usize;
            let piece = source.read(at, most).await?;
            if piece.is_empty() {
                return Err(Error::internal("a body is shorter than it said").into());
            }
            at += piece.len() as u64;
            req.send(piece).await?;
        }
        Ok(())
    }
}
