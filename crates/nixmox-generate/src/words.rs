//! The words of passphrases: 1,024 common English ones, so that each is worth ten bits.

use std::sync::OnceLock;

/// Returns the words, in order.
pub(crate) fn list() -> &'static [&'static str] {
    static WORDS: OnceLock<Vec<&str>> = OnceLock::new();
    WORDS.get_or_init(|| include_str!("words.txt").lines().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_1024_different_words() {
        let words = list();
        assert_eq!(words.len(), 1024);
        assert!(words.windows(2).all(|pair| pair[0] < pair[1]), "in order, and none twice");
        let plain = |word: &&str| word.len() >= 3 && word.bytes().all(|b| b.is_ascii_lowercase());
        assert!(words.iter().all(plain));
    }
}
