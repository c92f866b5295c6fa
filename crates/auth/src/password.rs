//! A password on its way from the wire to the derivation of keys.

use zeroize::Zeroizing;

/// A password as typed. Has no `Debug`; wiped when dropped.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Wraps a password.
    pub fn new(text: String) -> Password {
        Password(Zeroizing::new(text))
    }

    /// How many characters it has, as typed.
    pub fn chars(&self) -> usize {
        self.0.chars().count()
    }

    /// Prepares it by SASLprep (RFC 4013), under which differently typed forms of a password are equal.
    ///
    /// # Errors
    ///
    /// Why it cannot be a password: it holds prohibited characters, or nothing is left of it.
    pub(crate) fn prepare(&self) -> Result<Prepared, &'static str> {
        let prepared = stringprep::saslprep(&self.0)
            .map_err(|_| "the password holds characters that are not allowed")?;
        let prepared = Zeroizing::new(prepared.into_owned());
        if prepared.is_empty() {
            return Err("the password is empty");
        }
        Ok(Prepared(prepared))
    }
}

impl From<&str> for Password {
    fn from(text: &str) -> Password {
        Password::new(text.to_owned())
    }
}

/// A password after SASLprep, never empty.
#[derive(Clone)]
pub(crate) struct Prepared(Zeroizing<String>);

impl Prepared {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(text: &str) -> Result<Vec<u8>, &'static str> {
        Password::from(text)
            .prepare()
            .map(|prepared| prepared.as_bytes().to_vec())
    }

    /// The examples of RFC 4013 §3.
    #[test]
    fn equal_passwords_become_equal() {
        assert_eq!(prepared("I\u{ad}X"), Ok(b"IX".to_vec()));
        assert_eq!(prepared("user"), Ok(b"user".to_vec()));
        assert_eq!(prepared("USER"), Ok(b"USER".to_vec()));
        assert_eq!(prepared("\u{aa}"), Ok(b"a".to_vec()));
        assert_eq!(prepared("\u{2168}"), Ok(b"IX".to_vec()));
        assert_eq!(prepared("a\u{a0}b"), prepared("a b"));
        assert_eq!(prepared("e\u{301}"), prepared("\u{e9}"));
    }

    #[test]
    fn what_cannot_be_a_password_is_refused() {
        for text in ["", "\u{ad}", "\u{7}", "\u{627}\u{31}", "a\0b"] {
            assert!(prepared(text).is_err(), "{text:?}");
        }
    }
}
