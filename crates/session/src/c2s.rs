//! A client's session: one XML stream, from its first header to its end (RFC 6120 §4 to §8).
//!
//! One per connection, `temporary`, under a shard of `c2s_sup`. Owns what the client negotiated, its
//! presence and its outbox; its IO task reads and writes for it. A session that falls loses its
//! connection: the session manager withdraws its presence, the dead-letter process sends on what it
//! had not delivered.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use otp::{Ctx, ExitReason, Flow, GenServer, Init};
use parking_lot::Mutex;
use router::{Flags, Ledger, Origin, Packet, Parcel, SessionOrigin, step};
use stream::{
    Detached, Element, Io, IoEvent, IoHandle, IoOptions, Negotiation, Next, Proceed, Profile, Step,
    Transport,
};
use tokio::sync::{Notify, oneshot};
use xmpp::{
    BareJid, Condition, FullJid, Jid, Kind, MessageType, PresenceType, Stanza, StanzaError,
    StanzaFault, StreamCondition, StreamError,
};

use crate::flush::{Flush, Page};
use crate::hooks::{Direction, PrivacyCheckPacket, UserReceivePacket, UserSendPacket};
use crate::negotiate::SessionBinder;
use crate::presence;
use crate::sm::Sessions;
use crate::table::Entry;

/// How long an ending session may take to write what waits, before it is cut off.
const END_WITHIN: Duration = Duration::from_secs(8);

/// What a listener gives to each of its sessions.
pub struct C2sOptions {
    /// What is negotiated.
    pub profile: Arc<Profile>,
    /// What the IO task is given.
    pub io: IoOptions,
    /// What one element may cost once logged in.
    pub limits: stream::Limits,
}

/// Starts the IO task of a transport as the session's own.
type Attach = Box<dyn FnOnce(&mut Ctx<C2s>, IoOptions, Arc<Notify>) -> IoHandle<Packet> + Send>;

/// What a session starts with.
pub struct C2sArgs {
    sessions: Sessions,
    options: Arc<C2sOptions>,
    address: Option<SocketAddr>,
    attach: Attach,
}

impl C2sArgs {
    /// A session over `transport`, whose client is at `address`.
    pub fn new(
        sessions: Sessions,
        options: Arc<C2sOptions>,
        transport: impl Transport,
        address: Option<SocketAddr>,
    ) -> C2sArgs {
        let attach = move |ctx: &mut Ctx<C2s>, io: IoOptions, detached: Arc<Notify>| {
            let me = ctx.pid().clone();
            let tell = move |event: IoEvent| {
                if matches!(event, IoEvent::Detached(_)) {
                    detached.notify_one();
                }
                // Bounded by the credit of the IO task. A process that is ending hears no more, but what
                // it wrote last is still to leave; one that has ended has ended the task.
                let _ = me.cast(Cast::Io(event));
                Ok(())
            };
            Io::attach(ctx, transport, io, tell, |packet: Packet| {
                step!(packet.meta, "written");
                packet.receipt.resolve(router::Outcome::Delivered);
            })
        };
        C2sArgs {
            sessions,
            options,
            address,
            attach: Box::new(attach),
        }
    }
}

/// What a session can be told.
pub enum Cast {
    /// By its IO task.
    Io(IoEvent),
    /// A packet for its client.
    Route(Parcel),
    /// Messages wait in the account's offline queue.
    Flush,
    /// Every message of a page of the offline queue was written, or will not be.
    PageSettled,
    /// A new session has its address; the sender is told once its presence is withdrawn.
    Replaced(oneshot::Sender<()>),
    /// It reads too slowly: its mailbox is full.
    Overrun,
    /// It ends with this error.
    End(StreamError),
}

/// State. Invariants: `live` is there from bind to the end; `ending` is set once the stream's end was
/// ordered, and nothing is written for its client from then on.
pub struct C2s {
    sessions: Sessions,
    options: Arc<C2sOptions>,
    address: Option<SocketAddr>,
    io: IoHandle<Packet>,
    detached: Arc<Notify>,
    negotiation: Negotiation,
    bound: Arc<Mutex<Option<Arc<Entry>>>>,
    live: Option<Live>,
    ending: bool,
}

