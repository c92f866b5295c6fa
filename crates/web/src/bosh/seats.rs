//! Where requests find their session.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use otp::Pid;
use parking_lot::Mutex;

use super::process::BoshSession;
use super::wire::Wire;

/// The sessions there are, by their names. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Seats(Arc<Mutex<HashMap<Arc<str>, Seat>>>);

/// A session as requests see it.
#[derive(Clone)]
pub(super) struct Seat {
    pub(super) session: Pid<BoshSession>,
    pub(super) wire: Arc<Wire>,
    pub(super) manners: Arc<Manners>,
}

/// How a session's requests come and are answered.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Manners {
    /// They come inside TLS.
    pub(super) is_secure: bool,
    /// The client knows no conditions, but codes of HTTP.
    pub(super) is_legacy: bool,
    /// The type of all responses.
    pub(super) content_type: &'static str,
}

impl Seats {
    pub(super) fn find(&self, sid: &str) -> Option<Seat> {
        self.0.lock().get(sid).cloned()
    }

    /// A place under a name that nobody can guess.
    ///
    /// # Errors
    ///
    /// The system has no random bytes.
    pub(super) fn place(
        &self,
        wire: &Arc<Wire>,
        manners: &Arc<Manners>,
    ) -> Result<Place, getrandom::Error> {
        let mut random = [0_u8; 24];
        getrandom::fill(&mut random)?;
        Ok(Place {
            seats: self.clone(),
            sid: BASE64_URL_SAFE_NO_PAD.encode(random).into(),
            wire: Arc::clone(wire),
            manners: Arc::clone(manners),
        })
    }
}

/// A session's place, given up when it is dropped.
pub(super) struct Place {
    seats: Seats,
    sid: Arc<str>,
    wire: Arc<Wire>,
    manners: Arc<Manners>,
}

impl Place {
    pub(super) fn sid(&self) -> &str {
        &self.sid
    }

    /// From now on requests find the session.
    pub(super) fn take(&self, session: Pid<BoshSession>) {
        let seat = Seat {
            session,
            wire: Arc::clone(&self.wire),
            manners: Arc::clone(&self.manners),
        };
        self.seats.0.lock().insert(Arc::clone(&self.sid), seat);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What is taken out is dropped outside of the lock.
        let _seat = self.seats.0.lock().remove(&self.sid);
    }
}
