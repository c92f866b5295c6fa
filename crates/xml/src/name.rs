//! Names and namespaces, cheap to copy and compare.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use compact_str::CompactString;

use crate::chars;

/// Local name of an element or attribute. Up to 24 bytes are kept inline.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name(CompactString);

impl Name {
    /// Returns the name when `text` is one, that is an NCName of Namespaces in XML.
    pub fn new(text: &str) -> Option<Name> {
        chars::is_ncname(text).then(|| Name::checked(text))
    }

    /// Returns the name that `text` is known to be.
    pub(crate) fn checked(text: &str) -> Name {
        Name(CompactString::new(text))
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
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

    /// Returns `name` as a namespace; allocates nothing when it is among the known.
    pub fn interned(name: &str, known: &'static Known) -> Namespace {
        if name.is_empty() {
            return Namespace::NONE;
        }
        match known.find(name) {
            Some(name) => Namespace(Repr::Static(name)),
            None => Namespace(Repr::Shared(Arc::from(name))),
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

/// Namespaces for which a reader allocates nothing, found in a step or two.
#[derive(Debug)]
pub struct Known {
    names: &'static [&'static str],
    /// At the place that a name's bytes choose, or behind: its number from 1; 0 ends the search.
    places: [u8; Known::PLACES],
}

impl Known {
    const PLACES: usize = 512;

    /// No namespace at all.
    pub const NONE: &Known = &Known::new(&[]);

    /// Makes the table; to be done when the program is built.
    ///
    /// # Panics
    ///
    /// When there are more than 255 names.
    pub const fn new(names: &'static [&'static str]) -> Known {
        assert!(names.len() < 256, "a number of one byte");
        let mut places = [0; Known::PLACES];
        let mut number = 0;
        while number < names.len() {
            let mut place = Known::place(names[number].as_bytes());
            while places[place] != 0 {
                place = (place + 1) % Known::PLACES;
            }
            number += 1;
            places[place] = number as u8;
        }
        Known { names, places }
    }

    /// Lists the names.
    pub fn names(&self) -> &'static [&'static str] {
        self.names
    }

    fn find(&self, name: &str) -> Option<&'static str> {
        let mut place = Known::place(name.as_bytes());
        loop {
            let number = usize::from(self.places[place]).checked_sub(1)?;
            if self.names[number] == name {
                return Some(self.names[number]);
            }
            place = (place + 1) % Known::PLACES;
        }
    }

    /// Chooses by length and four bytes from the half in which namespaces differ.
    const fn place(name: &[u8]) -> usize {
        let length = name.len();
        if length == 0 {
            return 0;
        }
        let (last, before) = (
            name[length - 1] as usize,
            name[length.saturating_sub(2)] as usize,
        );
        let (middle, later) = (name[length / 2] as usize, name[length * 3 / 4] as usize);
        (length * 37 + last + before * 5 + middle * 11 + later * 23) % Known::PLACES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static KNOWN: &Known = &Known::new(&["jabber:client", "urn:a"]);

    #[test]
    fn known_namespaces_are_shared_and_others_equal_by_text() {
        let known = Namespace::interned("urn:a", KNOWN);
        assert!(std::ptr::eq(known.as_str(), KNOWN.names()[1]));
        assert_eq!(
            Namespace::interned("urn:b", KNOWN),
            Namespace::interned("urn:b", KNOWN)
        );
        assert_ne!(known, Namespace::NONE);
    }

    #[test]
    fn every_known_namespace_is_found_and_no_other() {
        for name in KNOWN.names() {
            assert_eq!(KNOWN.find(name), Some(*name));
        }
        for name in ["", "u", "urn:b", "jabber:clienT"] {
            assert_eq!(KNOWN.find(name), None, "{name}");
            assert_eq!(Known::NONE.find(name), None);
        }
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
