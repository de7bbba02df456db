//! A sealed file: read, and opened.

use std::collections::{HashMap, VecDeque};

use nixmox_tree::SecretString;
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::cipher::{Cipher, DataKey, Iv, Sealed, ValueError, looks_sealed};
use crate::documents::Documents;
use crate::envelope;
use crate::error::{DecryptError, MetadataError, ParseError, Path};
use crate::format::{self, Block, Format, take_block};
use crate::identity::Identities;
use crate::metadata::{Metadata, Wrapped};
use crate::node::{Comment, Entry, Item, Kind, Node};
use crate::shamir;
use crate::walk::{At, Visit, walk};

/// A file as it stands in the repository: names and structure readable, values sealed.
pub struct EncryptedFile {
    pub(crate) format: Format,
    pub(crate) docs: Vec<Vec<Entry>>,
    pub(crate) metadata: Metadata,
    pub(crate) oddities: Oddities,
}

/// What the reader saw that does not show in the tree.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Oddities {
    pub(crate) aliases: bool,
    pub(crate) tags: bool,
    pub(crate) trailing: bool,
    pub(crate) several_blocks: bool,
    pub(crate) comment_in_block: bool,
}

impl std::fmt::Debug for EncryptedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EncryptedFile({:?})", self.format)
    }
}

impl EncryptedFile {
    /// Reads a sealed file; nothing is decrypted and nothing authenticated yet.
    ///
    /// # Errors
    ///
    /// [`ParseError`]: not a document, no metadata, or metadata that sops would not take either.
    pub fn parse(bytes: &[u8], format: Format) -> Result<Self, ParseError> {
        Self::of(format::read(bytes, format)?, format)
    }

    /// Reads a sealed file that is written as JSON, binary or not; `None` when it is anything else.
    pub fn parse_json(bytes: &[u8]) -> Option<Self> {
        if !format::is_braced(bytes) {
            return None;
        }
        let found = format::read(bytes, Format::Json).ok()?;
        let format = format::of_json(found.docs.first()?);
        let file = Self::of(found, format).ok()?;
        (file.metadata.mac.is_some() && !file.metadata.version.is_empty()).then_some(file)
    }

    fn of(found: format::Read, format: Format) -> Result<Self, ParseError> {
        let mut oddities = Oddities {
            aliases: found.aliases,
            tags: found.tags,
            trailing: found.trailing,
            ..Oddities::default()
        };
        let mut docs = found.docs;
        let mut block = Block::None;
        for (index, doc) in docs.iter_mut().enumerate() {
            let (found, several) = take_block(doc, format);
            // Only the first document's counts.
            if index == 0 {
                (block, oddities.several_blocks) = (found, several);
            }
        }
        let block = match block {
            Block::Found(block) => block,
            Block::None => return Err(ParseError::NoMetadata),
            Block::Malformed => return Err(MetadataError::Flat.into()),
        };
        oddities.comment_in_block = has_comment(&block);
        let metadata = Metadata::read(&block)?;
        Ok(Self { format, docs, metadata, oddities })
    }

    /// Returns the format that it was read as.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Returns what the file says about itself.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Returns the labels of the recipients; they are not authenticated and may lie.
    pub fn recipients(&self) -> Vec<&str> {
        self.metadata.recipients()
    }

    /// Opens the data key alone; neither values nor the MAC are looked at.
    ///
    /// # Errors
    ///
    /// [`DecryptError::NoIdentity`], [`DecryptError::NoUsableKey`], or what is wrong with the shares.
    pub fn open_data_key(&self, identities: &Identities) -> Result<DataKey, DecryptError> {
        self.unlock(identities, &mut Vec::new())
    }

    /// Opens the data key, and names the labels of our own whose wrapped key did not open.
    fn unlock(
        &self,
        identities: &Identities,
        broken: &mut Vec<String>,
    ) -> Result<DataKey, DecryptError> {
        if identities.is_empty() {
            return Err(DecryptError::NoIdentity);
        }
        let groups = &self.metadata.groups;
        let key = match groups.as_slice() {
            [] => self.open_group(&self.metadata.age, identities, broken)?,
            [one] => self.open_group(one, identities, broken)?,
            several => {
                let mut last = None;
                let mut shares = Vec::new();
                for group in several {
                    match self.open_group(group, identities, broken) {
                        Ok(share) => shares.push(share),
                        Err(e) => last = Some(e),
                    }
                }
                let need = self.metadata.threshold.unwrap_or(2).max(2);
                match (shares.len(), last) {
                    (0, Some(e)) => return Err(e),
                    (have, _) if have < need => return Err(DecryptError::Shares { have, need }),
                    _ => shamir::combine(&shares).ok_or(DecryptError::BadShares)?,
                }
            }
        };
        envelope::data_key(&key).ok_or(DecryptError::DataKeyLength)
    }

