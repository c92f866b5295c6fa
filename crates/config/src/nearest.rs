//! "Did you mean": the known word nearest to a mistyped one.

/// Finds the word of `of` nearest to `word`, if one is near enough to have been meant.
///
/// Nearness is the number of single-letter insertions, removals, replacements and swaps of neighbours between the
/// two, letter case aside (optimal string alignment distance). Near enough is a third of the longer word's length, at
/// least 1. The first of several equally near wins. Words longer than 64 letters are never near.
pub fn nearest<'a>(word: &str, of: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let typed = letters(word)?;
    let mut best: Option<(usize, &str)> = None;
    for known in of {
        let Some(letters_of_known) = letters(known) else {
            continue;
        };
        let allowed = (typed.len().max(letters_of_known.len()) / 3).max(1);
        let distance = distance(&typed, &letters_of_known);
        if distance <= allowed && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, known));
        }
    }
    best.map(|(_, known)| known)
}

const LONGEST_WORD: usize = 64;

fn letters(word: &str) -> Option<Vec<char>> {
    let letters: Vec<char> = word
        .chars()
        .flat_map(char::to_lowercase)
        .take(LONGEST_WORD + 1)
        .collect();
    (1..=LONGEST_WORD)
        .contains(&letters.len())
        .then_some(letters)
}

/// Optimal string alignment distance, by three rows of the usual table.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_last: Vec<usize> = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_only_what_is_near() {
        let known = ["mod_echo", "mod_ping", "mod_register", "host", "status"];
        let pairs = [
            ("mod_ehco", Some("mod_echo")),
            ("mod_pign", Some("mod_ping")),
            ("HOST", Some("host")),
            ("hots", Some("host")),
            ("stauts", Some("status")),
            ("mod_registre", Some("mod_register")),
            ("entirely", None),
            ("", None),
            ("x", None),
        ];
        for (typed, meant) in pairs {
            assert_eq!(nearest(typed, known.iter().copied()), meant, "{typed}");
        }
    }

    #[test]
    fn counts_edits() {
        let pairs = [
            ("abc", "abc", 0),
            ("abc", "acb", 1),
            ("abc", "ab", 1),
            ("abc", "xbcd", 2),
            ("ca", "abc", 3),
        ];
        for (a, b, edits) in pairs {
            let (a, b) = (letters(a).expect("short"), letters(b).expect("short"));
            assert_eq!(distance(&a, &b), edits);
            assert_eq!(distance(&b, &a), edits);
        }
    }
}
