//! Texts with references: `{{web.token}}` stands for a secret, `{{host}}` for the host, `{{{{` for two braces.

use nixmox_tree::SecretString;
use zeroize::Zeroizing;

use crate::place::Reference;

/// A text with references in it.
#[derive(Debug, Clone)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone)]
enum Piece {
    Text(SecretString),
    Host,
    Secret(Reference),
}

impl Template {
    /// Reads a text; `None` when braces stay open or hold no path.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            pieces.push(Piece::Text(SecretString::new(before)));
            if let Some(after) = after.strip_prefix("{{") {
                pieces.push(Piece::Text(SecretString::new("{{")));
                rest = after;
                continue;
            }
            let (inner, after) = after.split_once("}}")?;
            pieces.push(match inner.trim() {
                "host" => Piece::Host,
                path => Piece::Secret(Reference::parse(path)?),
            });
            rest = after;
        }
        pieces.push(Piece::Text(SecretString::new(rest)));
        Some(Self(pieces))
    }

    /// Returns the references in order.
    pub(crate) fn references(&self) -> impl Iterator<Item = &Reference> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Secret(reference) => Some(reference),
            _ => None,
        })
    }

    /// Tells whether the host is named.
    pub(crate) fn names_host(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Host))
    }

    /// Puts in the host's name and the secrets, in the order of [`Template::references`].
    pub(crate) fn fill<'a>(
        &'a self,
        host: &'a str,
        secrets: impl IntoIterator<Item = &'a SecretString>,
    ) -> SecretString {
        let mut secrets = secrets.into_iter();
        let parts: Vec<&str> = self
            .0
            .iter()
            .filter_map(|piece| match piece {
                Piece::Text(text) => Some(text.expose()),
                Piece::Host => Some(host),
                Piece::Secret(_) => secrets.next().map(SecretString::expose),
            })
            .collect();
        // Never grown, so no part of it is left behind in a smaller allocation.
        let mut text = Zeroizing::new(String::with_capacity(parts.iter().map(|p| p.len()).sum()));
        parts.iter().for_each(|part| text.push_str(part));
        SecretString::from(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, secrets: &[&str], expect: Option<&str>) {
        let secrets: Vec<_> = secrets.iter().map(|s| SecretString::new(*s)).collect();
        let filled = Template::parse(text).map(|t| t.fill("w1", &secrets));
        assert_eq!(filled.as_ref().map(SecretString::expose), expect, "{text}");
    }

    #[test]
    fn references_are_replaced_in_order() {
        check("a", &[], Some("a"));
        check("{{web.a}}", &["x"], Some("x"));
        check("<{{ web.a }}|{{web.b}}@{{host}}>", &["x", "y"], Some("<x|y@w1>"));
        check("{{{{web.a}}", &[], Some("{{web.a}}"));
        check("{ } }}", &[], Some("{ } }}"));
        check("{{web.a", &[], None);
        check("{{web}}", &[], None);
    }
}
