//! The structure in which segments are looked up: what a lookup costs depends on the segments, not on the number of rules.
//!
//! Each node has an edge for every literal, found by its bytes, and one for any segment. A lookup walks both and
//! keeps the rule that stands first in the list; a branch whose first rule stands behind the best found is not walked.
//!
//! It is built as a [`Draft`] and then laid out flat: one list of nodes, one of places for literals, one of leaves.

use std::collections::BTreeMap;

use super::constraint::Quick;
use super::target::{Range, slice};
use crate::words::word_at;

/// No node.
const NONE: u32 = u32::MAX;

/// The mask of a node without literals.
const BARREN: u32 = u32::MAX;

/// So many sizes are tried for a node's places, each the double of the one before, until none of its literals belongs
/// where another does.
const SIZES: usize = 5;

/// One place where an alternative ends.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    /// Its place in the list: less goes first.
    pub(crate) order: u32,
    /// Which rule it is of.
    pub(crate) rule: u32,
    /// What it binds, in order.
    pub(crate) names: Box<[Name]>,
    /// The number of segments before the rest; none if it has no rest part.
    pub(crate) rest_from: Option<u32>,
    pub(crate) asks: Asks,
}

/// A name that a leaf binds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name {
    /// Its number.
    pub(crate) number: u32,
    /// The segment it takes.
    pub(crate) at: u32,
    /// What its segment must be, under [`Asks::Names`].
    pub(crate) quick: Quick,
}

/// What must be known before a leaf is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asks {
    /// Nothing.
    Nothing,
    /// Whether each of its names pleases its quick check.
    Names,
    /// Whether its names can be bound beside what is bound already, and please the rule's fields.
    All,
}

/// One segment of what is put in.
pub(crate) enum Edge<'a> {
    Literal(&'a str),
    Any,
}

/// A trie that is being built.
pub(crate) struct Draft {
    nodes: Vec<DraftNode>,
}

struct DraftNode {
    literals: BTreeMap<Box<[u8]>, u32>,
    any: u32,
    /// Rules that end here, in order.
    ends: Vec<Leaf>,
    /// Rules with a rest part here, in order.
    rests: Vec<Leaf>,
    /// The first rule at or below this node.
    first: u32,
}

impl DraftNode {
    fn new() -> DraftNode {
        DraftNode {
            literals: BTreeMap::new(),
            any: NONE,
            ends: Vec::new(),
            rests: Vec::new(),
            first: NONE,
        }
    }
}

impl Draft {
    pub(crate) fn new() -> Draft {
        Draft {
            nodes: vec![DraftNode::new()],
        }
    }

    /// Puts an alternative in; they come in the order of the list.
    pub(crate) fn insert<'a>(&mut self, edges: impl Iterator<Item = Edge<'a>>, leaf: Leaf) {
        let mut at = 0;
        self.touch(at, leaf.order);
        for edge in edges {
            at = self.child(at, &edge);
            self.touch(at, leaf.order);
        }
        let node = &mut self.nodes[at];
        match leaf.rest_from {
            Some(_) => node.rests.push(leaf),
            None => node.ends.push(leaf),
        }
    }

    fn touch(&mut self, at: usize, order: u32) {
        let first = &mut self.nodes[at].first;
        *first = order.min(*first);
    }

    fn child(&mut self, at: usize, edge: &Edge<'_>) -> usize {
        let next = self.nodes.len() as u32;
        let node = &mut self.nodes[at];
        let found = match edge {
            Edge::Literal(text) => *node.literals.entry(text.as_bytes().into()).or_insert(next),
            Edge::Any if node.any == NONE => {
                node.any = next;
                next
            }
            Edge::Any => node.any,
        };
        if found == next {
            self.nodes.push(DraftNode::new());
        }
        found as usize
    }

    /// Lays it out for lookups.
    pub(crate) fn build(self) -> Trie {
        let mut trie = Trie {
            nodes: Vec::with_capacity(self.nodes.len()),
            places: Vec::new(),
            leaves: Vec::new(),
            text: Vec::new(),
        };
        for draft in self.nodes {
            let (base, mask) = trie.place(&draft.literals);
            let ends = trie.leaves.len() as u32;
            let rests = ends + draft.ends.len() as u32;
            trie.leaves.extend(draft.ends);
            trie.leaves.extend(draft.rests);
            trie.nodes.push(Node {
                base,
                mask,
                any: draft.any,
                first: draft.first,
                ends,
                rests,
                behind: trie.leaves.len() as u32,
            });
        }
        trie
    }
}

