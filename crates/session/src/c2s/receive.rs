//! To the client: packets of others and the session's own answers.

use otp::Ctx;
use router::{Packet, Parcel, step};
use xmpp::{Condition, Kind, MessageType, Stanza};

use super::{C2s, seldom};
use crate::hooks::{Direction, PrivacyCheckPacket, UserReceivePacket};

impl C2s {
    /// A packet for the client. It stays in its envelope until it is written, so that it cannot be lost.
    pub(super) async fn receive(&mut self, parcel: Parcel, ctx: &mut Ctx<Self>) {
        let Some(live) = &mut self.live else {
            return self.sessions.router.resend(parcel).await;
        };
        if self.end.ordered || live.waits_its_turn(parcel.get()) {
            live.queue.hold(parcel);
            if live.queue.held_bytes() > self.options.io.outbox_bytes {
                seldom(self.overrun(ctx)).await;
            }
            return;
        }
        self.deliver(parcel, ctx).await;
    }

    pub(super) async fn deliver(&mut self, parcel: Parcel, ctx: &mut Ctx<Self>) {
        let Some(live) = &self.live else { return };
        let host = live.account.domain().as_str();
        let router = self.sessions.router.clone();
        if let Some(listeners) = router.listeners::<PrivacyCheckPacket>(host) {
            let fold = PrivacyCheckPacket {
                account: live.account.clone(),
                session: Some(live.entry.jid.clone()),
                direction: Direction::In,
                stanza: parcel.get().stanza.clone(),
            };
            if listeners.want(&fold) {
                step!(parcel.get().meta, "privacy_check_packet", direction = "in");
                if seldom(router.fold_wait(fold)).await.value().is_none() {
                    return seldom(self.blocked(parcel.take())).await;
                }
            }
        }
        let Some(listeners) = router.listeners::<UserReceivePacket>(host) else {
            return self.offer(parcel, ctx).await;
        };
        let fold = UserReceivePacket {
            user: live.entry.jid.clone(),
            stanza: parcel.get().stanza.clone(),
            meta: parcel.get().meta.clone(),
        };
        if !listeners.want(&fold) {
            return self.offer(parcel, ctx).await;
        }
        step!(parcel.get().meta, "user_receive_packet");
        match seldom(router.fold_wait(fold)).await.value() {
            Some(fold) => {
                let mut packet = parcel.take();
                (packet.stanza, packet.meta) = (fold.stanza, fold.meta);
                self.write(packet, ctx).await;
            }
            None => parcel.take().drop_by_rule(),
        }
    }

    /// Refused by the account's rules: only a sender who waits for something is told, and a room is
    /// not, since an error would drive the account out of it.
    async fn blocked(&mut self, packet: Packet) {
        let quiet = match packet.stanza.kind() {
            Kind::Presence => true,
            Kind::Message => {
                matches!(
                    packet.stanza.message_type(),
                    MessageType::Groupchat | MessageType::Headline
                )
            }
            Kind::Iq => false,
        };
        if quiet {
            return packet.drop_by_rule();
        }
        self.sessions
            .router
            .bounce(packet, Condition::ServiceUnavailable.into())
            .await;
    }

    /// Writes a packet without asking anybody.
    pub(super) async fn write(&mut self, packet: Packet, ctx: &mut Ctx<Self>) {
        let parcel = packet.enclose(self.sessions.router.dead_letters());
        self.offer(parcel, ctx).await;
    }

    async fn offer(&mut self, parcel: Parcel, ctx: &mut Ctx<Self>) {
        step!(parcel.get().meta, "send");
        let kind = parcel.get().stanza.kind();
        let rendered = for_client(&parcel.get().stanza);
        let Err(parcel) = self.io.offer(parcel, rendered) else {
            return self.sessions.stanzas.went(kind);
        };
        let Some(live) = &mut self.live else { return };
        live.queue.hold(parcel);
        seldom(self.overrun(ctx)).await;
    }
}

/// The stanza as a client is sent it.
pub(crate) fn for_client(stanza: &Stanza) -> bytes::Bytes {
    let mut out = bytes::BytesMut::new();
    stanza.serialise(xmpp::Target::Client, &mut out);
    out.freeze()
}
