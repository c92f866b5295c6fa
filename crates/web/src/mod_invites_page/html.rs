//! The pages, written as HTML that needs no script: links, one form, and a QR code as SVG.

use qrcode::{Color, QrCode};
use storage::{Invite, InviteKind};
use xmpp::{escape_text, format_date_time, push_attr};

/// The style of all pages; the policy of the pages admits this very text.
pub(super) const STYLE: &str = "\
:root{color-scheme:light dark;font:1.1rem/1.5 system-ui,sans-serif}\
body{margin:0}\
main{max-width:34rem;margin:0 auto;padding:1rem}\
h1{font-size:1.5rem;line-height:1.25;overflow-wrap:anywhere}\
h2{font-size:1.2rem;margin-top:2rem}\
code{overflow-wrap:anywhere}\
.button{display:inline-block;padding:.6em 1.2em;border:0;border-radius:.4em;background:#0b57d0;color:#fff;\
font:inherit;font-weight:600;text-decoration:none;cursor:pointer}\
.button:focus-visible{outline:3px solid currentColor;outline-offset:3px}\
.wrong{border-left:.3em solid #c5221f;padding-left:.7em}\
label{display:block;margin-top:.8rem}\
input{font:inherit;width:100%;box-sizing:border-box;padding:.5em}\
form .button{margin-top:1rem}\
svg{display:block;width:14rem;max-width:100%;height:auto}\
figure{margin:1.5rem 0}\
li{padding:.3em 0}";

/// A client to choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Client {
    /// What is shown: its name and the systems it is for.
    pub(super) name: String,
    pub(super) url: String,
}

/// What the page of a good invitation shows.
pub(super) struct Look<'a> {
    pub(super) invite: &'a Invite,
    pub(super) clients: &'a [Client],
    /// Whether it has a form to make an account.
    pub(super) registers: bool,
    /// What was wrong with the form that was sent, and the name in it.
    pub(super) wrong: Option<(&'a str, &'a str)>,
}

/// The clients, those first whose names name the system of a browser that calls itself so.
pub(super) fn fitting(clients: &[Client], user_agent: &str) -> Vec<Client> {
    let systems = [
        // Android says that it is Linux, an iPhone that it is like a Mac: the first that fits counts.
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Windows", "Windows"),
        ("Mac OS", "Mac"),
        ("Linux", "Linux"),
    ];
    let system = systems.iter().find(|(agent, _)| user_agent.contains(agent));
    let mut clients = clients.to_vec();
    if let Some((_, name)) = system {
        clients.sort_by_key(|client| !client.name.contains(name));
    }
    clients
}

/// The page of an invitation that is good.
pub(super) fn invitation(look: &Look<'_>) -> String {
    let invite = look.invite;
    let by = invite.inviter.as_ref().map(ToString::to_string);
    let is_contact = matches!(invite.kind, InviteKind::Contact { .. });
    let title = match &by {
        Some(by) if is_contact => format!("{by} invites you to chat"),
        Some(by) => format!("{by} invites you to {}", invite.host),
        None => format!("You are invited to {}", invite.host),
    };
    let mut page = Page::new(&title);
    page.text("h1", &title);
    page.text("p", what_for(invite, by.as_deref()).as_str());
    if look.wrong.is_some() {
        page.form(look);
    }
    let link = invite.uri();
    page.raw("<p><a class=\"button\"");
    push_attr("href", &link, &mut page.0);
    page.raw(">Open in your client</a></p>");
    page.text(
        "p",
        "This works if an XMPP client is installed, and does nothing otherwise: choose one below first, then come back \
         to this page.",
    );
    if let Some(picture) = picture(&link) {
        page.raw("<figure>");
        page.raw(&picture);
        page.text("figcaption", "Or scan this with the client on your phone.");
        page.raw("</figure>");
    }
    page.raw("<p>Or paste this into the client: <code>");
    escape_text(&link, &mut page.0);
    page.raw("</code></p>");
    let until = format_date_time(invite.expires);
    page.raw("<p>Good until <time");
    push_attr("datetime", &until, &mut page.0);
    page.raw(">");
    escape_text(&until.replace('T', " ").replace('Z', " UTC"), &mut page.0);
    page.raw("</time>");
    match invite.max_uses - invite.uses.min(invite.max_uses) {
        1 => page.raw(", for one person.</p>"),
        left => page.raw(&format!(", for {left} people.</p>")),
    }
    if look.registers && look.wrong.is_none() {
        page.form(look);
    }
    page.clients(look.clients);
    page.end()
}

