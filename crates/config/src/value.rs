//! What a value type is, and the scalar ones.

use crate::declare::Nested;
use crate::document::parse_value;
use crate::error::{Error, Errors};
use crate::origin::{Layer, Origin};
use crate::raw::{Node, Raw, quote};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// A type that can stand in a configuration: what it is called, how it is read, how it is printed.
pub trait Value: Sized {
    /// What the type is called in documents: `text`, `duration`, `"on" | "off"`.
    const TYPE: &'static str;

    /// Whether the value must not be printed.
    const SECRET: bool = false;

    /// Reads what was written.
    ///
    /// # Errors
    ///
    /// What was expected and what was found, as one phrase without position.
    fn read(raw: &Raw) -> Result<Self, String>;

    /// Prints the value as it would be written in TOML; nothing for an absent one, `***` for a secret.
    fn show(&self) -> String;

    /// Reads the value from a word given to a command.
    ///
    /// # Errors
    ///
    /// As [`Value::read`].
    fn from_text(text: &str) -> Result<Self, String> {
        Self::read(&Self::resolve(text))
    }

    /// Decides what a word given to a command is: `10` is a number unless a text is wanted.
    fn resolve(text: &str) -> Raw {
        let literal = Raw::text(text);
        match parse_value(text) {
            Some(typed) if Self::read(&typed).is_ok() => typed,
            Some(typed) if Self::read(&literal).is_err() => typed,
            _ => literal,
        }
    }

    /// What the type is called when that depends on another type: `list of text`.
    fn type_name() -> String {
        Self::TYPE.to_owned()
    }

    /// Reads the value that stands at `path`, with every fault in its parts.
    ///
    /// # Errors
    ///
    /// All faults, each with the position of the part it concerns.
    fn check(raw: &Raw, path: &str) -> Result<Self, Errors> {
        let read = match &raw.node {
            Node::Word(word) => Self::from_text(word),
            _ => Self::read(raw),
        };
        read.map_err(|message| {
            let error = Error::at(&raw.origin, path, message);
            error.suggest(Self::suggest(raw)).into()
        })
    }

    /// Gives the word that was probably meant where `raw` could not be read.
    fn suggest(_raw: &Raw) -> Option<&'static str> {
        None
    }

    /// Puts the host's name in the place of `@HOST@` in the texts of this value.
    #[must_use]
    fn for_host(self, _host: &str) -> Self {
        self
    }

    /// Gives the value for a key nobody wrote and that declares no default; `None` when it must be written.
    fn absent(_origin: &Origin, _path: &str) -> Option<Result<Self, Errors>> {
        None
    }

    /// Says which options a value of this type holds itself.
    fn nested() -> Option<Nested> {
        None
    }
}

/// Puts the host's name in the place of every `@HOST@` in `text`.
pub fn for_host(text: &str, host: &str) -> String {
    text.replace("@HOST@", host)
}

impl Value for bool {
    const TYPE: &'static str = "true | false";

