//! Constraints: what a binding (or a field of a query or cookie) must be, and what it is turned into.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// The most digits an `int` has, its sign not counted: what fits an `i64` whatever they are.
const MAX_DIGITS: usize = 17;

/// What is bound to a name.
#[derive(Clone)]
pub enum Value {
    /// Bytes as they were in the request, decoded. They need not be UTF-8.
    Bytes(Vec<u8>),
    /// What `int` makes.
    Int(i64),
    /// What a constraint of another's makes.
    Other(Arc<dyn Any + Send + Sync>),
}

impl Value {
    /// The bytes, if nothing turned them into something else.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        self.as_bytes()
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// The number, if `int` made one.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Value::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// What a constraint made, if it is a `T`.
    pub fn as_other<T: 'static>(&self) -> Option<&T> {
        match self {
            Value::Other(other) => other.downcast_ref(),
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Bytes(text.as_bytes().to_vec())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Int(number)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Bytes(bytes) => write!(f, "{:?}", String::from_utf8_lossy(bytes)),
            Value::Int(number) => write!(f, "{number}"),
            Value::Other(_) => f.write_str("(other)"),
        }
    }
}

impl PartialEq for Value {
    /// Values that only a constraint knows are equal when they are the same one.
    fn eq(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Bytes(a), Value::Bytes(b)) => a == b,
            (Value::Int(a), Value::Int(b)) => a == b,
            (Value::Other(a), Value::Other(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

/// A constraint of one's own. Must be pure: it is called for routes that are not taken in the end.
///
/// One that panics while a request is routed costs that request a 500 and the log a line.
pub trait Constraint: Send + Sync + 'static {
    /// What it is called in errors.
    fn name(&self) -> &str;

    /// Accepts a value, perhaps turned into another.
    ///
    /// # Errors
    ///
    /// Why it refuses, in a word or two: `not_an_integer`.
    fn forward(&self, value: Value) -> Result<Value, String>;

    /// Turns an accepted value back into what it was, to build a URL. Unless written, cannot.
    ///
    /// # Errors
    ///
    /// Why it cannot.
    fn reverse(&self, value: Value) -> Result<Value, String> {
        drop(value);
        Err("not_implemented".to_owned())
    }

    /// Says for people why `value` was refused.
    fn format_error(&self, reason: &str, value: &Value) -> String {
        format!("the constraint {} refused {value:?}: {reason}", self.name())
    }
}

/// A constraint from a function of one value; it has no way back.
pub fn check_fn<F>(name: &'static str, check: F) -> Arc<dyn Constraint>
where
    F: Fn(Value) -> Result<Value, String> + Send + Sync + 'static,
{
    Arc::new(Function { name, check })
}

struct Function<F> {
    name: &'static str,
    check: F,
}

impl<F> Constraint for Function<F>
where
    F: Fn(Value) -> Result<Value, String> + Send + Sync + 'static,
{
    fn name(&self) -> &str {
        self.name
    }

    fn forward(&self, value: Value) -> Result<Value, String> {
        (self.check)(value)
    }
}

/// One step of a field's constraints.
#[derive(Clone)]
enum Step {
    Int,
    NonEmpty,
    Own(Arc<dyn Constraint>),
}

/// A name and what its value must be: constraints in order, each given what the one before it made.
#[derive(Clone)]
pub struct Field {
    name: Arc<str>,
    steps: Vec<Step>,
    default: Option<Value>,
}

/// Begins a field. Without constraints it takes any value.
pub fn field(name: &str) -> Field {
    Field {
        name: name.into(),
        steps: Vec::new(),
        default: None,
    }
}

/// A constraint that refused, and what.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// The field.
    pub field: Arc<str>,
    /// The constraint.
    pub constraint: String,
    /// Why: `limit_reached`, `not_an_integer`, `empty`, or what a constraint of one's own says.
    pub reason: String,
    /// What that constraint was given.
    pub value: Value,
    text: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.text)
    }
}

impl std::error::Error for Refused {}

/// A constraint panicked; what it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Panicked(pub(crate) String);

/// The outcome of a fenced check.
pub(crate) enum Checked {
    /// Accepted as it is.
    Same,
    /// Accepted and changed.
    Changed(Value),
    Refused,
}

/// What a segment must be, where its bytes alone say whether it is accepted. A later one accepts less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Quick {
    Anything,
    NonEmpty,
    /// A decimal; it becomes a number.
    Int,
}

impl Quick {
    pub(super) fn accepts(self, bytes: &[u8]) -> bool {
        match self {
            Quick::Anything => true,
            Quick::NonEmpty => !bytes.is_empty(),
            Quick::Int => parse_int(bytes).is_ok(),
        }
    }
}