    fn open_group(
        &self,
        group: &[Wrapped],
        identities: &Identities,
        broken: &mut Vec<String>,
    ) -> Result<Zeroizing<Vec<u8>>, DecryptError> {
        let ours = |w: &&Wrapped| identities.recipients().iter().any(|r| r.as_str() == w.recipient);
        // The label decides the order alone: what it says is not authenticated.
        let (first, rest): (Vec<_>, Vec<_>) = group.iter().partition(ours);
        let mut said = None;
        for wrapped in first.into_iter().chain(rest) {
            match envelope::unwrap(&wrapped.enc, identities) {
                Ok(key) => return Ok(key),
                Err(age::DecryptError::NoMatchingKeys) => {}
                Err(e) => said = Some(e),
            }
            broken.extend(Some(wrapped).filter(ours).map(|wrapped| wrapped.recipient.clone()));
        }
        let recipients = self.recipients().into_iter().map(str::to_owned).collect();
        Err(DecryptError::NoUsableKey { identities: identities.len(), recipients, source: said })
    }

    /// Opens the file; the MAC is checked before anything is returned.
    ///
    /// # Errors
    ///
    /// [`DecryptError`] tells a wrong key from a changed file.
    pub fn open(&self, identities: &Identities) -> Result<DecryptedFile, DecryptError> {
        let mut broken = Vec::new();
        let key = self.unlock(identities, &mut broken)?;
        Ok(DecryptedFile { broken, ..self.open_with(&key)? })
    }

    /// Opens the file with a data key that is known already; the MAC is checked.
    ///
    /// # Errors
    ///
    /// [`DecryptError`]; a wrong key shows as a value that does not authenticate.
    pub fn open_with(&self, key: &DataKey) -> Result<DecryptedFile, DecryptError> {
        let (file, mac) = self.decrypt(key)?;
        let sealed = self.metadata.mac.as_deref().ok_or(DecryptError::MacMissing)?;
        let cipher = Cipher::new(key);
        let stated = Sealed::parse(sealed)
            .and_then(|sealed| cipher.open(&sealed, self.metadata.last_modified.as_bytes()).ok())
            .ok_or(DecryptError::MacMismatch)?;
        if bool::from(stated.as_slice().ct_eq(mac.as_bytes())) {
            Ok(file)
        } else {
            Err(DecryptError::MacMismatch)
        }
    }

    /// Opens the file without a look at the MAC: what comes out may have been put together by anyone.
    ///
    /// # Errors
    ///
    /// [`DecryptError`], as [`open`](Self::open) without the MAC's own.
    pub fn danger_open_ignoring_mac(
        &self,
        identities: &Identities,
    ) -> Result<DecryptedFile, DecryptError> {
        let mut broken = Vec::new();
        let key = self.unlock(identities, &mut broken)?;
        let (file, _) = self.decrypt(&key)?;
        Ok(DecryptedFile { broken, ..file })
    }

    fn decrypt(&self, key: &DataKey) -> Result<(DecryptedFile, Zeroizing<String>), DecryptError> {
        let selector = self.metadata.rule.compile().ok_or(DecryptError::Pattern)?;
        let mut opener = Opener {
            cipher: Cipher::new(key),
            mac: Mac::new(self.metadata.mac_only_encrypted),
            ivs: Ivs::default(),
            format: self.format,
        };
        let mut docs = Vec::with_capacity(self.docs.len());
        for doc in &self.docs {
            docs.push(walk(doc, &selector, &mut opener)?);
        }
        let file = DecryptedFile {
            documents: Documents { docs },
            key: key.clone(),
            metadata: self.metadata.clone(),
            ivs: opener.ivs,
            broken: Vec::new(),
        };
        Ok((file, opener.mac.finish()))
    }
}

fn has_comment(node: &Node) -> bool {
    match node {
        Node::Map(entries) => entries.iter().any(|entry| match entry {
            Entry::Comment(_) => true,
            Entry::Pair(_, node) => has_comment(node),
        }),
        Node::List(items) => items.iter().any(|item| match item {
            Item::Comment(_) => true,
            Item::Node(node) => has_comment(node),
        }),
        _ => false,
    }
}

/// An opened file: its plaintext, and what it takes to seal it again with little change.
pub struct DecryptedFile {
    pub(crate) documents: Documents,
    pub(crate) key: DataKey,
    pub(crate) metadata: Metadata,
    pub(crate) ivs: Ivs,
    /// Labels of our own whose wrapped key did not open; they are wrapped anew.
    pub(crate) broken: Vec<String>,
}

impl std::fmt::Debug for DecryptedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DecryptedFile")
    }
}

impl DecryptedFile {
    /// Returns the plaintext.
    pub fn documents(&self) -> &Documents {
        &self.documents
    }

    /// Returns the data key.
    pub fn data_key(&self) -> &DataKey {
        &self.key
    }

    /// Returns what the file said about itself.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Also knows the nonces of another version of the file, so that the values of both keep their ciphertext when
    /// it is sealed again. Tells whether both have the same data key; otherwise nothing is taken over.
    pub fn take_nonces(&mut self, other: &Self) -> bool {
        let same = bool::from(self.key.expose().ct_eq(other.key.expose()));
        if same {
            self.ivs.extend(&other.ivs);
        }
        same
    }
}

