//! `mod_configure`: what those who run this host do from their client.
//!
//! Source: XEP-0133 v1.3.1 §4; announcements are another module's. Each action is a command of the node, so that it
//! is checked and logged like any other. Hooks: `adhoc_local_items`, `adhoc_local_commands`, `privacy_check_packet`
//! (the host's black and white list). Stores: `hosts`, accounts, `roster`. State: the two lists, as stored, and an end
//! of the service that was ordered; its process carries that out.

mod accounts;
mod look;
mod service;

use std::sync::Arc;
use std::time::Duration;

use admin::{Caller, CommandError, Given, Hosts, Role, Value};
use config::Secret;
use gen_mod::prelude::*;
use parking_lot::RwLock;
use session::hooks::{Direction, PrivacyCheckPacket};
use storage::HostList;
use xmpp::{BareJid, parse_jid};

use crate::adhoc::{Filled, Form, Step, administers};
use crate::hooks::{AdhocCommands, AdhocStep};
use crate::privacy::rules::covers;

/// What the nodes of the source begin with, and the type of its forms.
const ADMIN: &str = "http://jabber.org/protocol/admin";

/// Service Administration.
pub struct ModConfigure;

/// An end of the service that was ordered with a delay.
struct ShutDown(&'static str, Caller);

/// What every handler is given.
#[derive(Clone)]
struct Office {
    host: Host,
    black: Arc<RwLock<Arc<[Jid]>>>,
    white: Arc<RwLock<Arc<[Jid]>>>,
    /// Tells the process to end the service.
    end: Arc<dyn Fn(Order) -> bool + Send + Sync>,
}

/// End the service after this time, by that command of the node, for that caller.
struct Order(Duration, &'static str, Caller);

impl Module for ModConfigure {
    const NAME: &'static str = "mod_configure";
    const SOURCES: &'static [Source] = &[xep(
        133,
        "1.3.1",
        Partial("passwords are not kept, so none is shown"),
    )];
    const DEPENDS: &'static [gen_mod::Depends] = &[needs("mod_adhoc")];
    type Opts = NoOpts;

    async fn start(ctx: &ModuleCtx, _opts: NoOpts) -> Result<(Self, Registrations), StartError> {
        let read = async |list| {
            let found = ctx.host.storage.hosts.addresses(&ctx.host.name, list).await;
            let found = found.map_err(|error| StartError::Resource(error.to_string()))?;
            Ok::<_, StartError>(Arc::new(RwLock::new(Arc::from(found))))
        };
        let tell = ctx.teller();
        let office = Office {
            host: ctx.host.clone(),
            black: read(HostList::Black).await?,
            white: read(HostList::White).await?,
            end: Arc::new(move |order| tell(Box::new(order))),
        };
        let (steps, lists) = (office.clone(), office.clone());
        let registrations = Registrations::new()
            .hook::<AdhocCommands>(Priority::NORMAL, offer)
            .hook_wait::<AdhocStep, _, _>(Priority::NORMAL, move |_, asked| {
                step(steps.clone(), asked)
            })
            .hook_if::<PrivacyCheckPacket>(
                Priority::EARLY,
                move |_, _| !lists.black.read().is_empty() || !lists.white.read().is_empty(),
                move |_, asked| office.check(asked),
            );
        Ok((ModConfigure, registrations))
    }

    async fn handle_info(&mut self, info: Info, ctx: &ModuleCtx) {
        match info {
            Info::Message(message) => match message.downcast::<Order>() {
                Ok(order) => ctx.send_after(order.0, ShutDown(order.1, order.2)),
                Err(message) => {
                    if let Ok(order) = message.downcast::<ShutDown>() {
                        let ShutDown(command, caller) = &*order;
                        let nothing = Given::nothing();
                        // The registry logs how it went.
                        let _ = ctx.host.commands.execute(caller, command, &nothing).await;
                    }
                }
            },
            Info::Route(parcel) => drop(parcel),
            Info::Down(_) => {}
        }
    }
}