/// A bound session.
struct Live {
    entry: Arc<Entry>,
    full: Jid,
    bare: Jid,
    account: BareJid,
    origin: Origin,
    ledger: Arc<Ledger>,
    /// The stream's language, for stanzas that name none (RFC 6120 §8.1.5).
    lang: Option<String>,
    flush: Option<Flush>,
    /// What came while the offline queue was handed out, in order, and what it weighs.
    held: VecDeque<Parcel>,
    held_bytes: usize,
}

impl GenServer for C2s {
    const KIND: &'static str = "c2s";
    type Args = C2sArgs;
    type Call = ();
    type Reply = ();
    type Cast = Cast;
    type Info = ();

    async fn init(args: C2sArgs, ctx: &mut Ctx<Self>) -> Init<Self> {
        let detached = Arc::new(Notify::new());
        let io = (args.attach)(ctx, args.options.io.clone(), Arc::clone(&detached));
        let bound: Arc<Mutex<Option<Arc<Entry>>>> = Arc::default();
        let binder = SessionBinder {
            sessions: args.sessions.clone(),
            clock: ctx.clock().clone(),
            pid: ctx.pid().clone(),
            address: args.address,
            entry: Arc::clone(&bound),
        };
        let negotiation = Negotiation::new(Arc::clone(&args.options.profile), Arc::new(binder));
        Init::Ok(C2s {
            sessions: args.sessions,
            options: args.options,
            address: args.address,
            io,
            detached,
            negotiation,
            bound,
            live: None,
            ending: false,
        })
    }

    async fn handle_cast(&mut self, cast: Cast, ctx: &mut Ctx<Self>) -> Flow {
        match cast {
            Cast::Io(IoEvent::Detached(why)) => return self.detached(&why).await,
            Cast::Io(event) => self.io_event(event, ctx).await,
            Cast::Route(parcel) => self.receive(parcel).await,
            Cast::Flush => self.begin_flush(ctx).await,
            Cast::PageSettled => self.page_settled(ctx).await,
            Cast::Replaced(gone) => self.replaced(gone).await,
            Cast::Overrun => self.overrun().await,
            Cast::End(error) => self.end(Some(error)).await,
        }
        Flow::Go
    }

    /// Orderly end, mostly of the whole server: what waits is written, then the stream is closed.
    async fn terminate(mut self, reason: &ExitReason, ctx: &mut Ctx<Self>) {
        let condition = match reason {
            ExitReason::Normal | ExitReason::Shutdown => StreamCondition::SystemShutdown,
            _ => StreamCondition::InternalServerError,
        };
        // Unless it is ending already.
        self.end(Some(StreamError::from(condition))).await;
        // At once when the connection is gone already.
        let detached = Arc::clone(&self.detached);
        let _ = ctx.clock().timeout(END_WITHIN, detached.notified()).await;
        self.settle().await;
    }
}

// Negotiation.

impl C2s {
    async fn io_event(&mut self, event: IoEvent, ctx: &mut Ctx<Self>) {
        if self.ending {
            return;
        }
        let step = match event {
            IoEvent::Element(element, credit) => {
                let bound = self.live.is_some() && !self.negotiation.claims(&element);
                let step = if bound {
                    self.element(element, ctx).await;
                    None
                } else {
                    Some(self.negotiation.element(element).await)
                };
                drop(credit);
                step
            }
            IoEvent::Secured(tls) => {
                self.negotiation.secured(tls);
                None
            }
            IoEvent::Open(header) => Some(self.negotiation.open(header)),
            IoEvent::Close => Some(self.negotiation.closed()),
            IoEvent::Fault(fault) => Some(self.negotiation.fault(&fault)),
            IoEvent::Detached(_) => None,
        };
        if let Some(step) = step {
            self.apply(step, ctx).await;
        }
    }