    fn read(raw: &Raw) -> Result<bool, String> {
        let expected = || format!("expected true or false, found {}", raw.found());
        raw.as_bool().ok_or_else(expected)
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for String {
    const TYPE: &'static str = "text";

    fn read(raw: &Raw) -> Result<String, String> {
        let expected = || format!("expected text, found {}", raw.found());
        raw.as_str().map(str::to_owned).ok_or_else(expected)
    }

    fn show(&self) -> String {
        quote(self)
    }

    fn resolve(text: &str) -> Raw {
        Raw::text(text)
    }

    fn for_host(self, host: &str) -> String {
        for_host(&self, host)
    }
}

macro_rules! whole_numbers {
    ($($type:ty)*) => {$(
        impl Value for $type {
            const TYPE: &'static str = "whole number";

            fn read(raw: &Raw) -> Result<$type, String> {
                let Some(number) = raw.as_integer() else {
                    return Err(format!("expected a whole number, found {}", raw.found()));
                };
                <$type>::try_from(number).map_err(|_| {
                    let most = i64::try_from(<$type>::MAX).unwrap_or(i64::MAX);
                    format!("{number} is outside {} to {most}", <$type>::MIN)
                })
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

whole_numbers!(u8 u16 u32 u64 usize i32 i64);

impl Value for f64 {
    const TYPE: &'static str = "number";

    fn read(raw: &Raw) -> Result<f64, String> {
        match raw.as_float() {
            Some(number) if number.is_finite() => Ok(number),
            _ => Err(format!("expected a number, found {}", raw.found())),
        }
    }

    fn show(&self) -> String {
        toml_edit::Value::from(*self).to_string()
    }
}

macro_rules! parsed_texts {
    ($($type:ty, $name:literal, $expected:literal;)*) => {$(
        impl Value for $type {
            const TYPE: &'static str = $name;

            fn read(raw: &Raw) -> Result<$type, String> {
                let parsed = raw.as_str().and_then(|text| text.parse().ok());
                parsed.ok_or_else(|| format!(concat!("expected ", $expected, ", found {}"), raw.found()))
            }

            fn show(&self) -> String {
                quote(&self.to_string())
            }
        }
    )*};
}

parsed_texts! {
    IpAddr, "IP address", "an IP address";
    SocketAddr, "address:port", "an address with a port such as \"127.0.0.1:5222\" or \"[::1]:5222\"";
}

/// A path, relative to the folder of the file it is written in. Paths given to a command stay as they are.
impl Value for PathBuf {
    const TYPE: &'static str = "path";

    fn read(raw: &Raw) -> Result<PathBuf, String> {
        let path = match raw.as_str() {
            Some("") => return Err("expected a path, found text \"\"".to_owned()),
            Some(path) => Path::new(path),
            None => return Err(format!("expected a path, found {}", raw.found())),
        };
        match raw.origin.layer {
            Layer::Default | Layer::Command => Ok(path.to_owned()),
            Layer::File | Layer::Overrides => {
                let folder = Path::new(&*raw.origin.file).parent();
                Ok(folder.unwrap_or(Path::new("")).join(path))
            }
        }
    }

    fn show(&self) -> String {
        quote(&self.to_string_lossy())
    }

    fn resolve(text: &str) -> Raw {
        Raw::text(text)
    }

    fn for_host(self, host: &str) -> PathBuf {
        match self.to_str() {
            Some(text) => PathBuf::from(for_host(text, host)),
            None => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Document;

    fn read<T: Value>(toml: &str) -> Result<T, String> {
        let document = Document::parse("conf/x.toml", &format!("v = {toml}")).expect("well-formed");
        let entry = document.root().get("v").expect("written");
        T::check(&entry.value, "v").map_err(|errors| errors.to_string())
    }

    #[test]
    fn scalars_are_read_and_shown() {
        assert_eq!(read::<bool>("true"), Ok(true));
        assert_eq!(read::<u16>("65535"), Ok(65535));
        assert_eq!(read::<i64>("-3"), Ok(-3));
        assert_eq!(read::<f64>("2"), Ok(2.0));
        assert_eq!(read::<String>("'a'"), Ok("a".to_owned()));
        assert_eq!(
            read::<SocketAddr>("'[::1]:80'").map(|a| a.show()),
            Ok("\"[::1]:80\"".into())
        );
        assert_eq!("a\"b\n".to_owned().show(), r#""a\"b\n""#);
        assert_eq!(1.5_f64.show(), "1.5");
    }

    #[test]
    fn wrong_types_say_what_was_expected_and_found() {
        let told = [
            (
                read::<bool>("1").err(),
                "conf/x.toml:1:5: v: expected true or false, found the number 1",
            ),
            (
                read::<u16>("70000").err(),
                "conf/x.toml:1:5: v: 70000 is outside 0 to 65535",
            ),
            (
                read::<u64>("-1").err(),
                "conf/x.toml:1:5: v: -1 is outside 0 to 9223372036854775807",
            ),
            (
                read::<u16>("'x'").err(),
                "conf/x.toml:1:5: v: expected a whole number, found text \"x\"",
            ),
            (
                read::<String>("[1]").err(),
                "conf/x.toml:1:5: v: expected text, found a list",
            ),
            (
                read::<f64>("nan").err(),
                "conf/x.toml:1:5: v: expected a number, found the number NaN",
            ),
            (
                read::<IpAddr>("'x'").err(),
                "conf/x.toml:1:5: v: expected an IP address, found text \"x\"",
            ),
            (
                read::<PathBuf>("''").err(),
                "conf/x.toml:1:5: v: expected a path, found text \"\"",
            ),
        ]
        .map(|(error, text)| (error.expect("refused"), text));
        for (error, text) in told {
            assert_eq!(error, text);
        }
    }

    #[test]
    fn paths_are_relative_to_their_file() {
        assert_eq!(
            read::<PathBuf>("'certs/*.pem'"),
            Ok("conf/certs/*.pem".into())
        );
        assert_eq!(read::<PathBuf>("'/etc/x'"), Ok("/etc/x".into()));
        assert_eq!(PathBuf::from_text("certs"), Ok("certs".into()));
    }

    #[test]
    fn words_take_the_type_that_is_wanted() {
        assert_eq!(String::from_text("10"), Ok("10".to_owned()));
        assert_eq!(u32::from_text("10"), Ok(10));
        assert_eq!(bool::from_text("true"), Ok(true));
        assert_eq!(
            u32::from_text("ten"),
            Err("expected a whole number, found text \"ten\"".into())
        );
        assert_eq!(u8::from_text("300"), Err("300 is outside 0 to 255".into()));
    }
}
