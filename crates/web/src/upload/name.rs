//! What a file is called and what it is, as a client says it and as it may be told to others.

use httpd::MediaType;

/// The longest name, in bytes.
const MAX_NAME: usize = 160;

/// The longest ending that is kept where a name is cut, in bytes, with its dot.
const MAX_ENDING: usize = 16;

/// The longest media type, in bytes.
const MAX_MEDIA: usize = 100;

/// What browsers show without running anything of it. Everything else is offered to be saved.
const SHOWN: [&str; 18] = [
    "audio/aac",
    "audio/flac",
    "audio/mp4",
    "audio/mpeg",
    "audio/ogg",
    "audio/opus",
    "audio/wav",
    "audio/webm",
    "audio/x-wav",
    "image/avif",
    "image/gif",
    "image/jpeg",
    "image/png",
    "image/webp",
    "video/mp4",
    "video/ogg",
    "video/quicktime",
    "video/webm",
];

/// The name of a file without a path and without what shows as nothing or turns the direction of writing; a long one is
/// cut before its ending. `None` if nothing is left of it.
pub(crate) fn name_of(said: &str) -> Option<String> {
    let last = said.rsplit(['/', '\\']).next().unwrap_or_default();
    let visible: String = last.chars().filter(|c| !is_hidden(*c)).collect();
    let name = visible.trim_matches(|c: char| c == '.' || c.is_whitespace());
    if name.is_empty() {
        return None;
    }
    if name.len() <= MAX_NAME {
        return Some(name.to_owned());
    }
    let ending = match name.rfind('.') {
        Some(at) if name.len() - at <= MAX_ENDING => &name[at..],
        _ => "",
    };
    let mut end = MAX_NAME - ending.len();
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    Some(format!("{}{ending}", name[..end].trim_end()))
}

/// Whether a character is a control, shows as nothing, or turns the direction of writing.
fn is_hidden(c: char) -> bool {
    let is_format = matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{ffff}' | '\u{e0000}'..='\u{e0fff}');
    c.is_control() || is_format
}

/// A text for a URL: all but letters, digits and `-._~` as percent and digits (RFC 3986 §2.3).
pub(crate) fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// A media type as it is kept: its essence, and its charset where it says one. `None` if it is none.
pub(crate) fn media_of(said: &str) -> Option<String> {
    let media = MediaType::parse(said)?;
    let mut text = format!("{}/{}", media.kind, media.subtype);
    let is_plain = |name: &str| {
        let is_word = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !name.is_empty() && name.chars().all(is_word)
    };
    if let Some(charset) = media.param("charset").filter(|name| is_plain(name)) {
        text.push_str("; charset=");
        text.push_str(&charset.to_ascii_lowercase());
    }
    (text.len() <= MAX_MEDIA).then_some(text)
}

/// The media type without its parameters.
pub(crate) fn essence(media: &str) -> &str {
    media.split(';').next().unwrap_or_default().trim()
}

/// Whether one of the patterns, `image/png` or `image/*`, is of this type; all are where there are none.
pub(crate) fn is_one_of(media: &str, patterns: &[String]) -> bool {
    let essence = essence(media);
    let (kind, _) = essence.split_once('/').unwrap_or_default();
    patterns.is_empty()
        || patterns
            .iter()
            .any(|pattern| match pattern.strip_suffix("/*") {
                Some(any) => any.eq_ignore_ascii_case(kind),
                None => pattern.eq_ignore_ascii_case(essence),
            })
}

/// The value of `content-disposition` (RFC 6266, RFC 8187).
pub(crate) fn disposition(media: &str, name: &str) -> String {
    let manner = match SHOWN.contains(&essence(media)) {
        true => "inline",
        false => "attachment",
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_. ()".contains(c);
    let plain: String = name
        .chars()
        .map(|c| if is_plain(c) { c } else { '_' })
        .collect();
    format!(
        "{manner}; filename=\"{plain}\"; filename*=UTF-8''{}",
        percent(name)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_paths_and_what_is_not_seen() {
        for (said, name) in [
            ("très cool.jpg", Some("très cool.jpg")),
            ("../../etc/passwd", Some("passwd")),
            ("..\\temp\\a b.txt", Some("a b.txt")),
            (".htaccess", Some("htaccess")),
            ("a\u{202e}gpj.exe", Some("agpj.exe")),
            ("\u{feff}x\u{0}\r\n.png\u{200b}", Some("x.png")),
            ("日本語", Some("日本語")),
            ("..", None),
            ("a/", None),
            (" \t", None),
            ("", None),
        ] {
            assert_eq!(name_of(said).as_deref(), name, "{said:?}");
        }
        let long = name_of(&format!("{}.jpeg", "ä".repeat(200))).expect("something is left");
        assert!(long.len() <= MAX_NAME && long.ends_with("ä.jpeg"), "{long}");
        let ending = format!("a.{}", "b".repeat(300));
        assert_eq!(name_of(&ending).map(|name| name.len()), Some(MAX_NAME));
    }

    #[test]
    fn urls_are_ascii() {
        assert_eq!(percent("très cool.jpg"), "tr%C3%A8s%20cool.jpg");
        assert_eq!(percent("a%/?#~"), "a%25%2F%3F%23~");
    }

    #[test]
    fn types_are_kept_plain() {
        for (said, media) in [
            ("Image/JPEG", Some("image/jpeg")),
            (
                "text/plain; Charset=UTF-8; x=1",
                Some("text/plain; charset=utf-8"),
            ),
            ("text/plain; charset=\"a b\"", Some("text/plain")),
            ("image", None),
            ("image/jpeg\r\nX: 1", None),
            ("", None),
        ] {
            assert_eq!(media_of(said).as_deref(), media, "{said}");
        }
        let patterns = ["image/*".to_owned(), "text/plain".to_owned()];
        assert!(is_one_of("image/png", &patterns));
        assert!(is_one_of("text/plain; charset=utf-8", &patterns));
        assert!(!is_one_of("text/html", &patterns));
        assert!(is_one_of("text/html", &[]));
    }

    #[test]
    fn only_what_runs_nothing_is_shown() {
        assert_eq!(
            disposition("image/png", "a\"b.png"),
            "inline; filename=\"a_b.png\"; filename*=UTF-8''a%22b.png"
        );
        for media in [
            "text/html",
            "image/svg+xml",
            "application/pdf",
            "text/plain",
        ] {
            assert!(
                disposition(media, "x").starts_with("attachment; "),
                "{media}"
            );
        }
    }
}
