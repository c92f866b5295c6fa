//! `mod_invites_page`: what does an invitation show whoever opens it in a browser?
//!
//! Source: XEP-0401 v0.6.0 §3.3, XEP-0379 v0.3.3 §3.3. Runs `register_invited`. Stores: `invites`, which it reads. State:
//! failed forms by address, gone when it stops. The path holds the invitation's token, and whoever has that may use it:
//! nothing of the page is kept by a browser or proxy, nothing is loaded from elsewhere, and who is linked to is not told
//! from where. A form of another site cannot be sent here by somebody who does not know the token.

mod html;

use std::sync::Arc;
use std::time::SystemTime;

use auth::{BudgetOptions, Budgets, Password};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use gen_mod::prelude::*;
use httpd::http::Method;
use httpd::{Error, Handler, Outcome, Path, Request};
use session::hooks::RegisterInvited;
use sha2::{Digest, Sha256};
use storage::Invite;

use crate::HttpPaths;
use crate::api::media_type;
use crate::page::takes;
use html::{Client, Look};

options! {
    /// What `mod_invites_page` shows.
    pub struct InvitesPageOpts {
        /// Whether the page itself makes accounts, besides showing how a client does.
        pub register: bool = true,
        /// Forms from one address (in IPv6 from one /64 network) that may fail before the next has to wait: 1 s, and with each further failure twice as long, up to 15 min; an hour without one forgets all. Addresses of this machine never wait.
        pub failed_attempts: u32 = 10,
        /// Clients to choose from: of each what is shown, a space, and its `https://` page. Those that name the reader's system come first.
        pub clients: Vec<String> = usual_clients(),
    }
}

fn usual_clients() -> Vec<String> {
    let usual = [
        "Conversations (Android) https://conversations.im/",
        "Monal (iPhone, iPad, Mac) https://monal-im.org/",
        "Gajim (Windows, Mac, Linux) https://gajim.org/",
        "Dino (Linux, Windows) https://dino.im/",
    ];
    usual.map(str::to_owned).into()
}

/// The page of an invitation. Keeps no state: its process only holds its registrations.
pub struct ModInvitesPage;

impl Module for ModInvitesPage {
    const NAME: &'static str = "mod_invites_page";
    const SOURCES: &'static [Source] = &[xep(401, "0.6.0", Partial("the landing page"))];
    type Opts = InvitesPageOpts;

    async fn start(
        ctx: &ModuleCtx,
        opts: InvitesPageOpts,
    ) -> Result<(Self, Registrations), StartError> {
        let page = Landing {
            host: ctx.host.clone(),
            clients: clients(&opts.clients)?.into(),
            registers: opts.register,
            budget: Arc::new(Budgets::new(ctx.host.clock.clone(), budget(&opts))),
            policy: policy().into(),
        };
        let paths = vec![Path::to("/invite/:token", page)];
        let paths = HttpPaths::of_host(Self::NAME, &ctx.host, paths)?;
        Ok((ModInvitesPage, Registrations::new().with(paths)))
    }
}

/// How failures are borne. An account is none's before it is made: addresses alone count.
fn budget(opts: &InvitesPageOpts) -> BudgetOptions {
    BudgetOptions {
        per_address: opts.failed_attempts,
        ..BudgetOptions::default()
    }
}

/// # Errors
///
/// One has no name or no page.
fn clients(lines: &[String]) -> Result<Vec<Client>, StartError> {
    let client = |line: &String| {
        let (name, url) = line.trim().rsplit_once(' ')?;
        let name = name.trim();
        let is_page = url.starts_with("https://") && !url.contains(char::is_control);
        (is_page && !name.is_empty()).then(|| Client {
            name: name.to_owned(),
            url: url.to_owned(),
        })
    };
    let read = lines.iter().map(|line| {
        client(line).ok_or_else(|| StartError::Option {
            key: "clients",
            why: format!("`{line}` is no name with an `https://` page behind it"),
        })
    });
    read.collect()
}

