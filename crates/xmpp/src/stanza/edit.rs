//! Changing a stanza: a new one is laid over the old, whose bytes are copied, not parsed.

use std::ops::Range;

use bytes::Bytes;
use smallvec::SmallVec;
use xml::Child;

use super::Stanza;
use super::head::{Head, StanzaType};
use crate::{Fragment, Jid};

/// A stanza in the making. What is not named stays byte for byte what it was.
#[must_use = "an edit does nothing until it is finished"]
#[derive(Clone)]
pub struct Edit {
    base: Option<Stanza>,
    head: Head,
    /// Children of the base that are left out, by number.
    removed: SmallVec<[usize; 4]>,
    appended: Fragment,
}

impl Edit {
    /// Begins a stanza that has nothing but its type.
    pub fn new(type_: impl Into<StanzaType>) -> Edit {
        Edit {
            base: None,
            head: Head::new(type_.into()),
            removed: SmallVec::new(),
            appended: Fragment::empty(),
        }
    }

    pub(super) fn of(base: &Stanza) -> Edit {
        Edit {
            head: base.0.head.clone(),
            base: Some(base.clone()),
            ..Edit::new(base.stanza_type())
        }
    }

    /// Sets or takes away the sender.
    pub fn from(mut self, from: impl Into<Option<Jid>>) -> Edit {
        self.head.from = from.into();
        self
    }

    /// Sets or takes away the recipient.
    pub fn to(mut self, to: impl Into<Option<Jid>>) -> Edit {
        self.head.to = to.into();
        self
    }

    /// Sets or takes away the id.
    pub fn id(mut self, id: impl Into<Option<String>>) -> Edit {
        self.head.id = id.into().map(String::into_boxed_str);
        self
    }

    /// Sets or takes away `xml:lang`.
    pub fn lang(mut self, lang: impl Into<Option<String>>) -> Edit {
        self.head.lang = lang.into().map(String::into_boxed_str);
        self
    }

    /// Sets the type.
    ///
    /// # Panics
    ///
    /// When it is the type of another kind of stanza.
    pub fn type_(mut self, type_: impl Into<StanzaType>) -> Edit {
        let type_ = type_.into();
        assert_eq!(
            type_.kind(),
            self.head.type_.kind(),
            "an edit keeps the kind of a stanza"
        );
        self.head.type_ = type_;
        self.head.type_text = None;
        self
    }

    /// Leaves out the children of the original that `unwanted` says. Text between children stays.
    pub fn remove(mut self, mut unwanted: impl FnMut(&Child) -> bool) -> Edit {
        let children = self.base.as_ref().map_or(&[][..], Stanza::children);
        let gone = children
            .iter()
            .enumerate()
            .filter(|(_, child)| unwanted(child));
        let gone: Vec<usize> = gone.map(|(number, _)| number).collect();
        self.removed.extend(gone);
        self
    }

    /// Adds elements behind the children.
    pub fn append(mut self, fragment: impl Into<Fragment>) -> Edit {
        self.appended.push(&fragment.into());
        self
    }

    /// Returns the new stanza.
    pub fn finish(self) -> Stanza {
        let base_length = self.base.as_ref().map_or(0, Stanza::len);
        let mut assembly = Assembly::new(&self.head, base_length + self.appended.as_str().len());
        if let Some(base) = &self.base {
            self.copy_base(base, &mut assembly);
        }
        let appended = &self.appended;
        assembly.copy(appended.as_str().as_bytes(), 0, appended.children());
        assembly.finish(self.head)
    }

    /// Copies the runs of content between removed children.
    fn copy_base(&self, base: &Stanza, assembly: &mut Assembly) {
        let (content, children) = (base.0.content.clone(), base.children());
        let (mut from, mut first) = (content.start, 0);
        for (number, child) in children.iter().enumerate() {
            if self.removed.contains(&number) {
                let range = child.range();
                assembly.copy(
                    &base.0.bytes[from..range.start],
                    from,
                    &children[first..number],
                );
                (from, first) = (range.end, number + 1);
            }
        }
        assembly.copy(&base.0.bytes[from..content.end], from, &children[first..]);
    }
}

/// Bytes and child index of a stanza being put together.
pub(super) struct Assembly {
    out: Vec<u8>,
    /// Where the start tag ends, without its `>`.
    head_end: usize,
    children: SmallVec<[Child; 4]>,
    content: Range<usize>,
}

impl Assembly {
    pub fn new(head: &Head, content_hint: usize) -> Assembly {
        let mut tag = String::with_capacity(head.length_hint() + content_hint + 16);
        head.write(&mut tag);
        let head_end = tag.len();
        tag.push('>');
        Assembly {
            out: tag.into_bytes(),
            head_end,
            children: SmallVec::new(),
            content: 0..0,
        }
    }

    /// Adds `bytes`, which stood at `origin` where `children` were indexed.
    pub fn copy(&mut self, bytes: &[u8], origin: usize, children: &[Child]) {
        let here = self.out.len();
        self.out.extend_from_slice(bytes);
        let moved = |child: &Child| child.moved_to(child.range().start - origin + here);
        self.children.extend(children.iter().map(moved));
    }

    pub fn finish(mut self, head: Head) -> Stanza {
        let start = self.head_end + 1;
        if self.out.len() == start {
            self.out.pop();
            self.out.extend_from_slice(b"/>");
            self.content = self.out.len()..self.out.len();
        } else {
            self.content = start..self.out.len();
            self.out.extend_from_slice(b"</");
            self.out
                .extend_from_slice(head.type_.kind().as_str().as_bytes());
            self.out.push(b'>');
        }
        Stanza::assembled(head, self)
    }

    pub fn into_parts(self) -> (Bytes, Range<usize>, SmallVec<[Child; 4]>) {
        (
            Bytes::from(self.out.into_boxed_slice()),
            self.content,
            self.children,
        )
    }
}