/// The nonces of the values that were opened, by place, type and plaintext.
#[derive(Default, Clone)]
pub(crate) struct Ivs(HashMap<[u8; 32], VecDeque<Iv>>);

impl Ivs {
    fn digest(kind: Kind, aad: &str, plain: &[u8]) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(kind.word());
        hash.update([0]);
        hash.update(u64::try_from(aad.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(aad);
        hash.update(plain);
        hash.finalize().into()
    }

    fn add(&mut self, kind: Kind, aad: &str, plain: &[u8], iv: Iv) {
        self.0.entry(Self::digest(kind, aad, plain)).or_default().push_back(iv);
    }

    /// Takes the nonce of an equal value at the same place; equal elements of one list each get their own.
    pub(crate) fn take(&mut self, kind: Kind, aad: &str, plain: &[u8]) -> Option<Iv> {
        self.0.get_mut(&Self::digest(kind, aad, plain))?.pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds what another version knows; a nonce that both know is not used twice.
    fn extend(&mut self, other: &Self) {
        for (value, ivs) in &other.0 {
            let known = self.0.entry(*value).or_default();
            for iv in ivs {
                if !known.contains(iv) {
                    known.push_back(*iv);
                }
            }
        }
    }
}

/// The hash over the plaintext of all values, in order and without separators.
pub(crate) struct Mac {
    hash: Sha512,
    only_encrypted: bool,
}

impl Mac {
    pub(crate) fn new(only_encrypted: bool) -> Self {
        let mut hash = Sha512::new();
        if only_encrypted {
            // Keeps a hash over few values apart from one over all of them.
            hash.update(Sha256::digest(b"sops"));
        }
        Self { hash, only_encrypted }
    }

    pub(crate) fn add(&mut self, plain: &[u8], sealed: bool) {
        if sealed || !self.only_encrypted {
            self.hash.update(plain);
        }
    }

    pub(crate) fn finish(self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(128));
        for byte in self.hash.finalize() {
            for half in [byte >> 4, byte & 15] {
                let digit = char::from_digit(half.into(), 16).unwrap_or_default();
                text.push(digit.to_ascii_uppercase());
            }
        }
        text
    }
}

struct Opener {
    cipher: Cipher,
    mac: Mac,
    ivs: Ivs,
    format: Format,
}

impl Opener {
    fn open(&mut self, text: &str, aad: &str) -> Result<(Kind, Zeroizing<Vec<u8>>), ValueError> {
        let sealed = Sealed::parse(text).ok_or(ValueError::NotSealed)?;
        let kind = sealed.kind().ok_or(ValueError::UnknownType)?;
        let plain = self.cipher.open(&sealed, aad.as_bytes())?;
        if let Some(iv) = sealed.iv() {
            self.ivs.add(kind, aad, &plain, iv);
        }
        Ok((kind, plain))
    }
}

impl Visit for Opener {
    type Error = DecryptError;

    fn leaf(&mut self, at: &At<'_>, leaf: &Node) -> Result<Item, DecryptError> {
        let fail = |source| DecryptError::Value { path: at.path(), source };
        if !at.sealed {
            if let Some((_, plain)) = leaf.plain() {
                self.mac.add(plain.bytes(), false);
            }
            return Ok(Item::Node(leaf.clone()));
        }
        match leaf {
            Node::Null => return Ok(Item::Node(Node::Null)),
            Node::Str(bytes) if bytes.is_empty() => return Ok(Item::Node(leaf.clone())),
            _ => {}
        }
        let text = leaf.as_str().ok_or_else(|| fail(ValueError::NotSealed))?;
        let (kind, plain) = self.open(text, at.aad).map_err(fail)?;
        if kind == Kind::Comment {
            // A comment has no part in the MAC, and only a list may hold one among its values.
            let text = text_of(&plain).filter(|_| at.in_list);
            let text = text.ok_or_else(|| fail(ValueError::Type))?;
            return Ok(Item::Comment(Comment { text, inline: false }));
        }
        let node = Node::from_plain(kind, plain).ok_or_else(|| fail(ValueError::Type))?;
        if let Some((_, plain)) = node.plain() {
            self.mac.add(plain.bytes(), true);
        }
        Ok(Item::Node(node))
    }

    fn comment(&mut self, at: &At<'_>, comment: &Comment) -> Result<Item, DecryptError> {
        let text = comment.text.expose();
        if !at.sealed || !looks_sealed(text.as_bytes()) {
            return Ok(Item::Comment(comment.clone()));
        }
        // What does not open stays as it is: it may be a person's note.
        let opened = self.open(text, at.aad).ok().and_then(|(_, plain)| text_of(&plain));
        Ok(Item::Comment(match opened {
            Some(text) => Comment { text, inline: false },
            None => comment.clone(),
        }))
    }

    fn moves_strays(&self) -> bool {
        !self.format.is_flat()
    }

    fn too_deep(&self, path: Path) -> DecryptError {
        DecryptError::TooDeep(path)
    }
}

fn text_of(plain: &[u8]) -> Option<SecretString> {
    std::str::from_utf8(plain).ok().map(SecretString::new)
}
