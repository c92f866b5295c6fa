//! A client's session: one XML stream, from its first header to its end (RFC 6120 §4 to §8).
//!
//! One per connection, `temporary`, under a shard of `c2s_sup`. Owns what the client negotiated, its
//! presence and its outbox; its IO task reads and writes for it. A session that falls loses its
//! connection: the session manager withdraws its presence, the dead-letter process sends on what it
//! had not delivered.

mod end;
mod queue;
mod receive;

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use otp::{Ctx, ExitReason, Flow, GenServer, Init};
use parking_lot::Mutex;
use router::{Ledger, Origin, Packet, Parcel, SessionOrigin, step};
use stream::{
    Element, Io, IoEvent, IoHandle, IoOptions, Negotiation, Next, Proceed, Profile, Step, Transport,
};
use tokio::sync::{Notify, oneshot};
use xmpp::{
    BareJid, Condition, FullJid, Jid, Kind, PresenceType, Stanza, StanzaFault, StreamCondition,
    StreamError,
};

use self::end::End;
use self::queue::Queue;
pub(crate) use self::receive::for_client;
use crate::hooks::UserSendPacket;
use crate::negotiate::SessionBinder;
use crate::presence;
use crate::sm::Sessions;
use crate::table::Entry;

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
    /// Messages wait in the account's offline queue. What came before it is older.
    Flush,
    /// Every message of a page of the offline queue was written, or will not be.
    PageSettled,
    /// By itself: all that was given to it before has come.
    Mark(Mark),
    /// A new session has its address; the sender is told once its presence is withdrawn.
    Replaced(oneshot::Sender<()>),
    /// It reads too slowly: its mailbox is full.
    Overrun,
    /// It ends with this error.
    End(StreamError),
}

/// What a session has said to others before a [`Cast::Mark`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// That what can be stored is not to be given to it.
    Turned,
    /// That it is out of the table.
    Closed,
}

/// State. Invariants: `live` is there from bind until what was not written is given back; `end` says
/// whether the stream's end was ordered: nothing is written for its client from then on.
pub struct C2s {
    sessions: Sessions,
    options: Arc<C2sOptions>,
    address: Option<SocketAddr>,
    io: IoHandle<Packet>,
    detached: Arc<Notify>,
    negotiation: Negotiation,
    bound: Arc<Mutex<Option<Arc<Entry>>>>,
    live: Option<Live>,
    end: End,
}

/// A bound session.
struct Live {
    entry: Arc<Entry>,
    /// Shared by all that it sends.
    full: Arc<Jid>,
    bare: Arc<Jid>,
    account: Arc<BareJid>,
    origin: Origin,
    ledger: Arc<Ledger>,
    /// The stream's language, for stanzas that name none (RFC 6120 §8.1.5).
    lang: Option<String>,
    queue: Queue,
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
            end: End::default(),
        })
    }

    async fn handle_cast(&mut self, cast: Cast, ctx: &mut Ctx<Self>) -> Flow {
        match cast {
            Cast::Io(IoEvent::Said) => self.end.said = true,
            Cast::Io(IoEvent::Detached(why)) => seldom(self.detached(&why, ctx)).await,
            Cast::Io(event) => self.io_event(event, ctx).await,
            Cast::Route(parcel) => self.receive(parcel, ctx).await,
            Cast::Flush => seldom(self.look_into_queue(ctx)).await,
            Cast::PageSettled => seldom(self.page_settled(ctx)).await,
            Cast::Mark(Mark::Turned) => seldom(self.turned(ctx)).await,
            Cast::Mark(Mark::Closed) => self.end.closed = true,
            Cast::Replaced(gone) => seldom(self.replaced(gone, ctx)).await,
            Cast::Overrun => seldom(self.overrun(ctx)).await,
            Cast::End(error) => seldom(self.end(Some(error), ctx)).await,
        }
        self.go_on_or_stop().await
    }

    async fn terminate(self, reason: &ExitReason, ctx: &mut Ctx<Self>) {
        self.last_words(reason, ctx).await;
    }
}

// Negotiation.

