//! Where a chunked body ends (RFC 9112 §7.1), read strictly: hyper decodes it, this only follows.

use super::head::is_token;

/// The longest line of a size and its extensions, and all trailers together, in bytes.
const LINE_BYTES: usize = 256;
const TRAILER_BYTES: usize = 8192;

/// Where in a chunked body one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// In a size: so many digits so far.
    Size(u8),
    /// In the extensions behind a size; inside quotes or not.
    Extension(bool),
    /// Behind the CR of a size's line.
    SizeEnd,
    /// So many bytes of data are left.
    Data,
    DataCr,
    DataLf,
    /// At the start of a trailer's line, in its name, in its value.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerEnd,
    LastLf,
}

/// A chunked body, followed to its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunks {
    at: At,
    size: u64,
    /// Bytes of the line, or of the trailers, so far.
    taken: usize,
}

/// How far the bytes at hand reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// All of them belong to the body.
    More,
    /// So many belong to it, and then it has ended.
    End(usize),
    /// So many are good; then comes what cannot be.
    Broken(usize),
}

impl Chunks {
    pub(crate) fn new() -> Chunks {
        Chunks {
            at: At::Size(0),
            size: 0,
            taken: 0,
        }
    }

    /// Goes on with these bytes.
    pub(crate) fn follow(&mut self, bytes: &[u8]) -> Progress {
        let mut number = 0;
        while number < bytes.len() {
            if self.at == At::Data {
                let left = (bytes.len() - number) as u64;
                let data = self.size.min(left);
                self.size -= data;
                number += data as usize;
                if self.size == 0 {
                    self.at = At::DataCr;
                }
                continue;
            }
            match self.step(bytes[number]) {
                Some(true) => return Progress::End(number + 1),
                Some(false) => number += 1,
                None => return Progress::Broken(number),
            }
        }
        Progress::More
    }

    /// Takes one byte outside data; true at the end, none if it cannot stand here.
    fn step(&mut self, byte: u8) -> Option<bool> {
        self.taken += 1;
        self.at = match (self.at, byte) {
            (At::Size(digits), _) if byte.is_ascii_hexdigit() && digits < 16 => {
                let digit = char::from(byte).to_digit(16)?;
                self.size = self.size << 4 | u64::from(digit);
                At::Size(digits + 1)
            }
            (At::Size(1..), b'\r') => At::SizeEnd,
            (At::Size(1..), b';') => At::Extension(false),
            (At::Extension(false), b'\r') => At::SizeEnd,
            (At::Extension(quoted), b'"') => At::Extension(!quoted),
            (At::Extension(quoted), b'\t' | 0x20..=0x7e) if self.taken <= LINE_BYTES => {
                At::Extension(quoted)
            }
            (At::SizeEnd, b'\n') => {
                self.taken = 0;
                if self.size == 0 {
                    At::Trailer
                } else {
                    At::Data
                }
            }
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => {
                self.taken = 0;
                At::Size(0)
            }
            (At::Trailer, b'\r') => At::LastLf,
            (At::LastLf, b'\n') => return Some(true),
            (At::Trailer | At::TrailerName, _) if is_token(byte) && self.taken <= TRAILER_BYTES => {
                At::TrailerName
            }
            (At::TrailerName, b':') => At::TrailerValue,
            (At::TrailerValue, b'\r') => At::TrailerEnd,
            (At::TrailerValue, b'\t' | 0x20..=0x7e | 0x80..) if self.taken <= TRAILER_BYTES => {
                At::TrailerValue
            }
            (At::TrailerEnd, b'\n') => At::Trailer,
            _ => return None,
        };
        Some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_ends_where_it_ends_however_it_is_cut() {
        let body = b"5\r\nhello\r\n00a;x=\"y;\"\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\nGET /";
        let end = body.len() - 5;
        assert_eq!(Chunks::new().follow(body), Progress::End(end));
        for cut in 1..end {
            let mut chunks = Chunks::new();
            assert_eq!(chunks.follow(&body[..cut]), Progress::More, "{cut}");
            assert_eq!(
                chunks.follow(&body[cut..]),
                Progress::End(end - cut),
                "{cut}"
            );
        }
    }

    #[test]
    fn what_cannot_be_is_found_at_its_byte() {
        let long = format!("1;{}", "x".repeat(300));
        for (body, good) in [
            ("\r\n", 0),
            ("g\r\n", 0),
            (";\r\n", 0),
            (" 5\r\n", 0),
            ("5 \r\n", 1),
            ("0x5\r\n", 1),
            ("5\nhello", 1),
            ("5;x\nhello", 3),
            ("5\r\nhello\n", 8),
            ("5\r\nhello0\r\n", 8),
            ("5\r\nhello\r\r", 9),
            ("0\r\n\n", 3),
            ("0\r\n x: y\r\n", 3),
            ("0\r\nx y\r\n", 4),
            ("0\r\nx: \ny", 6),
            ("0\r\nx: y\r\n folded", 9),
            ("11111111111111111\r\n", 16),
            (&long, 256),
        ] {
            assert_eq!(
                Chunks::new().follow(body.as_bytes()),
                Progress::Broken(good),
                "{body:?}"
            );
        }
    }
}
