//! One sealed file: names, types and fingerprints.

use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use nixmox_sops::{
    DecryptedFile, Documents, EncryptedFile, Format, Indent, Leaf, LeafKind, ParseError, detect,
};
use nixmox_tree::SecretString;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::Keyring;
use crate::master::{self, Form};

/// How many hexadecimal digits a fingerprint has: enough that two values do not meet by accident.
const DIGITS: usize = 12;

/// What a text is called that is sealed whole and evaluates to the values beside it.
const TEXT: &str = "text";

/// What stands at one place of a sealed file.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Which document of the file, from 0.
    pub document: usize,
    /// Where it stands; of a comment, the map or list that it stands in.
    pub path: Vec<String>,
    /// Of what type it is, or claims to be.
    pub kind: &'static str,
    /// Whether it is sealed in the file; what is not, everybody can read and change.
    pub sealed: bool,
    /// A short hash of its ciphertext; nothing where there is none of its own.
    pub cipher: Option<String>,
    /// The fingerprint of its value, when the file was opened.
    pub print: Option<String>,
    /// The value, when the file was opened.
    pub value: Option<SecretString>,
}

impl Line {
    /// Tells whether it is a value; comments and the text of a master are none.
    pub(super) fn is_value(&self) -> bool {
        self.kind != TEXT && self.kind != LeafKind::Comment.name()
    }
}

/// A sealed file without its values.
#[derive(Debug, Clone, PartialEq)]
pub struct Sketch {
    /// The file's format.
    pub format: Format,
    /// To whom its labels say it is sealed; they are not authenticated.
    pub recipients: Vec<String>,
    /// Whether it was opened, its MAC checked.
    pub opened: bool,
    /// Why it was not opened, though there were keys.
    pub problem: Option<String>,
    /// What keeps it out of the rules for sealed files: each with its place.
    pub findings: Vec<String>,
    /// What it holds, in order.
    pub lines: Vec<Line>,
}

/// Reads a sealed file; with keys, also what is in it.
///
/// A file that is sealed whole and holds Nix data shows the names of what it evaluates to, when it opens.
///
/// # Errors
///
/// [`ParseError`] when it is no sops file.
pub fn sketch(bytes: &[u8], keys: &Keyring<'_>) -> Result<Sketch, ParseError> {
    let format = detect(bytes).ok_or(ParseError::NoMetadata)?;
    let file = EncryptedFile::parse(bytes, format)?;
    let (opened, problem) = match keys.open(&file) {
        Ok(opened) => (Some(opened), None),
        Err(nixmox_sops::DecryptError::NoIdentity) => (None, None),
        Err(error) => (None, Some(error.to_string())),
    };
    let printer = opened.as_ref().map(|opened| Printer::new(keys, opened));
    let evaluated = opened.as_ref().filter(|_| format == Format::Binary).and_then(evaluated);
    let findings = file.audit();
    let findings = findings.iter().map(|f| format!("{} at {}", f.kind.name(), f.path)).collect();
    let mut lines = of_file(&file, opened.as_ref().zip(printer.as_ref()), evaluated.is_some());
    if let (Some(documents), Some(printer)) = (&evaluated, &printer) {
        documents.for_each_leaf(&mut |leaf| {
            lines.push(Line { cipher: None, sealed: true, ..printer.line(leaf) });
        });
    }
    Ok(Sketch {
        format,
        recipients: file.recipients().into_iter().map(str::to_owned).collect(),
        opened: opened.is_some(),
        problem,
        findings,
        lines,
    })
}

/// Lists what stands in the file itself; opened and sealed leaves come in the same order.
fn of_file(
    file: &EncryptedFile,
    opened: Option<(&DecryptedFile, &Printer)>,
    is_text: bool,
) -> Vec<Line> {
    let mut plain = Vec::new();
    if let Some((opened, printer)) = opened {
        opened.documents().for_each_leaf(&mut |leaf| plain.push(printer.line(leaf)));
    }
    let mut plain = plain.into_iter();
    let mut lines = Vec::new();
    file.for_each_leaf(&mut |leaf| {
        let empty = matches!(leaf.kind, LeafKind::Null | LeafKind::EmptyMap | LeafKind::EmptyList);
        let line = Line {
            document: leaf.document,
            path: leaf.path.to_vec(),
            kind: leaf.kind.name(),
            sealed: leaf.sealed,
            cipher: (!empty).then(|| hex(&Sha256::digest(leaf.bytes))),
            print: None,
            value: None,
        };
        let known = plain.next().unwrap_or_else(|| line.clone());
        lines.push(if is_text {
            Line { path: Vec::new(), kind: TEXT, print: known.print, ..line }
        } else {
            Line { print: known.print, kind: known.kind, value: known.value, ..line }
        });
    });
    lines
}

/// Evaluates a master that is sealed whole; nothing when it is no Nix data.
fn evaluated(file: &DecryptedFile) -> Option<Documents> {
    let bytes = file.documents().to_bytes(Format::Binary, Indent::default()).ok()?;
    let text = SecretString::new(bytes.as_str()?);
    master::evaluate(Form::Nix, &text, None).ok().map(|tree| Documents::from_tree(&tree))
}

/// Makes fingerprints of values.
struct Printer(Zeroizing<[u8; 64]>);

impl Printer {
    fn new(keys: &Keyring<'_>, file: &DecryptedFile) -> Self {
        let own = keys.identities.derive(b"nixmox fingerprints of values v1");
        Self(own.unwrap_or_else(|| {
            let mut key = Zeroizing::new([0; 64]);
            let hkdf = hkdf::Hkdf::<Sha256>::new(None, file.data_key().expose());
            // 64 bytes are far below the limit of HKDF, the only thing that can fail here.
            let _ = hkdf.expand(b"nixmox fingerprints of values v1", key.as_mut_slice());
            key
        }))
    }

    fn line(&self, leaf: &Leaf<'_>) -> Line {
        let mut mac = <Hmac<Sha256> as KeyInit>::new(self.0.as_slice().into());
        // The place is part of it, so that equal values of two places do not show as equal.
        for part in leaf.path.iter().map(String::as_bytes).chain([leaf.kind.name().as_bytes()]) {
            mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
            mac.update(part);
        }
        mac.update(leaf.bytes);
        let value = std::str::from_utf8(leaf.bytes).ok().map(SecretString::new);
        Line {
            document: leaf.document,
            path: leaf.path.to_vec(),
            kind: leaf.kind.name(),
            sealed: leaf.sealed,
            cipher: None,
            print: Some(hex(&mac.finalize().into_bytes())),
            value,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(DIGITS);
    for byte in bytes.iter().take(DIGITS / 2) {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