    async fn apply(&mut self, step: Step, ctx: &mut Ctx<Self>) {
        for item in step.write {
            self.io.push(item);
        }
        match step.next {
            Next::Frame if self.live.is_some() => {}
            Next::Frame => self.io.proceed(Proceed::Next),
            Next::StartTls(config) => self.io.proceed(Proceed::StartTls(config)),
            Next::Authenticated(account) => {
                tracing::debug!(target: "natter::session", %account, "logged in");
                self.io.proceed(Proceed::SetLimits(self.options.limits));
                self.io.proceed(Proceed::Restart);
            }
            Next::Bound(jid) => self.bind(jid, ctx),
            Next::Failed(error) => self.end(Some(error)).await,
            Next::Closed => self.end(None).await,
        }
    }

    fn bind(&mut self, jid: FullJid, ctx: &mut Ctx<Self>) {
        let entry = self
            .bound
            .lock()
            .take()
            .expect("a bound stream has entered the session table");
        ctx.set_kind_label(jid.to_string());
        tracing::info!(target: "natter::session", %jid, address = ?self.address, "session opened");
        let account = jid.to_bare();
        self.live = Some(Live {
            full: jid.clone().into(),
            bare: account.clone().into(),
            account,
            origin: Origin::Session(Arc::new(SessionOrigin {
                jid,
                address: self.address,
            })),
            ledger: Ledger::new(),
            lang: self.negotiation.state().lang.clone(),
            entry,
            flush: None,
            held: VecDeque::new(),
            held_bytes: 0,
        });
        self.io.proceed(Proceed::Flow);
    }
}

// From the client.

impl C2s {
    async fn element(&mut self, element: Element, ctx: &mut Ctx<Self>) {
        match Stanza::from_element(&element) {
            Ok(stanza) => self.sent(stanza, ctx).await,
            Err(StanzaFault::Answer(faulty)) => self.answer_own(faulty.reply()).await,
            Err(StanzaFault::InvalidFrom(_)) => {
                self.end(Some(StreamCondition::InvalidFrom.into())).await
            }
            Err(StanzaFault::Stream(error)) => self.end(Some(error)).await,
        }
    }

    /// A stanza of the client: stamped, folded, checked, routed.
    async fn sent(&mut self, stanza: Stanza, ctx: &mut Ctx<Self>) {
        let Some(live) = &self.live else { return };
        if stanza
            .from()
            .is_some_and(|from| *from != live.full && *from != live.bare)
        {
            return self
                .end(Some(StreamError::from(StreamCondition::InvalidFrom)))
                .await;
        }
        let undirected = stanza.to().is_none();
        let stanza = live.stamp(&stanza);
        let router = self.sessions.router.clone();
        let meta = router.meta(live.origin.clone());
        step!(meta, "c2s", user = %live.full, kind = ?stanza.kind(), id = stanza.id().unwrap_or_default());
        let mut packet = Packet {
            stanza,
            meta,
            receipt: live.ledger.open(),
        };
        if router.has_handlers::<UserSendPacket>(live.account.domain().as_str()) {
            step!(packet.meta, "user_send_packet");
            let fold = UserSendPacket {
                user: live.entry.jid.clone(),
                stanza: packet.stanza.clone(),
                meta: packet.meta.clone(),
            };
            match router.fold_wait(fold).await.value() {
                Some(fold) => (packet.stanza, packet.meta) = (fold.stanza, fold.meta),
                None => return packet.drop_by_rule(),
            }
        }
        if packet.stanza.kind() == Kind::Presence {
            return self.presence(packet, undirected, ctx).await;
        }
        step!(packet.meta, "privacy_check_packet", direction = "out");
        if !presence::may_send(&self.sessions, &live.entry, &packet.stanza).await {
            return router.bounce(packet, Condition::NotAcceptable.into()).await;
        }
        router.route(packet).await;
    }