fn what_for(invite: &Invite, by: Option<&str>) -> String {
    let host = &invite.host;
    let by = by.unwrap_or("whoever runs this server");
    match &invite.kind {
        InviteKind::Contact {
            may_register: false,
        } => {
            format!(
                "This is an invitation from {by} to be contacts on XMPP, an open network for chat. With an account on any XMPP server you can accept it."
            )
        }
        InviteKind::Contact { may_register: true } => {
            format!(
                "This is an invitation from {by} to be contacts on XMPP, an open network for chat. If you have no account yet, it is good for one at {host}."
            )
        }
        InviteKind::Account {
            name: Some(name), ..
        } => {
            format!(
                "This is an invitation from {by} to XMPP, an open network for chat: it is good for the account {name}@{host}."
            )
        }
        InviteKind::Account { name: None, .. } => {
            format!(
                "This is an invitation from {by} to XMPP, an open network for chat: it is good for an account at {host}."
            )
        }
    }
}

/// A page that only says something.
pub(super) fn notice(host: &str, words: &str) -> String {
    let title = format!("Invitation to {host}");
    let mut page = Page::new(&title);
    page.text("h1", &title);
    page.text("p", words);
    page.end()
}

/// What is shown when an account was made.
pub(super) fn made(account: &str, clients: &[Client]) -> String {
    let mut page = Page::new("Your account is made");
    page.text("h1", "Your account is made");
    page.raw("<p>Your address is <code>");
    escape_text(account, &mut page.0);
    page.raw("</code>. Log in with it and your password in a client.</p>");
    page.clients(clients);
    page.end()
}

/// A page that is being written.
struct Page(String);

impl Page {
    fn new(title: &str) -> Page {
        let mut page = Page(String::from(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">",
        ));
        page.text("title", title);
        page.raw("<style>");
        page.raw(STYLE);
        page.raw("</style></head><body><main>");
        page
    }

    fn raw(&mut self, html: &str) {
        self.0.push_str(html);
    }

    fn text(&mut self, element: &str, text: &str) {
        self.0.push_str(&format!("<{element}>"));
        escape_text(text, &mut self.0);
        self.0.push_str(&format!("</{element}>"));
    }

    /// The form goes to where the page is: its action would be the path with the token in it.
    fn form(&mut self, look: &Look<'_>) {
        self.text("h2", &format!("Make an account at {}", look.invite.host));
        if let Some((why, _)) = look.wrong {
            self.raw("<p class=\"wrong\" role=\"alert\">");
            escape_text(why, &mut self.0);
            self.raw("</p>");
        }
        let settled = match &look.invite.kind {
            InviteKind::Account { name, .. } => name.as_deref(),
            InviteKind::Contact { .. } => None,
        };
        let name = settled.or(look.wrong.map(|(_, name)| name));
        self.raw(
            "<form method=\"post\"><label for=\"name\">Name</label>\
             <input id=\"name\" name=\"name\" required autocomplete=\"username\" autocapitalize=\"none\" spellcheck=\"false\"",
        );
        push_attr("value", name.unwrap_or_default(), &mut self.0);
        if settled.is_some() {
            self.raw(" readonly");
        }
        self.raw(
            "><label for=\"password\">Password</label>\
             <input id=\"password\" name=\"password\" type=\"password\" required autocomplete=\"new-password\">\
             <button class=\"button\" type=\"submit\">Make the account</button></form>",
        );
    }

    fn clients(&mut self, clients: &[Client]) {
        if clients.is_empty() {
            return;
        }
        self.raw("<h2>Clients</h2><ul>");
        for client in clients {
            self.raw("<li><a rel=\"noopener noreferrer\"");
            push_attr("href", &client.url, &mut self.0);
            self.raw(">");
            escape_text(&client.name, &mut self.0);
            self.raw("</a></li>");
        }
        self.raw("</ul>");
    }

    fn end(mut self) -> String {
        self.raw("</main></body></html>\n");
        self.0
    }
}

