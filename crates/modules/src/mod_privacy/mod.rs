//! `mod_privacy`: whom does this account hear, and who hears it?
//!
//! Source: XEP-0016 v1.7. Runs the engine behind XEP-0191 as well. Hooks: `privacy_check_packet`,
//! `user_send_packet`, `sm_receive_packet`, `roster_get`, `offline_page`, `remove_user`. Stores: `privacy`, `roster`.
//! State: the node's engine, which outlives this process.

mod query;
mod wire;

use gen_mod::prelude::*;
use session::Sessions;
use session::hooks::{
    Direction, OfflineDelivered, OfflinePage, PrivacyCheckPacket, RemoveUser, RosterGet,
    RosterGetJidInfo, SmReceivePacket, Subscribed, UserSendPacket,
};
use storage::PrivacyItem;
use xmpp::{BareJid, ErrorType, Fragment, Kind, PresenceType, Stanza};

use crate::privacy::rules::Sort;
use crate::privacy::{Privacy, Question, Verdict, with_groups};

options! {
    /// How much of privacy lists is kept.
    pub struct PrivacyOpts {
        /// Most lists of one account.
        pub max_lists: usize [1..] = 20,
        /// Most rules of one list.
        pub max_items: usize [1..] = 1000,
    }
}

/// Privacy Lists. Its process only holds its registrations.
pub struct ModPrivacy;

impl Module for ModPrivacy {
    const NAME: &'static str = "mod_privacy";
    const SOURCES: &'static [Source] = &[xep(16, "1.7", Complete)];
    type Opts = PrivacyOpts;

    async fn start(
        _ctx: &ModuleCtx,
        opts: PrivacyOpts,
    ) -> Result<(Self, Registrations), StartError> {
        let registrations = Registrations::new()
            .feature(ns::PRIVACY)
            .account_feature(ns::PRIVACY)
            .iq_get(To::Account, ns::PRIVACY, query::get)
            .iq_set(To::Account, ns::PRIVACY, move |host, iq| {
                query::set(host, iq, opts.clone())
            })
            .hook_wait_if::<PrivacyCheckPacket, _, _, _>(
                Priority::EARLY,
                |host, asked| {
                    let PrivacyCheckPacket {
                        account,
                        direction,
                        stanza,
                        ..
                    } = asked;
                    !Privacy::of(host).surely_passes(account, *direction, stanza)
                },
                check,
            )
            .hook_wait_if::<UserSendPacket, _, _, _>(
                Priority::EARLY,
                |host, sent| {
                    let (stanza, engine) = (&sent.stanza, Privacy::of(host));
                    stanza.kind() == Kind::Presence
                        || !engine.surely_passes(&sent.user, Direction::Out, stanza)
                },
                refuse_sender,
            )
            .hook_wait_if::<SmReceivePacket, _, _, _>(
                Priority::EARLY,
                |_, heard| is_probe(&heard.stanza),
                probed,
            )
            .hook_wait::<RosterGet, _, _>(Priority::LAST, do_not_probe)
            .hook_wait::<OfflinePage, _, _>(Priority::LAST, pass_over)
            .hook_wait::<RemoveUser, _, _>(Priority::NORMAL, forget);
        Ok((ModPrivacy, registrations))
    }
}

/// Lets pass what the rules let pass.
async fn check(host: Host, asked: PrivacyCheckPacket) -> Flow<PrivacyCheckPacket> {
    let engine = Privacy::of(&host);
    let verdict = engine
        .check_stanza(
            &host,
            &asked.account,
            asked.session.as_deref(),
            asked.direction,
            &asked.stanza,
        )
        .await;
    match verdict {
        Verdict::Pass => Flow::Next(asked),
        Verdict::Refuse | Verdict::CannotTell => Flow::Drop,
    }
}

/// Tells a client at once that it wrote to somebody whom its rules forbid (XEP-0191 §3.3): the answer bears that
/// address, so that the rules would keep it from the client if the engine did not let it in.
async fn refuse_sender(host: Host, sent: UserSendPacket) -> Flow<UserSendPacket> {
    let engine = Privacy::of(&host);
    let account = sent.user.to_bare();
    let (direction, stanza) = (Direction::Out, &sent.stanza);
    let error = match engine
        .check_stanza(&host, &account, Some(&sent.user), direction, stanza)
        .await
    {
        Verdict::Pass => {
            if stanza.kind() == Kind::Presence {
                engine.note_directed(&host, &sent.user, stanza);
            }
            return Flow::Next(sent);
        }
        Verdict::Refuse => {
            let blocked = Fragment::element("blocked", ns::BLOCKING_ERRORS, &[], "");
            StanzaError::from(Condition::NotAcceptable)
                .with_type(ErrorType::Cancel)
                .with_extra(blocked)
        }
        Verdict::CannotTell => Condition::InternalServerError
            .text("the privacy rules cannot be read; nothing is sent")
            .with_type(ErrorType::Wait),
    };
    step!(sent.meta, "refused by privacy rules", user = %sent.user);
    if let Some(reply) = stanza.error_reply(&error) {
        engine.let_in(&host, &sent.user, &reply);
    }
    Flow::Drop
}

fn is_probe(stanza: &Stanza) -> bool {
    stanza.kind() == Kind::Presence && stanza.presence_type() == PresenceType::Probe
}

