//! The files by HTTP: put into a slot, and got as often as one likes.

use std::time::{Duration, SystemTime};

use httpd::http::{Method, StatusCode, header};
use httpd::{
    Chosen, Content, Decision, ETag, Error, FileSource, Handler, MediaType, Outcome, Piece,
    ReadOpts, Request, Rest,
};
use storage::{StorageError, Upload};

use super::name;
use super::shelf::is_full;
use crate::Web;
use crate::access::admit;
use crate::page::takes;

/// Bytes that are written at once, more or less.
const PIECE: usize = 256 * 1024;

/// Within this time something must come of a file that is put.
const SILENCE: Duration = Duration::from_secs(30);

/// How slowly a file may come: so many bytes a second in the long run, after so long.
const SLOWEST: u64 = 8 * 1024;
const GRACE: Duration = Duration::from_secs(60);

/// No script runs, nothing is loaded, no page shows it in a frame.
const POLICY: &str = "default-src 'none'; frame-ancestors 'none'; sandbox";

/// Serves the files of all hosts whose upload service runs. A URL names a slot: who has it may put once and get.
#[derive(Clone)]
pub(crate) struct Files(pub(crate) Web);

impl Handler for Files {
    async fn init(&mut self, req: &mut Request) -> Result<Outcome, Error> {
        common(req)?;
        let methods = [Method::GET, Method::HEAD, Method::PUT, Method::OPTIONS];
        if !takes(req, &methods)? {
            return Ok(Outcome::Done);
        }
        if req.method() == Method::OPTIONS {
            preflight(req)?;
            return Ok(Outcome::Done);
        }
        let served = match req.method() == Method::PUT {
            true => self.put(req).await.map(|()| Outcome::Done),
            false => self.get(req).await.map(Outcome::rest),
        };
        match served {
            // A page of another site may read why not.
            Err(error) if !req.has_replied() => {
                tracing::debug!(target: "natter::web", %error, "a file was not put or got");
                common(req)?;
                req.reply(error.status().as_u16(), (), "")?;
                Ok(Outcome::Done)
            }
            served => served,
        }
    }
}

