//! `mod_webchat`: a chat client for browsers, at `/chat/` under the host's name.
//!
//! Source: none. State: none. The page lies in the program; it speaks XMPP through strophe.js, whose file beside ours is
//! npm's. It finds WebSocket and BOSH at the origin that it came from, so whoever serves it serves those.

use gen_mod::prelude::*;
use httpd::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use httpd::{Error, Fixed, Handler, Outcome, Path, Request, Static};
use serde_json::json;

use crate::HttpPaths;

/// The page's files, as browsers ask for them.
static FILES: &[(&str, &[u8])] = &[
    ("index.html", include_bytes!("webchat/index.html")),
    ("chat.css", include_bytes!("webchat/chat.css")),
    ("app.js", include_bytes!("webchat/app.js")),
    ("session.js", include_bytes!("webchat/session.js")),
    ("icon.svg", include_bytes!("webchat/icon.svg")),
    (
        "strophe.umd.min.js",
        include_bytes!("webchat/vendor/strophe.umd.min.js"),
    ),
    (
        "LICENSE-strophe.txt",
        include_bytes!("webchat/vendor/LICENSE-strophe.txt"),
    ),
];

/// Nothing but these files runs, and they speak to their own origin alone.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 4] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (REFERRER_POLICY, "no-referrer"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // Asked for again each time; what has not changed is not sent again.
    (CACHE_CONTROL, "no-cache"),
];

/// The chat page. Keeps no state: its process only holds its registrations.
pub struct ModWebchat;

impl Module for ModWebchat {
    const NAME: &'static str = "mod_webchat";
    const SOURCES: &'static [Source] = &[];
    type Opts = NoOpts;

    async fn start(ctx: &ModuleCtx, _opts: NoOpts) -> Result<(Self, Registrations), StartError> {
        let site = json!({ "domain": &*ctx.host.name }).to_string();
        let files = HEADERS.into_iter().fold(
            Static::embedded(FILES).index("index.html"),
            |files, (name, value)| files.header(name, HeaderValue::from_static(value)),
        );
        let paths = vec![
            Path::to("/chat/site.json", Fixed::new(200, "application/json", site)),
            Path::to("/chat/[...]", Page(files)),
        ];
        let paths = HttpPaths::of_host(Self::NAME, &ctx.host, paths)?;
        Ok((ModWebchat, Registrations::new().with(paths)))
    }
}

/// The files, whose addresses are relative to `/chat/`.
#[derive(Clone)]
struct Page(Static);

impl Handler for Page {
    async fn init(&mut self, req: &mut Request) -> Result<Outcome, Error> {
        if req.path() == "/chat" {
            req.reply(308, [("location", "/chat/")], "")?;
            return Ok(Outcome::Done);
        }
        self.0.init(req).await
    }
}
