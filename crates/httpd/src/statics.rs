//! Static files: of a directory, one file, or files embedded in the program.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderName, HeaderValue};
use sha1::{Digest, Sha1};

use crate::coding;
use crate::file::blocking;
use crate::{
    Chosen, Content, Decision, ETag, Error, FileSource, Handler, MediaType, Outcome, Request, Rest,
};

/// Encodings of files that lie beside a file, the best first, with their endings.
const VARIANTS: [(&str, &str); 2] = [("br", ".br"), ("gzip", ".gz")];

/// Serves files: GET, HEAD and OPTIONS, with entity tags, dates, conditions and byte ranges.
///
/// A directory and embedded files are served under a path that ends with `[...]`. What leads out of the directory is
/// not served, by whatever way: a segment that holds a slash, a backslash or NUL once it is decoded is 400, and a
/// symbolic link that leads out is as no file. A directory is 403, or its index file where one is named.
#[derive(Clone, Debug)]
pub struct Static {
    place: Place,
    index: Option<&'static str>,
    precompressed: bool,
    headers: Vec<(HeaderName, HeaderValue)>,
}

#[derive(Clone, Debug)]
enum Place {
    Directory(Arc<PathBuf>),
    File(Arc<PathBuf>),
    Embedded(Arc<HashMap<&'static str, (Bytes, String)>>),
}

impl Static {
    /// The files below a directory.
    pub fn dir(directory: impl Into<PathBuf>) -> Static {
        Static::of(Place::Directory(Arc::new(directory.into())))
    }

    /// One file.
    pub fn file(file: impl Into<PathBuf>) -> Static {
        Static::of(Place::File(Arc::new(file.into())))
    }

    /// Files in the program, each with its path (`js/app.js`) and its bytes, as `include_bytes!` gives them.
    pub fn embedded(files: &[(&'static str, &'static [u8])]) -> Static {
        let entry = |(path, bytes): &(&'static str, &'static [u8])| {
            let digest = Sha1::digest(bytes);
            let tag = digest[..8]
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            (*path, (Bytes::from_static(bytes), tag))
        };
        Static::of(Place::Embedded(Arc::new(files.iter().map(entry).collect())))
    }

    fn of(place: Place) -> Static {
        Static {
            place,
            index: None,
            precompressed: false,
            headers: Vec::new(),
        }
    }

    /// The file that stands for its directory: `index.html`.
    pub fn index(mut self, name: &'static str) -> Static {
        self.index = Some(name);
        self
    }

    /// Serves `x.br` or `x.gz` in place of `x` to who takes it, where it lies beside it; where both do, what is wished
    /// more.
    pub fn precompressed(mut self) -> Static {
        self.precompressed = true;
        self
    }

    /// Adds a header to every reply about a file that is there: `cache-control`, `content-security-policy`.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Static {
        self.headers.push((name, value));
        self
    }

    /// What the path of the request names.
    async fn find(&self, req: &Request) -> Result<Found, Error> {
        let encodings = if self.precompressed {
            taken(req)
        } else {
            Vec::new()
        };
        match &self.place {
            Place::File(file) => {
                let (file, encodings) = (file.clone(), encodings);
                blocking(move || open_best(&file, None, None, &encodings)).await
            }
            Place::Directory(root) => {
                let (root, index) = (root.clone(), self.index);
                let below: PathBuf = segments(req)?
                    .iter()
                    .map(|s| OsStr::from_bytes(s))
                    .collect();
                blocking(move || open_best(&root.join(&below), Some(&root), index, &encodings))
                    .await
            }
            Place::Embedded(files) => {
                let segments = segments(req)?;
                let joined = segments.join(&b'/');
                let mut path = String::from_utf8(joined).map_err(|_| missing())?;
                if !files.contains_key(path.as_str())
                    && let Some(index) = self.index
                {
                    let slash = if path.is_empty() { "" } else { "/" };
                    path = format!("{path}{slash}{index}");
                }
                let media = media_of(&path);
                let variant = encodings.iter().find_map(|encoding| {
                    let (bytes, tag) = files.get(format!("{path}{}", encoding.1).as_str())?;
                    Some((Some(encoding.0), bytes, tag))
                });
                let plain = || {
                    files
                        .get(path.as_str())
                        .map(|(bytes, tag)| (None, bytes, tag))
                };
                let (encoding, bytes, tag) = variant.or_else(plain).ok_or_else(missing)?;
                Ok(Found {
                    media,
                    encoding,
                    etag: ETag::strong(tag.clone()),
                    modified: None,
                    body: Body::Bytes(bytes.clone()),
                    varies: false,
                })
            }
        }
    }
}

impl Handler for Static {
    async fn init(&mut self, req: &mut Request) -> Result<Outcome, Error> {
        let mut found = self.find(req).await?;
        found.varies = self.precompressed;
        for (name, value) in &self.headers {
            req.set_header(name.clone(), value.clone())?;
        }
        req.set_header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")?;
        if let Some(encoding) = found.encoding {
            req.set_header(header::CONTENT_ENCODING, encoding)?;
        }
        Ok(Outcome::rest(found))
    }
}

fn missing() -> Error {
    Error::new(StatusCode::NOT_FOUND, "no such file")
}

/// The segments of the path below the route, none of which leads anywhere else.
fn segments(req: &Request) -> Result<Vec<Vec<u8>>, Error> {
    let Some(info) = req.path_info() else {
        return Err(Error::internal(
            "a directory is served under a path without `[...]`",
        ));
    };
    let mut kept = Vec::with_capacity(info.len());
    for segment in info.into_iter().filter(|segment| !segment.is_empty()) {
        let leads_away = segment == b"." || segment == b"..";
        if leads_away || segment.iter().any(|b| matches!(b, b'/' | b'\\' | 0)) {
            return Err(Error::bad_request("a segment is no name of a file"));
        }
        kept.push(segment.to_vec());
    }
    Ok(kept)
}

