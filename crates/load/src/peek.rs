//! A look into a stanza without parsing it: its name, its attributes, a piece of text, a time that was put in.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use memchr::{memchr, memmem};

/// The name of the element that `stanza` begins with, prefix and all; empty when it begins with none.
pub fn name(stanza: &[u8]) -> &[u8] {
    let rest = stanza.trim_ascii_start();
    let Some(rest) = rest.strip_prefix(b"<") else {
        return b"";
    };
    let end = rest
        .iter()
        .position(|byte| byte.is_ascii_whitespace() || matches!(byte, b'>' | b'/'))
        .unwrap_or(rest.len());
    &rest[..end]
}

/// The value of the attribute `wanted` in the first start tag of `stanza`, as it is written there.
pub fn attribute<'a>(stanza: &'a [u8], wanted: &str) -> Option<&'a [u8]> {
    let start = memchr(b'<', stanza)?;
    let mut rest = &stanza[start + 1..];
    rest = &rest[name(&stanza[start..]).len()..];
    loop {
        rest = rest.trim_ascii_start();
        if matches!(rest.first(), None | Some(b'>' | b'/')) {
            return None;
        }
        let equals = memchr(b'=', rest)?;
        let called = rest[..equals].trim_ascii_end();
        rest = rest[equals + 1..].trim_ascii_start();
        let quote = *rest.first()?;
        let end = memchr(quote, &rest[1..])?;
        let value = &rest[1..=end];
        rest = &rest[end + 2..];
        if called == wanted.as_bytes() {
            return Some(value);
        }
    }
}

/// The same as text; empty where there is none or it is no UTF-8.
pub fn attribute_text<'a>(stanza: &'a [u8], wanted: &str) -> &'a str {
    attribute(stanza, wanted)
        .and_then(|value| std::str::from_utf8(value).ok())
        .unwrap_or("")
}

/// Whether `stanza` holds `piece` anywhere.
pub fn holds(stanza: &[u8], piece: &str) -> bool {
    memmem::find(stanza, piece.as_bytes()).is_some()
}

/// The text between the first `open` and the next `<`.
pub fn text_after<'a>(stanza: &'a [u8], open: &str) -> Option<&'a str> {
    let from = memmem::find(stanza, open.as_bytes())? + open.len();
    let rest = &stanza[from..];
    // `open` may end inside the start tag: the text begins behind it.
    let rest = match open.ends_with('>') {
        true => rest,
        false => &rest[memchr(b'>', rest)? + 1..],
    };
    std::str::from_utf8(&rest[..memchr(b'<', rest)?]).ok()
}

/// Whether `stanza` is of type `error`.
pub fn is_error(stanza: &[u8]) -> bool {
    attribute(stanza, "type") == Some(b"error")
}

/// What a stanza or stream error complains of: the first element below `<error>` with its text, for a sentence.
pub fn complaint(stanza: &[u8]) -> String {
    let conditions = [
        "urn:ietf:params:xml:ns:xmpp-stanzas",
        "urn:ietf:params:xml:ns:xmpp-streams",
        "urn:ietf:params:xml:ns:xmpp-sasl",
    ];
    let text = String::from_utf8_lossy(stanza);
    let condition = text.split('<').find_map(|tag| {
        let word = tag
            .split(|c: char| c.is_whitespace() || c == '/' || c == '>')
            .next()?;
        let known = conditions.iter().any(|namespace| tag.contains(namespace));
        (known && !word.is_empty() && word != "text" && word != "failure").then(|| word.to_owned())
    });
    let condition = condition.or_else(|| {
        // In a SASL failure the condition inherits its namespace.
        let inside = text.split_once("<failure")?.1.split_once('<')?.1;
        let end = inside.find(|c: char| c.is_whitespace() || c == '/' || c == '>')?;
        Some(inside[..end].to_owned())
    });
    let said = text_after(stanza, "<text").filter(|said| !said.is_empty());
    match (condition, said) {
        (Some(condition), Some(said)) => format!("{condition} ({said})"),
        (Some(condition), None) => condition,
        (None, _) => text.chars().take(300).collect(),
    }
}

/// Text for a place between tags or between apostrophes.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&apos;"),
            '"' => out.push_str("&quot;"),
            other => out.push(other),
        }
    }
    out
}

