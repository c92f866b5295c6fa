//! Making invitations: at the node's terminal, and from a client (XEP-0401 §4.1, §4.4).

use std::time::Duration;

use admin::{Arg, ArgType, Caller, Command, CommandError, Role, Scope, Value};
use gen_mod::prelude::*;
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use storage::{Invite, InviteKind, StorageError};
use xmpp::{BareJid, format_date_time};

use super::Desk;
use crate::adhoc::{Field, FieldKind, Filled, Form, Step, administers, is_of};
use crate::hooks::{AdhocCommands, AdhocStep};
use crate::registration::account;

const INVITE: &str = "urn:xmpp:invite#invite";
const CREATE_ACCOUNT: &str = "urn:xmpp:invite#create-account";

/// The type of the forms that hold an invitation.
const INVITATION: &str = "urn:xmpp:invite#invitation";

/// The most often that one invitation is used.
const MAX_USES: i64 = 10_000;

// At the terminal.

pub(super) fn invite(desk: &Desk) -> Command {
    let desk = desk.clone();
    Command::new(
        "invite",
        "Makes an invitation: whoever has its link may make an account.",
        move |_, args| {
            let desk = desk.clone();
            async move {
                let name = args.maybe_text("name");
                if let Some(name) = name {
                    free(&desk, name).await?;
                }
                let kind = InviteKind::Account {
                    name: name.map(str::to_owned),
                    befriend: false,
                };
                let uses = args
                    .integer("uses")
                    .and_then(|uses| u32::try_from(uses).ok());
                let invite =
                    desk.create(None, kind, args.duration("expire_after"), uses.unwrap_or(1));
                let invite = invite.await.map_err(failed)?;
                let link = invite.uri();
                let page = desk.landing(&invite);
                if args.flag("plain") {
                    return Ok(Value::Text(page.unwrap_or(link)));
                }
                let until = format_date_time(invite.expires);
                let uses = match invite.max_uses {
                    1 => "once".to_owned(),
                    uses => format!("{uses} times"),
                };
                let picture = picture(&link);
                let page = page.map(|page| format!("{page}\n")).unwrap_or_default();
                Ok(Value::Text(format!(
                    "{page}{link}\n\n{picture}\n\ngood until {until}, {uses}"
                )))
            }
        },
    )
    .arg(Arg::host("host", "where the account will be"))
    .arg(Arg::new("expire_after", ArgType::Duration, "how long it is good").optional())
    .arg(
        Arg::new(
            "uses",
            ArgType::Integer(1, MAX_USES),
            "how often it can be used; once unless said",
        )
        .optional(),
    )
    .arg(Arg::text("name", "the name it is for; kept for whoever has the link").optional())
    .flag("plain", "prints the link alone, without a QR code; that of `landing_page` where there is one")
    .allow(Role::HostAdmin, Scope::Host)
    .returns("the link of `landing_page` where there is one, the link for clients, a QR code of it, and how long it is good")
}

/// A name that can be an account's and is none's yet.
async fn free(desk: &Desk, name: &str) -> Result<(), CommandError> {
    let host = &desk.host;
    let wrong = || CommandError::failed(format!("`{name}` is not the name of an account"));
    let new = account(name, &host.name).map_err(|_| wrong())?;
    if new.node().map(|node| node.as_str()) != Some(name) {
        // The link and the name that is kept are one spelling.
        return Err(wrong());
    }
    if host.storage.accounts.exists(&new).await.map_err(failed)? {
        return Err(CommandError::failed(format!("{new} exists already")));
    }
    let now = host.clock.wall();
    let kept = host.storage.invites.reserves(&host.name, name, now).await;
    if kept.map_err(failed)? {
        return Err(CommandError::failed(format!("{new} is invited already")));
    }
    Ok(())
}

/// The link as a QR code for a terminal with light letters on a dark ground, as most are.
fn picture(link: &str) -> String {
    match QrCode::new(link) {
        Ok(code) => code
            .render::<Dense1x2>()
            .dark_color(Dense1x2::Light)
            .light_color(Dense1x2::Dark)
            .build(),
        Err(_) => "(too long for a QR code)".to_owned(),
    }
}

pub(super) fn invite_list(desk: &Desk) -> Command {
    let desk = desk.clone();
    Command::new(
        "invite_list",
        "Lists the invitations to a host.",
        move |_, _| {
            let desk = desk.clone();
            async move {
                let invites = desk.host.storage.invites.list(&desk.host.name).await;
                let empty = Value::table(["token", "link", "by", "uses", "of", "until", "good"]);
                let now = desk.host.clock.wall();
                let row = |table: Value, invite: &Invite| {
                    let by = invite.inviter.as_ref().map(BareJid::to_string);
                    table.row([
                        invite.token.clone().into(),
                        invite.uri().into(),
                        by.unwrap_or_default().into(),
                        invite.uses.into(),
                        invite.max_uses.into(),
                        format_date_time(invite.expires).into(),
                        invite.is_good(now).into(),
                    ])
                };
                Ok(invites.map_err(failed)?.iter().fold(empty, row))
            }
        },
    )
    .arg(Arg::host("host", "whose invitations they are"))
    .allow(Role::HostAdmin, Scope::Host)
    .reads()
    .returns(
        "token, link, who made it, how often used, of how many, until when, whether it is good",
    )
}