/// All alternatives of one list of rules.
#[derive(Debug)]
pub(crate) struct Trie {
    /// The root is the first.
    nodes: Vec<Node>,
    places: Vec<Place>,
    leaves: Vec<Leaf>,
    /// The literals of more than sixteen bytes.
    text: Vec<u8>,
}

#[derive(Debug)]
struct Node {
    /// Where its literals stand among the places, and their number, a power of two, less one.
    base: u32,
    mask: u32,
    any: u32,
    first: u32,
    /// Its leaves: those that end here from `ends` on, those with a rest part from `rests` to `behind`.
    ends: u32,
    rests: u32,
    behind: u32,
}

/// A literal and the node behind it. Its [`key`] is all of it up to sixteen bytes.
///
/// It stands where it [`belongs`], or in the next free place.
#[derive(Clone, Copy, Debug)]
struct Place {
    head: u64,
    tail: u64,
    length: u32,
    node: u32,
    /// Where in the trie's text it stands, if it is longer.
    text: u32,
    /// Whether one that belongs here, or before, stands behind.
    goes_on: bool,
}

const VACANT: Place = Place {
    head: 0,
    tail: 0,
    length: NONE,
    node: NONE,
    text: 0,
    goes_on: false,
};

const MIX: u64 = 0x9E37_79B9_7F4A_7C15;

/// The first eight bytes of a segment, those missing as zeros, and its last eight, if it has more; if it has more than
/// sixteen, a mixture of all behind the first eight.
#[inline(always)]
fn key(text: &[u8], (from, to): Range) -> (u64, u64) {
    let length = to - from;
    // Nothing is decided by the length of a short one: it changes from segment to segment, and cannot be foreseen.
    let whole = 8_u32.saturating_sub(length);
    let head = word_at(text, from as usize) & u64::MAX.checked_shr(8 * whole).unwrap_or(0);
    let has_tail = u64::from(length > 8).wrapping_neg();
    let tail = word_at(text, (to as usize).max(8) - 8) & has_tail;
    if length <= 16 {
        return (head, tail);
    }
    let (words, _) = text[from as usize + 8..to as usize].as_chunks::<8>();
    let mix = |mixed: u64, word: &[u8; 8]| {
        (mixed.rotate_left(5) ^ u64::from_le_bytes(*word)).wrapping_mul(MIX)
    };
    (head, words.iter().fold(tail, mix))
}

/// Where a literal belongs among so many places. All that stands there comes from the routes, so nobody outside can
/// fill them on purpose.
fn belongs(head: u64, tail: u64, length: u32, mask: u32) -> u32 {
    let whole = head ^ tail.rotate_left(23) ^ (u64::from(length) << 56);
    (whole.wrapping_mul(MIX) >> 32) as u32 & mask
}

/// What a lookup asks of each leaf it comes to: whether it is taken, with its order already known to be better than
/// the best so far.
pub(crate) trait Visit<'t> {
    /// The order that must be beaten.
    fn best(&self) -> u32;
    /// Looks at a leaf; takes it or not.
    fn look(&mut self, leaf: &'t Leaf);
}

impl Default for Trie {
    fn default() -> Trie {
        Draft::new().build()
    }
}

impl Trie {
    /// Finds places for literals; gives the first and the mask.
    fn place(&mut self, literals: &BTreeMap<Box<[u8]>, u32>) -> (u32, u32) {
        if literals.is_empty() {
            return (0, BARREN);
        }
        let keyed: Vec<Place> = literals
            .iter()
            .map(|(text, node)| self.entry(text, *node))
            .collect();
        let least = keyed.len().next_power_of_two();
        let apart = (0..SIZES)
            .map(|power| least << power)
            .find(|size| are_apart(&keyed, *size));
        let size = apart.unwrap_or(least * 2);
        let (base, mask) = (self.places.len(), size as u32 - 1);
        self.places.resize(base + size, VACANT);
        for entry in keyed {
            let mut at = belongs(entry.head, entry.tail, entry.length, mask);
            while self.places[base + at as usize].node != NONE {
                self.places[base + at as usize].goes_on = true;
                at = (at + 1) & mask;
            }
            self.places[base + at as usize] = entry;
        }
        (base as u32, mask)
    }

    fn entry(&mut self, text: &[u8], node: u32) -> Place {
        let length = text.len() as u32;
        let (head, tail) = key(text, (0, length));
        let at = self.text.len() as u32;
        if length > 16 {
            self.text.extend_from_slice(text);
        }
        Place {
            head,
            tail,
            length,
            node,
            text: at,
            goes_on: false,
        }
    }

