//! Configuration: typed values that know where they were written.
//!
//! A [`Document`] is one parsed TOML text with the position of every value. [`Layers`] lays documents over one
//! another (defaults, then the file, then the overrides, then what a command said) and gives the root [`Section`].
//! What a section may hold is declared as data with [`options!`]: type, range, default, one sentence, and when a
//! change takes effect. Reading a section reports every fault at once, each with file, line, column, dotted path
//! and, where one is near, the word that was probably meant.
//!
//! This crate knows how values are written, never what any key is called.
//!
//! ```
//! config::options! {
//!     /// How loud the service answers.
//!     pub struct EchoOpts {
//!         /// Domain the service answers at; `@HOST@` is the host's name.
//!         pub host: String = "echo.@HOST@".into(),
//!         /// Answers per second at most.
//!         pub rate: u32 [1..=1000] = 10,
//!     }
//! }
//! use config::{Document, Layers, Options};
//!
//! let file = Document::parse("natter.toml", "rate = 5000\nhots = 'x'\n").expect("well-formed TOML");
//! let section = Layers::new().file(file).section();
//! let Err(errors) = EchoOpts::read(&section) else { panic!("the range is checked") };
//! assert_eq!(
//!     errors.to_string(),
//!     "natter.toml:1:8: rate: 5000 is outside 1 to 1000\n\
//!      natter.toml:2:1: hots: unknown key (did you mean `host`?)"
//! );
//! ```

mod declare;
mod document;
mod error;
mod lists;
#[macro_use]
mod macro_rules;
mod nearest;
mod origin;
mod overrides;
mod print;
mod range;
mod raw;
mod secret;
mod section;
mod unit;
mod value;

pub use declare::{Declared, Nested, NoOpts, Options, Reader, Reload, Shape};
pub use document::Document;
pub use error::{Error, Errors};
pub use nearest::nearest;
pub use origin::{Layer, Origin};
pub use overrides::{Overrides, OverridesError};
pub use print::{Described, Shown, effective, effective_table, reference};
pub use range::Ranged;
pub use raw::{Entry, Node, Raw, Table};
pub use secret::Secret;
pub use section::{Layers, Section};
pub use unit::Bytes;
pub use value::{Value, for_host};

/// What the macros of this crate need by name; not for other use.
#[doc(hidden)]
pub mod macros {
    pub use crate::declare::{doc_text, expected_one_of};
    pub use crate::range::in_words;
    pub use std::sync::OnceLock;
}
