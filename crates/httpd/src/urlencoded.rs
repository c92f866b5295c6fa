//! `application/x-www-form-urlencoded`, read strictly: a bad escape, or what is no UTF-8, is an error.

/// It is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The pairs in order. A name without `=` has an empty value; empty pairs are left out.
pub(crate) fn parse(text: &[u8]) -> Result<Vec<(String, String)>, Malformed> {
    let pairs = text.split(|b| *b == b'&').filter(|pair| !pair.is_empty());
    let read = |pair: &[u8]| {
        let at = memchr::memchr(b'=', pair).unwrap_or(pair.len());
        let value = pair.get(at + 1..).unwrap_or_default();
        Ok((decode(&pair[..at])?, decode(value)?))
    };
    pairs.map(read).collect()
}

fn decode(text: &[u8]) -> Result<String, Malformed> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut left = text.iter();
    let digit = |byte: Option<&u8>| {
        let value = byte.and_then(|byte| char::from(*byte).to_digit(16));
        value.map(|value| value as u8).ok_or(Malformed)
    };
    while let Some(&byte) = left.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = digit(left.next())?;
                high << 4 | digit(left.next())?
            }
            other => other,
        });
    }
    String::from_utf8(decoded).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        for (text, pairs) in [
            ("", vec![]),
            ("a=b&c", vec![pair("a", "b"), pair("c", "")]),
            ("&a+b=%C3%A9=&&=x", vec![pair("a b", "é="), pair("", "x")]),
        ] {
            assert_eq!(parse(text.as_bytes()), Ok(pairs), "{text}");
        }
        for text in ["a=%", "a=%4", "%zz=1", "a=%ff"] {
            assert_eq!(parse(text.as_bytes()), Err(Malformed), "{text}");
        }
    }
}