    async fn presence(&mut self, packet: Packet, undirected: bool, ctx: &mut Ctx<Self>) {
        let Some(live) = &self.live else { return };
        let entry = Arc::clone(&live.entry);
        let kind = packet.stanza.presence_type();
        match kind {
            PresenceType::Available if undirected => {
                match presence::available(
                    &self.sessions,
                    &entry,
                    packet.stanza.edit().to(None).finish(),
                )
                .await
                {
                    Ok(shown) => {
                        packet.drop_by_rule();
                        for stanza in shown.deliver {
                            let own = self.sessions.router.packet(stanza);
                            self.write(own).await;
                        }
                        if shown.takes_messages {
                            self.begin_flush(ctx).await;
                        }
                    }
                    Err(error) => {
                        self.refuse(&packet.stanza, &error).await;
                        packet.drop_by_rule();
                    }
                }
            }
            PresenceType::Unavailable if undirected => {
                presence::unavailable(
                    &self.sessions,
                    &entry,
                    packet.stanza.edit().to(None).finish(),
                )
                .await;
                packet.drop_by_rule();
            }
            PresenceType::Subscribe
            | PresenceType::Subscribed
            | PresenceType::Unsubscribe
            | PresenceType::Unsubscribed => self.subscription(packet, &entry).await,
            // A subscription, probe or error to nobody means nothing.
            _ if undirected => packet.drop_by_rule(),
            _ => {
                if !presence::may_send(&self.sessions, &entry, &packet.stanza).await {
                    return packet.drop_by_rule();
                }
                presence::directed(&self.sessions, &entry, &packet.stanza).await;
                self.sessions.router.route(packet).await;
            }
        }
    }

    async fn subscription(&mut self, packet: Packet, entry: &Arc<Entry>) {
        step!(packet.meta, "roster_out_subscription", kind = ?packet.stanza.presence_type());
        if !presence::may_send(&self.sessions, entry, &packet.stanza).await {
            return packet.drop_by_rule();
        }
        let Packet {
            stanza,
            meta,
            receipt,
        } = packet;
        let (routed, after) = presence::subscription(&self.sessions, entry, stanza).await;
        let router = self.sessions.router.clone();
        match routed {
            Some(stanza) => {
                router
                    .route(Packet {
                        stanza,
                        meta: meta.clone(),
                        receipt,
                    })
                    .await
            }
            None => receipt.resolve(router::Outcome::Dropped),
        }
        for stanza in after {
            router.route(router.answer(stanza, &meta)).await;
        }
    }

    /// Answers a stanza of the client's own with an error, where the rules allow one.
    async fn refuse(&mut self, stanza: &Stanza, error: &StanzaError) {
        self.answer_own(stanza.error_reply(error)).await;
    }

    async fn answer_own(&mut self, reply: Option<Stanza>) {
        let (Some(reply), Some(live)) = (reply, &self.live) else {
            return;
        };
        let own = self
            .sessions
            .router
            .packet(reply.edit().to(live.full.clone()).finish());
        self.write(own).await;
    }
}

impl Live {
    fn hold(&mut self, parcel: Parcel) {
        self.held_bytes += parcel.bytes();
        self.held.push_back(parcel);
    }

    fn takes_messages(&self) -> bool {
        self.entry.priority().is_some_and(|priority| priority >= 0)
    }

    /// `from` is the session, a missing `to` is the account itself (RFC 6120 §8.1.2.1, §10.3), and a
    /// missing language is the stream's.
    fn stamp(&self, stanza: &Stanza) -> Stanza {
        let mut edit = stanza.edit().from(self.full.clone());
        if stanza.to().is_none() {
            edit = edit.to(self.bare.clone());
        }
        if stanza.lang().is_none() && self.lang.is_some() {
            edit = edit.lang(self.lang.clone());
        }
        edit.finish()
    }
}

// To the client.

impl C2s {
    /// A packet for the client. It stays in its envelope until it is written, so that it cannot be lost.
    async fn receive(&mut self, parcel: Parcel) {
        let Some(live) = &mut self.live else {
            return self.sessions.router.reroute(parcel.take()).await;
        };
        if self.ending || live.flush.is_some() {
            live.hold(parcel);
            if live.held_bytes > self.options.io.outbox_bytes {
                self.overrun().await;
            }
            return;
        }
        self.deliver(parcel).await;
    }

