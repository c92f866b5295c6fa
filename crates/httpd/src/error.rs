//! What a handler may end with instead of an outcome.

use std::borrow::Cow;
use std::fmt;

use http::StatusCode;

/// A request that cannot be served, and the status that answers it. Where a reply has begun, the reply is cut instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    status: StatusCode,
    why: Cow<'static, str>,
    pub(crate) close: bool,
}

impl Error {
    /// An error with a status, and why, for the log: it is not told to the peer.
    pub fn new(status: StatusCode, why: impl Into<Cow<'static, str>>) -> Error {
        Error {
            status,
            why: why.into(),
            close: false,
        }
    }

    /// 400: the request is malformed.
    pub fn bad_request(why: impl Into<Cow<'static, str>>) -> Error {
        Error::new(StatusCode::BAD_REQUEST, why)
    }

    /// 408: the request did not come in time. The connection is closed behind the reply.
    pub fn too_slow(why: impl Into<Cow<'static, str>>) -> Error {
        Error::new(StatusCode::REQUEST_TIMEOUT, why).closing()
    }

    /// 413: there is more than is taken.
    pub fn too_large(why: impl Into<Cow<'static, str>>) -> Error {
        Error::new(StatusCode::PAYLOAD_TOO_LARGE, why)
    }

    /// 500: the fault is ours.
    pub fn internal(why: impl Into<Cow<'static, str>>) -> Error {
        Error::new(StatusCode::INTERNAL_SERVER_ERROR, why)
    }

    /// Closes the connection behind the reply.
    pub fn closing(mut self) -> Error {
        self.close = true;
        self
    }

    /// The status that answers it.
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.status.as_u16(), self.why)
    }
}

impl std::error::Error for Error {}

/// Why a reply was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// There is a reply already.
    #[error("there is a reply already")]
    Replied,
    /// The reply has ended, or was none that goes on.
    #[error("no reply is under way")]
    NotStreaming,
    /// A status below 200 or above 999.
    #[error("{0} is no status of a reply")]
    Status(u16),
    /// A header that cannot be sent.
    #[error("a header is malformed: {0}")]
    Header(String),
    /// `set-cookie` as a header: it is set by [`Request::set_cookie`](crate::Request::set_cookie).
    #[error("a cookie is not set by a header")]
    SetCookie,
    /// A body where none may be (204, 304).
    #[error("a reply of status {0} has no body")]
    Body(u16),
    /// A malformed cookie.
    #[error("the cookie {0:?} has a name or value that cannot be sent")]
    Cookie(String),
}

impl From<ReplyError> for Error {
    fn from(error: ReplyError) -> Error {
        Error::internal(error.to_string())
    }
}
