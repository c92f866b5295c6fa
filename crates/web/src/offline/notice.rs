//! What is posted of a message, and how it is signed.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use config::Secret;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use session::hooks::OfflineMessage;
use sha2::Sha256;
use xmpp::{format_date_time, ns, random_id};

/// One message that waits, as it is posted.
#[derive(Clone, Debug)]
pub(crate) struct Notice {
    /// What it is known by: the same in every try.
    pub(crate) id: String,
    pub(crate) body: Bytes,
}

impl Notice {
    pub(crate) fn of(message: &OfflineMessage, content: bool) -> Notice {
        let (id, stanza) = (random_id(), &message.stanza);
        let mut told = json!({
            "event": "offline_message",
            "id": id,
            "account": message.account.to_string(),
            "from": stanza.from().map(ToString::to_string),
            "type": stanza.message_type().as_str(),
            "message_id": stanza.id(),
            "received": format_date_time(message.meta.received),
        });
        if content {
            told["body"] = json!(stanza.child_text("body", ns::CLIENT));
            told["stanza"] = json!(stanza.to_xml());
        }
        Notice {
            id,
            body: Bytes::from(told.to_string()),
        }
    }

    /// The value of the header by which the other side knows that it is ours and of that time.
    pub(crate) fn signature(&self, secret: &Secret, at: SystemTime) -> String {
        let at = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes())
            .expect("a key of any length will do");
        mac.update(at.to_string().as_bytes());
        mac.update(b".");
        mac.update(&self.body);
        let digest = mac.finalize().into_bytes();
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("t={at},v1={hex}")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_signature_is_of_time_and_body() {
        let notice = Notice {
            id: "1".to_owned(),
            body: Bytes::from_static(b"{\"event\":\"offline_message\"}"),
        };
        let at = UNIX_EPOCH + Duration::from_millis(1_893_456_000_900);
        let secret = Secret::new("a key of sixteen");
        // Python: hmac.new(b"a key of sixteen", b'1893456000.{"event":"offline_message"}', "sha256").hexdigest()
        assert_eq!(
            notice.signature(&secret, at),
            "t=1893456000,v1=0f4921d573dd82eae0d7062b62776007f8095f1d05c3ae6b2ecd8b0b1984904b"
        );
    }
}