impl Office {
    /// Keeps the accounts of the host from whoever is on its black list, and from all who are not on its white list
    /// where it has one. The host's own accounts hear one another unless the black list names them.
    fn check(&self, asked: PrivacyCheckPacket) -> Flow<PrivacyCheckPacket> {
        let other = match asked.direction {
            Direction::In => asked.stanza.from(),
            Direction::Out => asked.stanza.to(),
        };
        let Some(other) = other else {
            return Flow::Next(asked);
        };
        let own = other.domain() == asked.account.domain();
        if own && (other.node().is_none() || other.to_bare() == *asked.account) {
            return Flow::Next(asked);
        }
        let named = |list: &RwLock<Arc<[Jid]>>| list.read().iter().any(|jid| covers(jid, other));
        let closed = !own && !self.white.read().is_empty() && !named(&self.white);
        if closed || named(&self.black) {
            return Flow::Drop;
        }
        Flow::Next(asked)
    }

    fn list(&self, list: HostList) -> &RwLock<Arc<[Jid]>> {
        match list {
            HostList::Black => &self.black,
            HostList::White => &self.white,
        }
    }
}

/// One command of the source.
struct Duty {
    node: &'static str,
    title: &'static str,
    /// For admins of the whole node alone.
    node_wide: bool,
}

const fn duty(node: &'static str, title: &'static str) -> Duty {
    Duty {
        node,
        title,
        node_wide: false,
    }
}

const fn node_wide(node: &'static str, title: &'static str) -> Duty {
    Duty {
        node,
        title,
        node_wide: true,
    }
}

/// The commands, in the order of the source. Where its examples and its names differ (§4.21, §4.22) both nodes serve,
/// the example's unlisted.
const DUTIES: &[Duty] = &[
    duty("add-user", "Add User"),
    duty("delete-user", "Delete User"),
    duty("disable-user", "Disable User"),
    duty("reenable-user", "Re-Enable User"),
    duty("end-user-session", "End User Session"),
    duty("get-user-password", "Get User Password"),
    duty("change-user-password", "Change User Password"),
    duty("get-user-roster", "Get User Roster"),
    duty("get-user-lastlogin", "Get User Last Login Time"),
    duty("user-stats", "Get User Statistics"),
    duty("edit-blacklist", "Edit Blacklist"),
    duty("edit-whitelist", "Edit Whitelist"),
    duty("get-registered-users-num", "Get Number of Registered Users"),
    duty("get-disabled-users-num", "Get Number of Disabled Users"),
    duty("get-online-users-num", "Get Number of Online Users"),
    duty("get-active-users-num", "Get Number of Active Users"),
    duty("get-idle-users-num", "Get Number of Idle Users"),
    duty("get-registered-users-list", "Get List of Registered Users"),
    duty("get-disabled-users-list", "Get List of Disabled Users"),
    duty("get-online-users-list", "Get List of Online Users"),
    duty("get-active-users-list", "Get List of Active Users"),
    duty("get-idle-users-list", "Get List of Idle Users"),
    node_wide("set-welcome", "Set Welcome Message"),
    node_wide("delete-welcome", "Delete Welcome Message"),
    node_wide("edit-admin", "Edit Admin List"),
    node_wide("restart", "Restart Service"),
    node_wide("shutdown", "Shut Down Service"),
];

impl Duty {
    fn is_for(&self, caller: &Caller, host: &Host) -> bool {
        let everywhere = caller.role == Role::Admin && caller.hosts == Hosts::All;
        administers(caller, host) && (everywhere || !self.node_wide)
    }

    /// A form of this command.
    fn form(&self, instructions: &str) -> Form {
        Form::new(self.title, instructions).of_type(ADMIN)
    }
}

fn offer(host: &Host, mut asked: AdhocCommands) -> Flow<AdhocCommands> {
    let theirs = DUTIES
        .iter()
        .filter(|duty| duty.is_for(&asked.caller, host));
    let named = theirs.map(|duty| (format!("{ADMIN}#{}", duty.node), duty.title.to_owned()));
    asked.commands.extend(named);
    Flow::Next(asked)
}

