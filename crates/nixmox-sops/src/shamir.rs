//! Shares of a data key: Shamir's scheme over GF(2⁸) with AES' polynomial.

use rand_core::{CryptoRng, RngCore};
use zeroize::Zeroizing;

/// Splits a secret into `parts` shares, of which any `threshold` make it again: rows of bytes with their x behind.
///
/// Both numbers are the caller's to check: at least 2, at most 255, and no more needed than there are.
pub(crate) fn split(
    secret: &[u8],
    parts: u8,
    threshold: u8,
    rng: &mut (impl RngCore + CryptoRng),
) -> Vec<Zeroizing<Vec<u8>>> {
    let mut shares: Vec<_> =
        (1..=parts).map(|_| Zeroizing::new(Vec::with_capacity(secret.len() + 1))).collect();
    let mut polynomial = Zeroizing::new(vec![0; usize::from(threshold)]);
    for byte in secret {
        rng.fill_bytes(&mut polynomial);
        if let Some(constant) = polynomial.first_mut() {
            *constant = *byte;
        }
        for (share, x) in shares.iter_mut().zip(1..=u8::MAX) {
            share.push(evaluate(&polynomial, x));
        }
    }
    for (share, x) in shares.iter_mut().zip(1..=u8::MAX) {
        share.push(x);
    }
    shares
}

/// Evaluates a polynomial, its constant first.
fn evaluate(polynomial: &[u8], x: u8) -> u8 {
    polynomial.iter().rev().fold(0, |sum, factor| multiply(sum, x) ^ factor)
}

/// Combines shares, each a row of bytes with its x behind it, at x = 0.
pub(crate) fn combine(shares: &[Zeroizing<Vec<u8>>]) -> Option<Zeroizing<Vec<u8>>> {
    let split = shares.iter().map(|share| share.split_last()).collect::<Option<Vec<_>>>()?;
    let length = split.first()?.1.len();
    let distinct = split.iter().enumerate().all(|(i, (x, row))| {
        **x != 0 && row.len() == length && split.iter().skip(i + 1).all(|(other, _)| other != x)
    });
    if split.len() < 2 || length == 0 || !distinct {
        return None;
    }
    let mut secret = Zeroizing::new(vec![0; length]);
    for (x, row) in &split {
        // Lagrange's weight of this share at 0; in this field minus is plus.
        let weight = split.iter().filter(|(other, _)| other != x).fold(1, |product, (other, _)| {
            multiply(product, multiply(**other, inverse(**other ^ **x)))
        });
        for (sum, y) in secret.iter_mut().zip(*row) {
            *sum ^= multiply(weight, *y);
        }
    }
    Some(secret)
}

/// Multiplies in the field, in the same time for all operands.
fn multiply(a: u8, b: u8) -> u8 {
    let (mut a, mut product) = (a, 0);
    for bit in 0..8 {
        product ^= a & 0_u8.wrapping_sub((b >> bit) & 1);
        a = (a << 1) ^ (0x1b & 0_u8.wrapping_sub(a >> 7));
    }
    product
}

/// Inverts by raising to the power 254.
fn inverse(a: u8) -> u8 {
    let mut power = a;
    let mut result = 1;
    for _ in 0..7 {
        power = multiply(power, power);
        result = multiply(result, power);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_that_of_aes() {
        assert_eq!(multiply(0x57, 0x83), 0xc1);
        assert!((1..=255).all(|a| multiply(a, inverse(a)) == 1));
    }

    #[test]
    fn any_shares_that_suffice_make_the_secret() {
        use rand_core::SeedableRng;
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(1);
        let secret: Vec<u8> = (0..32).collect();
        for (parts, threshold) in [(2, 2), (3, 2), (5, 3), (5, 5), (255, 2)] {
            let shares = split(&secret, parts, threshold, &mut rng);
            assert!(
                shares.iter().zip(1..=255).all(|(share, x)| share.len() == 33 && share[32] == x)
            );
            let need = usize::from(threshold);
            for start in 0..shares.len() - need + 1 {
                let some = &shares[start..start + need];
                assert_eq!(combine(some).expect("combines").as_slice(), secret);
                let few = combine(&some[1..]);
                assert!(few.is_none_or(|found| found.as_slice() != secret));
            }
        }
    }

    #[test]
    fn two_points_of_a_line_meet_at_its_start() {
        let at = |x: u8| Zeroizing::new(vec![0x42 ^ multiply(0x99, x), x]);
        assert_eq!(combine(&[at(1), at(7)]).expect("combines").as_slice(), [0x42]);
        assert!(combine(&[at(1)]).is_none());
        assert!(combine(&[at(1), at(1)]).is_none());
    }
}
