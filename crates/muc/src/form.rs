//! Data forms as rooms write and read them (XEP-0004).

use minidom::Element;
use xmpp::{Condition, StanzaError, escape_text, ns, push_attr};

/// A form to be filled in, or a filled one to be shown.
pub(crate) struct FormText(String);

/// What kind of value a field takes, by its word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Boolean,
    Text,
    TextMulti,
    Private,
    List(&'static [(&'static str, &'static str)]),
    ListMulti(&'static [(&'static str, &'static str)]),
    /// A list that takes other values, too.
    OpenList,
    Jid,
    JidMulti,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Boolean => "boolean",
            Kind::Text => "text-single",
            Kind::TextMulti => "text-multi",
            Kind::Private => "text-private",
            Kind::List(_) => "list-single",
            Kind::ListMulti(_) | Kind::OpenList => "list-multi",
            Kind::Jid => "jid-single",
            Kind::JidMulti => "jid-multi",
        }
    }
}

impl FormText {
    /// Begins a form of that type (`form`, `result`, `submit`) whose fields are those of `form_type`.
    pub(crate) fn new(type_: &str, form_type: &str) -> FormText {
        let mut text = String::from("<x");
        push_attr("xmlns", ns::DATA_FORMS, &mut text);
        push_attr("type", type_, &mut text);
        text.push('>');
        let form = FormText(text);
        form.hidden("FORM_TYPE", form_type)
    }

    pub(crate) fn title(mut self, title: &str, instructions: &str) -> FormText {
        for (name, words) in [("title", title), ("instructions", instructions)] {
            self.0.push_str(&format!("<{name}>"));
            escape_text(words, &mut self.0);
            self.0.push_str(&format!("</{name}>"));
        }
        self
    }

    fn hidden(self, var: &str, value: &str) -> FormText {
        self.raw(var, Some("hidden"), None, &[value.to_owned()], "")
    }

    /// A field to be filled in.
    pub(crate) fn field(self, var: &str, kind: Kind, label: &str, values: &[String]) -> FormText {
        let mut inside = String::new();
        if let Kind::List(options) | Kind::ListMulti(options) = kind {
            for (value, label) in options {
                inside.push_str("<option");
                push_attr("label", label, &mut inside);
                inside.push_str("><value>");
                escape_text(value, &mut inside);
                inside.push_str("</value></option>");
            }
        }
        if kind == Kind::OpenList {
            inside.push_str(
                "<validate xmlns='http://jabber.org/protocol/xdata-validate' datatype='xs:string'><open/></validate>",
            );
        }
        self.raw(var, Some(kind.word()), Some(label), values, &inside)
    }

    /// A field with one of these values, each with its label.
    pub(crate) fn choice(self, var: &str, label: &str, options: &[(String, String)]) -> FormText {
        let mut inside = String::from("<required/>");
        for (value, label) in options {
            inside.push_str("<option");
            push_attr("label", label, &mut inside);
            inside.push_str("><value>");
            escape_text(value, &mut inside);
            inside.push_str("</value></option>");
        }
        self.raw(var, Some("list-single"), Some(label), &[], &inside)
    }

    /// A field that has to be filled in.
    pub(crate) fn required(self, var: &str, kind: Kind, label: &str) -> FormText {
        self.raw(var, Some(kind.word()), Some(label), &[], "<required/>")
    }

    /// A field of a filled form.
    pub(crate) fn value(self, var: &str, values: &[String]) -> FormText {
        self.raw(var, None, None, values, "")
    }

    /// A field of a filled form, for people to read.
    pub(crate) fn shown(self, var: &str, kind: Kind, label: &str, values: &[String]) -> FormText {
        self.raw(var, Some(kind.word()), Some(label), values, "")
    }

    fn raw(
        mut self,
        var: &str,
        type_: Option<&str>,
        label: Option<&str>,
        values: &[String],
        inside: &str,
    ) -> FormText {
        let text = &mut self.0;
        text.push_str("<field");
        push_attr("var", var, text);
        for (name, value) in [("type", type_), ("label", label)] {
            if let Some(value) = value {
                push_attr(name, value, text);
            }
        }
        text.push('>');
        for value in values {
            text.push_str("<value>");
            escape_text(value, text);
            text.push_str("</value>");
        }
        text.push_str(inside);
        text.push_str("</field>");
        self
    }

    /// The form as XML.
    pub(crate) fn finish(self) -> String {
        self.0 + "</x>"
    }
}

/// What somebody filled in.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Filled {
    /// `submit` or `cancel`.
    pub(crate) type_: String,
    pub(crate) fields: Vec<(String, Vec<String>)>,
}

impl Filled {
    /// The form in an element, if there is one.
    pub(crate) fn within(parent: &Element) -> Option<Filled> {
        parent.get_child("x", ns::DATA_FORMS).map(Filled::read)
    }

    pub(crate) fn read(form: &Element) -> Filled {
        let values = |field: &Element| {
            let values = field.children().filter(|child| child.name() == "value");
            values.map(Element::text).collect()
        };
        let fields = form.children().filter(|child| child.name() == "field");
        Filled {
            type_: form.attr("type").unwrap_or_default().to_owned(),
            fields: fields
                .filter_map(|field| Some((field.attr("var")?.to_owned(), values(field))))
                .collect(),
        }
    }

    /// The values of a field, if it was given.
    pub(crate) fn all(&self, var: &str) -> Option<&[String]> {
        let field = self.fields.iter().find(|(name, _)| name == var);
        field.map(|(_, values)| values.as_slice())
    }

    /// The first value of a field, if it is not empty.
    pub(crate) fn one(&self, var: &str) -> Option<&str> {
        let value = self.all(var)?.first()?;
        (!value.is_empty()).then_some(value.as_str())
    }

    /// A boolean, false unless given.
    pub(crate) fn truth(&self, var: &str) -> bool {
        self.one(var).is_some_and(is_true)
    }

    /// Refuses a form of another type.
    pub(crate) fn of_type(&self, form_type: &str) -> Result<(), StanzaError> {
        match self.one("FORM_TYPE") {
            Some(found) if found != form_type => {
                Err(Condition::BadRequest.text(format!("expected a form of type {form_type}")))
            }
            _ => Ok(()),
        }
    }
}

/// Whether a boolean of a form says yes.
pub(crate) fn is_true(value: &str) -> bool {
    matches!(value, "1" | "true")
}

/// A boolean as forms write it.
pub(crate) fn truth(value: bool) -> Vec<String> {
    vec![if value { "1" } else { "0" }.to_owned()]
}
