//! How much a peer may send before it is stopped.

/// Bounds of one first-level element and of the opening tag of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of one frame, as received.
    pub bytes: usize,
    /// Deepest level of nesting; a first-level element is at depth 1.
    pub depth: usize,
    /// Most attributes of one element, namespace declarations included.
    pub attributes: usize,
    /// Most child elements of one element, at every level.
    pub children: usize,
}

impl Limits {
    /// Bounds for peers who have not logged in yet. No smaller size is allowed
    /// (RFC 6120 §13.12: at least 10,000 bytes).
    pub const BEFORE_LOGIN: Limits = Limits {
        bytes: 10_000,
        depth: 16,
        attributes: 32,
        children: 64,
    };
}

/// Bounds for peers who have logged in: 256 KiB, depth 64, 64 attributes, 4096 children.
impl Default for Limits {
    fn default() -> Self {
        Limits {
            bytes: 256 * 1024,
            depth: 64,
            attributes: 64,
            children: 4096,
        }
    }
}
