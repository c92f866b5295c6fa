//! Changing a stanza: a new one is laid over the old, whose content is shared or copied, not parsed.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;
use xml::Child;

use super::head::{Head, StanzaType};
use super::{Content, Stanza};
use crate::{Fragment, Jid};

/// A stanza in the making. What is not named stays byte for byte what it was.
#[must_use = "an edit does nothing until it is finished"]
#[derive(Clone)]
pub struct Edit {
    base: Arc<Content>,
    head: Head,
    /// Children of the base that are left out, by number.
    removed: SmallVec<[usize; 4]>,
    appended: Fragment,
}

impl Edit {
    /// Begins a stanza that has nothing but its type.
    pub fn new(type_: impl Into<StanzaType>) -> Edit {
        Edit {
            base: Content::none(),
            head: Head::new(type_.into()),
            removed: SmallVec::new(),
            appended: Fragment::empty(),
        }
    }

    /// Begins an answer: of that type, with the id of what it answers and its addresses exchanged.
    pub(super) fn answering(type_: StanzaType, head: &Head) -> Edit {
        let mut edit = Edit::new(type_);
        edit.head.from.clone_from(&head.to);
        edit.head.to.clone_from(&head.from);
        edit.head.id.clone_from(&head.id);
        edit
    }

    pub(super) fn of(head: Head, base: Arc<Content>) -> Edit {
        Edit {
            base,
            head,
            removed: SmallVec::new(),
            appended: Fragment::empty(),
        }
    }

    /// Sets or takes away the sender.
    pub fn from(mut self, from: impl Into<Option<Jid>>) -> Edit {
        self.head.from = from.into().map(Arc::new);
        self
    }

    /// Sets the sender to an address that many stanzas share.
    pub fn from_shared(mut self, from: &Arc<Jid>) -> Edit {
        self.head.from = Some(Arc::clone(from));
        self
    }

    /// Sets or takes away the recipient.
    pub fn to(mut self, to: impl Into<Option<Jid>>) -> Edit {
        self.head.to = to.into().map(Arc::new);
        self
    }

    /// Sets the recipient to an address that many stanzas share.
    pub fn to_shared(mut self, to: &Arc<Jid>) -> Edit {
        self.head.to = Some(Arc::clone(to));
        self
    }

    /// Sets or takes away the id.
    pub fn id(mut self, id: impl Into<Option<String>>) -> Edit {
        self.head.id = id.into().map(Arc::from);
        self
    }

    /// Sets or takes away `xml:lang`.
    pub fn lang(mut self, lang: impl Into<Option<String>>) -> Edit {
        self.head.lang = lang.into().map(Arc::from);
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
        let children = self.base.children.iter().enumerate();
        let gone = children.filter(|(_, child)| unwanted(child));
        self.removed.extend(gone.map(|(number, _)| number));
        self
    }

    /// Adds elements behind the children.
    pub fn append(mut self, fragment: impl Into<Fragment>) -> Edit {
        self.appended.push(&fragment.into());
        self
    }

    /// Returns the new stanza. One whose head alone is new shares its content with the old.
    pub fn finish(self) -> Stanza {
        if self.removed.is_empty() && self.appended.is_empty() {
            return Stanza::new(self.head, self.base);
        }
        let content = self.new_content();
        Stanza::new(self.head, Arc::new(content))
    }

    /// The runs of content between removed children, and what is added.
    fn new_content(&self) -> Content {
        let (base, appended) = (&self.base, self.appended.as_str());
        let mut assembly = Assembly {
            out: Vec::with_capacity(base.range.len() + appended.len()),
            children: SmallVec::new(),
        };
        let (mut from, mut first) = (base.range.start, 0);
        for (number, child) in base.children.iter().enumerate() {
            if self.removed.contains(&number) {
                let range = child.range();
                let children = &base.children[first..number];
                assembly.copy(&base.text[from..range.start], from, children);
                (from, first) = (range.end, number + 1);
            }
        }
        let rest = &base.text[from..base.range.end];
        assembly.copy(rest, from, &base.children[first..]);
        assembly.copy(appended.as_bytes(), 0, self.appended.children());
        Content {
            range: 0..assembly.out.len(),
            text: Bytes::from(assembly.out.into_boxed_slice()),
            children: assembly.children,
        }
    }
}

/// Bytes and child index of content being put together.
struct Assembly {
    out: Vec<u8>,
    children: SmallVec<[Child; 4]>,
}

impl Assembly {
    /// Adds `bytes`, which stood at `origin` where `children` were indexed.
    fn copy(&mut self, bytes: &[u8], origin: usize, children: &[Child]) {
        let here = self.out.len();
        self.out.extend_from_slice(bytes);
        let moved = |child: &Child| child.moved_to(child.range().start - origin + here);
        self.children.extend(children.iter().map(moved));
    }
}
