//! Content codings on the way: replies compressed, requests decompressed under a limit.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, MultiGzDecoder};
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, HeaderMap, HeaderValue, VARY,
};
use http::{Method, StatusCode};

use super::{Along, Inbound, Opening, Outbound, StreamHandler};
use crate::{Error, coding};

/// Compresses replies with gzip or brotli, whichever of them a peer that takes it by name wishes more.
///
/// Left as they are: bodies of at most `threshold` bytes, types that do not get smaller, and replies with a coding, an
/// entity tag or a range of their own or with `no-transform`. What comes piece by piece is flushed with each piece.
/// `vary: accept-encoding` is told in any case.
#[derive(Clone, Copy, Debug)]
pub struct Compress {
    /// Bytes up to which a body is left as it is; 300.
    pub threshold: u64,
    /// How hard gzip tries, 0 to 9; 5.
    pub gzip_level: u32,
    /// How hard brotli tries, 0 to 11; 4.
    pub brotli_level: u32,
}

impl Default for Compress {
    fn default() -> Compress {
        Compress {
            threshold: 300,
            gzip_level: 5,
            brotli_level: 4,
        }
    }
}

impl StreamHandler for Compress {
    fn open(&self, opening: &mut Opening<'_>) -> Along {
        let text = coding::list(opening.headers, ACCEPT_ENCODING);
        let coding = coding::taken(&text, &["br", "gzip"]).first().copied();
        Along {
            outbound: Some(Box::new(Compressing {
                of: *self,
                coding: coding.filter(|_| *opening.method != Method::HEAD),
                encoder: None,
            })),
            ..Along::default()
        }
    }
}

struct Compressing {
    of: Compress,
    coding: Option<&'static str>,
    encoder: Option<Encoder>,
}

enum Encoder {
    Gzip(GzEncoder<Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
}

/// Whether bodies of that type get smaller.
fn shrinks(headers: &HeaderMap) -> bool {
    let media = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let Some(media) = media.and_then(|text| text.split(';').next()) else {
        return false;
    };
    let media = media.trim().to_ascii_lowercase();
    let known = [
        "application/json",
        "application/javascript",
        "application/xml",
        "application/wasm",
        "image/svg+xml",
    ];
    media.starts_with("text/")
        || media.ends_with("+json")
        || media.ends_with("+xml")
        || known.contains(&media.as_str())
}

impl Outbound for Compressing {
    fn head(&mut self, status: StatusCode, headers: &mut HeaderMap, length: Option<u64>) -> bool {
        let varies = headers.get_all(VARY).iter().any(|value| {
            let text = value.to_str().unwrap_or_default().to_ascii_lowercase();
            text.split(',')
                .any(|name| matches!(name.trim(), "*" | "accept-encoding"))
        });
        if !varies {
            headers.append(VARY, HeaderValue::from_static("accept-encoding"));
        }
        let has_own = headers.contains_key(CONTENT_ENCODING)
            || headers.contains_key(ETAG)
            || headers.contains_key(CONTENT_RANGE)
            || coding::list(headers, CACHE_CONTROL)
                .split(',')
                .any(|word| word.trim().eq_ignore_ascii_case("no-transform"));
        let is_short = length.is_some_and(|length| length <= self.of.threshold);
        let Some(coding) = self.coding else {
            return false;
        };
        if has_own || is_short || !shrinks(headers) || crate::reply::is_bodiless(status) {
            return false;
        }
        self.encoder = Some(match coding {
            "br" => {
                let writer = brotli::CompressorWriter::new(
                    Vec::new(),
                    4096,
                    self.of.brotli_level.min(11),
                    20,
                );
                Encoder::Brotli(Box::new(writer))
            }
            _ => Encoder::Gzip(GzEncoder::new(
                Vec::new(),
                Compression::new(self.of.gzip_level.min(9)),
            )),
        });
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
        true
    }

