//! Verification strings (XEP-0115 §5): made of what an entity says of itself, and checked against it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gen_mod::prelude::*;
use minidom::Element;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

/// A hash function that announcements may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Algorithm {
    Sha1,
    Sha256,
    Sha512,
}

impl Algorithm {
    const ALL: [Algorithm; 3] = [Algorithm::Sha1, Algorithm::Sha256, Algorithm::Sha512];

    /// Its name in announcements.
    pub(super) fn name(self) -> &'static str {
        match self {
            Algorithm::Sha1 => "sha-1",
            Algorithm::Sha256 => "sha-256",
            Algorithm::Sha512 => "sha-512",
        }
    }

    /// The function of that name.
    pub(super) fn of(name: &str) -> Option<Algorithm> {
        Algorithm::ALL
            .into_iter()
            .find(|known| known.name() == name)
    }

    fn digest(self, text: &str) -> String {
        match self {
            Algorithm::Sha1 => STANDARD.encode(Sha1::digest(text)),
            Algorithm::Sha256 => STANDARD.encode(Sha256::digest(text)),
            Algorithm::Sha512 => STANDARD.encode(Sha512::digest(text)),
        }
    }
}

/// Why disco information has no verification string (§5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IllFormed {
    /// No disco information.
    NoInfo,
    /// No identity, or one without category or type.
    Identity,
    /// An identity, a feature or a form stands there twice.
    Twice,
    /// A form is of several types.
    FormType,
    /// A text holds `<`, or a word of an identity `/`: what it says could be told apart in two ways, and a liar
    /// would choose (our choice; §5.4 does not see it).
    Ambiguous,
}

/// The verification string of disco information.
///
/// # Errors
///
/// See [`IllFormed`].
pub(super) fn verification(info: &Element, algorithm: Algorithm) -> Result<String, IllFormed> {
    if !info.is("query", ns::DISCO_INFO) {
        return Err(IllFormed::NoInfo);
    }
    let mut text = String::new();
    for part in [identities(info)?, features(info)?, forms(info)?] {
        for item in part {
            text.push_str(&item);
            text.push('<');
        }
    }
    Ok(algorithm.digest(&text))
}

fn identities(info: &Element) -> Result<Vec<String>, IllFormed> {
    let mut all = Vec::new();
    for identity in children(info, "identity") {
        let of = |name| identity.attr(name).unwrap_or_default();
        let lang = identity.attr_ns(ns::XML, "lang").unwrap_or_default();
        let words = [of("category"), of("type"), lang];
        if words[0].is_empty() || words[1].is_empty() {
            return Err(IllFormed::Identity);
        }
        if words.iter().any(|word| word.contains('/')) {
            return Err(IllFormed::Ambiguous);
        }
        all.push(plain(format!("{}/{}", words.join("/"), of("name")))?);
    }
    if all.is_empty() {
        return Err(IllFormed::Identity);
    }
    sorted_once(all)
}

fn features(info: &Element) -> Result<Vec<String>, IllFormed> {
    let vars = children(info, "feature").map(|feature| feature.attr("var").unwrap_or_default());
    sorted_once(vars.map(plain).collect::<Result<_, _>>()?)
}

/// The parts of the forms: of each its type and then its fields, in the order of the types.
fn forms(info: &Element) -> Result<Vec<String>, IllFormed> {
    let mut forms: Vec<(String, Vec<String>)> = Vec::new();
    for form in info
        .children()
        .filter(|child| child.is("x", ns::DATA_FORMS))
    {
        let Some(kind) = form_type(form)? else {
            continue;
        };
        if forms.iter().any(|(other, _)| *other == kind) {
            return Err(IllFormed::Twice);
        }
        let mut fields: Vec<(String, Vec<String>)> = Vec::new();
        for field in form
            .children()
            .filter(|child| child.is("field", ns::DATA_FORMS))
        {
            let var = field.attr("var").unwrap_or_default();
            if var != "FORM_TYPE" {
                let mut values = values(field)?;
                values.sort();
                fields.push((plain(var)?, values));
            }
        }
        fields.sort();
        let mut parts = vec![kind.clone()];
        for (var, values) in fields {
            parts.push(var);
            parts.extend(values);
        }
        forms.push((kind, parts));
    }
    forms.sort();
    Ok(forms.into_iter().flat_map(|(_, parts)| parts).collect())
}

