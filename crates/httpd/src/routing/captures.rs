//! What a lookup binds: where it stands in the request, or what a constraint made of it.

use smallvec::SmallVec;

use super::constraint::{Checked, Panicked, Value};
use super::dispatch::BoundField;
use super::target::{Range, slice};
use super::trie::{Leaf, Visit};

/// What is bound: where it stands in the request, or what a constraint made of it.
#[derive(Clone, Debug)]
pub(super) enum Slot {
    Host(Range),
    Path(Range),
    Int(i64),
    Value(Box<Value>),
}

pub(super) type Slots = SmallVec<[(u32, Slot); 4]>;

/// What slots point into.
#[derive(Clone, Copy)]
pub(crate) struct Texts<'a> {
    pub(super) host: &'a [u8],
    pub(super) path: &'a [u8],
}

impl Slot {
    pub(super) fn bytes<'a>(&'a self, texts: Texts<'a>) -> Option<&'a [u8]> {
        match self {
            Slot::Host(range) => Some(slice(texts.host, *range)),
            Slot::Path(range) => Some(slice(texts.path, *range)),
            Slot::Int(_) => None,
            Slot::Value(value) => value.as_bytes(),
        }
    }

    pub(super) fn value(&self, texts: Texts<'_>) -> Value {
        match self {
            Slot::Int(number) => Value::Int(*number),
            Slot::Value(value) => Value::clone(value),
            Slot::Host(range) => Value::Bytes(slice(texts.host, *range).to_vec()),
            Slot::Path(range) => Value::Bytes(slice(texts.path, *range).to_vec()),
        }
    }
}

/// A lookup under way: the best leaf so far.
pub(super) struct Seek<'t, 's, F> {
    pub(super) best: u32,
    pub(super) found: Option<Result<&'t Leaf, Panicked>>,
    /// What it binds, where that was asked to know whether it is taken; else it is bound when the lookup is over.
    pub(super) slots: Option<Slots>,
    /// What the host has bound.
    pub(super) before: &'s Slots,
    pub(super) texts: Texts<'s>,
    pub(super) segments: &'s [Range],
    pub(super) of_host: bool,
    pub(super) fields: F,
}

impl<'t, F> Visit<'t> for Seek<'t, '_, F>
where
    F: Fn(u32) -> &'t Vec<BoundField>,
{
    fn best(&self) -> u32 {
        self.best
    }

    fn look(&mut self, leaf: &'t Leaf) {
        let fields = (self.fields)(leaf.rule);
        let may_clash = leaf.repeats || !(self.before.is_empty() || leaf.names.is_empty());
        self.slots = if may_clash || !fields.is_empty() {
            let mut slots = self.before.clone();
            if !self.bind(leaf, &mut slots) {
                return;
            }
            match self.check(fields, &mut slots) {
                Ok(true) => {}
                Ok(false) => return,
                // In the order of the list this would have come first: unless one before it is found, it is the answer.
                Err(panicked) => {
                    self.best = leaf.order;
                    self.found = Some(Err(panicked));
                    return;
                }
            }
            Some(slots)
        } else {
            None
        };
        self.best = leaf.order;
        self.found = Some(Ok(leaf));
    }
}

impl<'t, F> Seek<'t, '_, F> {
    /// What was found, and what it binds.
    pub(super) fn finish(self) -> Option<Result<(&'t Leaf, Slots), Panicked>> {
        let leaf = match self.found {
            Some(Ok(leaf)) => leaf,
            Some(Err(ref panicked)) => return Some(Err(panicked.clone())),
            None => return None,
        };
        if let Some(slots) = self.slots {
            return Some(Ok((leaf, slots)));
        }
        let mut slots = self.before.clone();
        self.bind(leaf, &mut slots);
        Some(Ok((leaf, slots)))
    }

    /// Binds the names; false if one that is bound already has another value.
    fn bind(&self, leaf: &Leaf, slots: &mut Slots) -> bool {
        let is_alone = !leaf.repeats && slots.is_empty();
        for &(name, at) in &leaf.names {
            let range = self.segments[at as usize];
            let (slot, text) = if self.of_host {
                (Slot::Host(range), self.texts.host)
            } else {
                (Slot::Path(range), self.texts.path)
            };
            let bound = if is_alone {
                None
            } else {
                slots.iter().find(|(other, _)| *other == name)
            };
            match bound {
                None => slots.push((name, slot)),
                Some((_, bound)) if bound.bytes(self.texts) == Some(slice(text, range)) => {}
                Some(_) => return false,
            }
        }
        true
    }

    fn check(&self, fields: &[BoundField], slots: &mut Slots) -> Result<bool, Panicked> {
        for (name, field) in fields {
            let Some((_, slot)) = slots.iter_mut().find(|(bound, _)| bound == name) else {
                continue;
            };
            let checked = match slot {
                Slot::Host(range) => field.check_bytes(slice(self.texts.host, *range))?,
                Slot::Path(range) => field.check_bytes(slice(self.texts.path, *range))?,
                Slot::Int(number) => field.check_value(Value::Int(*number))?,
                Slot::Value(value) => field.check_value(Value::clone(value))?,
            };
            match checked {
                Checked::Same => {}
                Checked::Changed(Value::Int(number)) => *slot = Slot::Int(number),
                Checked::Changed(value) => *slot = Slot::Value(Box::new(value)),
                Checked::Refused => return Ok(false),
            }
        }
        Ok(true)
    }
}

/// What a lookup found, without the texts it points into.
#[derive(Clone, Debug, Default)]
pub(crate) struct Captures {
    pub(super) host: u32,
    pub(super) path: u32,
    pub(super) slots: Slots,
    pub(super) host_info: Option<Box<[Range]>>,
    pub(super) path_info: Option<Box<[Range]>>,
    pub(super) decoded: Option<Box<[u8]>>,
}

impl Captures {
    pub(super) fn texts<'a>(&'a self, host: &'a str, path: &'a str) -> Texts<'a> {
        Texts {
            host: host.as_bytes(),
            path: self.decoded.as_deref().unwrap_or(path.as_bytes()),
        }
    }

    pub(crate) fn host_info<'a>(&'a self, host: &'a str) -> Option<Vec<&'a str>> {
        let labels = self.host_info.as_deref()?;
        Some(
            labels
                .iter()
                .map(|&(from, to)| &host[from as usize..to as usize])
                .collect(),
        )
    }

    pub(crate) fn path_info<'a>(&'a self, path: &'a str) -> Option<Vec<&'a [u8]>> {
        let text = self.texts("", path).path;
        let segments = self.path_info.as_deref()?;
        Some(segments.iter().map(|&range| slice(text, range)).collect())
    }
}