    fn data(&mut self, piece: Bytes) -> Bytes {
        let into_memory = "writing into memory does not fail";
        let written = match self.encoder.as_mut() {
            None => return piece,
            Some(Encoder::Gzip(encoder)) => {
                encoder.write_all(&piece).expect(into_memory);
                encoder.flush().expect(into_memory);
                encoder.get_mut()
            }
            Some(Encoder::Brotli(encoder)) => {
                encoder.write_all(&piece).expect(into_memory);
                encoder.flush().expect(into_memory);
                encoder.get_mut()
            }
        };
        std::mem::take(written).into()
    }

    fn finish(&mut self) -> Bytes {
        match self.encoder.take() {
            None => Bytes::new(),
            Some(Encoder::Gzip(encoder)) => encoder
                .finish()
                .expect("writing into memory does not fail")
                .into(),
            Some(Encoder::Brotli(encoder)) => encoder.into_inner().into(),
        }
    }
}

/// Decompresses requests of the coding gzip, alone: handlers see the body as it was, and no `content-encoding`. What has
/// another coding, or several, is left to them. Replies say `accept-encoding: gzip`.
#[derive(Clone, Copy, Debug)]
pub struct Decompress {
    /// How many times longer than what came a body may become; more is 413. 20. The first 64 KiB are free.
    pub ratio: u64,
}

impl Default for Decompress {
    fn default() -> Decompress {
        Decompress { ratio: 20 }
    }
}

/// So much of a body is not measured: a short one of much white space is no bomb.
const FREE: u64 = 64 * 1024;

/// What is decompressed at once of a piece, so that a bomb is found before it is whole.
const STEP: usize = 1024;

impl StreamHandler for Decompress {
    fn open(&self, opening: &mut Opening<'_>) -> Along {
        let codings = coding::list(opening.headers, CONTENT_ENCODING);
        let is_gzip = coding::is_coding(codings.trim(), "gzip");
        let inbound = is_gzip.then(|| {
            opening.headers.remove(CONTENT_ENCODING);
            opening.headers.remove(CONTENT_LENGTH);
            let decoder = MultiGzDecoder::new(Vec::new());
            Box::new(Decompressing {
                decoder,
                ratio: self.ratio,
                came: 0,
                made: 0,
            }) as Box<dyn Inbound>
        });
        Along {
            inbound,
            outbound: Some(Box::new(Announcing)),
        }
    }
}

struct Announcing;

impl Outbound for Announcing {
    fn head(&mut self, _status: StatusCode, headers: &mut HeaderMap, _length: Option<u64>) -> bool {
        headers
            .entry(ACCEPT_ENCODING)
            .or_insert(HeaderValue::from_static("gzip"));
        false
    }
}

struct Decompressing {
    decoder: MultiGzDecoder<Vec<u8>>,
    ratio: u64,
    came: u64,
    made: u64,
}

impl Decompressing {
    /// Measures what has been made.
    fn measure(&self) -> Result<(), Error> {
        let made = self.made + self.decoder.get_ref().len() as u64;
        if made > FREE && made > self.came.saturating_mul(self.ratio) {
            return Err(Error::too_large("the body is compressed too well").closing());
        }
        Ok(())
    }
}

fn broken(_error: std::io::Error) -> Error {
    Error::bad_request("the body is no gzip")
}

impl Inbound for Decompressing {
    fn data(&mut self, piece: Bytes) -> Result<Bytes, Error> {
        for step in piece.chunks(STEP) {
            self.came += step.len() as u64;
            self.decoder.write_all(step).map_err(broken)?;
            self.decoder.flush().map_err(broken)?;
            self.measure()?;
        }
        let made = std::mem::take(self.decoder.get_mut());
        self.made += made.len() as u64;
        Ok(made.into())
    }

    fn finish(&mut self) -> Result<Bytes, Error> {
        self.decoder.try_finish().map_err(broken)?;
        self.measure()?;
        Ok(std::mem::take(self.decoder.get_mut()).into())
    }
}