/// The type of a form; none for forms that do not count (§5.4).
fn form_type(form: &Element) -> Result<Option<String>, IllFormed> {
    let field = form.children().find(|field| {
        field.is("field", ns::DATA_FORMS)
            && field.attr("var") == Some("FORM_TYPE")
            && field.attr("type") == Some("hidden")
    });
    let Some(field) = field else {
        return Ok(None);
    };
    let values = values(field)?;
    match values.split_first() {
        None => Ok(None),
        Some((first, others)) if others.iter().all(|other| other == first) => {
            Ok(Some(first.clone()))
        }
        Some(_) => Err(IllFormed::FormType),
    }
}

fn values(field: &Element) -> Result<Vec<String>, IllFormed> {
    let values = field
        .children()
        .filter(|child| child.is("value", ns::DATA_FORMS));
    values.map(|value| plain(value.text())).collect()
}

fn children<'a>(info: &'a Element, name: &'a str) -> impl Iterator<Item = &'a Element> {
    info.children()
        .filter(move |child| child.is(name, ns::DISCO_INFO))
}

fn plain(text: impl Into<String>) -> Result<String, IllFormed> {
    let text = text.into();
    if text.contains('<') {
        return Err(IllFormed::Ambiguous);
    }
    Ok(text)
}

/// In the order of their bytes.
fn sorted_once(mut items: Vec<String>) -> Result<Vec<String>, IllFormed> {
    items.sort();
    if items.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(IllFormed::Twice);
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sha1(content: &str) -> Result<String, IllFormed> {
        let text = format!("<query xmlns='{}'>{content}</query>", ns::DISCO_INFO);
        verification(&text.parse().expect("XML"), Algorithm::Sha1)
    }

    const FEATURES: &str = "<feature var='http://jabber.org/protocol/muc'/>
        <feature var='http://jabber.org/protocol/disco#items'/><feature var='http://jabber.org/protocol/caps'/>
        <feature var='http://jabber.org/protocol/disco#info'/>";

    #[test]
    fn the_examples_of_the_specification() {
        // §5.2
        let exodus =
            format!("<identity category='client' type='pc' name='Exodus 0.9.1'/>{FEATURES}");
        assert_eq!(sha1(&exodus).as_deref(), Ok("QgayPKawpkPSDYmwT/WM94uAlu0="));
        // §5.3
        let psi = format!(
            "<identity xml:lang='en' category='client' name='Psi 0.11' type='pc'/>
             <identity xml:lang='el' category='client' name='\u{3a8} 0.11' type='pc'/>{FEATURES}
             <x xmlns='jabber:x:data' type='result'>
               <field var='software_version'><value>0.11</value></field>
               <field var='FORM_TYPE' type='hidden'><value>urn:xmpp:dataforms:softwareinfo</value></field>
               <field var='ip_version'><value>ipv6</value><value>ipv4</value></field>
               <field var='os'><value>Mac</value></field><field var='os_version'><value>10.5.1</value></field>
               <field var='software'><value>Psi</value></field></x>"
        );
        assert_eq!(sha1(&psi).as_deref(), Ok("q07IKJEyjvHSyhy//CH0CxmKi8w="));
    }

    #[test]
    fn what_could_be_read_in_two_ways_has_no_hash() {
        let id = "<identity category='client' type='pc'/>";
        let form = |kind: &str| {
            format!(
                "<x xmlns='jabber:x:data'><field var='FORM_TYPE' type='hidden'>{kind}</field></x>"
            )
        };
        for (content, why) in [
            (String::new(), IllFormed::Identity),
            ("<identity category='client'/>".into(), IllFormed::Identity),
            (format!("{id}{id}"), IllFormed::Twice),
            (
                format!("{id}<feature var='a'/><feature var='a'/>"),
                IllFormed::Twice,
            ),
            (format!("{id}<feature var='a&lt;b'/>"), IllFormed::Ambiguous),
            (
                "<identity category='a/b' type='pc'/>".into(),
                IllFormed::Ambiguous,
            ),
            (
                "<identity category='a' type='pc' name='x&lt;f'/>".into(),
                IllFormed::Ambiguous,
            ),
            (
                format!(
                    "{id}{}{}",
                    form("<value>a</value>"),
                    form("<value>a</value>")
                ),
                IllFormed::Twice,
            ),
            (
                format!("{id}{}", form("<value>a</value><value>b</value>")),
                IllFormed::FormType,
            ),
        ] {
            assert_eq!(sha1(&content), Err(why), "{content}");
        }
        let plain = sha1(id);
        let ignored =
            "<x xmlns='jabber:x:data'><field var='FORM_TYPE'><value>a</value></field></x>";
        assert_eq!(
            sha1(&format!("{id}{ignored}")),
            plain,
            "a form whose type is not hidden"
        );
        assert_eq!(
            sha1(&format!("{id}{}", form(""))),
            plain,
            "a form without a type"
        );
    }
}
