//! `xmpp`.
