//! What ad-hoc commands are made of: forms, what was filled in, steps, and who asks (XEP-0004, XEP-0050).

use std::collections::BTreeMap;

use admin::{Caller, Door, Hosts, Role};
use gen_mod::Host;
use minidom::Element;
use xmpp::{Condition, Jid, StanzaError, escape_text, ns, push_attr};
use zeroize::Zeroize;

/// How a field is filled in (XEP-0004 §3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// Yes or no.
    Boolean,
    /// Not shown.
    Hidden,
    /// Several addresses.
    JidMulti,
    /// One address.
    JidSingle,
    /// One of its options.
    ListSingle,
    /// Several lines.
    TextMulti,
    /// One line that is not shown while it is typed.
    TextPrivate,
    /// One line.
    TextSingle,
}

impl FieldKind {
    const fn as_str(self) -> &'static str {
        match self {
            FieldKind::Boolean => "boolean",
            FieldKind::Hidden => "hidden",
            FieldKind::JidMulti => "jid-multi",
            FieldKind::JidSingle => "jid-single",
            FieldKind::ListSingle => "list-single",
            FieldKind::TextMulti => "text-multi",
            FieldKind::TextPrivate => "text-private",
            FieldKind::TextSingle => "text-single",
        }
    }
}

/// A field of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub var: String,
    /// How it is filled in.
    pub kind: FieldKind,
    /// What it is for.
    pub label: String,
    /// Whether it must be filled in.
    pub required: bool,
    /// Values that it has already.
    pub values: Vec<String>,
    /// What there is to choose from: the value and what it is called.
    pub options: Vec<(String, String)>,
}

impl Field {
    /// A field that may be left empty.
    pub fn new(kind: FieldKind, var: impl Into<String>, label: impl Into<String>) -> Field {
        Field {
            var: var.into(),
            kind,
            label: label.into(),
            required: false,
            values: Vec::new(),
            options: Vec::new(),
        }
    }

    /// The same field, to be filled in.
    #[must_use]
    pub fn required(self) -> Field {
        Field {
            required: true,
            ..self
        }
    }

    /// The same field with these values in it.
    #[must_use]
    pub fn with(mut self, values: impl IntoIterator<Item = impl Into<String>>) -> Field {
        self.values.extend(values.into_iter().map(Into::into));
        self
    }

    /// The same field with one thing more to choose.
    #[must_use]
    pub fn option(mut self, value: impl Into<String>, label: impl Into<String>) -> Field {
        self.options.push((value.into(), label.into()));
        self
    }

    fn write(&self, type_: bool, out: &mut String) {
        out.push_str("<field");
        push_attr("var", &self.var, out);
        if type_ {
            push_attr("type", self.kind.as_str(), out);
        }
        if !self.label.is_empty() {
            push_attr("label", &self.label, out);
        }
        out.push('>');
        if self.required {
            out.push_str("<required/>");
        }
        self.values.iter().for_each(|value| write_value(value, out));
        for (value, label) in &self.options {
            out.push_str("<option");
            push_attr("label", label, out);
            out.push('>');
            write_value(value, out);
            out.push_str("</option>");
        }
        out.push_str("</field>");
    }
}

fn write_value(value: &str, out: &mut String) {
    out.push_str("<value>");
    escape_text(&clean(value), out);
    out.push_str("</value>");
}

/// The text without what XML cannot carry.
fn clean(text: &str) -> String {
    let allowed = |c: &char| {
        matches!(c, '\t' | '\n' | '\r') || (*c >= ' ' && !matches!(c, '\u{fffe}' | '\u{ffff}'))
    };
    text.chars().filter(allowed).collect()
}

/// A form: one to be filled in, or one that says something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// Its heading.
    pub title: String,
    /// What to do with it.
    pub instructions: String,
    /// Its fields.
    pub fields: Vec<Field>,
    /// Of a table: the names of its columns, and its rows.
    pub table: Option<(Vec<String>, Vec<Vec<String>>)>,
}

impl Form {
    /// A form without fields.
    pub fn new(title: impl Into<String>, instructions: impl Into<String>) -> Form {
        Form {
            title: title.into(),
            instructions: instructions.into(),
            ..Form::default()
        }
    }

    /// The same form with one field more.
    #[must_use]
    pub fn field(mut self, field: Field) -> Form {
        self.fields.push(field);
        self
    }

    /// The same form, whose fields are those of this registered form type (XEP-0068).
    #[must_use]
    pub fn of_type(self, form_type: &str) -> Form {
        self.field(Field::new(FieldKind::Hidden, "FORM_TYPE", "").with([form_type]))
    }

    /// Writes it: `form` to be filled in, `result` to be read.
    pub(crate) fn write(&self, type_: &str, out: &mut String) {
        out.push_str(&format!("<x xmlns='{}' type='{type_}'>", ns::DATA_FORMS));
        for (name, text) in [("title", &self.title), ("instructions", &self.instructions)] {
            if !text.is_empty() {
                out.push_str(&format!("<{name}>"));
                escape_text(&clean(text), out);
                out.push_str(&format!("</{name}>"));
            }
        }
        self.fields.iter().for_each(|field| field.write(true, out));
        if let Some((columns, rows)) = &self.table {
            out.push_str("<reported>");
            for column in columns {
                Field::new(FieldKind::TextSingle, column, column).write(true, out);
            }
            out.push_str("</reported>");
            for row in rows {
                out.push_str("<item>");
                for (column, value) in columns.iter().zip(row) {
                    let cell = Field::new(FieldKind::TextSingle, column, "");
                    cell.with([value]).write(false, out);
                }
                out.push_str("</item>");
            }
        }
        out.push_str("</x>");
    }
}