    async fn deliver(&mut self, parcel: Parcel) {
        let Some(live) = &self.live else { return };
        let host = live.account.domain().as_str();
        let router = self.sessions.router.clone();
        if router.has_handlers::<PrivacyCheckPacket>(host) {
            step!(parcel.get().meta, "privacy_check_packet", direction = "in");
            let fold = PrivacyCheckPacket {
                account: live.account.clone(),
                session: Some(live.entry.jid.clone()),
                direction: Direction::In,
                stanza: parcel.get().stanza.clone(),
            };
            if router.fold_wait(fold).await.value().is_none() {
                return self.blocked(parcel.take()).await;
            }
        }
        if !router.has_handlers::<UserReceivePacket>(host) {
            return self.offer(parcel).await;
        }
        step!(parcel.get().meta, "user_receive_packet");
        let fold = UserReceivePacket {
            user: live.entry.jid.clone(),
            stanza: parcel.get().stanza.clone(),
            meta: parcel.get().meta.clone(),
        };
        match router.fold_wait(fold).await.value() {
            Some(fold) => {
                let mut packet = parcel.take();
                (packet.stanza, packet.meta) = (fold.stanza, fold.meta);
                self.write(packet).await;
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
    async fn write(&mut self, packet: Packet) {
        let parcel = packet.enclose(self.sessions.router.dead_letters());
        self.offer(parcel).await;
    }

    async fn offer(&mut self, parcel: Parcel) {
        step!(parcel.get().meta, "send");
        let rendered = for_client(&parcel.get().stanza);
        if let Err(parcel) = self.io.offer(parcel, rendered) {
            let Some(live) = &mut self.live else { return };
            live.hold(parcel);
            self.overrun().await;
        }
    }
}

// The offline queue.

impl C2s {
    async fn begin_flush(&mut self, ctx: &mut Ctx<Self>) {
        let Some(live) = &mut self.live else { return };
        if let Some(flush) = &mut live.flush {
            flush.again = true;
            return;
        }
        if self.ending || !live.takes_messages() {
            return;
        }
        if self.sessions.table.begin_flush(&live.entry) {
            live.flush = Some(Flush::default());
            self.next_page(ctx).await;
        }
    }

    /// Hands out the next messages; at the end of the queue what was held back meanwhile follows.
    async fn next_page(&mut self, ctx: &mut Ctx<Self>) {
        loop {
            if !self.live.as_ref().is_some_and(Live::takes_messages) {
                // It is no longer available: the rest is another's, or waits.
                return self.end_flush().await;
            }
            let Some(Live {
                flush: Some(flush),
                account,
                entry,
                ..
            }) = &mut self.live
            else {
                return;
            };
            let waiting = flush.fetch(&self.sessions.router, account).await;
            if waiting.is_empty() {
                if flush.ends() {
                    return self.end_flush().await;
                }
                continue;
            }
            let page = Page::new(waiting.iter().map(|w| w.place).collect(), ctx.pid().clone());
            *entry.page().lock() = Some(Arc::clone(&page));
            let mut taken = 0;
            let mut full = false;
            for (number, message) in waiting.into_iter().enumerate() {
                let mut packet = self.sessions.router.packet(message.stanza);
                packet.meta.flags.insert(Flags::FROM_OFFLINE);
                packet.receipt = page.receipt(number);
                let rendered = for_client(&packet.stanza);
                let parcel = packet.enclose(self.sessions.router.dead_letters());
                // What finds no room is read again when the rest is written, and so is all behind it,
                // though it be smaller: they arrive in order.
                let refused = if full {
                    Some(parcel)
                } else {
                    self.io.offer(parcel, rendered).err()
                };
                match refused {
                    None => taken += 1,
                    Some(parcel) => {
                        full = true;
                        parcel.take().drop_by_rule();
                    }
                }
            }
            if taken == 0 {
                self.overrun().await;
            }
            return;
        }
    }

    async fn page_settled(&mut self, ctx: &mut Ctx<Self>) {
        if self.ending {
            return;
        }
        if let Some(Live {
            flush: Some(flush),
            entry,
            ..
        }) = &mut self.live
        {
            flush.settle_page(&self.sessions.router, entry).await;
            self.next_page(ctx).await;
        }
    }

    async fn end_flush(&mut self) {
        let Some(live) = &mut self.live else { return };
        live.flush = None;
        if let Some(other) = self.sessions.table.end_flush(&live.entry) {
            let _ = other.pid.control(Cast::Flush);
        }
        live.held_bytes = 0;
        for parcel in std::mem::take(&mut live.held) {
            // An overrun half-way holds the rest back again.
            self.receive(parcel).await;
        }
    }
}

// The end.

impl C2s {
    /// Orders the end of the stream: what waits is written first, then `error`, then the closing tag.
    async fn end(&mut self, error: Option<StreamError>) {
        if self.ending {
            return;
        }
        self.ending = true;
        self.io.close(error);
        self.leave().await;
    }

    /// The client does not read what it is sent: nothing more is written but the reason.
    async fn overrun(&mut self) {
        if self.ending {
            return;
        }
        self.ending = true;
        self.io
            .cut(Some(StreamError::from(StreamCondition::ResourceConstraint)));
        self.leave().await;
    }

    async fn replaced(&mut self, gone: oneshot::Sender<()>) {
        let flushing = self.live.as_ref().is_some_and(|live| live.flush.is_some());
        if !self.ending {
            self.ending = true;
            self.io
                .cut(Some(StreamError::from(StreamCondition::Conflict)));
            self.leave().await;
        }
        if flushing {
            // What of the queue was written must be known before the new session reads it.
            self.settle().await;
        }
        let _ = gone.send(());
    }

    /// From now on nobody delivers here; those who saw the session are told.
    async fn leave(&mut self) {
        let Some(live) = &self.live else { return };
        let entry = Arc::clone(&live.entry);
        self.sessions.table.close(&entry);
        presence::withdraw(&self.sessions, &entry).await;
    }

    /// The connection is gone: always the IO task's last word.
    async fn detached(&mut self, why: &Detached) -> Flow {
        if !self.ending {
            self.ending = true;
            self.leave().await;
        }
        tracing::debug!(target: "natter::session", jid = ?self.live.as_ref().map(|l| l.full.to_string()), %why, "connection gone");
        self.settle().await;
        Flow::Stop(ExitReason::Normal)
    }

    /// Sends on, in order, what was not written.
    async fn settle(&mut self) {
        let unwritten = self.io.drain();
        let Some(mut live) = self.live.take() else {
            return;
        };
        let router = self.sessions.router.clone();
        // The messages of the queue first: they only tell their page that they were not written.
        let mut left = VecDeque::new();
        for parcel in unwritten {
            if parcel.get().meta.flags.contains(Flags::FROM_OFFLINE) {
                parcel.take().drop_by_rule();
            } else {
                left.push_back(parcel);
            }
        }
        if let Some(flush) = &mut live.flush {
            flush.settle_page(&router, &live.entry).await;
        }
        for parcel in left.into_iter().chain(live.held) {
            router.reroute(parcel.take()).await;
        }
        if self.sessions.table.forget(&live.entry) {
            self.sessions.flush_offline(&live.account);
        }
        tracing::info!(target: "natter::session", jid = %live.full, "session closed");
    }
}

impl Drop for C2s {
    fn drop(&mut self) {
        // However the process ends, nothing stays behind in the outbox but as dead letters.
        drop(self.io.drain());
    }
}

/// The stanza as a client is sent it.
pub(crate) fn for_client(stanza: &Stanza) -> bytes::Bytes {
    let mut out = bytes::BytesMut::with_capacity(stanza.len() + 128);
    stanza.serialise(xmpp::Target::Client, &mut out);
    out.freeze()
}