/// What the page may do: show itself, and send its form back here.
fn policy() -> String {
    let style = BASE64_STANDARD.encode(Sha256::digest(html::STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
}

/// Serves the page of each invitation to one host.
#[derive(Clone)]
struct Landing {
    host: Host,
    clients: Arc<[Client]>,
    registers: bool,
    /// Forms that failed.
    budget: Arc<Budgets>,
    policy: Arc<str>,
}

impl Handler for Landing {
    async fn init(&mut self, req: &mut Request) -> Result<Outcome, Error> {
        for (name, value) in [
            ("cache-control", "no-store"),
            ("content-security-policy", &*self.policy),
            ("content-type", "text/html; charset=utf-8"),
            ("cross-origin-opener-policy", "same-origin"),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
            ("x-robots-tag", "noindex"),
        ] {
            req.set_header(name, value)?;
        }
        if takes(req, &[Method::GET, Method::HEAD, Method::POST])? {
            let wait = self.budget.wait_at(req.peer());
            if let Some(wait) = wait.filter(|_| req.method() == Method::POST) {
                let seconds = wait.as_millis().div_ceil(1000);
                let why = format!("That failed too often. Please try again in {seconds} s.");
                let page = html::notice(&self.host.name, &why);
                req.reply(429, [("retry-after", seconds.to_string())], page)?;
                return Ok(Outcome::Done);
            }
            let (status, page) = self.page(req).await?;
            if req.method() == Method::POST && is_at_fault(status) {
                self.budget.failed_at(req.peer());
            }
            req.reply(status, (), page)?;
        }
        Ok(Outcome::Done)
    }
}

/// Whether a form failed by what stood in it: that is drawn from its sender's budget.
fn is_at_fault(status: u16) -> bool {
    (400..500).contains(&status)
}

/// The invitation, while it is good.
///
/// # Errors
///
/// The status and the words for one that is not.
fn usable(found: Option<Invite>, now: SystemTime) -> Result<Invite, (u16, &'static str)> {
    let unknown =
        "There is no such invitation. It may be mistyped, taken back, or have expired long ago.";
    match found {
        None => Err((404, unknown)),
        Some(invite) if invite.uses >= invite.max_uses => Err((410, USED)),
        Some(invite) if now >= invite.expires => Err((410, "This invitation has expired.")),
        Some(invite) => Ok(invite),
    }
}

const USED: &str = "This invitation has been used.";

const UNSURE: (u16, &str) = (
    503,
    "Invitations cannot be looked up now. Please try again later.",
);

impl Landing {
    /// # Errors
    ///
    /// The form is too long, too slow or malformed.
    async fn page(&self, req: &mut Request) -> Result<(u16, String), Error> {
        let token = req.binding("token").unwrap_or_default().to_owned();
        let found = self.host.storage.invites.get(&self.host.name, &token).await;
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(target: "natter::invites", %error, "invitation not shown");
                return Ok((UNSURE.0, html::notice(&self.host.name, UNSURE.1)));
            }
        };
        let invite = match usable(found, self.host.clock.wall()) {
            Ok(invite) => invite,
            Err((status, why)) => return Ok((status, html::notice(&self.host.name, why))),
        };
        if req.method() == Method::POST {
            return self.register(req, &invite).await;
        }
        Ok((200, self.show(req, &invite, None)))
    }

    /// The page of a good invitation; with what was wrong with the form that was sent, and the name in it.
    fn show(&self, req: &Request, invite: &Invite, wrong: Option<(&str, &str)>) -> String {
        let system = req.header("user-agent").unwrap_or_default();
        html::invitation(&Look {
            invite,
            clients: &html::fitting(&self.clients, system),
            registers: self.registers && invite.registers(),
            wrong,
        })
    }

    async fn register(&self, req: &mut Request, invite: &Invite) -> Result<(u16, String), Error> {
        if !self.registers || !invite.registers() {
            let why = "No account can be made by this page.";
            return Ok((403, html::notice(&self.host.name, why)));
        }
        if media_type(req) != "application/x-www-form-urlencoded" {
            return Ok((
                415,
                html::notice(&self.host.name, "That is not this page's form."),
            ));
        }
        let (mut name, mut password) = (String::new(), String::new());
        for (field, value) in req.urlencoded().await? {
            match field.as_str() {
                "name" => name = value,
                "password" => password = value,
                _ => {}
            }
        }
        let name = name.trim().to_owned();
        let password = Password::new(password);
        if name.is_empty() || password.chars() == 0 {
            let why = "A name and a password are needed.";
            return Ok((422, self.show(req, invite, Some((why, &name)))));
        }
        let fold = RegisterInvited {
            host: self.host.name.to_string(),
            token: invite.token.clone(),
            name: name.clone(),
            password,
            address: Some(req.peer()),
            answer: None,
        };
        let done = self.host.router.fold_wait(fold).await.value();
        let error = match done.and_then(|fold| fold.answer) {
            Some(Ok(account)) => {
                let system = req.header("user-agent").unwrap_or_default();
                let clients = html::fitting(&self.clients, system);
                return Ok((201, html::made(&account.to_string(), &clients)));
            }
            Some(Err(error)) => error,
            None => {
                let why = "No account can be made now. Please try again later.";
                return Ok((503, self.show(req, invite, Some((why, &name)))));
            }
        };
        let said = error.text.as_deref().map(sentence);
        let (status, why) = match error.condition {
            Condition::Conflict => (409, "That name is taken. Please choose another one."),
            Condition::NotAcceptable => (422, said.as_deref().unwrap_or("That cannot be used.")),
            Condition::ItemNotFound | Condition::NotAllowed => {
                return Ok((410, html::notice(&self.host.name, USED)));
            }
            _ => (503, "No account can be made now. Please try again later."),
        };
        Ok((status, self.show(req, invite, Some((why, &name)))))
    }
}

/// What a program says, as a sentence.
fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    let first = letters.next().map(|first| first.to_uppercase());
    let first: String = first.into_iter().flatten().collect();
    format!("{first}{}.", letters.as_str().trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_have_a_name_and_a_page() {
        let read = |line: &str| clients(&[line.to_owned()]).map(|mut read| read.remove(0));
        let client = read("My Client (any system)  https://x.example/a").expect("good");
        assert_eq!(
            (client.name.as_str(), client.url.as_str()),
            ("My Client (any system)", "https://x.example/a")
        );
        for line in [
            "",
            "Name",
            "https://x.example",
            "Name javascript:x",
            "Name http://x",
        ] {
            let error = read(line).map(|_| ()).expect_err(line).to_string();
            assert!(error.contains("clients"), "{error}");
        }
        assert_eq!(clients(&usual_clients()).expect("good").len(), 4);
    }

    #[test]
    fn errors_are_told_as_sentences() {
        assert_eq!(
            sentence("the name cannot be used"),
            "The name cannot be used."
        );
        assert_eq!(sentence(""), ".");
    }
}
