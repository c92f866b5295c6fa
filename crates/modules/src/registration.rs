//! What in-band registration says on the wire, for every module that lets accounts be made (XEP-0077 §3).

use minidom::Element;
use xmpp::{BareJid, Condition, Fragment, Stanza, StanzaError, escape_text, ns, parse_bare};

/// What a registration query says. Has no `Debug`: it holds a password.
#[derive(Default)]
pub(crate) struct Fields {
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) remove: bool,
    /// How many elements there are besides `remove`.
    pub(crate) others: usize,
}

impl Fields {
    /// Reads a registration query.
    ///
    /// # Errors
    ///
    /// `bad-request`: it is none.
    pub(crate) fn read(request: &Stanza) -> Result<Fields, StanzaError> {
        let query = request
            .dom()
            .children()
            .next()
            .filter(|query| query.is("query", ns::REGISTER));
        let Some(query) = query else {
            return Err(Condition::BadRequest.into());
        };
        let mut fields = Fields::default();
        let text = |child: &Element| Some(child.text()).filter(|text| !text.is_empty());
        for child in query.children() {
            match child.name() {
                "remove" => {
                    fields.remove = true;
                    continue;
                }
                "username" => fields.username = text(child),
                "password" => fields.password = text(child),
                _ => {}
            }
            fields.others += 1;
        }
        Ok(fields)
    }
}

/// The form that asks for a name and a password; the name is in it where it is settled.
pub(crate) fn form(words: &str, name: Option<&str>) -> Fragment {
    let mut query = format!("<query xmlns='{}'><instructions>", ns::REGISTER);
    escape_text(words, &mut query);
    query.push_str("</instructions><username>");
    escape_text(name.unwrap_or_default(), &mut query);
    query.push_str("</username><password/></query>");
    Fragment::from(query.replace("<username></username>", "<username/>"))
}

/// The account of that name on a host.
///
/// # Errors
///
/// `not-acceptable`: the name cannot be one.
pub(crate) fn account(name: &str, host: &str) -> Result<BareJid, StanzaError> {
    let refused = || Condition::NotAcceptable.text("the name cannot be used");
    if name.is_empty() || name.contains(['@', '/']) {
        return Err(refused());
    }
    parse_bare(&format!("{name}@{host}")).map_err(|_| refused())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_names_are_refused() {
        for name in ["", "a@b", "a/b", "a b", "\"", &"x".repeat(1024)] {
            assert_eq!(
                account(name, "x").map_err(|error| error.condition),
                Err(Condition::NotAcceptable),
                "{name}"
            );
        }
        assert_eq!(
            account("Alice", "x").expect("a name").to_string(),
            "alice@x"
        );
    }

    #[test]
    fn fields_are_read_and_empty_ones_are_missing() {
        let read = |content: &str| {
            let text = format!(
                "<iq type='set' id='1'><query xmlns='jabber:iq:register'>{content}</query></iq>"
            );
            Fields::read(&Stanza::parse(&text).expect("an IQ"))
                .map_err(|error| error.condition)
                .expect("a query")
        };
        let both = read("<username>a</username><password>p</password>");
        assert_eq!(
            (
                both.username.as_deref(),
                both.password.as_deref(),
                both.others
            ),
            (Some("a"), Some("p"), 2)
        );
        assert_eq!(read("<username/>").username, None);
        let remove = read("<remove/>");
        assert!(remove.remove && remove.others == 0);
        assert_eq!(read("<remove/><username>a</username>").others, 1);
    }

    #[test]
    fn the_form_names_who_is_settled() {
        assert!(
            form("Choose.", None)
                .as_str()
                .contains("<username/><password/>")
        );
        assert!(
            form("Choose.", Some("juliet"))
                .as_str()
                .contains("<username>juliet</username>")
        );
    }
}