impl C2s {
    async fn io_event(&mut self, event: IoEvent, ctx: &mut Ctx<Self>) {
        if self.end.ordered {
            return;
        }
        let step = match event {
            IoEvent::Element(element, credit) => {
                let bound = self.live.is_some() && !self.negotiation.claims(&element);
                let step = if bound {
                    self.element(element, ctx).await;
                    None
                } else {
                    Some(seldom(self.negotiation.element(element)).await)
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
            IoEvent::Said | IoEvent::Detached(_) => None,
        };
        if let Some(step) = step {
            seldom(self.apply(step, ctx)).await;
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
            Next::Failed(error) => self.end(Some(error), ctx).await,
            Next::Closed => self.end(None, ctx).await,
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
        let account = Arc::clone(&entry.account);
        self.live = Some(Live {
            full: Arc::new(jid.clone().into()),
            bare: Arc::new((*account).clone().into()),
            account,
            origin: Origin::Session(Arc::new(SessionOrigin {
                jid,
                address: self.address,
            })),
            ledger: Ledger::new(),
            lang: self.negotiation.state().lang.clone(),
            entry,
            queue: Queue::default(),
        });
        self.io.proceed(Proceed::Flow);
    }
}

// From the client.

impl C2s {
    async fn element(&mut self, element: Element, ctx: &mut Ctx<Self>) {
        match Stanza::from_element(&element) {
            Ok(stanza) => self.sent(stanza, ctx).await,
            Err(StanzaFault::Answer(faulty)) => {
                seldom(self.answer_own(faulty.reply(), ctx)).await;
            }
            Err(StanzaFault::InvalidFrom(_)) => {
                seldom(self.end(Some(StreamCondition::InvalidFrom.into()), ctx)).await;
            }
            Err(StanzaFault::Stream(error)) => seldom(self.end(Some(error), ctx)).await,
        }
    }

    /// A stanza of the client: stamped, folded, checked, routed.
    async fn sent(&mut self, stanza: Stanza, ctx: &mut Ctx<Self>) {
        let Some(live) = &self.live else { return };
        if stanza
            .from()
            .is_some_and(|from| *from != *live.full && *from != *live.bare)
        {
            let error = StreamError::from(StreamCondition::InvalidFrom);
            return seldom(self.end(Some(error), ctx)).await;
        }
        self.sessions.stanzas.came(stanza.kind());
        live.entry.count_sent();
        let undirected = stanza.to().is_none();
        let stanza = live.stamp(stanza);
        let router = self.sessions.router.clone();
        let meta = router.meta(live.origin.clone());
        step!(meta, "c2s", user = %live.full, kind = ?stanza.kind(), id = stanza.id().unwrap_or_default());
        let mut packet = Packet {
            stanza,
            meta,
            receipt: live.ledger.open(),
        };
        if let Some(listeners) = router.listeners::<UserSendPacket>(live.account.domain().as_str())
        {
            let fold = UserSendPacket {
                user: live.entry.jid.clone(),
                stanza: packet.stanza.clone(),
                meta: packet.meta.clone(),
            };
            if listeners.want(&fold) {
                step!(packet.meta, "user_send_packet");
                match seldom(router.fold_wait(fold)).await.value() {
                    Some(fold) => (packet.stanza, packet.meta) = (fold.stanza, fold.meta),
                    None => return packet.drop_by_rule(),
                }
            }
        }
        if packet.stanza.kind() == Kind::Presence {
            return seldom(self.presence(packet, undirected, ctx)).await;
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
                            self.write(own, ctx).await;
                        }
                        self.stop_taking(ctx);
                    }
                    Err(error) => {
                        self.answer_own(packet.stanza.error_reply(&error), ctx)
                            .await;
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
                self.stop_taking(ctx);
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

    /// Answers a stanza of the client's own, where the rules allow an answer.
    async fn answer_own(&mut self, reply: Option<Stanza>, ctx: &mut Ctx<Self>) {
        let (Some(reply), Some(live)) = (reply, &self.live) else {
            return;
        };
        let own = self
            .sessions
            .router
            .packet(reply.edit().to_shared(&live.full).finish());
        self.write(own, ctx).await;
    }
}

impl Live {
    /// `from` is the session, a missing `to` is the account itself (RFC 6120 §8.1.2.1, §10.3), and a
    /// missing language is the stream's.
    fn stamp(&self, stanza: Stanza) -> Stanza {
        let (undirected, unspoken) = (stanza.to().is_none(), stanza.lang().is_none());
        let mut edit = stanza.into_edit().from_shared(&self.full);
        if undirected {
            edit = edit.to_shared(&self.bare);
        }
        if unspoken && self.lang.is_some() {
            edit = edit.lang(self.lang.clone());
        }
        edit.finish()
    }
}

/// Work that is seldom has its room only while it is done: an idle session is not as large as the largest thing that
/// it may have to do.
fn seldom<'a, T>(work: impl Future<Output = T> + Send + 'a) -> BoxFuture<'a, T> {
    Box::pin(work)
}

impl Drop for C2s {
    fn drop(&mut self) {
        // However the process ends, nothing stays behind in the outbox but as dead letters.
        drop(self.io.drain());
    }
}
