//! What a lookup binds: where it stands in the request, or what a constraint made of it.

use smallvec::SmallVec;

use super::constraint::{Checked, Panicked, Quick, Value, parse_int};
use super::dispatch::BoundField;
use super::target::{Range, slice};
use super::trie::{Asks, Leaf, Name, Visit};

/// The number of a name, and what is bound to it: where it stands in the request, or what a constraint made of it.
#[derive(Clone, Debug)]
pub(super) enum Slot {
    Host(u32, Range),
    Path(u32, Range),
    Int(u32, i64),
    Value(u32, Box<Value>),
}

pub(super) type Slots = SmallVec<[Slot; 3]>;

/// What slots point into.
#[derive(Clone, Copy)]
pub(crate) struct Texts<'a> {
    pub(super) host: &'a [u8],
    pub(super) path: &'a [u8],
}

impl Slot {
    pub(super) fn name(&self) -> u32 {
        match self {
            Slot::Host(name, _)
            | Slot::Path(name, _)
            | Slot::Int(name, _)
            | Slot::Value(name, _) => *name,
        }
    }

    pub(super) fn bytes<'a>(&'a self, texts: Texts<'a>) -> Option<&'a [u8]> {
        match self {
            Slot::Host(_, range) => Some(slice(texts.host, *range)),
            Slot::Path(_, range) => Some(slice(texts.path, *range)),
            Slot::Int(..) => None,
            Slot::Value(_, value) => value.as_bytes(),
        }
    }

    pub(super) fn value(&self, texts: Texts<'_>) -> Value {
        match self {
            Slot::Int(_, number) => Value::Int(*number),
            Slot::Value(_, value) => Value::clone(value),
            Slot::Host(_, range) => Value::Bytes(slice(texts.host, *range).to_vec()),
            Slot::Path(_, range) => Value::Bytes(slice(texts.path, *range).to_vec()),
        }
    }
}

/// A leaf that is taken, and all that is bound then if it asked for that.
type Found<'t> = (&'t Leaf, Option<Box<Slots>>);

/// A host or a path that was split.
pub(super) struct Sought<'s> {
    pub(super) texts: Texts<'s>,
    pub(super) segments: &'s [Range],
    pub(super) of_host: bool,
}

/// A lookup under way: the best leaf so far.
pub(super) struct Seek<'t, 's, F> {
    pub(super) best: u32,
    pub(super) found: Option<Result<&'t Leaf, Panicked>>,
    /// What it binds, where that was asked to know whether it is taken; else it is bound when the lookup is over.
    slots: Option<Box<Slots>>,
    /// What the host has bound.
    before: &'s Slots,
    sought: &'s Sought<'s>,
    fields: F,
}

impl<'t, F> Visit<'t> for Seek<'t, '_, F>
where
    F: Fn(u32) -> &'t [BoundField],
{
    fn best(&self) -> u32 {
        self.best
    }

    fn look(&mut self, leaf: &'t Leaf) {
        let accepts = |name: &Name| name.quick.accepts(self.sought.segment(name.at));
        match leaf.asks {
            Asks::Nothing => {}
            Asks::Names if leaf.names.iter().all(accepts) => {}
            Asks::Names => return,
            Asks::All => return self.look_closer(leaf),
        }
        self.slots = None;
        self.best = leaf.order;
        self.found = Some(Ok(leaf));
    }
}

impl<'t, 's, F> Seek<'t, 's, F>
where
    F: Fn(u32) -> &'t [BoundField],
{
    /// A lookup for what stands before `best`.
    pub(super) fn new(best: u32, before: &'s Slots, sought: &'s Sought<'s>, fields: F) -> Self {
        Seek {
            best,
            found: None,
            slots: None,
            before,
            sought,
            fields,
        }
    }

    /// Takes a leaf if its names can be bound and please the fields.
    fn look_closer(&mut self, leaf: &'t Leaf) {
        let mut slots = self.before.clone();
        let checked = if self.sought.bind_equal(leaf, &mut slots) {
            self.sought.check((self.fields)(leaf.rule), &mut slots)
        } else {
            Ok(false)
        };
        self.found = match checked {
            Ok(false) => return,
            Ok(true) => Some(Ok(leaf)),
            // In the order of the list this would have come first: unless one before it is found, it is the answer.
            Err(panicked) => Some(Err(panicked)),
        };
        self.slots = Some(Box::new(slots));
        self.best = leaf.order;
    }

    /// What was found.
    pub(super) fn finish(self) -> Option<Result<Found<'t>, Panicked>> {
        let slots = self.slots;
        self.found.map(|found| found.map(|leaf| (leaf, slots)))
    }
}

