//! Names and namespaces, cheap to copy and compare.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// Local name of an element or attribute. Up to 24 bytes are kept inline.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name(rxml::NcName);

impl Name {
    /// Returns the name when `text` is one, that is an NCName of Namespaces in XML.
    pub fn new(text: &str) -> Option<Name> {
        rxml::NcName::try_from(text).ok().map(Name)
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl From<rxml::NcName> for Name {
    fn from(name: rxml::NcName) -> Self {
        Name(name)
    }
}

impl Deref for Name {
    type Target = str;
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

/// Namespace name; the empty one means "in no namespace". A clone costs at most one count.
#[derive(Clone)]
pub struct Namespace(Repr);

#[derive(Clone)]
enum Repr {
    Static(&'static str),
    Shared(Arc<str>),
}

impl Namespace {
    /// The empty namespace name: in no namespace.
    pub const NONE: Namespace = Namespace(Repr::Static(""));

    /// Returns a namespace known when the program was built; allocates nothing.
    pub const fn from_static(name: &'static str) -> Namespace {
        Namespace(Repr::Static(name))
    }

    /// Returns `name` as a namespace; allocates nothing when it is in `known`, which is sorted.
    pub fn interned(name: &str, known: &'static [&'static str]) -> Namespace {
        if name.is_empty() {
            return Namespace::NONE;
        }
        match known.binary_search(&name) {
            Ok(at) => Namespace(Repr::Static(known[at])),
            Err(_) => Namespace(Repr::Shared(Arc::from(name))),
        }
    }

    /// Returns the namespace name as text.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Static(name) => name,
            Repr::Shared(name) => name,
        }
    }
}

impl Deref for Namespace {
    type Target = str;
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq for Namespace {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (self.as_str(), other.as_str());
        std::ptr::eq(a, b) || a == b
    }
}

impl Eq for Namespace {}

impl Hash for Namespace {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Borrow<str> for Namespace {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq<str> for Namespace {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Namespace {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static KNOWN: &[&str] = &["jabber:client", "urn:a"];

    #[test]
    fn known_namespaces_are_shared_and_others_equal_by_text() {
        let known = Namespace::interned("urn:a", KNOWN);
        assert!(std::ptr::eq(known.as_str(), KNOWN[1]));
        assert_eq!(
            Namespace::interned("urn:b", KNOWN),
            Namespace::interned("urn:b", KNOWN)
        );
        assert_ne!(known, Namespace::NONE);
    }

    #[test]
    fn names_have_no_colon_and_no_space() {
        assert!(Name::new("body").is_some());
        assert!(
            ["", "a:b", "a b", "1a", "<"]
                .iter()
                .all(|text| Name::new(text).is_none())
        );
    }
}