impl Field {
    /// The value must be a decimal integer of at most 17 digits, with or without a sign, and becomes a number.
    pub fn int(mut self) -> Field {
        self.steps.push(Step::Int);
        self
    }

    /// The value must not be empty.
    pub fn nonempty(mut self) -> Field {
        self.steps.push(Step::NonEmpty);
        self
    }

    /// The value must please `constraint`.
    pub fn check(mut self, constraint: Arc<dyn Constraint>) -> Field {
        self.steps.push(Step::Own(constraint));
        self
    }

    /// What a missing field of a query or a cookie is; routes have no use for it.
    pub fn default(mut self, value: impl Into<Value>) -> Field {
        self.default = Some(value.into());
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn default_value(&self) -> Option<&Value> {
        self.default.as_ref()
    }

    /// Takes a value through all constraints.
    ///
    /// # Errors
    ///
    /// [`Refused`] by the first that refuses.
    pub fn forward(&self, value: Value) -> Result<Value, Refused> {
        self.steps.iter().try_fold(value, |value, step| {
            step.forward(value.clone()).map_err(|reason| {
                let text = step.format_error(&reason, &value);
                Refused {
                    field: self.name.clone(),
                    constraint: step.name().to_owned(),
                    reason,
                    value,
                    text,
                }
            })
        })
    }

    /// Takes a value back through all constraints, the last first, to what stands in a URL.
    ///
    /// # Errors
    ///
    /// Why one of them cannot.
    pub fn reverse(&self, value: Value) -> Result<Value, String> {
        let mut steps = self.steps.iter().rev();
        steps.try_fold(value, |value, step| step.reverse(value))
    }

    /// What it asks, if that can be asked of bytes alone: none of its constraints is one's own.
    pub(super) fn quick(&self) -> Option<Quick> {
        self.steps
            .iter()
            .try_fold(Quick::Anything, |quick, step| match step {
                Step::Int => Some(Quick::Int),
                Step::NonEmpty => Some(quick.max(Quick::NonEmpty)),
                Step::Own(_) => None,
            })
    }

    /// As [`forward`](Self::forward) on bytes of a request: without a copy where none of one's own is asked, and with
    /// a panic caught.
    pub(crate) fn check_bytes(&self, bytes: &[u8]) -> Result<Checked, Panicked> {
        match self.steps.as_slice() {
            [] => Ok(Checked::Same),
            [Step::NonEmpty] if bytes.is_empty() => Ok(Checked::Refused),
            [Step::NonEmpty] => Ok(Checked::Same),
            [Step::Int] => {
                Ok(parse_int(bytes).map_or(Checked::Refused, |n| Checked::Changed(Value::Int(n))))
            }
            _ => self.check_value(Value::Bytes(bytes.to_vec())),
        }
    }

    /// As [`check_bytes`](Self::check_bytes) on a value that an earlier field has changed.
    pub(crate) fn check_value(&self, value: Value) -> Result<Checked, Panicked> {
        let walk = || {
            let mut steps = self.steps.iter();
            steps.try_fold(value, |value, step| step.forward(value))
        };
        match catch_unwind(AssertUnwindSafe(walk)) {
            Ok(Ok(value)) => Ok(Checked::Changed(value)),
            Ok(Err(_)) => Ok(Checked::Refused),
            Err(panic) => Err(Panicked(panic_text(&*panic))),
        }
    }
}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        for step in &self.steps {
            write!(f, " {}", step.name())?;
        }
        Ok(())
    }
}

impl Step {
    fn name(&self) -> &str {
        match self {
            Step::Int => "int",
            Step::NonEmpty => "nonempty",
            Step::Own(own) => own.name(),
        }
    }

    fn forward(&self, value: Value) -> Result<Value, String> {
        match (self, &value) {
            (Step::Int, Value::Int(_)) => Ok(value),
            (Step::Int, Value::Bytes(bytes)) => {
                parse_int(bytes).map(Value::Int).map_err(str::to_owned)
            }
            (Step::NonEmpty, Value::Bytes(bytes)) if bytes.is_empty() => Err("empty".to_owned()),
            (Step::NonEmpty, _) => Ok(value),
            (Step::Int, Value::Other(_)) => Err("not_an_integer".to_owned()),
            (Step::Own(own), _) => own.forward(value),
        }
    }

