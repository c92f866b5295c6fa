//! A small client: posts to one URL, over a connection that is kept.
//!
//! It follows no redirects and believes no certificate that does not verify. HTTP/1.1.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body::{Body, Frame, SizeHint};
use hyper::client::conn::http1::{self, SendRequest};
use net::{DialError, Dialed, Dialer};
use otp::Clock;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Of a reply's body so many bytes are read, to keep the connection; one with more is closed.
const SKIPPED: usize = 64 * 1024;

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    tls: bool,
    host: String,
    port: u16,
    /// The header `host`.
    authority: HeaderValue,
    /// Path and query.
    path: Uri,
}

impl Target {
    /// Reads a URL: `https://example.org/path?query`, or `http://…`. None if it is none, or has a password in it.
    pub fn parse(url: &str) -> Option<Target> {
        let uri: Uri = url.parse().ok()?;
        let tls = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return None;
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Some(Target {
            tls,
            host: authority.host().to_owned(),
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            authority: HeaderValue::from_str(authority.as_str()).ok()?,
            path: path.parse().ok()?,
        })
    }

    fn request(&self, headers: &HeaderMap, body: &Bytes) -> Request<Whole> {
        let mut request = Request::new(Whole(Some(body.clone())));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.path.clone();
        *request.headers_mut() = headers.clone();
        let own = request.headers_mut();
        own.insert(HOST, self.authority.clone());
        own.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        request
    }
}

/// Why there was no reply.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The connection broke, or what came is no HTTP.
    #[error("{0}")]
    Broken(#[from] hyper::Error),
    /// It took too long.
    #[error("no reply within {0:?}")]
    Timeout(Duration),
}

/// Posts to a target, one request after the other.
pub struct Client {
    clock: Clock,
    dialer: Dialer,
    target: Target,
    open: Option<Open>,
}

/// A connection.
struct Open {
    sender: SendRequest<Whole>,
    /// What reads and writes it; none once it has ended.
    driver: Option<BoxFuture<'static, ()>>,
}

impl Client {
    /// A client that has no connection yet.
    pub fn new(clock: &Clock, dialer: Dialer, target: Target) -> Client {
        Client {
            clock: clock.clone(),
            dialer,
            target,
            open: None,
        }
    }

    /// Posts a body within a time; the status of the reply, whose body is thrown away.
    ///
    /// Where a connection that was kept turns out to be closed a new one is opened: what is posted may come twice, if the
    /// other side closes without a reply.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn post(
        &mut self,
        headers: &HeaderMap,
        body: Bytes,
        within: Duration,
    ) -> Result<StatusCode, ClientError> {
        // Taken out while it is used: one that broke off in the middle is not used again.
        let kept = self.open.take();
        let (dialer, target) = (&self.dialer, &self.target);
        let posting = async {
            if let Some(mut open) = kept
                && let Ok(status) = open.post(target.request(headers, &body)).await
            {
                return Ok((status, open));
            }
            let mut open = Open::to(target, dialer, within).await?;
            let status = open.post(target.request(headers, &body)).await?;
            Ok::<_, ClientError>((status, open))
        };
        let posted = self.clock.timeout(within, posting).await;
        let (status, open) = posted.map_err(|_| ClientError::Timeout(within))??;
        self.open = Some(open).filter(|open| open.driver.is_some());
        Ok(status)
    }
}

impl Open {
    async fn to(target: &Target, dialer: &Dialer, within: Duration) -> Result<Open, ClientError> {
        let dialing = dialer.dial(&target.host, target.port, target.tls, within);
        let (sender, connection) = http1::handshake(Io(dialing.await?)).await?;
        let driver = async move {
            // What went wrong is told to whoever waits for a reply.
            let _ = connection.await;
        };
        Ok(Open {
            sender,
            driver: Some(driver.boxed()),
        })
    }

    async fn post(&mut self, request: Request<Whole>) -> Result<StatusCode, hyper::Error> {
        let Open { sender, driver } = self;
        drive(driver, sender.ready()).await?;
        let reply = drive(driver, sender.send_request(request)).await?;
        let (head, mut body) = reply.into_parts();
        let mut read = 0;
        while let Some(frame) = drive(driver, next(&mut body)).await {
            read += frame?.data_ref().map_or(0, Bytes::len);
            if read > SKIPPED {
                *driver = None;
                break;
            }
        }
        Ok(head.status)
    }
}

async fn next(body: &mut hyper::body::Incoming) -> Option<Result<Frame<Bytes>, hyper::Error>> {
    std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
}

/// Waits for something that happens on a connection.
async fn drive<T>(driver: &mut Option<BoxFuture<'static, ()>>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    std::future::poll_fn(|cx| {
        if let Some(running) = driver
            && running.as_mut().poll(cx).is_ready()
        {
            *driver = None;
        }
        work.as_mut().poll(cx)
    })
    .await
}

/// A body that is there.
struct Whole(Option<Bytes>);

impl Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, Bytes::len) as u64)
    }
}

/// A connection as hyper reads and writes it.
struct Io(Dialed);

impl hyper::rt::Read for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut into: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut room = [0; 4096];
        let most = into.remaining().min(room.len());
        let mut space = ReadBuf::new(&mut room[..most]);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut space))?;
        into.put_slice(space.filled());
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        let target = Target::parse("https://Example.org:8443/a?b=c").expect("a URL");
        assert_eq!((target.tls, target.port), (true, 8443));
        assert_eq!(target.path, "/a?b=c");
        assert_eq!(Target::parse("http://[::1]").expect("a URL").port, 80);
        assert_eq!(Target::parse("https://a").expect("a URL").path, "/");
        for wrong in ["", "a", "/a", "ftp://a/", "https://u:p@a/", "https://"] {
            assert!(Target::parse(wrong).is_none(), "{wrong}");
        }
    }
}
