//! Patterns with `*` and `?`.

/// Tells whether a whole name fits a pattern; `*` is any run of characters, `?` any one of them.
///
/// It takes time in proportion to both lengths multiplied, whatever the pattern is.
pub(super) fn fits(pattern: &str, name: &str) -> bool {
    // For each prefix of the pattern, whether the name so far fits it.
    let pattern: Vec<char> = pattern.chars().collect();
    let mut reached = closure(vec![true], &pattern);
    for c in name.chars() {
        let mut next = vec![false];
        for (place, wanted) in pattern.iter().enumerate() {
            let here = reached.get(place + 1).copied().unwrap_or_default();
            let before = reached.get(place).copied().unwrap_or_default();
            next.push(match wanted {
                '*' => here || before,
                '?' => before,
                wanted => before && *wanted == c,
            });
        }
        reached = closure(next, &pattern);
    }
    reached.last().copied().unwrap_or_default()
}

/// Lets every `*` be nothing.
fn closure(mut reached: Vec<bool>, pattern: &[char]) -> Vec<bool> {
    reached.resize(pattern.len() + 1, false);
    for (place, wanted) in pattern.iter().enumerate() {
        let before = reached.get(place).copied().unwrap_or_default();
        if let Some(here) = reached.get_mut(place + 1) {
            *here |= before && *wanted == '*';
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_whole_names() {
        #[track_caller]
        fn check(pattern: &str, name: &str, expect: bool) {
            assert_eq!(fits(pattern, name), expect, "{pattern} {name}");
        }
        check("web", "web", true);
        check("web", "web1", false);
        check("we*", "we", true);
        check("*b*1", "web-01", true);
        check("*b*1", "web-02", false);
        check("?", "", false);
        check("*", "", true);
        check("w??", "web", true);
        check(&"*a".repeat(500), &"a".repeat(499), false);
        check(&"*a".repeat(500), &"a".repeat(501), true);
    }
}
