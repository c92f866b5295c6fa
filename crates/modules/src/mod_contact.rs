//! `mod_contact`: whom to write to about this server.
//!
//! Source: XEP-0157 v1.1.1 §3, XEP-0128 v1.0.1 §2. Hook: `disco_info`. State: none.

use gen_mod::prelude::*;
use xmpp::payload::{DataForm, DataFormType, Field, FieldType};

use crate::hooks::DiscoInfo;

/// What the form is about.
const SERVER_INFO: &str = "http://jabber.org/network/serverinfo";

options! {
    /// Addresses, each a URI such as `mailto:abuse@example.org` or `xmpp:admin@example.org`.
    pub struct ContactOpts {
        /// For reports of abuse.
        pub abuse: Vec<String> = Vec::new(),
        /// Of those who run the server.
        pub admin: Vec<String> = Vec::new(),
        /// For praise and blame.
        pub feedback: Vec<String> = Vec::new(),
        /// For questions about prices.
        pub sales: Vec<String> = Vec::new(),
        /// For reports of vulnerabilities.
        pub security: Vec<String> = Vec::new(),
        /// Where it is told whether the server works.
        pub status: Vec<String> = Vec::new(),
        /// For those who need help.
        pub support: Vec<String> = Vec::new(),
    }
}

/// Contact addresses in the host's disco information. Its process only holds its registration.
pub struct ModContact;

impl Module for ModContact {
    const NAME: &'static str = "mod_contact";
    const SOURCES: &'static [Source] = &[xep(157, "1.1.1", Complete)];
    type Opts = ContactOpts;

    async fn start(
        _ctx: &ModuleCtx,
        opts: ContactOpts,
    ) -> Result<(Self, Registrations), StartError> {
        let form = form(opts)?;
        let registrations = Registrations::new().hook::<DiscoInfo>(
            Priority::NORMAL,
            move |_, mut asked: DiscoInfo| {
                if asked.to == To::Host {
                    asked.info.extensions.extend(form.clone());
                }
                Flow::Next(asked)
            },
        );
        Ok((ModContact, registrations))
    }
}

/// The form, or none when no address is configured.
///
/// # Errors
///
/// An address is no URI.
fn form(opts: ContactOpts) -> Result<Option<DataForm>, StartError> {
    let addresses = [
        ("abuse", "abuse-addresses", opts.abuse),
        ("admin", "admin-addresses", opts.admin),
        ("feedback", "feedback-addresses", opts.feedback),
        ("sales", "sales-addresses", opts.sales),
        ("security", "security-addresses", opts.security),
        ("status", "status-addresses", opts.status),
        ("support", "support-addresses", opts.support),
    ];
    let mut fields = vec![Field::new("FORM_TYPE", FieldType::Hidden).with_value(SERVER_INFO)];
    for (key, var, values) in addresses {
        if let Some(stray) = values.iter().find(|value| !is_uri(value)) {
            let why = format!("`{stray}` is no URI such as mailto:{key}@example.org");
            return Err(StartError::Option { key, why });
        }
        if !values.is_empty() {
            let mut field = Field::new(var, FieldType::ListMulti);
            field.values = values;
            fields.push(field);
        }
    }
    Ok((fields.len() > 1).then_some(DataForm {
        type_: DataFormType::Result_,
        title: None,
        instructions: None,
        fields,
    }))
}

/// Whether a text begins with a scheme and has something behind it (RFC 3986 §3.1).
fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    let begins = scheme.starts_with(|c: char| c.is_ascii_alphabetic());
    let of_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    begins
        && scheme.chars().all(of_scheme)
        && !rest.is_empty()
        && !text.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_uris() {
        for good in ["mailto:a@b", "xmpp:a@b", "https://x/y", "tel:+49"] {
            assert!(is_uri(good), "{good}");
        }
        for stray in [
            "a@b",
            "",
            ":x",
            "mailto:",
            "1a:b",
            "mail to:x",
            "mailto:a b",
        ] {
            assert!(!is_uri(stray), "{stray}");
        }
    }
}
