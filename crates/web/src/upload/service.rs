//! An upload service as it is now: its options, and the URLs it gives.

use std::collections::BTreeSet;
use std::sync::Arc;

use gen_mod::{Host, StartError};
use parking_lot::RwLock;
use storage::UploadLimits;

use super::{UploadOpts, name};
use crate::Web;

/// Where files are, where nothing else is said.
const PATH: &str = "/upload";

/// The upload service of a host.
pub(crate) struct Service {
    pub(crate) host: Host,
    settings: RwLock<Arc<Settings>>,
}

/// What it does.
pub(crate) struct Settings {
    /// Its address.
    pub(crate) domain: String,
    pub(crate) opts: UploadOpts,
    put: Option<Base>,
    get: Option<Base>,
}

/// A URL below which files are.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Base {
    url: String,
    path: String,
}

impl Settings {
    /// # Errors
    ///
    /// An option that cannot be used.
    pub(crate) fn read(
        host: &str,
        domain: String,
        opts: UploadOpts,
    ) -> Result<Settings, StartError> {
        let most = opts.quota.min(opts.daily_quota);
        if opts.max_size > most {
            let why = format!("is more than the {most} that an account may have");
            return Err(StartError::Option {
                key: "max_size",
                why,
            });
        }
        for pattern in &opts.types {
            let plain = pattern.replace("/*", "/any");
            if name::media_of(&plain).is_none_or(|media| media.contains(';')) {
                let why = format!("`{pattern}` is no media type such as image/png or image/*");
                return Err(StartError::Option { key: "types", why });
            }
        }
        let put = base("put_url", opts.put_url.as_deref(), host)?;
        let get = base("get_url", opts.get_url.as_deref(), host)?;
        Ok(Settings {
            domain,
            get: get.or_else(|| put.clone()),
            put,
            opts,
        })
    }

    /// The paths below which files are.
    pub(crate) fn paths(&self) -> BTreeSet<String> {
        let given = [&self.put, &self.get];
        let path = |base: &Option<Base>| base.as_ref().map_or(PATH, |base| &base.path).to_owned();
        given.map(path).into()
    }

    pub(crate) fn limits(&self) -> UploadLimits {
        UploadLimits {
            bytes: self.opts.quota.0,
            daily: self.opts.daily_quota.0,
            files: self.opts.max_files.into(),
        }
    }
}

impl Service {
    pub(crate) fn new(host: Host, settings: Settings) -> Service {
        Service {
            host,
            settings: RwLock::new(Arc::new(settings)),
        }
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read())
    }

    pub(crate) fn set(&self, settings: Settings) {
        *self.settings.write() = Arc::new(settings);
    }

    pub(crate) fn web(&self) -> &Web {
        self.host.service::<Web>()
    }

    /// The URLs by which a file is put and got; `None` when the server listens for no HTTP and none are configured.
    pub(crate) fn urls(&self, id: &str, name: &str) -> Option<(String, String)> {
        let settings = self.settings();
        let own = || Some(format!("{}{PATH}", self.web().site(&self.host.name)?));
        let below = |base: &Option<Base>| match base {
            Some(base) => Some(base.url.clone()),
            None => own(),
        };
        let file = format!("{id}/{}", name::percent(name));
        let put = format!("{}/{file}", below(&settings.put)?);
        let get = format!("{}/{file}", below(&settings.get)?);
        Some((put, get))
    }
}

/// Reads the URL of an option.
fn base(key: &'static str, url: Option<&str>, host: &str) -> Result<Option<Base>, StartError> {
    let Some(said) = url else { return Ok(None) };
    let ascii = idna::domain_to_ascii(host).unwrap_or_else(|_| host.to_owned());
    let url = said.replace("@HOST@", &ascii);
    let url = url.trim_end_matches('/');
    let rest = ["https://", "http://"]
        .iter()
        .find_map(|scheme| url.strip_prefix(scheme));
    let is_site = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    let is_path = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
    let parted = rest.map(|rest| rest.split_at(rest.find('/').unwrap_or(rest.len())));
    match parted {
        Some((site, path))
            if !site.is_empty()
                && site.chars().all(is_site)
                && path.chars().all(is_path)
                && !path.contains("//")
                && path
                    .split('/')
                    .all(|segment| segment != "." && segment != "..") =>
        {
            Ok(Some(Base {
                url: url.to_owned(),
                path: path.to_owned(),
            }))
        }
        _ => {
            let why = format!("`{said}` is no URL such as https://files.example.org/upload");
            Err(StartError::Option { key, why })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_plain() {
        let read =
            |url| base("put_url", Some(url), "bücher.example").map(|base| base.expect("one"));
        let good = read("https://@HOST@:5443/up/load/").expect("good");
        assert_eq!(good.url, "https://xn--bcher-kva.example:5443/up/load");
        assert_eq!(good.path, "/up/load");
        assert_eq!(read("http://[::1]:80").expect("good").path, "");
        for wrong in [
            "ftp://a",
            "https://",
            "https:///x",
            "https://a/b?c",
            "https://a/:b",
            "https://a/[b]",
            "https://a//b",
            "https://a/../b",
            "https://u@a/",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert_eq!(base("put_url", None, "a").expect("good"), None);
    }
}