/// Bytes that a time takes in a stanza: `~`, sixteen hexadecimal digits, `~`.
pub const TIME_BYTES: usize = 18;

/// Time since the program first asked for it.
pub fn now() -> Duration {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    BEGAN.get_or_init(Instant::now).elapsed()
}

/// Writes `time` behind `out`; [`time_in`] finds it again wherever it stands.
pub fn write_time(out: &mut Vec<u8>, time: Duration) {
    write_number(out, u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
}

/// Writes a number behind `out`, as a time is written; [`number_in`] finds it again.
pub fn write_number(out: &mut Vec<u8>, number: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push(b'~');
    for shift in (0..16).rev() {
        out.push(DIGITS[((number >> (shift * 4)) & 15) as usize]);
    }
    out.push(b'~');
}

/// The number that [`write_number`] put into `stanza`.
pub fn number_in(stanza: &[u8]) -> Option<u64> {
    let mut rest = stanza;
    loop {
        let at = memchr(b'~', rest)?;
        rest = &rest[at + 1..];
        if rest.get(16) == Some(&b'~') {
            let digits = std::str::from_utf8(&rest[..16]).ok()?;
            if let Ok(number) = u64::from_str_radix(digits, 16) {
                return Some(number);
            }
        }
    }
}

/// The time that [`write_time`] put into `stanza`.
pub fn time_in(stanza: &[u8]) -> Option<Duration> {
    number_in(stanza).map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_attributes_are_found() {
        let stanza = b" <iq to=\"it's > me\" id = 'a/b' type='result'><query id='no'/></iq>";
        assert_eq!(name(stanza), b"iq");
        assert_eq!(attribute_text(stanza, "to"), "it's > me");
        assert_eq!(attribute_text(stanza, "id"), "a/b");
        assert_eq!(attribute_text(stanza, "type"), "result");
        assert_eq!(attribute(stanza, "from"), None);
        assert_eq!(name(b"<presence/>"), b"presence");
        assert_eq!(attribute(b"<presence/>", "id"), None);
        assert_eq!(attribute(b"<presence id='1", "id"), None);
        assert_eq!(attribute(b"", "id"), None);
        assert_eq!(name(b"text"), b"");
    }

    #[test]
    fn only_the_whole_name_of_an_attribute_counts() {
        let stanza = b"<a xml:id='1' grid=\"2\" id='3'/>";
        assert_eq!(attribute(stanza, "id"), Some(&b"3"[..]));
    }

    #[test]
    fn times_survive_a_stanza() {
        let mut stanza = b"<message><body>~no~ ".to_vec();
        write_time(&mut stanza, Duration::from_nanos(1_234_567_890_123));
        stanza.extend_from_slice(b" rain</body></message>");
        assert_eq!(
            time_in(&stanza),
            Some(Duration::from_nanos(1_234_567_890_123))
        );
        assert_eq!(time_in(b"<message>~0123456789abcdeg~</message>"), None);
        assert_eq!(time_in(b"~"), None);
    }

    #[test]
    fn complaints_name_the_condition() {
        let stanza = b"<iq type='error'><query xmlns='jabber:iq:register'/><error type='cancel'>\
            <not-allowed xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>\
            <text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>Not here</text></error></iq>";
        assert!(is_error(stanza));
        assert_eq!(complaint(stanza), "not-allowed (Not here)");
        let failure =
            b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>";
        assert_eq!(complaint(failure), "not-authorized");
        let stream = b"<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>";
        assert_eq!(complaint(stream), "host-unknown");
        assert_eq!(complaint(b"<what/>"), "<what/>");
    }

    #[test]
    fn text_stands_behind_its_tag() {
        let stanza = b"<bind xmlns='x'><jid>a@b/c</jid></bind>";
        assert_eq!(text_after(stanza, "<jid>"), Some("a@b/c"));
        assert_eq!(text_after(b"<m><x a='1'>t</x></m>", "<x"), Some("t"));
        assert_eq!(text_after(stanza, "<no>"), None);
    }

    #[test]
    fn what_is_escaped_stays_text() {
        assert_eq!(escape("a<b>&'\""), "a&lt;b&gt;&amp;&apos;&quot;");
    }
}