/// Answers a probe for those resources only whose rules let their presence out (XEP-0191 §3.3: whoever is blocked
/// hears nothing).
async fn probed(host: Host, heard: SmReceivePacket) -> Flow<SmReceivePacket> {
    let (account, Some(asker)) = (&heard.account, heard.stanza.from().cloned()) else {
        return Flow::Next(heard);
    };
    let engine = Privacy::of(&host);
    let ask = |session, sort| Question {
        account,
        session,
        sort,
        other: &asker,
    };
    if engine.check(&host, &ask(None, Sort::Other)).await != Verdict::Pass {
        return Flow::Drop;
    }
    let table = &host.service::<Sessions>().table;
    let available = table.available(account);
    let mut shown = Vec::new();
    for session in &available {
        let question = ask(Some(&session.jid), Sort::PresenceOut);
        if engine.check(&host, &question).await == Verdict::Pass {
            shown.push(session);
        }
    }
    if available.is_empty() {
        let says = engine.check(&host, &ask(None, Sort::PresenceOut)).await;
        return if says == Verdict::Pass {
            Flow::Next(heard)
        } else {
            Flow::Drop
        };
    }
    if shown.len() == available.len() || !sees(&host, account, asker.to_bare()).await {
        return Flow::Next(heard);
    }
    let wanted = heard.stanza.to().and_then(|to| to.try_as_full().ok());
    for session in shown {
        if wanted.is_none_or(|wanted| *wanted == *session.jid)
            && let Some(presence) = session.presence()
        {
            let answer = presence.edit().to(asker.clone()).finish();
            let answer = host.router.answer(answer, &heard.meta);
            host.router.route(answer).await;
        }
    }
    Flow::Drop
}

/// Whether the account's presence is shown to the contact; nobody says so while it cannot be told.
async fn sees(host: &Host, account: &BareJid, contact: BareJid) -> bool {
    let fold = RosterGetJidInfo {
        account: account.clone(),
        contact,
        subscribed: Subscribed::default(),
    };
    let told = host.router.fold_wait(fold).await.value();
    told.is_some_and(|fold| fold.subscribed.from)
}

/// Hides those to whom the account may send nothing from whoever asks contacts for their presence: a probe would
/// tell them that the account is there.
async fn do_not_probe(host: Host, mut asked: RosterGet) -> Flow<RosterGet> {
    let engine = Privacy::of(&host);
    let hide_all = |mut asked: RosterGet| {
        for (_, subscribed) in &mut asked.contacts {
            subscribed.to = false;
        }
        Flow::Next(asked)
    };
    let Ok(lists) = engine.lists(&host, &asked.account).await else {
        return hide_all(asked);
    };
    let items: &[PrivacyItem] = match lists.default_list() {
        Some(list) => &list.items,
        None => return Flow::Next(asked),
    };
    let contacts = std::mem::take(&mut asked.contacts);
    match with_groups(&host, &asked.account, contacts.clone()).await {
        Ok(known) => {
            asked.contacts = contacts;
            for ((jid, subscribed), contact) in asked.contacts.iter_mut().zip(known) {
                let jid = Jid::from(jid.clone());
                subscribed.to &= contact.passes(items, Sort::Other, &jid);
            }
            Flow::Next(asked)
        }
        Err(_) => {
            asked.contacts = contacts;
            hide_all(asked)
        }
    }
}

/// Takes messages out of a page of the offline queue whose sender was blocked after they were kept
/// (XEP-0191 §3.3). While the rules cannot be read they stay in the queue.
async fn pass_over(host: Host, mut asked: OfflinePage) -> Flow<OfflinePage> {
    let engine = Privacy::of(&host);
    let mut refused = Vec::new();
    let mut page = Vec::new();
    let last = asked.page.last().map(|waiting| waiting.place);
    for waiting in std::mem::take(&mut asked.page) {
        let (direction, stanza) = (Direction::In, &waiting.stanza);
        match engine
            .check_stanza(&host, &asked.account, None, direction, stanza)
            .await
        {
            Verdict::Pass => page.push(waiting),
            Verdict::Refuse => refused.push(waiting.place),
            // The queue ends here for now, in order.
            Verdict::CannotTell => {
                let unreadable = page.is_empty();
                return Flow::Next(OfflinePage {
                    page,
                    unreadable,
                    ..asked
                });
            }
        }
    }
    if !refused.is_empty() {
        let fold = OfflineDelivered {
            account: asked.account.clone(),
            places: refused,
        };
        let _ = host.router.fold_wait(fold).await;
        if page.is_empty() {
            // An empty page would look like the end of the queue.
            let next = OfflinePage {
                account: asked.account.clone(),
                after: last,
                page: Vec::new(),
                unreadable: false,
            };
            match host.router.fold_wait(next).await.value() {
                Some(next) => (page, asked.unreadable) = (next.page, next.unreadable),
                None => asked.unreadable = true,
            }
        }
    }
    Flow::Next(OfflinePage { page, ..asked })
}

/// Removes the lists of an account that goes.
async fn forget(host: Host, gone: RemoveUser) -> Flow<RemoveUser> {
    if let Err(error) = Privacy::of(&host).remove_all(&host, &gone.account).await {
        tracing::warn!(target: "natter::privacy", account = %gone.account, %error, "privacy lists not removed");
    }
    Flow::Next(gone)
}
