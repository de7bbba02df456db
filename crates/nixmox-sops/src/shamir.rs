//! Shares of a data key: Shamir's scheme over GF(2⁸) with AES' polynomial.

use zeroize::Zeroizing;

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
    fn two_points_of_a_line_meet_at_its_start() {
        let at = |x: u8| Zeroizing::new(vec![0x42 ^ multiply(0x99, x), x]);
        assert_eq!(combine(&[at(1), at(7)]).expect("combines").as_slice(), [0x42]);
        assert!(combine(&[at(1)]).is_none());
        assert!(combine(&[at(1), at(1)]).is_none());
    }
}