impl<'s> Sought<'s> {
    fn text(&self) -> &'s [u8] {
        if self.of_host {
            self.texts.host
        } else {
            self.texts.path
        }
    }

    fn segment(&self, at: u32) -> &'s [u8] {
        slice(self.text(), self.segments[at as usize])
    }

    fn slot(&self, name: &Name) -> Slot {
        let range = self.segments[name.at as usize];
        if self.of_host {
            Slot::Host(name.number, range)
        } else {
            Slot::Path(name.number, range)
        }
    }

    /// Binds the names of a leaf that was taken without binding them.
    pub(super) fn bind(&self, leaf: &Leaf, slots: &mut Slots) {
        for name in &leaf.names {
            let number = match name.quick {
                Quick::Int => parse_int(self.segment(name.at)).ok(),
                Quick::Anything | Quick::NonEmpty => None,
            };
            slots.push(match number {
                Some(number) => Slot::Int(name.number, number),
                None => self.slot(name),
            });
        }
    }

    /// Binds the names; false if one that is bound already has another value.
    fn bind_equal(&self, leaf: &Leaf, slots: &mut Slots) -> bool {
        leaf.names.iter().all(
            |name| match slots.iter().find(|bound| bound.name() == name.number) {
                None => {
                    slots.push(self.slot(name));
                    true
                }
                Some(bound) => bound.bytes(self.texts) == Some(self.segment(name.at)),
            },
        )
    }

    fn check(&self, fields: &[BoundField], slots: &mut Slots) -> Result<bool, Panicked> {
        for (name, field) in fields {
            let Some(slot) = slots.iter_mut().find(|bound| bound.name() == *name) else {
                continue;
            };
            let checked = match slot {
                Slot::Host(_, range) => field.check_bytes(slice(self.texts.host, *range))?,
                Slot::Path(_, range) => field.check_bytes(slice(self.texts.path, *range))?,
                Slot::Int(_, number) => field.check_value(Value::Int(*number))?,
                Slot::Value(_, value) => field.check_value(Value::clone(value))?,
            };
            match checked {
                Checked::Same => {}
                Checked::Changed(Value::Int(number)) => *slot = Slot::Int(*name, number),
                Checked::Changed(value) => *slot = Slot::Value(*name, Box::new(value)),
                Checked::Refused => return Ok(false),
            }
        }
        Ok(true)
    }
}

/// What a lookup found, without the texts it points into. Small, as it is moved about.
#[derive(Clone, Debug, Default)]
pub(crate) struct Captures {
    pub(super) host: u32,
    pub(super) path: u32,
    pub(super) slots: Slots,
    pub(super) more: Option<Box<More>>,
}

/// What most lookups do not find.
#[derive(Clone, Debug, Default)]
pub(super) struct More {
    pub(super) host_info: Option<Box<[Range]>>,
    pub(super) path_info: Option<Box<[Range]>>,
    /// The path, where it held escapes.
    pub(super) decoded: Option<Box<[u8]>>,
}

impl Captures {
    pub(super) fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    pub(super) fn texts<'a>(&'a self, host: &'a str, path: &'a str) -> Texts<'a> {
        let decoded = self.more.as_ref().and_then(|more| more.decoded.as_deref());
        Texts {
            host: host.as_bytes(),
            path: decoded.unwrap_or(path.as_bytes()),
        }
    }

    pub(crate) fn host_info<'a>(&'a self, host: &'a str) -> Option<Vec<&'a str>> {
        let labels = self.more.as_ref()?.host_info.as_deref()?;
        Some(
            labels
                .iter()
                .map(|&(from, to)| &host[from as usize..to as usize])
                .collect(),
        )
    }

    pub(crate) fn path_info<'a>(&'a self, path: &'a str) -> Option<Vec<&'a [u8]>> {
        let text = self.texts("", path).path;
        let segments = self.more.as_ref()?.path_info.as_deref()?;
        Some(segments.iter().map(|&range| slice(text, range)).collect())
    }
}