    fn reverse(&self, value: Value) -> Result<Value, String> {
        match (self, &value) {
            (Step::Int, Value::Int(number)) => Ok(Value::from(number.to_string().as_str())),
            // Written as text already.
            (Step::Int, Value::Bytes(bytes)) if parse_int(bytes).is_ok() => Ok(value),
            (Step::Int, _) => Err("not_an_integer".to_owned()),
            (Step::NonEmpty, Value::Bytes(bytes)) if bytes.is_empty() => Err("empty".to_owned()),
            (Step::NonEmpty, _) => Ok(value),
            (Step::Own(own), _) => own.reverse(value),
        }
    }

    fn format_error(&self, reason: &str, value: &Value) -> String {
        match self {
            Step::Int if reason == "limit_reached" => {
                format!("{value:?} has more than {MAX_DIGITS} digits")
            }
            Step::Int => format!("{value:?} is not an integer"),
            Step::NonEmpty => "the value is empty".to_owned(),
            Step::Own(own) => own.format_error(reason, value),
        }
    }
}

/// The number that a decimal is, or why it is none.
pub(super) fn parse_int(bytes: &[u8]) -> Result<i64, &'static str> {
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.len() > MAX_DIGITS {
        return Err("limit_reached");
    }
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err("not_an_integer");
    }
    let number = digits
        .iter()
        .fold(0, |n, digit| n * 10 + i64::from(digit - b'0'));
    Ok(if negative { -number } else { number })
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let said = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    said.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without words".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_a_sign_and_seventeen_digits() {
        for (text, number) in [
            ("0", Ok(0)),
            ("-1", Ok(-1)),
            ("+7", Ok(7)),
            ("0012", Ok(12)),
            ("99999999999999999", Ok(99_999_999_999_999_999)),
            ("-00000000000000001", Ok(-1)),
            ("100000000000000000", Err("limit_reached")),
            ("abcdefghijklmnopqr", Err("limit_reached")),
            ("", Err("not_an_integer")),
            ("-", Err("not_an_integer")),
            ("+-1", Err("not_an_integer")),
            ("1.0", Err("not_an_integer")),
            ("٣", Err("not_an_integer")),
        ] {
            let found = field("n").int().forward(text.into());
            let found = found.map(|value| value.as_int().expect("a number"));
            let found = found.map_err(|refused| refused.reason);
            assert_eq!(found, number.map_err(str::to_owned), "{text}");
        }
    }

    struct Halved;

    impl Constraint for Halved {
        fn name(&self) -> &str {
            "even"
        }
        fn forward(&self, value: Value) -> Result<Value, String> {
            match value.as_int() {
                Some(number) if number % 2 == 0 => Ok(Value::Int(number / 2)),
                _ => Err("odd".to_owned()),
            }
        }
        fn reverse(&self, value: Value) -> Result<Value, String> {
            let number = value.as_int().ok_or("no number")?;
            Ok(Value::Int(number * 2))
        }
    }

    #[test]
    fn what_is_asked_of_bytes_is_what_the_constraints_say() {
        let fields = [
            field("n"),
            field("n").nonempty(),
            field("n").int(),
            field("n").nonempty().int(),
            field("n").int().nonempty(),
        ];
        for field in fields {
            let quick = field.quick().expect("none is one's own");
            for text in ["", "7", "-07", "x", "123456789012345678"] {
                let value = field.forward(text.into());
                let accepts = quick.accepts(text.as_bytes());
                assert_eq!(accepts, value.is_ok(), "{field:?} {text:?}");
                let becomes_number = value.is_ok_and(|value| value.as_int().is_some());
                let wanted = accepts && quick == Quick::Int;
                assert_eq!(becomes_number, wanted, "{field:?} {text:?}");
            }
        }
        let own = field("n").int().check(Arc::new(Halved));
        assert_eq!(own.quick(), None);
    }

    #[test]
    fn each_constraint_is_given_what_the_one_before_it_made() {
        let even = field("n").nonempty().int().check(Arc::new(Halved));
        assert_eq!(even.forward("14".into()), Ok(Value::Int(7)));
        assert_eq!(even.reverse(Value::Int(7)), Ok(Value::from("14")));
        let refused = even.forward("7".into()).expect_err("odd");
        assert_eq!((&*refused.constraint, &*refused.reason), ("even", "odd"));
        assert_eq!(refused.value, Value::Int(7));
        assert_eq!(refused.to_string(), "n: the constraint even refused 7: odd");
        let refused = even.forward("".into()).expect_err("empty");
        assert_eq!(refused.to_string(), "n: the value is empty");
        let refused = even.forward("x".into()).expect_err("no number");
        assert_eq!(refused.to_string(), "n: \"x\" is not an integer");
        let none = field("n").check(check_fn("never", |_| Err("no".to_owned())));
        assert_eq!(none.reverse("x".into()), Err("not_implemented".to_owned()));
    }
}
