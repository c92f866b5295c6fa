//! What is found in files, and where it is to go.

use std::collections::BTreeMap;
use std::sync::Arc;

use auth::Password;
use storage::WholeAccount;
use xmpp::canonical_domain;

/// An account as it was found: ready to be put, but for the keys of a password that stands there in the clear.
pub struct Draft {
    /// The account, with the keys that were found.
    pub account: WholeAccount,
    /// Its password, where that was found.
    pub password: Option<Password>,
    /// Where it was found: file, line, column.
    pub at: String,
}

/// What is found on the way through files.
pub enum Found {
    /// An account.
    Account(Box<Draft>),
    /// An account that cannot be taken, and why. Nothing of it is.
    Unusable {
        /// Where the fault is: file, line, column.
        at: String,
        /// Its address, as far as it is known.
        account: String,
        /// What is wrong.
        why: String,
    },
    /// Something that does not come along, while the account it stands in does.
    LeftOut {
        /// Where it stands.
        at: String,
        /// What it is, in words that are the same for all of its kind.
        what: String,
    },
    /// How far the reading has come.
    Progress {
        /// How much was read.
        done: u64,
        /// How much there is, as far as is known by now.
        total: u64,
    },
}

/// Why reading ended before the end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// The files cannot be read on; where, and what was expected.
    #[error("{0}")]
    Fault(String),
    /// Nobody listens any more.
    #[error("given up")]
    GivenUp,
}

/// Who hears what is found. Gives `false` when it wants to hear no more.
pub(crate) type Sink<'a> = &'a mut dyn FnMut(Found) -> bool;

/// Tells the sink.
pub(crate) fn tell(sink: Sink<'_>, found: Found) -> Result<(), Stop> {
    match sink(found) {
        true => Ok(()),
        false => Err(Stop::GivenUp),
    }
}

/// Which hosts accounts may come to, and under which names.
#[derive(Clone)]
pub struct Hosts {
    served: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    renamed: BTreeMap<String, String>,
}

impl Hosts {
    /// Hosts that are served here, as `served` says of a domain in its canonical form.
    pub fn new(served: impl Fn(&str) -> bool + Send + Sync + 'static) -> Hosts {
        Hosts {
            served: Arc::new(served),
            renamed: BTreeMap::new(),
        }
    }

    /// Lets the accounts of the host `theirs` come to the host `ours`.
    ///
    /// # Errors
    ///
    /// In words: one of them is no domain, or `theirs` was renamed before.
    pub fn rename(&mut self, theirs: &str, ours: &str) -> Result<(), String> {
        let domain = |text: &str| match canonical_domain(text) {
            Ok(domain) => Ok(domain.into_owned()),
            Err(_) => Err(format!("`{text}` is not a domain")),
        };
        let theirs = domain(theirs)?;
        match self.renamed.insert(theirs.clone(), domain(ours)?) {
            None => Ok(()),
            Some(_) => Err(format!("host `{theirs}` is mapped twice")),
        }
    }

    /// The canonical form of a host that was found, and the one of ours that its accounts come to.
    ///
    /// # Errors
    ///
    /// In words: it is no domain, or not served here.
    pub fn place(&self, found: &str) -> Result<(String, String), String> {
        let theirs = canonical_domain(found).map_err(|_| format!("`{found}` is not a domain"))?;
        let theirs = theirs.into_owned();
        let ours = self.renamed.get(&theirs).unwrap_or(&theirs).clone();
        if (self.served)(&ours) {
            return Ok((theirs, ours));
        }
        Err(format!(
            "host `{ours}` is not served here; add it by `host_add {ours}`, or bring its accounts to another host by \
             `--host-map {theirs}=HOST`"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_served_or_renamed() {
        let mut hosts = Hosts::new(|host| host == "a.example");
        let pair = |theirs: &str, ours: &str| Ok((theirs.to_owned(), ours.to_owned()));
        assert_eq!(hosts.place("A.Example."), pair("a.example", "a.example"));
        let told = hosts.place("old.example").unwrap_err();
        assert!(
            told.starts_with("host `old.example` is not served here"),
            "{told}"
        );
        assert_eq!(hosts.rename("old.example", "a.example"), Ok(()));
        assert_eq!(hosts.place("OLD.example"), pair("old.example", "a.example"));
        let twice = hosts.rename("Old.example", "b.example").unwrap_err();
        assert_eq!(twice, "host `old.example` is mapped twice");
        assert_eq!(
            hosts.rename("a b", "a.example").unwrap_err(),
            "`a b` is not a domain"
        );
        assert!(hosts.place("").is_err());
    }
}
