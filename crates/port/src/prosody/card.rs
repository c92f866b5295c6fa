//! vCards that Prosody keeps as vCard4 and avatar in PEP (`mod_vcard_legacy`), back in the form of XEP-0054.
//!
//! Sources: RFC 6351 for what is read, XEP-0054 v1.3.0 for what is written. What XEP-0054 has no field for goes.

use xmpp::{escape_text, ns};

use super::lua::{Table, Value};

/// Fields that are a text: the element of vCard4, what in it holds the text, and the field.
const TEXTS: [(&str, &str, &str); 9] = [
    ("fn", "text", "FN"),
    ("nickname", "text", "NICKNAME"),
    ("bday", "date", "BDAY"),
    ("title", "text", "TITLE"),
    ("role", "text", "ROLE"),
    ("categories", "text", "CATEGORIES"),
    ("note", "text", "NOTE"),
    ("url", "uri", "URL"),
    ("impp", "uri", "JABBERID"),
];

/// A field that holds others: the element, the field, what may stand in it and its field, and whether it is at home or
/// at work.
type Group = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
    bool,
);

/// Fields that hold others.
const GROUPS: [Group; 5] = [
    (
        "n",
        "N",
        &[
            ("surname", "FAMILY"),
            ("given", "GIVEN"),
            ("additional", "MIDDLE"),
            ("prefix", "PREFIX"),
            ("suffix", "SUFFIX"),
        ],
        false,
    ),
    (
        "adr",
        "ADR",
        &[
            ("pobox", "POBOX"),
            ("ext", "EXTADD"),
            ("street", "STREET"),
            ("locality", "LOCALITY"),
            ("region", "REGION"),
            ("code", "PCODE"),
            ("country", "CTRY"),
        ],
        true,
    ),
    ("tel", "TEL", &[("uri", "NUMBER"), ("text", "NUMBER")], true),
    ("email", "EMAIL", &[("text", "USERID")], true),
    ("org", "ORG", &[("text", "ORGNAME")], false),
];

/// The card in an item of the node `urn:xmpp:vcard4`, with the photo of the items of the avatar's nodes.
pub(super) fn vcard(
    item: &Table,
    metadata: Option<&Table>,
    data: Option<&Table>,
) -> Option<String> {
    let card = payload(item, "vcard")?;
    let mut out = format!("<vCard xmlns=\"{}\">", ns::VCARD);
    for (from, inner, field) in TEXTS {
        for element in children(card, from) {
            if let Some(text) = text_in(element, inner) {
                let text = text.strip_prefix("xmpp:").unwrap_or(&text);
                write(field, text, &mut out);
            }
        }
    }
    for (from, field, parts, has_place) in GROUPS {
        for element in children(card, from) {
            let mut inside = String::new();
            for (from, field) in parts {
                if let Some(text) = text_in(element, from) {
                    write(
                        field,
                        text.strip_prefix("tel:").unwrap_or(&text),
                        &mut inside,
                    );
                }
            }
            if inside.is_empty() {
                continue;
            }
            out.push_str(&format!("<{field}>{inside}"));
            match place(element).filter(|_| has_place).as_deref() {
                Some("home") => out.push_str("<HOME/>"),
                Some("work") => out.push_str("<WORK/>"),
                _ => {}
            }
            out.push_str(&format!("</{field}>"));
        }
    }
    photo(metadata, data, &mut out);
    out.push_str("</vCard>");
    Some(out)
}

fn photo(metadata: Option<&Table>, data: Option<&Table>, out: &mut String) {
    let image = data.and_then(|item| payload(item, "data"));
    let Some(image) = image.and_then(text_of) else {
        return;
    };
    let about = metadata.and_then(|item| payload(item, "metadata"));
    let about = about.and_then(|metadata| child(metadata, "info"));
    let type_ = about.and_then(|info| info.get("attr")?.table()?.text("type"));
    out.push_str("<PHOTO>");
    write("TYPE", type_.unwrap_or("image/png"), out);
    write("BINVAL", &image, out);
    out.push_str("</PHOTO>");
}

/// Whether something is at home or at work.
fn place(element: &Table) -> Option<String> {
    text_in(child(child(element, "parameters")?, "type")?, "text")
}

fn children<'a>(element: &'a Table, name: &'a str) -> impl Iterator<Item = &'a Table> {
    let tables = element.list().filter_map(Value::table);
    tables.filter(move |child| child.text("name") == Some(name))
}

fn child<'a>(element: &'a Table, name: &'a str) -> Option<&'a Table> {
    children(element, name).next()
}

/// What was published: an item is kept as that alone, or as the `<item/>` around it.
fn payload<'a>(item: &'a Table, name: &'a str) -> Option<&'a Table> {
    match item.text("name") == Some(name) {
        true => Some(item),
        false => child(item, name),
    }
}

/// The text of an element, if it has any.
fn text_of(element: &Table) -> Option<String> {
    let text: String = element.list().filter_map(Value::text).collect();
    (!text.is_empty()).then_some(text)
}

/// The text of a child, if it has any.
fn text_in(element: &Table, name: &str) -> Option<String> {
    text_of(child(element, name)?)
}

fn write(field: &str, text: &str, out: &mut String) {
    out.push_str(&format!("<{field}>"));
    escape_text(text, out);
    out.push_str(&format!("</{field}>"));
}

#[cfg(test)]
mod tests {
    use super::super::lua::read;
    use super::*;

    fn table(source: &str) -> Table {
        match read(format!("return {source}").as_bytes()) {
            Ok(Value::Table(table)) => table,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_card_comes_back_from_pep() {
        let item = table(
            "{ name = 'item', attr = {}, { name = 'vcard', attr = {},
                { name = 'fn', { name = 'text', 'A & B' } }, { name = 'n', { name = 'surname', 'B' }, { name = 'given' } },
                { name = 'tel', { name = 'uri', 'tel:+1' }, { name = 'parameters', { name = 'type', { name = 'text', 'work' } } } },
                { name = 'email', { name = 'text', 'a@b' } }, { name = 'adr', { name = 'parameters' } },
                { name = 'impp', { name = 'uri', 'xmpp:a@b' } }, { name = 'url', { name = 'uri', 'https://b/' } },
                { name = 'gender', { name = 'sex', 'X' } } } }",
        );
        let metadata =
            table("{ { name = 'metadata', { name = 'info', attr = { type = 'image/jpeg' } } } }");
        let data = table("{ name = 'data', 'QUJD' }");
        let expected = "<vCard xmlns=\"vcard-temp\"><FN>A &amp; B</FN><URL>https://b/</URL><JABBERID>a@b</JABBERID>\
            <N><FAMILY>B</FAMILY></N><TEL><NUMBER>+1</NUMBER><WORK/></TEL><EMAIL><USERID>a@b</USERID></EMAIL>";
        let photo = "<PHOTO><TYPE>image/jpeg</TYPE><BINVAL>QUJD</BINVAL></PHOTO></vCard>";
        assert_eq!(
            vcard(&item, Some(&metadata), Some(&data)),
            Some(format!("{expected}{photo}"))
        );
        assert_eq!(
            vcard(&item, Some(&metadata), None),
            Some(format!("{expected}</vCard>"))
        );
        assert_eq!(vcard(&table("{ name = 'item' }"), None, None), None);
        let alone = table("{ name = 'vcard', { name = 'fn', { name = 'text', 'A' } } }");
        let expected = "<vCard xmlns=\"vcard-temp\"><FN>A</FN></vCard>";
        assert_eq!(vcard(&alone, None, None).as_deref(), Some(expected));
    }
}
