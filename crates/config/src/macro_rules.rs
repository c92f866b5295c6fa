//! The macros that declare sets of options and choices.

/// Declares a set of options as a struct; implements [`Options`](crate::Options) and, through it, [`Value`](crate::Value).
///
/// Each field has a doc comment, which is what the reference page says of it, a type, and then, when they exist, a
/// range in brackets, a default after `=`, and the reload class after `=>` ([`Reload::Live`](crate::Reload::Live) unless said). A field
/// without a default must be written, unless its type has a meaning for absence (`Option`, nested tables, maps).
///
/// ```
/// # use std::time::Duration;
/// config::options! {
///     /// Bounds of one connection.
///     #[derive(Debug, PartialEq)]
///     pub struct Bounds {
///         /// How long a silent peer is kept.
///         pub idle: Duration [Duration::from_secs(1)..=Duration::from_secs(3600)] = Duration::from_secs(60),
///         /// Connections waiting to be accepted.
///         pub backlog: u32 [1..] = 1024 => Restart,
///         /// What the peer is greeted with.
///         pub greeting: Option<String>,
///     }
/// }
/// # use config::Options;
/// assert_eq!(Bounds::defaults().map(|bounds| bounds.backlog), Ok(1024));
/// ```
#[macro_export]
macro_rules! options {
    (
        $(#[$($meta:tt)*])*
        $vis:vis struct $name:ident {
            $(
                $(#[$($field_meta:tt)*])*
                $field_vis:vis $field:ident : $type:ty $([$range:expr])? $(= $default:expr)? $(=> $reload:ident)?
            ),* $(,)?
        }
    ) => {
        $(#[$($meta)*])*
        #[derive(Clone)]
        $vis struct $name {
            $( $(#[$($field_meta)*])* $field_vis $field: $type, )*
        }

        impl $crate::Options for $name {
            fn declared() -> &'static [$crate::Declared] {
                static DECLARED: $crate::macros::OnceLock<::std::vec::Vec<$crate::Declared>> =
                    $crate::macros::OnceLock::new();
                DECLARED.get_or_init(|| ::std::vec![$(
                    $crate::Declared::new::<$type>(
                        $crate::options!(@key $field),
                        {
                            static DOC: $crate::macros::OnceLock<::std::string::String> =
                                $crate::macros::OnceLock::new();
                            DOC.get_or_init(|| $crate::macros::doc_text(
                                concat!($($crate::options!(@doc $($field_meta)*), "\n",)* "")
                            ))
                        },
                        $crate::options!(@default $type $(, $default)?).map(|make| make()),
                        $crate::options!(@range $type $(, $range)?),
                        $crate::options!(@reload $($reload)?),
                    ),
                )*])
            }

            fn read(section: &$crate::Section) -> ::std::result::Result<Self, $crate::Errors> {
                #[allow(unused_mut)]
                let mut reader = section.reader(<Self as $crate::Options>::declared());
                $(
                    let $field: ::std::option::Option<$type> =
                        $crate::options!(@read reader, $field, $type, ($($default)?) $(, $range)?);
                )*
                reader.finish()?;
                ::std::result::Result::Ok($name {
                    $( $field: $field.expect("a section without faults has every value"), )*
                })
            }

            fn doc() -> &'static str {
                static DOC: $crate::macros::OnceLock<::std::string::String> = $crate::macros::OnceLock::new();
                DOC.get_or_init(|| $crate::macros::doc_text(
                    concat!($($crate::options!(@doc $($meta)*), "\n",)* "")
                ))
            }

            fn shown(&self) -> ::std::vec::Vec<(&'static str, ::std::string::String)> {
                let shown: ::std::vec::Vec<(&'static str, ::std::string::String)> = ::std::vec![
                    $( ($crate::options!(@key $field), $crate::Value::show(&self.$field)), )*
                ];
                shown.into_iter().filter(|(_, text)| !text.is_empty()).collect()
            }

            #[allow(unused_variables)]
            fn for_host(self, host: &str) -> Self {
                $name { $( $field: $crate::Value::for_host(self.$field, host), )* }
            }
        }
    };
    (@key $field:ident) => {{
        // A raw identifier stands for a key that is a word of the language: `r#type` is `type`.
        const KEY: &str = stringify!($field);
        match KEY.as_bytes() {
            [b'r', b'#', ..] => KEY.split_at(2).1,
            _ => KEY,
        }
    }};
    (@doc doc = $doc:expr) => { $doc };
    (@doc $($other:tt)*) => { "" };
    (@default $type:ty) => { ::std::option::Option::None::<fn() -> $type> };
    (@default $type:ty, $default:expr) => { ::std::option::Option::Some(|| -> $type { $default }) };
    (@range $type:ty) => { ::std::option::Option::None };
    (@range $type:ty, $range:expr) => {
        ::std::option::Option::Some($crate::macros::in_words::<<$type as $crate::Ranged>::Bound>(&($range)))
    };
    (@reload) => { $crate::Reload::Live };
    (@reload $reload:ident) => { $crate::Reload::$reload };
    (@read $reader:ident, $field:ident, $type:ty, ($($default:expr)?)) => {
        $reader.value::<$type>($crate::options!(@key $field), $crate::options!(@default $type $(, $default)?))
    };
    (@read $reader:ident, $field:ident, $type:ty, ($($default:expr)?), $range:expr) => {
        $reader.ranged::<$type>(
            $crate::options!(@key $field),
            $crate::options!(@default $type $(, $default)?),
            $range,
        )
    };
}

/// Declares an enum whose values are words; implements [`Value`](crate::Value) and `Display`.
///
/// ```
/// config::choice! {
///     /// Whether a stream must be encrypted.
///     pub enum Encryption {
///         /// Nothing is said before it is.
///         Required = "required",
///         /// Never.
///         Off = "off",
///     }
/// }
/// use config::Value;
/// assert_eq!(Encryption::from_text("off"), Ok(Encryption::Off));
/// assert_eq!(
///     Encryption::from_text("of"),
///     Err("expected \"required\" or \"off\", found text \"of\"".to_owned())
/// );
/// ```
#[macro_export]
macro_rules! choice {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $(#[$first_meta:meta])* $first:ident = $first_word:literal
            $(, $(#[$other_meta:meta])* $other:ident = $other_word:literal)* $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        $vis enum $name {
            $(#[$first_meta])* $first,
            $( $(#[$other_meta])* $other, )*
        }

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [$name] = &[$name::$first $(, $name::$other)*];

            /// The word for this value.
            pub const fn word(self) -> &'static str {
                match self {
                    $name::$first => $first_word,
                    $( $name::$other => $other_word, )*
                }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.word())
            }
        }

        impl $crate::Value for $name {
            const TYPE: &'static str = concat!("\"", $first_word, "\"" $(, " | \"", $other_word, "\"")*);

            fn read(raw: &$crate::Raw) -> ::std::result::Result<Self, ::std::string::String> {
                let found = raw.as_str().and_then(|word| Self::ALL.iter().find(|value| value.word() == word));
                let words = Self::ALL.iter().map(|value| value.word());
                found.copied().ok_or_else(|| $crate::macros::expected_one_of(words, raw))
            }

            fn show(&self) -> ::std::string::String {
                ::std::format!("\"{}\"", self.word())
            }

            fn resolve(text: &str) -> $crate::Raw {
                $crate::Raw::text(text)
            }

            fn suggest(raw: &$crate::Raw) -> ::std::option::Option<&'static str> {
                $crate::nearest(raw.as_str()?, Self::ALL.iter().map(|value| value.word()))
            }
        }
    };
}
