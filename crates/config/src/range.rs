//! Ranges of values.

use crate::raw::Raw;
use crate::unit::Bytes;
use crate::value::Value;
use std::ops::{Bound, RangeBounds};
use std::time::Duration;

/// A value that can be asked to lie in a range; of a list, each element is asked.
pub trait Ranged: Value {
    /// What the ends of the range are.
    type Bound: Value + PartialOrd;

    /// Gives the first part of the value that lies outside `range`, with where it was written, if that is known.
    fn outside<'r>(
        &self,
        raw: Option<&'r Raw>,
        range: &impl RangeBounds<Self::Bound>,
    ) -> Option<(Option<&'r Raw>, String)>;
}

macro_rules! scalars {
    ($($type:ty)*) => {$(
        impl Ranged for $type {
            type Bound = $type;

            fn outside<'r>(&self, raw: Option<&'r Raw>, range: &impl RangeBounds<$type>) -> Option<(Option<&'r Raw>, String)> {
                (!range.contains(self)).then(|| (raw, self.show()))
            }
        }
    )*};
}

scalars!(u8 u16 u32 u64 usize i32 i64 f64 Duration Bytes);

impl<T: Ranged> Ranged for Vec<T> {
    type Bound = T::Bound;

    fn outside<'r>(
        &self,
        raw: Option<&'r Raw>,
        range: &impl RangeBounds<T::Bound>,
    ) -> Option<(Option<&'r Raw>, String)> {
        let elements = raw.and_then(Raw::as_list);
        self.iter().enumerate().find_map(|(index, value)| {
            let element = elements.and_then(|list| list.get(index));
            value.outside(element.or(raw), range)
        })
    }
}

impl<T: Ranged> Ranged for Option<T> {
    type Bound = T::Bound;

    fn outside<'r>(
        &self,
        raw: Option<&'r Raw>,
        range: &impl RangeBounds<T::Bound>,
    ) -> Option<(Option<&'r Raw>, String)> {
        self.as_ref().and_then(|value| value.outside(raw, range))
    }
}

/// Says the range in words: `1 to 1000`, `at least 1`, `at most "1 h"`, `less than 10`.
#[doc(hidden)]
pub fn in_words<T: Value>(range: &impl RangeBounds<T>) -> String {
    use Bound::{Excluded, Included, Unbounded};
    match (range.start_bound(), range.end_bound()) {
        (Included(least), Included(most)) => format!("{} to {}", least.show(), most.show()),
        (Included(least), Excluded(limit)) => format!("{} to below {}", least.show(), limit.show()),
        (Included(least), Unbounded) => format!("at least {}", least.show()),
        (Excluded(limit), Included(most)) => format!("above {} to {}", limit.show(), most.show()),
        (Excluded(least), Excluded(most)) => {
            format!("above {} to below {}", least.show(), most.show())
        }
        (Excluded(limit), Unbounded) => format!("above {}", limit.show()),
        (Unbounded, Included(most)) => format!("at most {}", most.show()),
        (Unbounded, Excluded(limit)) => format!("below {}", limit.show()),
        (Unbounded, Unbounded) => "any".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_in_words() {
        assert_eq!(in_words(&(1u32..=1000)), "1 to 1000");
        assert_eq!(in_words(&(1u32..)), "at least 1");
        assert_eq!(in_words(&(..10u32)), "below 10");
        assert_eq!(
            in_words(&(Duration::from_secs(1)..=Duration::from_secs(3600))),
            "\"1 s\" to \"1 h\""
        );
    }
}
