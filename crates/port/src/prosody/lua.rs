//! The part of Lua that Prosody writes its data in: tables, texts, numbers, truth values, `nil`. Nothing is executed.
//!
//! Lua 5.4 §3.1 (lexical conventions), §3.4.9 (table constructors). Bounded: [`DEEPEST`] tables in one another,
//! [`MOST_VALUES`] values in one file.

use xml::Position;

/// How deep tables may stand in one another. Prosody writes no more than 127.
pub const DEEPEST: usize = 130;

/// How many values one file may hold.
pub const MOST_VALUES: usize = 1_000_000;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    Nil,
    /// A truth value.
    Bool(bool),
    /// A number.
    Number(f64),
    /// A text: any bytes.
    Text(Vec<u8>),
    /// A table.
    Table(Table),
}

/// A table: keys with their values, in the order written. Values without a key have the numbers from 1 on.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table(Vec<(Value, Value)>);

impl Value {
    /// The text, if it is one in UTF-8.
    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Text(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The number, if it is one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The table, if it is one.
    pub fn table(&self) -> Option<&Table> {
        match self {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }
}

impl Table {
    /// The value of a key that is a text.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let mut fields = self.0.iter().rev();
        let is_it = |other: &Value| matches!(other, Value::Text(bytes) if bytes == key.as_bytes());
        Some(&fields.find(|(other, _)| is_it(other))?.1)
    }

    /// The value of a key that is a truth value.
    pub fn of(&self, key: bool) -> Option<&Value> {
        let mut fields = self.0.iter().rev();
        Some(&fields.find(|(other, _)| *other == Value::Bool(key))?.1)
    }

    /// The text of a key that is a text.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.text()
    }

    /// The keys that are texts in UTF-8, with their values.
    pub fn named(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0
            .iter()
            .filter_map(|(key, value)| Some((key.text()?, value)))
    }

    /// The values whose keys are numbers, by these.
    pub fn list(&self) -> impl Iterator<Item = &Value> {
        let mut values: Vec<(f64, &Value)> = self
            .0
            .iter()
            .filter_map(|(key, value)| Some((key.number()?, value)))
            .collect();
        values.sort_by(|a, b| a.0.total_cmp(&b.0));
        values.into_iter().map(|(_, value)| value)
    }
}

/// Why a file cannot be read, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {why}")]
pub struct LuaError {
    /// Where.
    pub at: Position,
    /// What was expected, or is too much.
    pub why: String,
}

/// Reads a file that returns one value.
///
/// # Errors
///
/// Where it is anything else.
pub fn read(bytes: &[u8]) -> Result<Value, LuaError> {
    let mut reader = Reader::new(bytes);
    let read = |reader: &mut Reader<'_>| {
        reader.skip()?;
        reader.word("return")?;
        let value = reader.value(0)?;
        reader.skip()?;
        let _ = reader.take(b';');
        reader.skip()?;
        match reader.peek() {
            None => Ok(value),
            Some(_) => Err("expected the end of the file".to_owned()),
        }
    };
    let outcome = read(&mut reader);
    outcome.map_err(|why| reader.error(why))
}

/// The values of a file that is a list: `item(VALUE)`, again and again. After an error there are no more.
pub struct Items<'a> {
    reader: Reader<'a>,
    ended: bool,
}

impl Items<'_> {
    /// Begins to read.
    pub fn of(bytes: &[u8]) -> Items<'_> {
        Items {
            reader: Reader::new(bytes),
            ended: false,
        }
    }

    fn item(&mut self) -> Result<Option<Value>, String> {
        let reader = &mut self.reader;
        reader.skip()?;
        if reader.peek().is_none() {
            return Ok(None);
        }
        reader.word("item")?;
        reader.skip()?;
        reader.expect(b'(')?;
        let value = reader.value(0)?;
        reader.skip()?;
        reader.expect(b')')?;
        reader.skip()?;
        let _ = reader.take(b';');
        Ok(Some(value))
    }
}

impl Iterator for Items<'_> {
    type Item = Result<Value, LuaError>;

    fn next(&mut self) -> Option<Result<Value, LuaError>> {
        if self.ended {
            return None;
        }
        let item = self.item();
        self.ended = !matches!(item, Ok(Some(_)));
        item.map_err(|why| self.reader.error(why)).transpose()
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    values: usize,
}