async fn step(office: Office, mut asked: AdhocStep) -> Flow<AdhocStep> {
    let name = asked
        .node
        .strip_prefix(ADMIN)
        .and_then(|rest| rest.strip_prefix('#'));
    let name = match name {
        Some("get-active-users") => Some("get-active-users-list"),
        Some("get-idle-users") => Some("get-idle-users-list"),
        name => name,
    };
    let Some(duty) = DUTIES.iter().find(|duty| Some(duty.node) == name) else {
        return Flow::Next(asked);
    };
    asked.step = Some(if duty.is_for(&asked.caller, &office.host) {
        Ask {
            office: &office,
            duty,
            caller: &asked.caller,
        }
        .take(asked.filled.first())
        .await
    } else {
        Err(Condition::Forbidden.into())
    });
    Flow::Next(asked)
}

/// One step of one command.
struct Ask<'a> {
    office: &'a Office,
    duty: &'a Duty,
    caller: &'a Caller,
}

impl Ask<'_> {
    async fn take(&self, filled: Option<&Filled>) -> Result<Step, StanzaError> {
        match self.duty.node {
            "add-user"
            | "delete-user"
            | "disable-user"
            | "reenable-user"
            | "end-user-session"
            | "get-user-password"
            | "change-user-password" => self.accounts(filled).await,
            "get-user-roster" | "get-user-lastlogin" | "user-stats" => self.of_user(filled).await,
            "edit-blacklist" => self.edit_list(HostList::Black, filled).await,
            "edit-whitelist" => self.edit_list(HostList::White, filled).await,
            "set-welcome" | "delete-welcome" => self.welcome(filled).await,
            "edit-admin" => self.edit_admins(filled).await,
            "restart" => self.end("restart", filled).await,
            "shutdown" => self.end("stop", filled).await,
            _ => self.of_users(filled).await,
        }
    }

    fn host(&self) -> &Host {
        &self.office.host
    }

    /// Gives a command of the node in the caller's name.
    ///
    /// # Errors
    ///
    /// `forbidden`: the caller may not; `not-acceptable`: it failed, and why.
    async fn run(
        &self,
        name: &str,
        words: &[&str],
        secret: Option<&str>,
    ) -> Result<Value, StanzaError> {
        let words = std::iter::once("--").chain(words.iter().copied());
        let mut given = Given::words(words);
        if let Some(secret) = secret {
            given = given.secret(Secret::new(secret));
        }
        let done = self
            .host()
            .commands
            .execute(self.caller, name, &given)
            .await;
        done.map_err(|error| match error {
            CommandError::Denied(why) => Condition::Forbidden.text(why),
            error => Condition::NotAcceptable.text(error.to_string()),
        })
    }

    /// The account that somebody named: one of a host that the caller administers.
    ///
    /// # Errors
    ///
    /// `jid-malformed`; `forbidden`: of another host; `item-not-found`: there is no such account.
    async fn account(&self, text: &str) -> Result<BareJid, StanzaError> {
        let jid = self.address(text)?.to_bare();
        if self.host().storage.accounts.exists(&jid).await? {
            return Ok(jid);
        }
        Err(Condition::ItemNotFound.text(format!("there is no account {jid}")))
    }

    /// An address on a host that the caller administers.
    fn address(&self, text: &str) -> Result<Jid, StanzaError> {
        let jid =
            parse_jid(text).map_err(|error| Condition::JidMalformed.text(error.to_string()))?;
        if jid.node().is_none() {
            return Err(Condition::JidMalformed.text(format!("{jid} is no account")));
        }
        let domain = jid.domain().as_str();
        if !self.caller.hosts.contain(domain) || !self.host().router.is_local(domain) {
            return Err(Condition::Forbidden.text(format!("{domain} is not yours")));
        }
        Ok(jid)
    }
}

/// Local part and domain of an account.
fn parts(account: &BareJid) -> [&str; 2] {
    let node = account.node().map_or("", |node| node.as_str());
    [node, account.domain().as_str()]
}
