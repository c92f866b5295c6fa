//! `/health`: can the server serve? `/health/live`: does it live?

use std::time::Duration;

use httpd::{Error, Handler, Outcome, Request};
use serde_json::json;
use storage::StorageError;

use crate::Web;
use crate::access::admit;
use crate::page::is_read;

/// How long the store may take to answer.
const WITHIN: Duration = Duration::from_secs(2);

/// Answers 200 or 503, with the reason as JSON. It tells nobody's secret: unless configured otherwise everybody may ask.
#[derive(Clone)]
pub(crate) struct Health {
    web: Web,
    /// Whether what is needed to serve is looked at, too.
    asks_store: bool,
}

impl Health {
    /// Whether clients can be served: the store can be read and written.
    pub(crate) fn ready(web: &Web) -> Health {
        Health {
            web: web.clone(),
            asks_store: true,
        }
    }

    /// Whether the process answers at all.
    pub(crate) fn live(web: &Web) -> Health {
        Health {
            web: web.clone(),
            asks_store: false,
        }
    }

    /// What is wrong with the store, if anything is: who cannot be looked up cannot log in, and what cannot be kept is not
    /// accepted.
    async fn store(&self) -> Result<(), String> {
        let storage = &self.web.parts().storage;
        let reads = self.answers("reading", storage.accounts.list("", None, 1));
        let writes = self.answers("writing", storage.touch());
        let (reads, writes) = futures_util::future::join(reads, writes).await;
        reads.and(writes)
    }

    /// What is wrong with one thing that is asked of the store.
    async fn answers<T>(
        &self,
        what: &str,
        asked: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<(), String> {
        let clock = self.web.parts().system.clock();
        match clock.timeout(WITHIN, asked).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                tracing::warn!(target: "natter::web", what, %error, "not ready: the store failed");
                Err(format!("{what} failed"))
            }
            Err(_) => Err(format!("{what}: no answer within {} s", WITHIN.as_secs())),
        }
    }
}

impl Handler for Health {
    async fn init(&mut self, req: &mut Request) -> Result<Outcome, Error> {
        admit(&self.web.settings().health, req)?;
        if !is_read(req)? {
            return Ok(Outcome::Done);
        }
        req.set_header("cache-control", "no-store")?;
        if !self.asks_store {
            req.reply_json(200, &json!({ "status": "live" }))?;
            return Ok(Outcome::Done);
        }
        match self.store().await {
            Ok(()) => req.reply_json(200, &json!({ "status": "ready", "store": "ok" }))?,
            Err(why) => req.reply_json(503, &json!({ "status": "unready", "store": why }))?,
        }
        Ok(Outcome::Done)
    }
}
