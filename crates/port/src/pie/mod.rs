//! XEP-0227 v1.1, Portable Import/Export Format: written by us, read as we, ejabberd (`export_piefxis`) and Prosody
//! write it.

mod read;
mod user;
mod write;

pub use read::{is_document, read};
pub use write::{HEAD, TAIL, host_head, host_tail, include, user};

/// The format.
pub(crate) const NS: &str = "urn:xmpp:pie:0";

/// The format before it had a namespace of XMPP's; ejabberd wrote it until 2013.
const NS_OLD: &str = "http://www.xmpp.org/extensions/xep-0227.html#ns";

/// SCRAM keys.
const NS_SCRAM: &str = "urn:xmpp:pie:0#scram";

/// XInclude.
const NS_XINCLUDE: &str = "http://www.w3.org/2001/XInclude";

/// What Natter says of an account beyond the format: when it was made, whether it is disabled, when it was last seen.
const NS_ACCOUNT: &str = "natter:account:0";
