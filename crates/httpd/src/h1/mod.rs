//! HTTP/1 before hyper: heads and chunk framing are read strictly, and what must not pass never reaches it.

mod chunks;
mod guard;
mod head;

pub(crate) use guard::Guard;
pub(crate) use head::{Refusal, is_authority, is_token, split_authority};