pub(super) fn invite_remove(desk: &Desk) -> Command {
    let desk = desk.clone();
    Command::new(
        "invite_remove",
        "Takes an invitation back.",
        move |_, args| {
            let desk = desk.clone();
            async move {
                let host = &desk.host;
                let removed = host
                    .storage
                    .invites
                    .remove(&host.name, args.text("token"))
                    .await;
                if removed.map_err(failed)? {
                    Ok(Value::Nothing)
                } else {
                    Err(CommandError::failed("there is no such invitation"))
                }
            }
        },
    )
    .arg(Arg::host("host", "whose invitation it is"))
    .arg(Arg::text("token", "its token, as `invite_list` prints it"))
    .allow(Role::HostAdmin, Scope::Host)
}

fn failed(error: StorageError) -> CommandError {
    CommandError::failed(format!("the store failed: {error}"))
}

// From a client.

impl Desk {
    fn may_invite(&self, caller: &Caller) -> bool {
        administers(caller, &self.host) || (is_of(caller, &self.host) && self.opts.users_invite)
    }

    fn may_create(&self, caller: &Caller) -> bool {
        administers(caller, &self.host)
            || (is_of(caller, &self.host) && self.opts.users_bring_accounts)
    }
}

pub(super) fn list(desk: &Desk, mut asked: AdhocCommands) -> Flow<AdhocCommands> {
    let mut offer = |may: bool, node: &str, name: &str| {
        if may {
            asked.commands.push((node.to_owned(), name.to_owned()));
        }
    };
    offer(desk.may_invite(&asked.caller), INVITE, "Invite user");
    offer(
        desk.may_create(&asked.caller),
        CREATE_ACCOUNT,
        "Create account",
    );
    Flow::Next(asked)
}

pub(super) async fn step(desk: Desk, mut asked: AdhocStep) -> Flow<AdhocStep> {
    let filled = asked.filled.first();
    let step = match asked.node.as_str() {
        INVITE => to_contact(&desk, &asked).await,
        CREATE_ACCOUNT => to_register(&desk, &asked, filled).await,
        _ => return Flow::Next(asked),
    };
    asked.step = Some(step);
    Flow::Next(asked)
}

/// Invites somebody to become the asker's contact.
///
/// # Errors
///
/// `forbidden`: the asker may not; `resource-constraint`: too many of the asker's are open.
async fn to_contact(desk: &Desk, asked: &AdhocStep) -> Result<Step, StanzaError> {
    if !desk.may_invite(&asked.caller) {
        return Err(Condition::Forbidden.into());
    }
    let may_register = desk.may_create(&asked.caller);
    give(desk, asked, InviteKind::Contact { may_register }, None).await
}

/// Invites somebody to make an account.
///
/// # Errors
///
/// Those of [`to_contact`]; `conflict`: the name is taken; `not-acceptable`: it cannot be one.
async fn to_register(
    desk: &Desk,
    asked: &AdhocStep,
    filled: Option<&Filled>,
) -> Result<Step, StanzaError> {
    if !desk.may_create(&asked.caller) {
        return Err(Condition::Forbidden.into());
    }
    let Some(filled) = filled else {
        let form = Form::new(
            "Create account",
            "Whoever has the link may make the account.",
        )
        .field(Field::new(FieldKind::TextSingle, "username", "Username"))
        .field(
            Field::new(
                FieldKind::Boolean,
                "roster-subscription",
                "Roster subscription",
            )
            .with(["1"]),
        );
        return Ok(Step::ask(form));
    };
    let mut name = None;
    if let Some(given) = filled.one("username") {
        let new = account(given, &desk.host.name)?;
        let spelled = new.node().map_or("", |node| node.as_str()).to_owned();
        free(desk, &spelled)
            .await
            .map_err(|why| Condition::Conflict.text(why.to_string()))?;
        name = Some(spelled);
    }
    let kind = InviteKind::Account {
        name,
        befriend: filled.is_yes("roster-subscription"),
    };
    give(desk, asked, kind, None).await
}

async fn give(
    desk: &Desk,
    asked: &AdhocStep,
    kind: InviteKind,
    expire_after: Option<Duration>,
) -> Result<Step, StanzaError> {
    let (host, inviter) = (&desk.host, asked.from.to_bare());
    let now = host.clock.wall();
    let own = host.storage.invites.list(&host.name).await?.into_iter();
    let open =
        own.filter(|invite| invite.inviter.as_ref() == Some(&inviter) && invite.is_good(now));
    if open.count() >= desk.opts.max_per_user {
        return Err(Condition::ResourceConstraint.text("too many of your invitations are open"));
    }
    // An admin of another host has no account here that could be a contact.
    let inviter = Some(inviter).filter(|jid| jid.domain().as_str() == &*host.name);
    if inviter.is_none() && matches!(kind, InviteKind::Contact { .. }) {
        return Err(Condition::NotAllowed.text("contacts are invited where one lives"));
    }
    let invite = desk.create(inviter, kind, expire_after, 1).await?;
    let single =
        |var: &str, value: String| Field::new(FieldKind::TextSingle, var, "").with([value]);
    let mut form = Form::new("Invitation", "")
        .of_type(INVITATION)
        .field(single("uri", invite.uri()));
    if let Some(page) = desk.landing(&invite) {
        form = form.field(single("landing-url", page));
    }
    let until = format_date_time(invite.expires);
    Ok(Step::shown(form.field(single("expire", until))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_a_square_of_blocks() {
        let picture = picture("xmpp:x.example?register;preauth=ABCDEFGHIJKLMNOPQRSTUV");
        let widths: Vec<usize> = picture.lines().map(|line| line.chars().count()).collect();
        assert!(
            widths.len() > 15 && widths.iter().all(|width| *width == widths[0]),
            "{widths:?}"
        );
        assert!(widths[0].abs_diff(widths.len() * 2) <= 1);
        assert!(
            picture
                .chars()
                .all(|c| matches!(c, ' ' | '\n' | '█' | '▀' | '▄'))
        );
    }
}