impl Reader<'_> {
    fn new(bytes: &[u8]) -> Reader<'_> {
        Reader {
            bytes,
            at: 0,
            values: 0,
        }
    }

    fn error(&self, why: String) -> LuaError {
        let before = &self.bytes[..self.at.min(self.bytes.len())];
        LuaError {
            at: Position::START.behind(before),
            why,
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_it = self.peek() == Some(byte);
        self.at += usize::from(is_it);
        is_it
    }

    fn expect(&mut self, byte: u8) -> Result<(), String> {
        match self.take(byte) {
            true => Ok(()),
            false => Err(format!("expected `{}`", char::from(byte))),
        }
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    /// Passes over white space and comments.
    fn skip(&mut self) -> Result<(), String> {
        loop {
            while self
                .peek()
                .is_some_and(|byte| byte.is_ascii_whitespace() || byte == 0x0b)
            {
                self.at += 1;
            }
            if !self.rest().starts_with(b"--") {
                return Ok(());
            }
            self.at += 2;
            match self.long_bracket() {
                Some(level) => drop(self.long_text(level)?),
                None => while self.next().is_some_and(|byte| byte != b'\n') {},
            }
        }
    }

    fn name(&mut self) -> Option<&[u8]> {
        let rest = &self.bytes[self.at..];
        let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_';
        let length = rest.iter().take_while(is_part).count();
        if length == 0 || rest[0].is_ascii_digit() {
            return None;
        }
        self.at += length;
        Some(&rest[..length])
    }

    fn word(&mut self, word: &str) -> Result<(), String> {
        let before = self.at;
        if self.name() == Some(word.as_bytes()) {
            return Ok(());
        }
        self.at = before;
        Err(format!("expected `{word}`"))
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        self.values += 1;
        if self.values > MOST_VALUES {
            return Err(format!("more than {MOST_VALUES} values"));
        }
        self.skip()?;
        let before = self.at;
        match self.peek() {
            Some(b'{') => self.table(depth + 1).map(Value::Table),
            Some(quote @ (b'"' | b'\'')) => self.quoted(quote).map(Value::Text),
            Some(b'[') => match self.long_bracket() {
                Some(level) => self.long_text(level).map(Value::Text),
                None => Err("expected a value".to_owned()),
            },
            Some(b'-' | b'0'..=b'9' | b'.') => self.number().map(Value::Number),
            Some(b'(') => self.no_number().map(Value::Number),
            _ => match self.name() {
                Some(b"nil") => Ok(Value::Nil),
                Some(b"true") => Ok(Value::Bool(true)),
                Some(b"false") => Ok(Value::Bool(false)),
                _ => {
                    self.at = before;
                    Err("expected a value".to_owned())
                }
            },
        }
    }

    fn table(&mut self, depth: usize) -> Result<Table, String> {
        if depth > DEEPEST {
            return Err(format!("more than {DEEPEST} tables in one another"));
        }
        self.expect(b'{')?;
        let mut fields = Vec::new();
        let mut numbered = 0.0;
        loop {
            self.skip()?;
            if self.take(b'}') {
                return Ok(Table(fields));
            }
            let key = match self.key(depth)? {
                Some(key) => key,
                None => {
                    numbered += 1.0;
                    Value::Number(numbered)
                }
            };
            let value = self.value(depth)?;
            // A key whose value is nothing is not there.
            if value != Value::Nil {
                fields.push((key, value));
            }
            self.skip()?;
            if !self.take(b',') && !self.take(b';') && self.peek() != Some(b'}') {
                return Err("expected `,`, `;` or `}`".to_owned());
            }
        }
    }

    /// The key of a field, with its `=`; none where the field has none.
    fn key(&mut self, depth: usize) -> Result<Option<Value>, String> {
        let before = self.at;
        if self.peek() == Some(b'[') && self.long_bracket().is_none() {
            self.at += 1;
            let key = self.value(depth)?;
            self.skip()?;
            self.expect(b']')?;
            self.skip()?;
            self.expect(b'=')?;
            return Ok(Some(key));
        }
        self.at = before;
        if let Some(name) = self.name().map(<[u8]>::to_vec) {
            self.skip()?;
            if self.take(b'=') {
                return Ok(Some(Value::Text(name)));
            }
        }
        self.at = before;
        Ok(None)
    }

    fn quoted(&mut self, quote: u8) -> Result<Vec<u8>, String> {
        self.at += 1;
        let mut text = Vec::new();
        loop {
            match self.next() {
                Some(byte) if byte == quote => return Ok(text),
                Some(b'\\') => self.escape(&mut text)?,
                Some(b'\n') | None => return Err("a text that does not end".to_owned()),
                Some(byte) => text.push(byte),
            }
        }
    }

    fn escape(&mut self, text: &mut Vec<u8>) -> Result<(), String> {
        let wrong = || "an escape that is none".to_owned();
        let byte = self.next().ok_or_else(wrong)?;
        text.push(match byte {
            b'a' => 0x07,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' | b'\n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 0x0b,
            b'\\' | b'"' | b'\'' => byte,
            b'x' => {
                let mut digit = || char::from(self.next()?).to_digit(16);
                let code = digit().zip(digit()).map(|(high, low)| high * 16 + low);
                code.and_then(|code| u8::try_from(code).ok())
                    .ok_or_else(wrong)?
            }
            b'z' => {
                while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
                    self.at += 1;
                }
                return Ok(());
            }
            b'0'..=b'9' => {
                let mut code = u32::from(byte - b'0');
                for _ in 0..2 {
                    let Some(digit) = self.peek().filter(u8::is_ascii_digit) else {
                        break;
                    };
                    code = code * 10 + u32::from(digit - b'0');
                    self.at += 1;
                }
                u8::try_from(code).map_err(|_| wrong())?
            }
            b'u' => {
                let rest = self.rest();
                let end = rest.iter().take(12).position(|byte| *byte == b'}');
                let digits = end.and_then(|end| rest[..end].strip_prefix(b"{"));
                let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
                let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
                let letter = code.and_then(char::from_u32).ok_or_else(wrong)?;
                self.at += end.map_or(0, |end| end + 1);
                text.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(wrong()),
        });
        Ok(())
    }

    /// Passes over `[[` or `[=[` and gives the number of equals signs; none where there is none.
    fn long_bracket(&mut self) -> Option<usize> {
        let rest = self.rest().strip_prefix(b"[")?;
        let level = rest.iter().take_while(|byte| **byte == b'=').count();
        if rest.get(level) != Some(&b'[') {
            return None;
        }
        self.at += level + 2;
        Some(level)
    }

    /// The text up to `]]` or `]=]`, without a first line end.
    fn long_text(&mut self, level: usize) -> Result<Vec<u8>, String> {
        let end = [b"]".as_slice(), &vec![b'='; level], b"]"].concat();
        let rest = &self.bytes[self.at..];
        let length = rest.windows(end.len()).position(|window| window == end);
        let length = length.ok_or("a text that does not end")?;
        self.at += length + end.len();
        let text = &rest[..length];
        Ok(text.strip_prefix(b"\n").unwrap_or(text).to_vec())
    }

    fn number(&mut self) -> Result<f64, String> {
        let before = self.at;
        let negative = self.take(b'-');
        let rest = self.rest();
        let is_part =
            |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(**byte, b'.' | b'+' | b'-');
        let length = rest.iter().take(400).take_while(is_part).count();
        let text = std::str::from_utf8(&rest[..length]).unwrap_or_default();
        let hex = text.strip_prefix("0x").or(text.strip_prefix("0X"));
        let number = match hex {
            #[allow(
                clippy::cast_precision_loss,
                reason = "as Lua does where a number is no integer"
            )]
            Some(hex) => u64::from_str_radix(hex, 16)
                .ok()
                .map(|number| number as f64),
            None => {
                let is_plain = text.starts_with(|c: char| c.is_ascii_digit() || c == '.');
                text.parse().ok().filter(|_| is_plain)
            }
        };
        match number {
            Some(number) => {
                self.at += length;
                Ok(if negative { -number } else { number })
            }
            None => {
                self.at = before;
                Err("expected a number".to_owned())
            }
        }
    }

    /// What Prosody writes for numbers that are none.
    fn no_number(&mut self) -> Result<f64, String> {
        for (text, number) in [
            ("(1/0)", f64::INFINITY),
            ("(-1/0)", f64::NEG_INFINITY),
            ("(0/0)", f64::NAN),
        ] {
            if self.rest().starts_with(text.as_bytes()) {
                self.at += text.len();
                return Ok(number);
            }
        }
        Err("expected a value".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(text: &str) -> Value {
        Value::Text(text.as_bytes().to_vec())
    }

    #[test]
    fn values_are_read() {
        for (source, expected) in [
            ("return nil;", Value::Nil),
            ("return true", Value::Bool(true)),
            (
                " \t\r\nreturn -- so\n false --[[ or\n not ]] ;\n",
                Value::Bool(false),
            ),
            ("return 7", Value::Number(7.0)),
            ("return -1.5e3", Value::Number(-1500.0)),
            ("return 0x1F", Value::Number(31.0)),
            ("return 1700000000", Value::Number(1.7e9)),
            ("return (1/0)", Value::Number(f64::INFINITY)),
            ("return (-1/0)", Value::Number(f64::NEG_INFINITY)),
            (r#"return "a\"b'\\c""#, text("a\"b'\\c")),
            (r"return 'a\'b'", text("a'b")),
            (
                r#"return "\a\b\f\n\r\t\v""#,
                text("\u{7}\u{8}\u{c}\n\r\t\u{b}"),
            ),
            (
                r#"return "\195\169\xc3\xA9\u{e9}\0651\z   x""#,
                text("éééA1x"),
            ),
            ("return 'a\\\nb'", text("a\nb")),
            ("return [[\nlong ]] ", text("long ")),
            ("return [==[ ]] ]=] ]==]", text(" ]] ]=] ")),
        ] {
            assert_eq!(read(source.as_bytes()), Ok(expected), "{source}");
        }
        assert!(matches!(read(b"return (0/0)"), Ok(Value::Number(number)) if number.is_nan()));
        assert_eq!(read(b"return '\\255'"), Ok(Value::Text(vec![255])));
        assert_eq!(Value::Text(vec![255]).text(), None);
    }

    #[test]
    fn tables_have_names_and_numbers() {
        let source = br#"return {
            ["jid"] = "a@b"; name = 'x', [false] = { version = 3 };
            "first"; [2] = "second", [[third]]; ["jid"] = "later", gone = nil,
        }"#;
        let Ok(Value::Table(table)) = read(source) else {
            panic!("no table")
        };
        assert_eq!(table.text("jid"), Some("later"));
        assert_eq!(table.text("name"), Some("x"));
        assert_eq!(table.get("gone"), None);
        let about = table.of(false).and_then(Value::table);
        assert_eq!(
            about.and_then(|about| about.get("version")),
            Some(&Value::Number(3.0))
        );
        let list: Vec<Option<&str>> = table.list().map(Value::text).collect();
        assert_eq!(list, [Some("first"), Some("second"), Some("third")]);
        let names: Vec<&str> = table.named().map(|(name, _)| name).collect();
        assert_eq!(names, ["jid", "name", "jid"]);
    }

    #[test]
    fn lists_are_read_item_by_item() {
        let source = b"item({ name = 'message' });\n\nitem(7)\n-- end\n";
        let items: Vec<Value> = Items::of(source).collect::<Result<_, _>>().unwrap();
        assert_eq!(items.len(), 2);
        assert_eq!(items[1], Value::Number(7.0));
        assert_eq!(Items::of(b"").count(), 0);
        let mut items = Items::of(b"item(1);\nitem(2;\nitem(3);");
        assert_eq!(items.next(), Some(Ok(Value::Number(1.0))));
        let told = items.next().unwrap().unwrap_err().to_string();
        assert_eq!(told, "2:7: expected `)`");
        assert_eq!(items.next(), None);
    }

    #[test]
    fn what_is_no_data_is_told_with_its_place() {
        let deep = format!("return {}{}", "{".repeat(131), "}".repeat(131));
        let many = format!("return {{{}}}", "1,".repeat(MOST_VALUES));
        for (source, told) in [
            ("", "1:1: expected `return`"),
            ("print('x')", "1:1: expected `return`"),
            ("return", "1:7: expected a value"),
            ("return os.exit()", "1:8: expected a value"),
            ("return function() end", "1:8: expected a value"),
            (
                "return {\n\ta = 1\n\tb = 2 }",
                "3:2: expected `,`, `;` or `}`",
            ),
            ("return { a = }", "1:14: expected a value"),
            ("return { [1 = 2 }", "1:13: expected `]`"),
            ("return { [1] 2 }", "1:14: expected `=`"),
            ("return { 1", "1:11: expected `,`, `;` or `}`"),
            ("return { a = 1;", "1:16: expected a value"),
            ("return 'a", "1:10: a text that does not end"),
            ("return 'a\nb'", "2:1: a text that does not end"),
            ("return '\\q'", "1:11: an escape that is none"),
            ("return '\\300'", "1:13: an escape that is none"),
            ("return '\\xg0'", "1:13: an escape that is none"),
            ("return '\\u{110000}'", "1:11: an escape that is none"),
            ("return [[a", "1:10: a text that does not end"),
            ("return --[[a", "1:12: a text that does not end"),
            ("return [a]", "1:8: expected a value"),
            ("return -", "1:8: expected a number"),
            ("return 1x", "1:8: expected a number"),
            ("return -inf", "1:8: expected a number"),
            ("return 1; 2", "1:11: expected the end of the file"),
            ("return 1 .. 2", "1:10: expected the end of the file"),
            (&deep, "1:138: more than 130 tables in one another"),
            (&many, "1:2000007: more than 1000000 values"),
        ] {
            let error = read(source.as_bytes()).unwrap_err().to_string();
            assert_eq!(error, told, "{}", &source[..source.len().min(40)]);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

        #[test]
        fn anything_is_read_or_refused(source in ".{0,80}", bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = read(format!("return {{ {source} }}").as_bytes());
            let _ = read(source.as_bytes());
            let _ = read(&bytes);
            prop_assert!(Items::of(&bytes).count() <= bytes.len());
        }

        #[test]
        fn texts_come_back_as_prosody_writes_them(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let written: String = bytes.iter().map(|byte| match byte {
                b'"' | b'\'' | b'\\' => format!("\\{}", char::from(*byte)),
                b' '..=b'~' => char::from(*byte).to_string(),
                byte => format!("\\{byte:03}"),
            }).collect();
            prop_assert_eq!(read(format!("return \"{written}\"").as_bytes()), Ok(Value::Text(bytes)));
        }
    }
}
