//! The session manager: monitors sessions and clears away what a fallen one left; and the client API
//! that the rest of the server finds sessions by.
//!
//! One per server, permanent, before the sessions. State lives in the [`SessionTable`]; a restarted
//! manager monitors every session again and clears away the dead, also those that its predecessor had
//! not done with.

use std::collections::HashMap;
use std::sync::Arc;

use auth::Auth;
use otp::{ChildSpec, Ctx, Flow, GenServer, Info, Init, MonitorRef, Name, Named, System};
use parking_lot::RwLock;
use router::Router;
use xmpp::{BareJid, Condition, FullJid, StanzaError, StreamCondition, StreamError};

use crate::c2s;
use crate::counts::StanzaCounts;
use crate::flush::settle_page;
use crate::logins::Logins;
use crate::presence;
use crate::table::{Entry, Opened, SessionTable};

/// The session manager as other layers see it. Cheap to clone.
#[derive(Clone)]
pub struct Sessions {
    /// Which resources there are.
    pub table: SessionTable,
    /// Accounts and credentials.
    pub auth: Auth,
    /// How many stanzas passed.
    pub stanzas: StanzaCounts,
    /// How often accounts log in.
    pub logins: Logins,
    pub(crate) router: Router,
    sm: Named<Sm>,
    policy: Arc<RwLock<SessionPolicy>>,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sessions({})", self.table.count())
    }
}

/// The name the process is registered by.
#[must_use]
pub fn sm_name() -> Name {
    Name::new("sm", "")
}

/// What a new session may do to those of its account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionPolicy {
    /// When its resource is bound already. Default: the older session ends.
    pub conflict: Conflict,
    /// Most sessions of one account; one more ends the oldest. Default: 50.
    pub most: usize,
}

/// What becomes of a session that wants a resource which is bound (RFC 6120 §7.7.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// The older one ends.
    CloseOld,
    /// The newer one is refused with `conflict` and may ask for another.
    CloseNew,
    /// The newer one gets a resource of the server's making.
    SetResource,
}

impl Default for SessionPolicy {
    fn default() -> Self {
        SessionPolicy {
            conflict: Conflict::CloseOld,
            most: 50,
        }
    }
}

impl Sessions {
    /// An empty table, over this router and these accounts.
    #[must_use]
    pub fn new(system: &System, router: Router, auth: Auth) -> Sessions {
        let sm = system.registry().named(sm_name());
        Sessions {
            table: SessionTable::default(),
            stanzas: StanzaCounts::default(),
            logins: Logins::new(system.clock()),
            auth,
            router,
            sm,
            policy: Arc::default(),
        }
    }

    /// The process that monitors sessions.
    #[must_use]
    pub fn child_spec(&self) -> ChildSpec {
        let sessions = self.clone();
        ChildSpec::worker::<Sm>("sm", move || sessions.clone()).registered(sm_name())
    }

    /// What new sessions may do from now on.
    pub fn set_policy(&self, policy: SessionPolicy) {
        *self.policy.write() = policy;
    }

    /// What new sessions may do.
    #[must_use]
    pub fn policy(&self) -> SessionPolicy {
        self.policy.read().clone()
    }

    /// Enters a session and has it monitored; gives the session whose address it takes over.
    ///
    /// # Errors
    ///
    /// `conflict` when its resource is bound, and the policy says that the older session stays.
    pub(crate) fn open(
        &self,
        mut session: Opened,
    ) -> Result<(Arc<Entry>, Option<Arc<Entry>>), StanzaError> {
        let policy = self.policy().conflict;
        let (entry, replaced) = loop {
            match self.table.open(session, policy == Conflict::CloseOld) {
                Ok(opened) => break opened,
                Err(_) if policy == Conflict::CloseNew => return Err(Condition::Conflict.into()),
                Err(refused) => {
                    session = refused;
                    let own = session.jid.to_bare().with_resource_str(&xmpp::random_id());
                    session.jid = own.expect("a random id is a resource");
                }
            }
        };
        // Nobody there: a manager that starts reads the table first.
        let _ = self.sm.cast(Watch(Arc::clone(&entry)));
        self.end_oldest(&entry.jid.to_bare());
        Ok((entry, replaced))
    }

