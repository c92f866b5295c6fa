//! Pieces of XML that go into stanzas.

use std::fmt;

use smallvec::SmallVec;
use xml::{Child, Error, Limits, Name, Namespace, parse_element};

use crate::ns;

/// Zero or more elements, written out: content for a stanza.
///
/// Every element declares its namespace, save those in `jabber:client`, for which nothing is
/// declared because a stanza implies it. A fragment is always well-formed.
#[derive(Clone, Default, PartialEq)]
pub struct Fragment {
    text: String,
    children: SmallVec<[Child; 1]>,
}

impl Fragment {
    /// Returns no element at all.
    pub fn empty() -> Fragment {
        Fragment::default()
    }

    /// Reads XML from outside. Elements that declare nothing are in `jabber:client`.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the text.
    pub fn parse(text: &str) -> Result<Fragment, Error> {
        let wrapped = format!("<x>{text}</x>");
        let mut element = parse_element(wrapped.as_bytes(), ns::CLIENT, ns::KNOWN, OURS)?;
        if !element.portable() {
            element = element.stand_alone(usize::MAX)?;
        }
        let content = element.content();
        let text = std::str::from_utf8(&element.bytes()[content.clone()])
            .expect("the reader has checked UTF-8");
        let moved = |child: &Child| child.moved_to(child.range().start - content.start);
        Ok(Fragment {
            text: text.to_owned(),
            children: element.children().iter().map(moved).collect(),
        })
    }

    /// Wraps one element of which the caller knows that it is well-formed, what it is called, and
    /// that it declares `namespace` unless that is `jabber:client`.
    pub(crate) fn one(name: &'static str, namespace: &'static str, text: String) -> Fragment {
        let name = Name::new(name).expect("our names are names");
        let child = Child::new(Namespace::from_static(namespace), name, 0..text.len());
        Fragment {
            children: SmallVec::from_iter([child]),
            text,
        }
    }

    /// Makes one element with text in it, or none when `content` is empty.
    ///
    /// # Panics
    ///
    /// When `name` is no XML name.
    pub fn element(name: &str, namespace: &str, attrs: &[(&str, &str)], content: &str) -> Fragment {
        let mut text = String::with_capacity(name.len() * 2 + namespace.len() + content.len() + 32);
        text.push('<');
        text.push_str(name);
        if namespace != ns::CLIENT {
            xml::push_attr("xmlns", namespace, &mut text);
        }
        for (name, value) in attrs {
            xml::push_attr(name, value, &mut text);
        }
        if content.is_empty() {
            text.push_str("/>");
        } else {
            text.push('>');
            xml::escape_text(content, &mut text);
            text.push_str("</");
            text.push_str(name);
            text.push('>');
        }
        let name = Name::new(name).expect("element names are XML names");
        let child = Child::new(
            Namespace::interned(namespace, ns::KNOWN),
            name,
            0..text.len(),
        );
        Fragment {
            children: SmallVec::from_iter([child]),
            text,
        }
    }

    /// Adds the elements of `other` behind these.
    pub fn push(&mut self, other: &Fragment) {
        let start = self.text.len();
        let moved = |child: &Child| child.moved_to(start + child.range().start);
        self.children.extend(other.children.iter().map(moved));
        self.text.push_str(&other.text);
    }

    /// Returns the elements as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Tells whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Returns what the elements are called and where they stand.
    pub fn children(&self) -> &[Child] {
        &self.children
    }
}

/// Our own text is bounded by whoever wrote it.
pub(crate) const OURS: Limits = Limits {
    bytes: usize::MAX,
    depth: 1000,
    attributes: 1000,
    children: usize::MAX,
};

/// Takes text that this server wrote itself; for what others wrote there is [`Fragment::parse`].
///
/// # Panics
///
/// When it is not well-formed: better a crash here than a broken stream at a bystander.
impl From<&str> for Fragment {
    fn from(text: &str) -> Self {
        Fragment::parse(text).expect("fragments of ours are well-formed")
    }
}

/// As `From<&str>`.
impl From<String> for Fragment {
    fn from(text: String) -> Self {
        Fragment::from(text.as_str())
    }
}

impl From<&Fragment> for Fragment {
    fn from(fragment: &Fragment) -> Self {
        fragment.clone()
    }
}

impl From<Fragment> for String {
    fn from(fragment: Fragment) -> Self {
        fragment.text
    }
}

impl From<&minidom::Element> for Fragment {
    fn from(element: &minidom::Element) -> Self {
        Fragment::from(String::from(element))
    }
}

impl AsRef<str> for Fragment {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Fragment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Shows names only: a fragment may hold a body.
impl fmt::Debug for Fragment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.children.iter().map(Child::name))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(fragment: &Fragment) -> Vec<(String, String, String)> {
        let text = |child: &Child| fragment.as_str()[child.range()].to_owned();
        let row = |child: &Child| (child.name().into(), child.namespace().into(), text(child));
        fragment.children().iter().map(row).collect()
    }

    #[test]
    fn elements_are_found_where_they_stand() {
        let mut fragment = Fragment::from("<a xmlns='urn:a'/> <body>hi</body>");
        fragment.push(&Fragment::element("b", "urn:b", &[("k", "<")], "t"));
        let row =
            |name: &str, namespace: &str, text: &str| (name.into(), namespace.into(), text.into());
        assert_eq!(
            names(&fragment),
            [
                row("a", "urn:a", "<a xmlns='urn:a'/>"),
                row("body", ns::CLIENT, "<body>hi</body>"),
                row("b", "urn:b", "<b xmlns=\"urn:b\" k=\"&lt;\">t</b>"),
            ]
        );
    }

    #[test]
    fn the_content_namespace_is_never_spelled_out() {
        let fragment = Fragment::from("<body xmlns='jabber:client'>hi</body>");
        assert_eq!(fragment.as_str(), "<body>hi</body>");
        assert_eq!(names(&fragment)[0].1, ns::CLIENT);
        // Inside another namespace it has to be.
        let text = "<f xmlns='urn:f'><message xmlns='jabber:client'/></f>";
        assert_eq!(Fragment::from(text).as_str(), text);
    }

    #[test]
    fn what_is_not_well_formed_is_no_fragment() {
        for text in ["<a>", "</x><x>", "<a:b/>", "x<!-- -->"] {
            assert!(Fragment::parse(text).is_err(), "{text}");
        }
    }
}
