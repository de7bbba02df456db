//! Values that are drawn and come from nowhere else.

use nixmox_tree::SecretString;
use rand_core::{CryptoRng, RngCore};
use zeroize::Zeroizing;

use crate::words;

/// Draws a number below `bound`, every one equally likely.
fn below(bound: usize, rng: &mut (impl RngCore + CryptoRng)) -> usize {
    let bound = u32::try_from(bound).unwrap_or(u32::MAX).max(1);
    // Of the numbers that 32 bits have, those beyond the last whole multiple would favour some.
    let last = u32::MAX - u32::MAX % bound;
    loop {
        let drawn = rng.next_u32();
        if drawn < last {
            return usize::try_from(drawn % bound).unwrap_or_default();
        }
    }
}

/// Draws each character from an alphabet.
pub(super) fn password(
    alphabet: &[char],
    length: usize,
    rng: &mut (impl RngCore + CryptoRng),
) -> SecretString {
    let mut text = Zeroizing::new(String::with_capacity(length));
    for _ in 0..length {
        text.extend(alphabet.get(below(alphabet.len(), rng)));
    }
    SecretString::from(text)
}

/// Draws words from the list.
pub(super) fn passphrase(
    words: usize,
    separator: &str,
    rng: &mut (impl RngCore + CryptoRng),
) -> SecretString {
    let list = words::list();
    let longest = list.iter().map(|word| word.len()).max().unwrap_or_default();
    let mut text = Zeroizing::new(String::with_capacity(words * (longest + separator.len())));
    for number in 0..words {
        if number > 0 {
            text.push_str(separator);
        }
        text.push_str(list.get(below(list.len(), rng)).copied().unwrap_or_default());
    }
    SecretString::from(text)
}

/// Draws bytes.
pub(super) fn bytes(count: usize, rng: &mut (impl RngCore + CryptoRng)) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(vec![0; count]);
    rng.fill_bytes(&mut bytes);
    bytes
}

/// Draws bytes and writes them in hexadecimal.
pub(super) fn hex(count: usize, rng: &mut (impl RngCore + CryptoRng)) -> SecretString {
    hex_of(&bytes(count, rng))
}

/// Writes bytes in hexadecimal.
pub(super) fn hex_of(bytes: &[u8]) -> SecretString {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or_default();
    let mut text = Zeroizing::new(String::with_capacity(2 * bytes.len()));
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
    SecretString::from(text)
}

/// Draws bytes and writes them in base64.
pub(super) fn base64(count: usize, rng: &mut (impl RngCore + CryptoRng)) -> SecretString {
    base64_of(&bytes(count, rng))
}

/// Writes bytes in base64, padded.
pub(super) fn base64_of(bytes: &[u8]) -> SecretString {
    use base64::Engine;
    let mut text = Zeroizing::new(String::with_capacity(bytes.len().div_ceil(3) * 4));
    base64::prelude::BASE64_STANDARD.encode_string(bytes, &mut text);
    SecretString::from(text)
}

/// Draws a UUID of version 4.
pub(super) fn uuid(rng: &mut (impl RngCore + CryptoRng)) -> SecretString {
    let mut drawn = [0; 16];
    rng.fill_bytes(&mut drawn);
    let number = u128::from_be_bytes(drawn);
    let number = number & !(0xf << 76) | 4 << 76;
    let number = number & !(0b11 << 62) | 0b10 << 62;
    let digits = format!("{number:032x}");
    let mut text = Zeroizing::new(String::with_capacity(36));
    for (at, digit) in digits.chars().enumerate() {
        if [8, 12, 16, 20].contains(&at) {
            text.push('-');
        }
        text.push(digit);
    }
    SecretString::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    #[test]
    fn all_numbers_are_drawn_equally_often() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let mut drawn = [0u32; 10];
        (0..100_000).for_each(|_| drawn[below(10, &mut rng)] += 1);
        assert!(drawn.iter().all(|n| (9_500..10_500).contains(n)), "{drawn:?}");
    }

    #[test]
    fn a_uuid_has_its_version_and_variant() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        for _ in 0..100 {
            let uuid = uuid(&mut rng);
            let parts: Vec<&str> = uuid.expose().split('-').collect();
            assert_eq!(parts.iter().map(|p| p.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
            assert!(parts[2].starts_with('4') && parts[3].starts_with(['8', '9', 'a', 'b']));
        }
    }

    #[test]
    fn a_passphrase_has_the_words_of_the_list() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let phrase = passphrase(7, "-", &mut rng);
        let words: Vec<&str> = phrase.expose().split('-').collect();
        assert_eq!(words.len(), 7);
        assert!(words.iter().all(|word| words::list().contains(word)), "{words:?}");
    }

    #[test]
    fn a_password_has_its_length_and_alphabet() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let alphabet: Vec<char> = "0123456789".chars().collect();
        let pin = password(&alphabet, 40, &mut rng);
        assert_eq!(pin.len(), 40);
        assert!(pin.expose().chars().all(|c| c.is_ascii_digit()));
    }
}
