//! `mod_host_meta`: by which other ways can this host be reached?
//!
//! Source: XEP-0156 v1.4.0 §3 (HTTP lookup), XEP-0487 v0.1.0. State: none. A browser can ask no DNS for SRV records: it
//! asks the host's site for `/.well-known/host-meta` (XML) or `host-meta.json`.

use std::net::IpAddr;

use gen_mod::prelude::*;
use httpd::http::Method;
use httpd::{Error, Handler, Outcome, Path, Request};
use serde_json::{Value, json};
use xmpp::push_attr;

use crate::HttpPaths;
use crate::page::takes;

options! {
    /// The ways to a host that `mod_host_meta` tells of.
    pub struct HostMetaOpts {
        /// URL of the host's WebSocket, as browsers reach it: `wss://…`; `@HOST@` is the host's name.
        pub websocket: Option<String>,
        /// URL of the host's BOSH, as browsers reach it: `https://…`; `@HOST@` is the host's name.
        pub bosh: Option<String>,
        /// Port of direct TLS; told, as XEP-0487 has it, where `addresses` are given.
        pub tls_port: Option<u16>,
        /// Addresses of this server. With them the answer is that of XEP-0487: clients then need no DNS.
        pub addresses: Vec<String> = Vec::new(),
        /// How long clients may keep an answer of XEP-0487.
        pub ttl: std::time::Duration [std::time::Duration::from_secs(1)..] = std::time::Duration::from_secs(3600),
    }
}

const WEBSOCKET: &str = "urn:xmpp:alt-connections:websocket";
const BOSH: &str = "urn:xmpp:alt-connections:xbosh";
const DIRECT_TLS: &str = "urn:xmpp:alt-connections:tls";

/// Host metadata. Keeps no state: its process only holds its registrations.
pub struct ModHostMeta;

impl Module for ModHostMeta {
    const NAME: &'static str = "mod_host_meta";
    const SOURCES: &'static [Source] = &[
        xep(156, "1.4.0", Complete),
        xep(
            487,
            "0.1.0",
            Partial("WebSocket, BOSH and direct TLS of clients; no pinned keys and no ECH"),
        ),
    ];
    type Opts = HostMetaOpts;

    async fn start(
        ctx: &ModuleCtx,
        opts: HostMetaOpts,
    ) -> Result<(Self, Registrations), StartError> {
        let ways = Ways::read(&ctx.host.name, &opts)?;
        let xml = Document {
            content_type: "application/xrd+xml",
            text: ways.xml(),
        };
        let json = Document {
            content_type: "application/json",
            text: ways.json(),
        };
        let paths = vec![
            Path::to("/.well-known/host-meta", xml),
            Path::to("/.well-known/host-meta.json", json),
        ];
        let paths = HttpPaths::of_host(Self::NAME, &ctx.host, paths)?;
        Ok((ModHostMeta, Registrations::new().with(paths)))
    }
}

/// The ways to a host.
#[derive(Debug)]
struct Ways {
    host: String,
    websocket: Option<String>,
    bosh: Option<String>,
    tls_port: Option<u16>,
    addresses: Vec<IpAddr>,
    ttl: u64,
}

impl Ways {
    /// # Errors
    ///
    /// A URL that is none of its kind, or an address that is none.
    fn read(host: &str, opts: &HostMetaOpts) -> Result<Ways, StartError> {
        let url = |key: &'static str, url: &Option<String>, schemes: [&str; 2]| {
            let url = url.as_ref().map(|url| url.replace("@HOST@", host));
            let is_one = |url: &String| {
                let is_graphic = url.chars().all(|c| !c.is_whitespace() && !c.is_control());
                is_graphic && schemes.iter().any(|scheme| url.starts_with(scheme))
            };
            match url {
                Some(url) if !is_one(&url) => Err(StartError::Option {
                    key,
                    why: format!(
                        "`{url}` is no URL that begins with {}",
                        schemes.join(" or ")
                    ),
                }),
                url => Ok(url),
            }
        };
        let addresses = opts.addresses.iter().map(|text| {
            text.parse().map_err(|_| StartError::Option {
                key: "addresses",
                why: format!("`{text}` is no address"),
            })
        });
        let addresses: Vec<IpAddr> = addresses.collect::<Result<_, _>>()?;
        if opts.tls_port.is_some() && addresses.is_empty() {
            return Err(StartError::Option {
                key: "tls_port",
                why: "is told only together with `addresses`".to_owned(),
            });
        }
        Ok(Ways {
            host: idna::domain_to_ascii(host).unwrap_or_else(|_| host.to_owned()),
            websocket: url("websocket", &opts.websocket, ["wss://", "ws://"])?,
            bosh: url("bosh", &opts.bosh, ["https://", "http://"])?,
            tls_port: opts.tls_port,
            addresses,
            ttl: opts.ttl.as_secs(),
        })
    }

    /// The relations that have a URL.
    fn urls(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let websocket = self.websocket.as_deref().map(|url| (WEBSOCKET, url));
        let bosh = self.bosh.as_deref().map(|url| (BOSH, url));
        websocket.into_iter().chain(bosh)
    }

    /// RFC 6415 §3.1.
    fn xml(&self) -> String {
        let mut text = String::from(
            "<?xml version='1.0' encoding='utf-8'?>\n<XRD xmlns='http://docs.oasis-open.org/ns/xri/xrd-1.0'>",
        );
        for (relation, url) in self.urls() {
            text.push_str("<Link");
            push_attr("rel", relation, &mut text);
            push_attr("href", url, &mut text);
            text.push_str("/>");
        }
        text.push_str("</XRD>\n");
        text
    }

    /// RFC 6415 appendix A, with what XEP-0487 adds where the server's addresses are known. Direct TLS comes first.
    fn json(&self) -> String {
        let native = !self.addresses.is_empty();
        let dressed = |mut link: Value, priority: u16| {
            if native {
                link["priority"] = priority.into();
                link["weight"] = 1.into();
                link["sni"] = self.host.as_str().into();
                link["ips"] = self.addresses.iter().map(ToString::to_string).collect();
            }
            link
        };
        let tls = self
            .tls_port
            .map(|port| dressed(json!({ "rel": DIRECT_TLS, "port": port }), 1));
        let urls = self
            .urls()
            .zip(2..)
            .map(|((relation, url), at)| dressed(json!({ "rel": relation, "href": url }), at));
        let links: Vec<Value> = tls.into_iter().chain(urls).collect();
        let mut document = json!({ "links": links });
        if native {
            document["xmpp"] = json!({ "ttl": self.ttl });
        }
        document.to_string()
    }
}

