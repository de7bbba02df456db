use nixmox_tree::SecretString;
use sha2::{Digest, Sha256, Sha512};
use zeroize::Zeroizing;

use super::Args;
use crate::error::{Construct, Error, ErrorKind};
use crate::json;
use crate::machine::{V, builder};
use crate::parse::push_wiped;

impl Args<'_, '_> {
    fn str(&mut self, at: usize) -> Result<SecretString, Error> {
        match self.value(at)? {
            V::Str(text) => {
                self.spend(text.len() / 8)?;
                Ok(text)
            }
            other => Err(other.expected("a string", self.span)),
        }
    }

    fn coerced(&mut self, at: usize, more: bool) -> Result<Zeroizing<String>, Error> {
        let value = self.value(at)?;
        self.machine.coerce(&value, more, self.span)
    }

    fn strings(&mut self, at: usize) -> Result<Vec<SecretString>, Error> {
        let mut texts = Vec::new();
        for item in self.list(at)?.iter() {
            match self.force(*item)? {
                V::Str(text) => texts.push(text),
                other => return Err(other.expected("a string", self.span)),
            }
        }
        Ok(texts)
    }
}

pub(super) fn to_string(args: &mut Args<'_, '_>) -> Result<V, Error> {
    Ok(V::Str(args.coerced(0, true)?.into()))
}

pub(super) fn string_length(args: &mut Args<'_, '_>) -> Result<V, Error> {
    let length = args.coerced(0, false)?.len();
    i64::try_from(length).map(V::Int).map_err(|_| args.error(ErrorKind::Overflow))
}

pub(super) fn substring(args: &mut Args<'_, '_>) -> Result<V, Error> {
    let start = args.int(0)?;
    let length = args.int(1)?;
    // Nix keeps 32 bits of both.
    if i32::try_from(start).is_err() || i32::try_from(length).is_err() {
        return Err(args.error(ErrorKind::OutOfRange));
    }
    let text = args.coerced(2, false)?;
    let start = usize::try_from(start).map_err(|_| args.error(ErrorKind::OutOfRange))?;
    let start = start.min(text.len());
    let rest = text.len() - start;
    let length = usize::try_from(length).map_or(rest, |length| length.min(rest));
    let piece = text.get(start..start + length).ok_or(args.error(ErrorKind::HalfCharacter))?;
    Ok(V::str(piece))
}

pub(super) fn concat_strings_sep(args: &mut Args<'_, '_>) -> Result<V, Error> {
    let separator = args.str(0)?;
    let mut text = builder();
    for (at, item) in args.list(1)?.iter().enumerate() {
        if at > 0 {
            args.spend(1 + separator.len() / 8)?;
            push_wiped(&mut text, separator.expose());
        }
        let item = args.force(*item)?;
        let piece = args.machine.coerce(&item, false, args.span)?;
        push_wiped(&mut text, &piece);
    }
    Ok(V::Str(text.into()))
}

pub(super) fn replace_strings(args: &mut Args<'_, '_>) -> Result<V, Error> {
    let from = args.strings(0)?;
    let to = args.strings(1)?;
    if from.len() != to.len() {
        return Err(args.error(ErrorKind::OutOfRange));
    }
    let text = args.str(2)?;
    let text = text.expose();
    args.spend(text.len().saturating_mul(from.len()) / 16)?;
    let mut result = builder();
    let mut at = 0;
    while at <= text.len() {
        let rest = text.get(at..).ok_or(args.error(ErrorKind::HalfCharacter))?;
        let found = from.iter().zip(&to).find(|(from, _)| rest.starts_with(from.expose()));
        if let Some((_, to)) = found {
            args.spend(1 + to.len() / 8)?;
            push_wiped(&mut result, to.expose());
        }
        match found {
            Some((from, _)) if !from.is_empty() => at += from.len(),
            _ => {
                let Some(next) = rest.chars().next() else { break };
                // Nix goes byte by byte: an empty pattern would come between the bytes of a character.
                if found.is_some() && next.len_utf8() > 1 {
                    return Err(args.error(ErrorKind::HalfCharacter));
                }
                let width = next.len_utf8();
                push_wiped(&mut result, rest.get(..width).unwrap_or(""));
                at += width;
            }
        }
    }
    Ok(V::Str(result.into()))
}