/// What stands in every reply.
fn common(req: &mut Request) -> Result<(), Error> {
    req.set_header(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")?;
    req.set_header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")?;
    Ok(req.set_header(header::CONTENT_SECURITY_POLICY, POLICY)?)
}

/// What a page of another site may send (Fetch §3.3).
fn preflight(req: &mut Request) -> Result<(), Error> {
    let allowed = [
        ("access-control-allow-methods", "GET, HEAD, PUT, OPTIONS"),
        (
            "access-control-allow-headers",
            "content-type, range, if-match, if-none-match, if-modified-since, if-range",
        ),
        ("access-control-max-age", "86400"),
    ];
    Ok(req.reply(204, allowed, "")?)
}

fn missing() -> Error {
    Error::new(StatusCode::NOT_FOUND, "no such file")
}

fn unavailable(error: &StorageError) -> Error {
    let unavailable = StatusCode::SERVICE_UNAVAILABLE;
    Error::new(unavailable, format!("the store failed: {error}"))
}

impl Files {
    /// What the URL names.
    async fn find(&self, req: &Request) -> Result<Upload, Error> {
        let (Some(id), Some(name)) = (req.binding("id"), req.binding("name")) else {
            return Err(missing());
        };
        let found = self.0.parts().storage.uploads.find(id).await;
        let found = found.map_err(|error| unavailable(&error))?;
        let found = found
            .filter(|upload| upload.name == name)
            .ok_or_else(missing)?;
        let host = found.owner.domain().as_str();
        match self.0.uploads().service(host) {
            Some(_) => Ok(found),
            None => Err(missing()),
        }
    }

    fn now(&self) -> SystemTime {
        self.0.parts().system.clock().wall()
    }

    /// Takes a file into its slot.
    ///
    /// # Errors
    ///
    /// 403: not from this address; 404: no such slot; 410: it has lapsed; 409: it is full, or is being filled; 411: the
    /// length is not said; 413, 400: it is more, or less, than the slot's; 415: another type; 408: too slow; 507: the
    /// disk is full; 500, 503: the disk or the store failed. Nothing of the file is left then.
    async fn put(&self, req: &mut Request) -> Result<(), Error> {
        admit(&self.0.settings().upload, req)?;
        let conflict = |why| Error::new(StatusCode::CONFLICT, why);
        let id = req.binding("id").unwrap_or_default();
        let Some(_claim) = self.0.uploads().claim(id) else {
            return Err(conflict("the file is being put"));
        };
        let upload = self.find(req).await?;
        if upload.stored.is_some() {
            return Err(conflict("the file is there"));
        }
        if upload.deadline <= self.now() {
            return Err(Error::new(StatusCode::GONE, "the slot has lapsed"));
        }
        match req.body_length() {
            None => {
                let required = StatusCode::LENGTH_REQUIRED;
                return Err(Error::new(required, "the length is not said"));
            }
            Some(length) if length > upload.size => {
                return Err(Error::too_large("longer than the slot"));
            }
            Some(length) if length < upload.size => {
                return Err(Error::bad_request("shorter than the slot"));
            }
            Some(_) => {}
        }
        let said = req.header(header::CONTENT_TYPE);
        if said.is_some_and(|said| !is_same(said, &upload.media)) {
            let unsupported = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Err(Error::new(unsupported, "another type than the slot's"));
        }
        self.receive(&upload, req).await?;
        match self
            .0
            .parts()
            .storage
            .uploads
            .stored(&upload.id, self.now())
            .await
        {
            Ok(true) => Ok(req.reply(201, (), "")?),
            Ok(false) => {
                self.discard(&upload).await;
                Err(missing())
            }
            // It may be stored: the file stays, and goes with its slot if it is not.
            Err(error) if error.may_have_been_applied() => Err(unavailable(&error)),
            Err(error) => {
                self.discard(&upload).await;
                Err(unavailable(&error))
            }
        }
    }

    /// Brings the body to the disk, all of it or nothing.
    async fn receive(&self, upload: &Upload, req: &mut Request) -> Result<(), Error> {
        let failed = |error| failure(upload, &error);
        let mut draft = self.0.uploads().shelf.begin(upload).await.map_err(failed)?;
        let clock = req.clock().clone();
        let begun = clock.now();
        let within = GRACE + Duration::from_secs(upload.size / SLOWEST);
        let mut left = upload.size;
        loop {
            let period = within.saturating_sub(clock.now() - begun).min(SILENCE);
            let opts = ReadOpts {
                length: PIECE,
                period,
            };
            let (bytes, is_last) = match req.read_body(opts).await? {
                Piece::More(bytes) => (bytes, false),
                Piece::Last(bytes) => (bytes, true),
            };
            if !is_last && (bytes.is_empty() || period.is_zero()) {
                return Err(Error::too_slow("the file came too slowly"));
            }
            left = left
                .checked_sub(bytes.len() as u64)
                .ok_or_else(|| Error::too_large("longer than the slot"))?;
            draft.write(bytes).await.map_err(failed)?;
            if is_last {
                break;
            }
        }
        if left > 0 {
            return Err(Error::bad_request("shorter than the slot"));
        }
        draft.keep().await.map_err(failed)
    }

    async fn discard(&self, upload: &Upload) {
        if let Err(error) = self.0.uploads().shelf.remove(upload).await {
            tracing::warn!(target: "natter::web", id = upload.id, %error, "a file that no slot has was not removed");
        }
    }

    async fn get(&self, req: &mut Request) -> Result<Got, Error> {
        let upload = self.find(req).await?;
        let now = self.now();
        let Some(stored) = upload.stored.filter(|_| now < upload.expires) else {
            return Err(missing());
        };
        let (file, length) = match self.0.uploads().shelf.open(&upload).await {
            Ok(opened) => opened,
            Err(error) => {
                tracing::warn!(target: "natter::web", id = upload.id, %error, "a file that should be there was not read");
                return Err(missing());
            }
        };
        req.set_header(
            header::CONTENT_DISPOSITION,
            name::disposition(&upload.media, &upload.name),
        )?;
        let left = upload.expires.duration_since(now).unwrap_or_default();
        req.set_header(
            header::CACHE_CONTROL,
            format!("private, immutable, max-age={}", left.as_secs()),
        )?;
        req.set_header(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            "accept-ranges, content-disposition, content-length, content-range, etag",
        )?;
        req.set_header("cross-origin-resource-policy", "cross-origin")?;
        let media = MediaType::parse(&upload.media);
        Ok(Got {
            media: media.unwrap_or_else(|| MediaType::new("application/octet-stream")),
            etag: ETag::strong(upload.id),
            stored,
            body: Some(FileSource::new(file, length)),
        })
    }
}

/// Whether the type that is said is the slot's.
fn is_same(said: &str, of_slot: &str) -> bool {
    let said = name::media_of(said).unwrap_or_default();
    let charset = |media: &str| {
        media
            .split_once("; charset=")
            .map(|(_, name)| name.to_owned())
    };
    name::essence(&said) == name::essence(of_slot)
        && charset(&said).is_none_or(|said| charset(of_slot).is_none_or(|slot| slot == said))
}

fn failure(upload: &Upload, error: &std::io::Error) -> Error {
    if is_full(error) {
        tracing::error!(target: "natter::web", id = upload.id, %error, "the disk is full: a file was not taken");
        let full = StatusCode::INSUFFICIENT_STORAGE;
        return Error::new(full, "the disk is full");
    }
    tracing::error!(target: "natter::web", id = upload.id, %error, "a file was not written");
    Error::internal("the file was not written")
}

/// A file that is got.
struct Got {
    media: MediaType,
    etag: ETag,
    stored: SystemTime,
    body: Option<FileSource>,
}

impl Rest for Got {
    async fn content_types_provided(&mut self, _req: &mut Request) -> Decision<Vec<MediaType>> {
        Ok(vec![self.media.clone()])
    }

    async fn negotiates_type(&mut self, _req: &mut Request) -> Decision<bool> {
        Ok(false)
    }

    async fn ranges_provided(&mut self, _req: &mut Request) -> Decision<Option<Vec<String>>> {
        Ok(Some(vec!["bytes".to_owned()]))
    }

    async fn generate_etag(&mut self, _req: &mut Request) -> Decision<Option<ETag>> {
        Ok(Some(self.etag.clone()))
    }

    async fn last_modified(&mut self, _req: &mut Request) -> Decision<Option<SystemTime>> {
        Ok(Some(self.stored))
    }

    async fn provide(&mut self, _chosen: &Chosen, _req: &mut Request) -> Decision<Content> {
        Ok(match self.body.take() {
            Some(file) => Content::Source(Box::new(file)),
            None => Content::None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::is_same;

    #[test]
    fn a_type_is_the_slots_whatever_its_case() {
        assert!(is_same("Image/PNG", "image/png"));
        assert!(is_same("text/plain", "text/plain; charset=utf-8"));
        assert!(is_same(
            "text/plain; charset=UTF-8",
            "text/plain; charset=utf-8"
        ));
        assert!(!is_same(
            "text/plain; charset=latin1",
            "text/plain; charset=utf-8"
        ));
        assert!(!is_same("text/html", "image/png"));
        assert!(!is_same("", "image/png"));
    }
}
