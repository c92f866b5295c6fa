//! Where a module's behaviour is written down: printed as docs/PROTOCOLS.md.

/// How much of a specification a module fulfils.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// All that a server has to do.
    Complete,
    /// What the note says is missing.
    Partial(&'static str),
}

/// A specification that a module implements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// `RFC 6121` or `XEP-0012`.
    pub series: Series,
    /// Its number.
    pub number: u16,
    /// The version or section meant, such as `2.0` or `§2`.
    pub version: &'static str,
    /// How much of it.
    pub completeness: Completeness,
}

/// Who publishes a specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Series {
    /// The IETF.
    Rfc,
    /// The XMPP Standards Foundation.
    Xep,
}

/// A XEP in the given version.
#[must_use]
pub const fn xep(number: u16, version: &'static str, completeness: Completeness) -> Source {
    Source {
        series: Series::Xep,
        number,
        version,
        completeness,
    }
}

/// An RFC, with the section meant.
#[must_use]
pub const fn rfc(number: u16, section: &'static str, completeness: Completeness) -> Source {
    Source {
        series: Series::Rfc,
        number,
        version: section,
        completeness,
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.series {
            Series::Rfc => write!(f, "RFC {}", self.number),
            Series::Xep => write!(f, "XEP-{:04}", self.number),
        }
    }
}