/// What somebody filled into a form. Has no `Debug` and is wiped when dropped: it may hold a password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Filled(BTreeMap<String, Vec<String>>);

impl Drop for Filled {
    fn drop(&mut self) {
        self.0.values_mut().for_each(Zeroize::zeroize);
    }
}

impl Filled {
    /// Reads a submitted form; of two fields of one name the first counts.
    pub(crate) fn read(form: &Element) -> Filled {
        let mut filled = BTreeMap::new();
        for field in form.children().filter(|c| c.is("field", ns::DATA_FORMS)) {
            let values = field.children().filter(|c| c.is("value", ns::DATA_FORMS));
            let values: Vec<String> = values.map(Element::text).collect();
            if let Some(var) = field.attr("var") {
                filled.entry(var.to_owned()).or_insert(values);
            }
        }
        Filled(filled)
    }

    /// The values of a field, without empty ones.
    pub fn all(&self, var: &str) -> Vec<&str> {
        let values = self.0.get(var).map(Vec::as_slice).unwrap_or_default();
        values
            .iter()
            .map(String::as_str)
            .filter(|value| !value.is_empty())
            .collect()
    }

    /// The only or first value of a field.
    pub fn one(&self, var: &str) -> Option<&str> {
        self.all(var).first().copied()
    }

    /// The value of a field that must be there.
    ///
    /// # Errors
    ///
    /// `not-acceptable` names the field.
    pub fn need(&self, var: &str) -> Result<&str, StanzaError> {
        self.one(var)
            .ok_or_else(|| Condition::NotAcceptable.text(format!("{var} is missing")))
    }

    /// The lines of a field as one text, empty ones too.
    pub fn text(&self, var: &str) -> String {
        self.0
            .get(var)
            .map(|lines| lines.join("\n"))
            .unwrap_or_default()
    }

    /// Whether a field says yes.
    pub fn is_yes(&self, var: &str) -> bool {
        matches!(self.one(var), Some("1" | "true"))
    }
}

/// How a note is meant (XEP-0050 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteKind {
    /// For information.
    Info,
    /// Something failed.
    Error,
}

/// What a command says next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// This form is to be filled in.
    Ask {
        /// The form.
        form: Form,
        /// Whether nothing is asked after it.
        last: bool,
    },
    /// It is done.
    Done {
        /// What came of it.
        result: Option<Form>,
        /// A word about it.
        note: Option<(NoteKind, String)>,
    },
}

impl Step {
    /// A last form.
    pub(crate) fn ask(form: Form) -> Step {
        Step::Ask { form, last: true }
    }

    /// Done, with nothing to show but this word.
    pub(crate) fn said(text: impl Into<String>) -> Step {
        let note = Some((NoteKind::Info, text.into()));
        Step::Done { result: None, note }
    }

    /// Done, and this is what came of it.
    pub(crate) fn shown(result: Form) -> Step {
        let result = Some(result);
        Step::Done { result, note: None }
    }
}

/// Whoever asks for a command: what the account's role lets it do, and where. Who has no account here may nothing.
///
/// # Errors
///
/// `internal-server-error`: the store did not answer.
pub(crate) async fn caller(host: &Host, from: &Jid) -> Result<Caller, StanzaError> {
    let account = from.to_bare();
    let domain = account.domain().as_str().to_owned();
    // A name in the store whose domain was taken from this server says nothing of whoever bears it now.
    let role = if host.router.is_local(&domain) {
        host.storage.accounts.role(&account).await?
    } else {
        None
    };
    let name = account.to_string();
    Ok(match role {
        Some(storage::Role::Admin) => Caller::admin(name, Door::AdHoc),
        Some(storage::Role::HostAdmin) => {
            Caller::on_host(name, Role::HostAdmin, domain, Door::AdHoc)
        }
        Some(storage::Role::User) => Caller::on_host(name, Role::User, domain, Door::AdHoc),
        None => Caller {
            name,
            role: Role::User,
            hosts: Hosts::Only(Default::default()),
            door: Door::AdHoc,
        },
    })
}

/// Whether a caller has an account on the host.
pub(crate) fn is_of(caller: &Caller, host: &Host) -> bool {
    caller.hosts.contain(&host.name)
}

/// Whether a caller may administer the host.
pub(crate) fn administers(caller: &Caller, host: &Host) -> bool {
    caller.role >= Role::HostAdmin && is_of(caller, host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_written_and_read() {
        let form = Form::new("A <title>", "Do it.").of_type("urn:t").field(
            Field::new(FieldKind::ListSingle, "which", "Which")
                .required()
                .with(["a"])
                .option("a", "the a")
                .option("b", "the \u{1}b"),
        );
        let mut text = String::new();
        form.write("form", &mut text);
        let read: Element = text.parse().expect("XML");
        assert_eq!(read.attr("type"), Some("form"));
        let filled = Filled::read(&read);
        assert_eq!(
            (filled.one("FORM_TYPE"), filled.one("which")),
            (Some("urn:t"), Some("a"))
        );
        assert_eq!(
            filled.need("other").map_err(|error| error.condition),
            Err(Condition::NotAcceptable)
        );
    }

    #[test]
    fn values_keep_their_lines_and_lose_nothing_else() {
        let text = "<x xmlns='jabber:x:data' type='submit'><field var='t'><value>one</value><value/>\
             <value>two</value></field><field var='t'><value>later</value></field>\
             <field var='yes'><value>true</value></field><field><value>nameless</value></field></x>";
        let filled = Filled::read(&text.parse().expect("XML"));
        assert_eq!(filled.text("t"), "one\n\ntwo");
        assert_eq!(filled.all("t"), ["one", "two"]);
        assert!(filled.is_yes("yes") && !filled.is_yes("no"));
        assert_eq!(filled.text("none"), "");
    }
}