    /// Ends those sessions of an account that are too many, the oldest first.
    fn end_oldest(&self, account: &BareJid) {
        let sessions = self.table.sessions(account);
        let too_many = sessions.len().saturating_sub(self.policy().most.max(1));
        for entry in sessions.iter().take(too_many) {
            let error = StreamCondition::PolicyViolation.text("too many sessions of this account");
            let _ = entry.pid.control(c2s::Cast::End(error));
        }
    }

    /// Ends a session with this stream error. False when there is none at that address.
    #[must_use]
    pub fn kick(&self, jid: &FullJid, error: StreamError) -> bool {
        let Some(entry) = self.table.session(jid) else {
            return false;
        };
        entry.pid.control(c2s::Cast::End(error)).is_ok()
    }

    /// Ends every session of an account with this stream error; says how many there were.
    pub fn kick_all(&self, account: &BareJid, error: &StreamError) -> usize {
        self.kick_others(account, None, error)
    }

    /// As [`Sessions::kick_all`], but spares the session at `but`.
    pub fn kick_others(
        &self,
        account: &BareJid,
        but: Option<&FullJid>,
        error: &StreamError,
    ) -> usize {
        let mut sessions = self.table.sessions(account);
        sessions.retain(|entry| but != Some(&entry.jid));
        for entry in &sessions {
            let _ = entry.pid.control(c2s::Cast::End(error.clone()));
        }
        sessions.len()
    }

    /// Tells the sessions of an account that messages wait in its offline queue, where they take
    /// messages; the one that hands out the queue heeds it.
    pub fn flush_offline(&self, account: &BareJid) {
        for entry in self.table.takers(account) {
            // In its turn: what came before it is older than what waits in the queue.
            let _ = entry.pid.cast(c2s::Cast::Flush);
        }
    }
}

/// State. Invariant: every session that the table knows, at its end or not, is monitored.
pub struct Sm {
    sessions: Sessions,
    monitored: HashMap<MonitorRef, Arc<Entry>>,
}

/// What the process can be told: a session was entered.
pub struct Watch(Arc<Entry>);

impl GenServer for Sm {
    const KIND: &'static str = "sm";
    type Args = Sessions;
    type Call = ();
    type Reply = ();
    type Cast = Watch;
    type Info = ();

    async fn init(sessions: Sessions, ctx: &mut Ctx<Self>) -> Init<Self> {
        let mut sm = Sm {
            sessions,
            monitored: HashMap::new(),
        };
        for entry in sm.sessions.table.unfinished() {
            // A dead one is heard of at once as `Down`.
            sm.watch(entry, ctx);
        }
        Init::Ok(sm)
    }

    async fn handle_cast(&mut self, Watch(entry): Watch, ctx: &mut Ctx<Self>) -> Flow {
        self.watch(entry, ctx);
        Flow::Go
    }

    async fn handle_info(&mut self, info: Info<()>, ctx: &mut Ctx<Self>) -> Flow {
        if let Info::Down(down) = info {
            self.gone(down.monitor, ctx);
        }
        Flow::Go
    }
}

impl Sm {
    fn watch(&mut self, entry: Arc<Entry>, ctx: &mut Ctx<Self>) {
        let pid = entry.pid.any();
        self.monitored.insert(ctx.monitor(&pid), entry);
    }

    /// A session's process ended. One that ended in order has done all of it itself.
    fn gone(&mut self, monitor: MonitorRef, ctx: &mut Ctx<Self>) {
        let Some(entry) = self.monitored.remove(&monitor) else {
            return;
        };
        if !self.sessions.table.knows(&entry) {
            return;
        }
        tracing::warn!(target: "natter::session", jid = %entry.jid, "session fell; its presence is withdrawn");
        self.sessions.table.close(&entry);
        let sessions = self.sessions.clone();
        // It waits for stores: not in this process.
        ctx.spawn(async move { clear_away(&sessions, &entry).await });
    }
}

/// Does what a session that fell could not do.
async fn clear_away(sessions: &Sessions, entry: &Arc<Entry>) {
    presence::withdraw(sessions, entry).await;
    // What it had not delivered stands in the offline queue before another hands that out.
    sessions.router.dead_letters_sent_on().await;
    settle_page(&sessions.router, entry).await;
    if sessions.table.forget(entry) {
        sessions.flush_offline(&entry.jid.to_bare());
    }
}