/// The encodings that the peer takes, of those that may lie beside a file, those wished most first.
fn taken(req: &Request) -> Vec<(&'static str, &'static str)> {
    let text = coding::list(req.headers(), header::ACCEPT_ENCODING);
    let taken = coding::taken(&text, &VARIANTS.map(|(name, _)| name));
    let variant = |name| VARIANTS.into_iter().find(|(other, _)| *other == name);
    taken.into_iter().filter_map(variant).collect()
}

fn refused(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            Error::new(StatusCode::FORBIDDEN, "the file cannot be read")
        }
        _ => missing(),
    }
}

/// Opens a file, or the variant of it that is taken, or the index of a directory.
fn open_best(
    path: &Path,
    root: Option<&Path>,
    index: Option<&str>,
    encodings: &[(&'static str, &'static str)],
) -> Result<Found, Error> {
    let mut path = inside(path, root)?;
    if path.is_dir() {
        let Some(index) = index else {
            return Err(Error::new(StatusCode::FORBIDDEN, "it is a directory"));
        };
        path = inside(&path.join(index), root)?;
    }
    let media = media_of(&path.to_string_lossy());
    for (encoding, ending) in encodings {
        let mut name = path.clone().into_os_string();
        name.push(ending);
        if let Ok(variant) = inside(Path::new(&name), root)
            && let Ok(found) = open(&variant, media.clone(), Some(encoding))
        {
            return Ok(found);
        }
    }
    open(&path, media, None)
}

/// The path without links, if it stays within the directory.
fn inside(path: &Path, root: Option<&Path>) -> Result<PathBuf, Error> {
    let real = path.canonicalize().map_err(|error| refused(&error))?;
    if let Some(root) = root {
        let root = root.canonicalize().map_err(|error| refused(&error))?;
        if !real.starts_with(&root) {
            return Err(missing());
        }
    }
    Ok(real)
}

fn open(path: &Path, media: MediaType, encoding: Option<&'static str>) -> Result<Found, Error> {
    // A pipe would be waited for: what is no regular file is not even opened.
    let about = std::fs::metadata(path).map_err(|error| refused(&error))?;
    if about.is_dir() {
        return Err(Error::new(StatusCode::FORBIDDEN, "it is a directory"));
    }
    if !about.is_file() {
        return Err(missing());
    }
    let file = File::open(path).map_err(|error| refused(&error))?;
    let about = file.metadata().map_err(|error| refused(&error))?;
    let modified = about.modified().ok();
    let since = modified.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let nanos = since.map_or(0, |since| since.as_nanos());
    // A variant may have been made to have the size and the date of what it is one of.
    let variant = encoding.map_or_else(String::new, |encoding| format!("-{encoding}"));
    Ok(Found {
        media,
        encoding,
        etag: ETag::strong(format!("{:x}-{nanos:x}{variant}", about.len())),
        modified,
        body: Body::File(Arc::new(file), about.len()),
        varies: false,
    })
}

/// The type of a file by its ending, text as UTF-8.
fn media_of(path: &str) -> MediaType {
    let guessed = mime_guess::from_path(path).first_or_octet_stream();
    let mut media = MediaType::parse(guessed.essence_str())
        .unwrap_or_else(|| MediaType::new("application/octet-stream"));
    if media.kind == "text" {
        media
            .params
            .push(("charset".to_owned(), "utf-8".to_owned()));
    }
    media
}

/// A file that was found.
struct Found {
    media: MediaType,
    encoding: Option<&'static str>,
    etag: ETag,
    modified: Option<SystemTime>,
    body: Body,
    varies: bool,
}

enum Body {
    File(Arc<File>, u64),
    Bytes(Bytes),
}

impl Rest for Found {
    async fn content_types_provided(&mut self, _req: &mut Request) -> Decision<Vec<MediaType>> {
        Ok(vec![self.media.clone()])
    }

    async fn ranges_provided(&mut self, _req: &mut Request) -> Decision<Option<Vec<String>>> {
        Ok(Some(vec!["bytes".to_owned()]))
    }

    async fn variances(&mut self, _req: &mut Request) -> Decision<Vec<String>> {
        let varies = self.varies.then(|| "accept-encoding".to_owned());
        Ok(varies.into_iter().collect())
    }

    async fn generate_etag(&mut self, _req: &mut Request) -> Decision<Option<ETag>> {
        Ok(Some(self.etag.clone()))
    }

    async fn last_modified(&mut self, _req: &mut Request) -> Decision<Option<SystemTime>> {
        Ok(self.modified)
    }

    async fn provide(&mut self, _chosen: &Chosen, _req: &mut Request) -> Decision<Content> {
        Ok(match &self.body {
            Body::Bytes(bytes) => Content::Bytes(bytes.clone()),
            Body::File(file, size) => {
                Content::Source(Box::new(FileSource::shared(file.clone(), *size)))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_not_be_read_is_403_and_all_else_404() {
        for (kind, status) in [
            (io::ErrorKind::PermissionDenied, 403),
            (io::ErrorKind::NotFound, 404),
            (io::ErrorKind::NotADirectory, 404),
            (io::ErrorKind::InvalidFilename, 404),
        ] {
            assert_eq!(refused(&kind.into()).status().as_u16(), status, "{kind}");
        }
    }
}
