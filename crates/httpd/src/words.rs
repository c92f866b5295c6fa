//! Text looked at eight bytes at once.
//!
//! Each byte of a word is judged in its own eight bits, and the high bit of these says what came of it: sums of seven
//! bits do not carry into the next byte.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x80 * ONES;
const LOW: u64 = !HIGH;

/// The eight bytes of `text` from `at` on, the first lowest; zeros for those behind its end.
#[inline]
pub(crate) fn word_at(text: &[u8], at: usize) -> u64 {
    let Some(last) = text.len().checked_sub(8) else {
        let rest = text[at..].iter().rev();
        return rest.fold(0, |word, byte| (word << 8) | u64::from(*byte));
    };
    // The last eight, where fewer are left: those before are pushed out.
    let from = at.min(last);
    let eight = text[from..].first_chunk().expect("there are eight");
    let before = 8 * (at - from) as u32;
    u64::from_le_bytes(*eight).checked_shr(before).unwrap_or(0)
}

/// High bits where a byte of `word` is `byte`.
fn equal(word: u64, byte: u8) -> u64 {
    let differs = word ^ (ONES * u64::from(byte));
    !(((differs & LOW) + LOW) | differs) & HIGH
}

/// High bits where a byte of `low`, which has no high bits, is more than `byte`.
fn above(low: u64, byte: u8) -> u64 {
    low + ONES * u64::from(0x7f - byte)
}

/// High bits where a byte is a control character other than a tab.
fn controls(word: u64) -> u64 {
    let low = !above(word & LOW, 0x1f) & !word & HIGH;
    (low | equal(word, 0x7f)) & !equal(word, b'\t')
}

/// Where the first control character stands that is no tab; the length if there is none.
pub(crate) fn control(text: &[u8]) -> usize {
    let (words, rest) = text.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let found = controls(u64::from_le_bytes(*word));
        if found != 0 {
            return number * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let from = text.len() - rest.len();
    // Behind the end stand zeros, which are control characters.
    let found = controls(word_at(text, from));
    text.len().min(from + found.trailing_zeros() as usize / 8)
}

/// High bits where a byte is a letter, a digit, or one of `_&'()*+,-./:;`.
fn plain(word: u64) -> u64 {
    let low = word & LOW;
    let lower = low | (ONES * 0x20);
    let letters = above(lower, b'a' - 1) & !above(lower, b'z');
    let middle = above(low, b'&' - 1) & !above(low, b';');
    (letters | middle | equal(word, b'_')) & HIGH & !word
}

/// The high bits of a word as the eight lowest.
fn gather(bits: u64) -> u64 {
    // Each bit meets the one factor that puts it into the highest byte, and no two meet anywhere.
    bits.wrapping_mul(0x0002_0408_1020_4081) >> 56
}

/// Up to 64 bytes of a text.
#[derive(Clone, Copy, Default)]
pub(crate) struct Block {
    /// A bit for each place, the first lowest, where the byte that was sought stands.
    pub(crate) found: u64,
    /// Whether all bytes are letters, digits, or of `_&'()*+,-./:;`: what paths are made of that nobody wrote to be
    /// difficult.
    pub(crate) is_plain: bool,
}

/// Looks for `byte` in at most 64 bytes, of which it is not 0.
#[inline]
pub(crate) fn look(text: &[u8], byte: u8) -> Block {
    let (words, rest) = text.as_chunks::<8>();
    let (mut found, mut all) = (0, HIGH);
    for (number, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        found |= gather(equal(word, byte)) << (8 * number);
        all &= plain(word);
    }
    if !rest.is_empty() {
        let word = word_at(text, text.len() - rest.len());
        found |= gather(equal(word, byte)) << (8 * words.len());
        // What is behind the end is not plain, and does not count.
        all &= plain(word) | u64::MAX << (8 * rest.len());
    }
    Block {
        found,
        is_plain: all == HIGH,
    }
}

/// Shows `take` the places where `byte` stands, which is not 0; gives whether all bytes are plain, as in [`Block`].
#[inline]
pub(crate) fn places(text: &[u8], byte: u8, mut take: impl FnMut(u32)) -> bool {
    let mut are_plain = true;
    for (number, text) in text.chunks(64).enumerate() {
        let mut block = look(text, byte);
        are_plain &= block.is_plain;
        while block.found != 0 {
            take(64 * number as u32 + block.found.trailing_zeros());
            block.found &= block.found - 1;
        }
    }
    are_plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn words_say_what_bytes_say(
            text in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'/'), 0x20..0x7f_u8], 0..150),
            wanted in 1..=255_u8,
        ) {
            for wanted in [wanted, b'/'] {
                let mut found = Vec::new();
                places(&text, wanted, |place| found.push(place as usize));
                let bytes = text.iter().enumerate().filter(|(_, byte)| **byte == wanted);
                prop_assert_eq!(found, bytes.map(|(place, _)| place).collect::<Vec<_>>());
            }
            let is_control = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
            prop_assert_eq!(control(&text), text.iter().position(is_control).unwrap_or(text.len()));
            for at in 0..=text.len() {
                let mut eight = [0; 8];
                let there = (text.len() - at).min(8);
                eight[..there].copy_from_slice(&text[at..at + there]);
                prop_assert_eq!(word_at(&text, at), u64::from_le_bytes(eight), "{}", at);
            }
        }
    }

    #[test]
    fn each_byte_is_plain_or_not_wherever_it_stands() {
        for byte in 0..=255_u8 {
            let is = byte.is_ascii_alphanumeric() || b"_&'()*+,-./:;".contains(&byte);
            for length in [1, 7, 8, 9, 63, 64, 65, 130] {
                for place in 0..length {
                    let mut text = vec![b'a'; length];
                    text[place] = byte;
                    assert_eq!(
                        places(&text, 1, |_| {}),
                        is,
                        "{byte} at {place} of {length}"
                    );
                }
            }
        }
        assert!(places(b"", 1, |_| {}));
    }
}