/// A document that everybody may read, from every site.
#[derive(Clone)]
struct Document {
    content_type: &'static str,
    text: String,
}

impl Handler for Document {
    async fn init(&mut self, req: &mut Request) -> Result<Outcome, Error> {
        req.set_header("access-control-allow-origin", "*")?;
        if !takes(req, &[Method::GET, Method::HEAD, Method::OPTIONS])? {
            return Ok(Outcome::Done);
        }
        if req.method() == Method::OPTIONS {
            req.reply(
                204,
                [
                    ("access-control-allow-methods", "GET, HEAD, OPTIONS"),
                    ("access-control-allow-headers", "accept, content-type"),
                    ("access-control-max-age", "86400"),
                ],
                "",
            )?;
            return Ok(Outcome::Done);
        }
        let text = std::mem::take(&mut self.text);
        req.reply(200, [("content-type", self.content_type)], text)?;
        Ok(Outcome::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opts() -> HostMetaOpts {
        HostMetaOpts {
            websocket: Some("wss://@HOST@/ws".to_owned()),
            bosh: Some("https://web.example/bosh?a&b".to_owned()),
            tls_port: None,
            addresses: Vec::new(),
            ttl: std::time::Duration::from_secs(3000),
        }
    }

    #[test]
    fn urls_stand_in_both_documents() {
        let ways = Ways::read("a.example", &opts()).expect("good");
        assert_eq!(
            ways.xml(),
            "<?xml version='1.0' encoding='utf-8'?>\n\
             <XRD xmlns='http://docs.oasis-open.org/ns/xri/xrd-1.0'>\
             <Link rel=\"urn:xmpp:alt-connections:websocket\" href=\"wss://a.example/ws\"/>\
             <Link rel=\"urn:xmpp:alt-connections:xbosh\" href=\"https://web.example/bosh?a&amp;b\"/></XRD>\n"
        );
        let read: Value = serde_json::from_str(&ways.json()).expect("JSON");
        assert_eq!(
            read,
            json!({ "links": [
                { "rel": WEBSOCKET, "href": "wss://a.example/ws" },
                { "rel": BOSH, "href": "https://web.example/bosh?a&b" },
            ]})
        );
    }

    #[test]
    fn with_addresses_no_dns_is_needed() {
        let opts = HostMetaOpts {
            bosh: None,
            tls_port: Some(443),
            addresses: vec!["192.0.2.1".to_owned(), "2001:db8::1".to_owned()],
            ..opts()
        };
        let ways = Ways::read("bücher.example", &opts).expect("good");
        let read: Value = serde_json::from_str(&ways.json()).expect("JSON");
        let ips = json!(["192.0.2.1", "2001:db8::1"]);
        let sni = "xn--bcher-kva.example";
        assert_eq!(
            read,
            json!({
                "xmpp": { "ttl": 3000 },
                "links": [
                    { "rel": DIRECT_TLS, "port": 443, "priority": 1, "weight": 1, "sni": sni, "ips": ips },
                    { "rel": WEBSOCKET, "href": "wss://bücher.example/ws", "priority": 2, "weight": 1, "sni": sni, "ips": ips },
                ],
            })
        );
    }

    #[test]
    fn what_is_no_way_is_refused() {
        let url = HostMetaOpts {
            websocket: Some("https://a.example/ws".to_owned()),
            ..opts()
        };
        let address = HostMetaOpts {
            addresses: vec!["a.example".to_owned()],
            ..opts()
        };
        let port = HostMetaOpts {
            tls_port: Some(5223),
            ..opts()
        };
        for (opts, word) in [
            (url, "websocket"),
            (address, "addresses"),
            (port, "tls_port"),
        ] {
            let error = Ways::read("a.example", &opts).expect_err(word).to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