pub(super) fn to_json(args: &mut Args<'_, '_>) -> Result<V, Error> {
    let value = args.value(0)?;
    let data = args.machine.data(value, args.span, 0)?;
    let Some(text) = json::write(&data) else {
        return Err(args.error(ErrorKind::Unsupported(Construct::FloatText)));
    };
    args.spend(text.len() / 8)?;
    Ok(V::Str(text.into()))
}

pub(super) fn from_json(args: &mut Args<'_, '_>) -> Result<V, Error> {
    let text = args.str(0)?;
    let data = json::read(text.expose()).ok_or(args.error(ErrorKind::Json))?;
    args.machine.load(&data, args.span)
}

pub(super) fn hash_string(args: &mut Args<'_, '_>) -> Result<V, Error> {
    let algorithm = args.str(0)?;
    let text = args.str(1)?;
    let digest = match algorithm.expose() {
        "sha256" => Sha256::digest(text.expose()).to_vec(),
        "sha512" => Sha512::digest(text.expose()).to_vec(),
        _ => return Err(args.error(ErrorKind::Unsupported(Construct::Hash))),
    };
    let hex: String = digest.iter().map(|b| format!("{b:02x}")).collect();
    Ok(V::Str(SecretString::new(hex)))
}

pub(super) fn split_version(args: &mut Args<'_, '_>) -> Result<V, Error> {
    let text = args.str(0)?;
    args.spend(text.len())?;
    let parts = components(text.expose()).map(|part| args.machine.value(V::str(part)));
    Ok(V::List(parts.collect()))
}

/// Cuts a version where it changes between digits and other characters, and at dots and dashes.
fn components(version: &str) -> impl Iterator<Item = &str> {
    let mut rest = version;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(['.', '-']);
        let digits = rest.starts_with(|c: char| c.is_ascii_digit());
        let ends = |c: char| matches!(c, '.' | '-') || c.is_ascii_digit() != digits;
        let (part, after) = rest.split_at(rest.find(ends).unwrap_or(rest.len()));
        rest = after;
        (!part.is_empty()).then_some(part)
    })
}

pub(super) fn compare_versions(args: &mut Args<'_, '_>) -> Result<V, Error> {
    let (a, b) = (args.str(0)?, args.str(1)?);
    args.spend((a.len() + b.len()) / 4)?;
    let (mut a, mut b) = (components(a.expose()), components(b.expose()));
    loop {
        let (a, b) = match (a.next(), b.next()) {
            (None, None) => return Ok(V::Int(0)),
            (a, b) => (a.unwrap_or(""), b.unwrap_or("")),
        };
        let less = |a, b| component_less(a, b).ok_or(args.error(ErrorKind::Overflow));
        if less(a, b)? {
            return Ok(V::Int(-1));
        }
        if less(b, a)? {
            return Ok(V::Int(1));
        }
    }
}

/// Nix's order of version components; none when a number is too long for Nix to compare as one.
fn component_less(a: &str, b: &str) -> Option<bool> {
    let number = |part: &str| {
        let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if digits { part.parse::<i32>().map(Some) } else { Ok(None) }
    };
    let (na, nb) = (number(a).ok()?, number(b).ok()?);
    Some(match (na, nb) {
        (Some(na), Some(nb)) => na < nb,
        (None, Some(_)) if a.is_empty() => true,
        _ if a == "pre" && b != "pre" => true,
        _ if b == "pre" => false,
        (None, Some(_)) => true,
        (Some(_), None) => false,
        _ => a < b,
    })
}
