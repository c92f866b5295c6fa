//! Where a value comes from.

use std::sync::Arc;

/// What a value was said in; later layers win over earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// Said nowhere: the declared default.
    Default,
    /// The configuration file.
    File,
    /// The file of hot changes, kept by the node itself.
    Overrides,
    /// Given to a command, not kept anywhere.
    Command,
}

/// The layer and, where there is a text, the position of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// What the value was said in.
    pub layer: Layer,
    /// Name of the file as it was given when it was parsed; empty for defaults and commands.
    pub file: Arc<str>,
    /// Line, counted from 1; 0 without a text.
    pub line: usize,
    /// Column in characters, counted from 1; 0 without a text.
    pub column: usize,
}

impl Origin {
    /// The origin of a value nobody wrote.
    pub fn default_value() -> Origin {
        Origin::without_text(Layer::Default)
    }

    /// The origin of a value given to a command.
    pub fn command() -> Origin {
        Origin::without_text(Layer::Command)
    }

    fn without_text(layer: Layer) -> Origin {
        Origin {
            layer,
            file: Arc::from(""),
            line: 0,
            column: 0,
        }
    }
}

/// Prints `example.toml:12:3`, `overrides.toml`, `default` or `command`: hot changes are named by file alone, since
/// the node writes that file and positions in it mean nothing to its reader.
impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.layer {
            Layer::Default => f.write_str("default"),
            Layer::Command => f.write_str("command"),
            Layer::File => write!(f, "{}:{}:{}", self.file, self.line, self.column),
            Layer::Overrides => {
                let name = self.file.rsplit('/').next().unwrap_or(&self.file);
                f.write_str(name)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_where_a_value_was_said() {
        let mut origin = Origin {
            layer: Layer::File,
            file: Arc::from("etc/natter.toml"),
            line: 12,
            column: 3,
        };
        assert_eq!(origin.to_string(), "etc/natter.toml:12:3");
        origin.layer = Layer::Overrides;
        origin.file = Arc::from("data/overrides.toml");
        assert_eq!(origin.to_string(), "overrides.toml");
        assert_eq!(Origin::default_value().to_string(), "default");
        assert_eq!(Origin::command().to_string(), "command");
    }
}