    /// Shows `visit` the leaves that fit, as long as they are better than what it has.
    pub(crate) fn find<'t>(&'t self, text: &[u8], segments: &[Range], visit: &mut impl Visit<'t>) {
        self.walk(&self.nodes[0], text, segments, visit);
    }

    fn walk<'t>(
        &'t self,
        mut node: &'t Node,
        text: &[u8],
        mut segments: &[Range],
        visit: &mut impl Visit<'t>,
    ) {
        loop {
            if node.rests < node.behind {
                self.show(node.rests, node.behind, visit);
            }
            let Some((segment, others)) = segments.split_first() else {
                return self.show(node.ends, node.rests, visit);
            };
            let literal = if node.mask == BARREN {
                NONE
            } else {
                self.literal(node, text, *segment)
            };
            segments = others;
            node = match (literal, node.any) {
                (NONE, NONE) => return,
                (one, NONE) | (NONE, one) => &self.nodes[one as usize],
                (literal, any) => {
                    let (a, b) = (&self.nodes[literal as usize], &self.nodes[any as usize]);
                    let (sooner, later) = if a.first <= b.first { (a, b) } else { (b, a) };
                    if sooner.first < visit.best() {
                        self.walk(sooner, text, others, visit);
                    }
                    later
                }
            };
            if node.first >= visit.best() {
                return;
            }
        }
    }

    fn show<'t>(&'t self, from: u32, to: u32, visit: &mut impl Visit<'t>) {
        for leaf in &self.leaves[from as usize..to as usize] {
            if leaf.order >= visit.best() {
                break;
            }
            visit.look(leaf);
        }
    }

    /// The node behind a segment.
    #[inline(always)]
    fn literal(&self, node: &Node, text: &[u8], segment: Range) -> u32 {
        let length = segment.1 - segment.0;
        let (head, tail) = key(text, segment);
        let mut at = belongs(head, tail, length, node.mask);
        loop {
            let place = &self.places[(node.base + at) as usize];
            let is_it = (place.head == head) & (place.tail == tail) & (place.length == length);
            if is_it && (length <= 16 || self.is_whole(place, slice(text, segment))) {
                return place.node;
            }
            if !place.goes_on {
                return NONE;
            }
            at = (at + 1) & node.mask;
        }
    }

    fn is_whole(&self, place: &Place, segment: &[u8]) -> bool {
        let from = place.text as usize;
        self.text.get(from..from + segment.len()) == Some(segment)
    }
}

/// Whether no two belong in one of so many places.
fn are_apart(literals: &[Place], size: usize) -> bool {
    let mut taken = vec![false; size];
    literals.iter().all(|literal| {
        let mask = size as u32 - 1;
        let at = belongs(literal.head, literal.tail, literal.length, mask);
        !std::mem::replace(&mut taken[at as usize], true)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The orders of the leaves that are looked at.
    struct All(Vec<u32>);

    impl<'t> Visit<'t> for All {
        fn best(&self) -> u32 {
            NONE
        }
        fn look(&mut self, leaf: &'t Leaf) {
            self.0.push(leaf.order);
        }
    }

    #[test]
    fn literals_of_each_length_are_told_from_those_beside_them() {
        // Such as differ in one byte alone, each byte once, at every length.
        let mut literals = vec![String::new()];
        for length in 1..=40 {
            literals.push("a".repeat(length));
            for place in 0..length {
                let mut text = "a".repeat(length);
                text.replace_range(place..=place, "b");
                literals.push(text);
            }
        }
        let mut draft = Draft::new();
        let leaf = |order| Leaf {
            order,
            rule: 0,
            names: Box::default(),
            rest_from: None,
            asks: Asks::Nothing,
        };
        for (literal, order) in literals.iter().zip(0..) {
            if order % 2 == 0 {
                draft.insert([Edge::Literal(literal)].into_iter(), leaf(order));
            }
        }
        let trie = draft.build();
        for (literal, order) in literals.iter().zip(0..) {
            // At the start of a text, in its middle, and at its end.
            for (before, behind) in [
                ("", ""),
                ("", "/x"),
                ("x", "and more than eight"),
                ("xyz", ""),
            ] {
                let text = format!("{before}{literal}{behind}");
                let from = before.len() as u32;
                let range = (from, from + literal.len() as u32);
                let mut all = All(Vec::new());
                trie.find(text.as_bytes(), &[range], &mut all);
                let wanted = if order % 2 == 0 { vec![order] } else { vec![] };
                assert_eq!(all.0, wanted, "{literal:?} in {text:?}");
            }
        }
    }
}