/// The QR code of a link, dark on light whatever the page's colours, with the quiet zone of four modules that readers
/// need. None: the link is too long for one.
fn picture(link: &str) -> Option<String> {
    let code = QrCode::new(link).ok()?;
    let width = code.width();
    let mut dots = String::new();
    for (row, modules) in code.to_colors().chunks(width).enumerate() {
        let mut column = 0;
        for run in modules.chunk_by(|one, other| one == other) {
            if run[0] == Color::Dark {
                let length = run.len();
                dots.push_str(&format!(
                    "M{} {}h{length}v1h-{length}z",
                    column + 4,
                    row + 4
                ));
            }
            column += run.len();
        }
    }
    let size = width + 8;
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {size} {size}\" role=\"img\" \
         aria-label=\"QR code of the invitation's link\" shape-rendering=\"crispEdges\">\
         <path fill=\"#fff\" d=\"M0 0h{size}v{size}H0z\"/><path fill=\"#000\" d=\"{dots}\"/></svg>"
    ))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn invite(inviter: Option<&str>, kind: InviteKind) -> Invite {
        Invite {
            token: "T".into(),
            host: "x.example".into(),
            inviter: inviter.map(|jid| xmpp::parse_bare(jid).expect("a JID")),
            kind,
            created: UNIX_EPOCH,
            expires: UNIX_EPOCH + Duration::from_secs(86_400),
            max_uses: 3,
            uses: 1,
        }
    }

    fn page(invite: &Invite, wrong: Option<(&str, &str)>) -> String {
        invitation(&Look {
            invite,
            clients: &[Client {
                name: "<b>".into(),
                url: "https://x.example/?a&b\"c".into(),
            }],
            registers: invite.registers(),
            wrong,
        })
    }

    #[test]
    fn what_others_wrote_is_text() {
        let invite = invite(
            Some("a?b@x.example"),
            InviteKind::Contact { may_register: true },
        );
        let page = page(&invite, Some(("no <i>", "\"><script>")));
        for text in [
            "<h1>a?b@x.example invites you to chat</h1>",
            "href=\"xmpp:a%3Fb@x.example?roster;preauth=T;ibr=y\"",
            "&lt;b&gt;",
            "href=\"https://x.example/?a&amp;b&quot;c\"",
            "no &lt;i&gt;",
        ] {
            assert!(page.contains(text), "no {text} in {page}");
        }
        assert!(!page.contains("<script") && !page.contains("<b>"), "{page}");
        assert!(page.contains("for 2 people"), "{page}");
        assert!(page.contains("1970-01-02"), "{page}");
    }

    #[test]
    fn the_form_is_there_where_it_can_be_used() {
        let contact =
            |may_register| invite(Some("a@x.example"), InviteKind::Contact { may_register });
        assert!(!page(&contact(false), None).contains("<form"));
        let open = page(&contact(true), None);
        assert!(open.contains("<form method=\"post\">") && !open.contains("readonly"));
        let account = InviteKind::Account {
            name: Some("juliet".into()),
            befriend: false,
        };
        let settled = page(&invite(None, account), None);
        assert!(settled.contains("value=\"juliet\" readonly"), "{settled}");
        assert!(settled.contains("juliet@x.example"), "{settled}");
        assert!(
            !settled.contains("action="),
            "the token stands once, in the links"
        );
    }

    #[test]
    fn a_picture_is_square_and_has_its_quiet_zone() {
        let link = "xmpp:x.example?register;preauth=ABCDEFGHIJKLMNOPQRSTUV";
        let svg = picture(link).expect("it fits");
        let width = QrCode::new(link).expect("it fits").width();
        assert!(
            svg.contains(&format!("viewBox=\"0 0 {0} {0}\"", width + 8)),
            "{svg}"
        );
        // The corner that every reader looks for: seven dark modules.
        assert!(svg.contains("d=\"M4 4h7v1h-7z"), "{svg}");
        assert_eq!(picture(&"x".repeat(5000)), None);
    }

    #[test]
    fn the_readers_system_comes_first() {
        let client = |name: &str| Client {
            name: name.into(),
            url: "https://x.example".into(),
        };
        let clients = ["A (Windows, Linux)", "B (Android)", "C (iPhone, Mac)"].map(client);
        for (agent, first) in [
            ("Mozilla/5.0 (Linux; Android 14)", "B"),
            ("Mozilla/5.0 (iPhone; like Mac OS X)", "C"),
            ("Mozilla/5.0 (X11; Linux x86_64)", "A"),
            ("curl", "A"),
        ] {
            assert!(
                fitting(&clients, agent)[0].name.starts_with(first),
                "{agent}"
            );
        }
    }
}
