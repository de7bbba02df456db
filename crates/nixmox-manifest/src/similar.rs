//! What a mistyped name may have meant.

/// Finds the name that is closest, if one is close.
pub(crate) fn closest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Comparing long texts takes long, and nobody mistypes one.
    if word.len() > 64 {
        return None;
    }
    let names = names.into_iter().filter(|name| name.len() <= 64);
    let most = (word.chars().count() / 3).max(1);
    let scored = names.filter(|name| *name != word).map(|name| {
        let score = strsim::damerau_levenshtein(&word.to_lowercase(), &name.to_lowercase());
        (score, name)
    });
    scored.filter(|(score, _)| *score <= most).min().map(|(_, name)| name)
}

/// Says what may have been meant.
pub(crate) fn did_you_mean<'a>(
    word: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    closest(word, names).map(|near| format!("did you mean `{near}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_pen_are_close() {
        #[track_caller]
        fn check(word: &str, expect: Option<&str>) {
            let names = ["upstream", "domain", "tls", "authentik"];
            assert_eq!(closest(word, names), expect, "{word}");
        }
        check("upsteam", Some("upstream"));
        check("authentk", Some("authentik"));
        check("Domain", Some("domain"));
        check("tsl", Some("tls"));
        check("postgresql", None);
        check("domain", None);
    }
}
