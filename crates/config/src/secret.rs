//! A text that must not be seen.

use crate::raw::Raw;
use crate::value::Value;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A password or key. Has neither `Debug` nor `Display`, is compared in constant time and zeroised when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes `text` as a secret.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(Zeroizing::new(text.into()))
    }

    /// Gives the text itself, for the one place that must have it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Secret {}

impl Value for Secret {
    const TYPE: &'static str = "secret text";
    const SECRET: bool = true;

    fn read(raw: &Raw) -> Result<Secret, String> {
        let text = raw.as_str().ok_or("expected text (a secret)")?;
        Ok(Secret::new(text))
    }

    fn show(&self) -> String {
        "***".to_owned()
    }

    fn resolve(text: &str) -> Raw {
        Raw::text(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::Node;

    #[test]
    fn is_kept_but_not_shown() {
        let Ok(secret) = Secret::from_text("hunter2") else {
            panic!("any text is a secret")
        };
        assert_eq!(secret.expose(), "hunter2");
        assert_eq!(secret.show(), "***");
        assert!(secret == Secret::new("hunter2"));
        assert!(secret != Secret::new("hunter3"));
    }

    #[test]
    fn a_secret_of_the_wrong_type_is_not_told() {
        let told = Secret::read(&Raw::made(Node::Integer(12345))).err();
        assert_eq!(told, Some("expected text (a secret)".to_owned()));
    }
}
