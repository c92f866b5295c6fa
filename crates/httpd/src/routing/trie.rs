//! The structure in which segments are looked up: what a lookup costs depends on the segments, not on the number of rules.
//!
//! Each node has an edge for every literal, found by its bytes, and one for any segment. A lookup walks both and
//! keeps the rule that stands first in the list; a branch whose first rule stands behind the best found is not walked.

use super::target::{Range, slice};

/// No node.
const NONE: u32 = u32::MAX;

/// One place where an alternative ends.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    /// Its place in the list: less goes first.
    pub(crate) order: u32,
    /// Which rule it is of.
    pub(crate) rule: u32,
    /// Names and the segments they take, in order.
    pub(crate) names: Box<[(u32, u32)]>,
    /// The number of segments before the rest; none if it has no rest part.
    pub(crate) rest_from: Option<u32>,
    /// Whether a name stands twice in `names`.
    pub(crate) repeats: bool,
}

/// One segment of what is put in.
pub(crate) enum Edge<'a> {
    Literal(&'a str),
    Any,
}

#[derive(Debug)]
struct Node {
    literals: Literals,
    any: u32,
    /// Rules that end here, in order.
    ends: Vec<Leaf>,
    /// Rules with a rest part here, in order.
    rests: Vec<Leaf>,
    /// The first rule at or below this node.
    first: u32,
}

impl Default for Node {
    fn default() -> Node {
        Node {
            literals: Literals::default(),
            any: NONE,
            ends: Vec::new(),
            rests: Vec::new(),
            first: NONE,
        }
    }
}

/// All alternatives of one list of rules.
#[derive(Debug)]
pub(crate) struct Trie {
    nodes: Vec<Node>,
}

impl Default for Trie {
    fn default() -> Trie {
        Trie {
            nodes: vec![Node::default()],
        }
    }
}

/// What a lookup asks of each leaf it comes to: whether it is taken, with its order already known to be better than
/// the best so far.
pub(crate) trait Visit<'t> {
    /// The order that must be beaten.
    fn best(&self) -> u32;
    /// Looks at a leaf; takes it or not.
    fn look(&mut self, leaf: &'t Leaf);
}

impl Trie {
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
            Edge::Literal(text) => node.literals.get_or_insert(text.as_bytes(), next),
            Edge::Any if node.any == NONE => {
                node.any = next;
                next
            }
            Edge::Any => node.any,
        };
        if found == next {
            self.nodes.push(Node::default());
        }
        found as usize
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
            for leaf in &node.rests {
                if leaf.order >= visit.best() {
                    break;
                }
                visit.look(leaf);
            }
            let Some((segment, others)) = segments.split_first() else {
                for leaf in &node.ends {
                    if leaf.order >= visit.best() {
                        break;
                    }
                    visit.look(leaf);
                }
                return;
            };
            let literal = node.literals.get(text, *segment);
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
}

/// The literal edges of a node: an open table over the first eight bytes and the length. All that is in it comes from
/// the routes, so nobody outside can fill one of its places on purpose.
#[derive(Debug, Default)]
struct Literals {
    /// Indices in `entries` plus one; 0 is free. Its length is a power of two, or 0.
    table: Vec<u32>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    key: u64,
    text: Box<[u8]>,
    node: u32,
}

/// The first eight bytes, those missing as zeros.
fn head(text: &[u8]) -> u64 {
    match text.first_chunk::<8>() {
        Some(eight) => u64::from_le_bytes(*eight),
        None => {
            let mut eight = [0; 8];
            eight[..text.len()].copy_from_slice(text);
            u64::from_le_bytes(eight)
        }
    }
}

/// As [`head`] of a range within a text, which may be read beyond the range.
fn head_in(text: &[u8], (from, to): Range) -> u64 {
    let length = to - from;
    match text[from as usize..].first_chunk::<8>() {
        Some(eight) if length >= 8 => u64::from_le_bytes(*eight),
        Some(eight) => u64::from_le_bytes(*eight) & ((1_u64 << (8 * length)) - 1),
        None => head(slice(text, (from, to))),
    }
}

impl Literals {
    fn place(key: u64, length: usize, size: usize) -> usize {
        let mixed = (key ^ (length as u64) << 56).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed >> 32) as usize & (size - 1)
    }

    /// The node behind a segment.
    fn get(&self, text: &[u8], segment: Range) -> u32 {
        if self.table.is_empty() {
            return NONE;
        }
        let length = (segment.1 - segment.0) as usize;
        let key = head_in(text, segment);
        let mut place = Literals::place(key, length, self.table.len());
        loop {
            let at = self.table[place];
            if at == 0 {
                return NONE;
            }
            let entry = &self.entries[at as usize - 1];
            if entry.key == key
                && entry.text.len() == length
                && (length <= 8 || entry.text[8..] == slice(text, segment)[8..])
            {
                return entry.node;
            }
            place = (place + 1) & (self.table.len() - 1);
        }
    }

    /// The node behind a literal; `next` if it is new.
    fn get_or_insert(&mut self, text: &[u8], next: u32) -> u32 {
        let found = self.get(text, (0, text.len() as u32));
        if found != NONE {
            return found;
        }
        self.entries.push(Entry {
            key: head(text),
            text: text.into(),
            node: next,
        });
        // At most half full.
        if self.entries.len() * 2 > self.table.len() {
            self.table = vec![0; (self.entries.len() * 4).next_power_of_two()];
            for at in 0..self.entries.len() {
                self.enter(at);
            }
        } else {
            self.enter(self.entries.len() - 1);
        }
        next
    }

    fn enter(&mut self, at: usize) {
        let entry = &self.entries[at];
        let mut place = Literals::place(entry.key, entry.text.len(), self.table.len());
        while self.table[place] != 0 {
            place = (place + 1) & (self.table.len() - 1);
        }
        self.table[place] = at as u32 + 1;
    }
}
