//! Any text as a configuration: read, or refused with the place of every fault.

use std::collections::BTreeMap;
use std::time::Duration;

use config::{Bytes, Document, Layers, Section, choice, options};

choice! {
    /// One of three.
    pub enum Colour {
        /// The first.
        Red = "red",
        /// The second.
        Green = "green",
        /// The third.
        Blue = "blue",
    }
}

options! {
    /// Something that there are several of.
    pub struct Door {
        /// Where.
        pub address: Vec<String>,
        /// Which.
        pub colour: Colour = Colour::Red,
    }
}

options! {
    /// One option of each kind.
    pub struct House {
        /// A number.
        pub rooms: u32 [1..] = 4,
        /// A size.
        pub bytes: Bytes [Bytes(10)..] = Bytes(100),
        /// A time.
        pub within: Duration [Duration::from_secs(1)..] = Duration::from_secs(5),
        /// Perhaps a text.
        pub name: Option<String>,
        /// Yes or no.
        pub open: bool = false,
        /// Several.
        pub door: Vec<Door> = Vec::new(),
        /// Anything, by name.
        pub modules: BTreeMap<String, Section>,
    }
}

/// Checks one input, as the file and as what was changed over it.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let lines = text.lines().count().max(1);
    let told = |errors: config::Errors| {
        let told = errors.to_string();
        assert!(!told.is_empty());
        // Every fault says where it is: file:line:column.
        for line in told
            .lines()
            .filter_map(|line| line.strip_prefix("house.toml:"))
        {
            let at = line.split(':').next().and_then(|n| n.parse::<usize>().ok());
            assert!(at.is_some_and(|at| (1..=lines + 1).contains(&at)), "{line}");
        }
    };
    match Document::parse("house.toml", text) {
        Err(errors) => told(errors),
        Ok(document) => {
            let section = Layers::new().file(document).section();
            match section.read::<House>() {
                Ok(house) => {
                    assert!(house.rooms >= 1 && house.bytes.0 >= 10);
                    assert!(house.within >= Duration::from_secs(1));
                }
                Err(errors) => told(errors),
            }
        }
    }
    if let Err(errors) = Document::parse_overrides("house.toml", text) {
        told(errors);
    }
    if let Err(errors) = Document::from_words(text.split(' ')) {
        assert!(!errors.to_string().is_empty());
    }
}
