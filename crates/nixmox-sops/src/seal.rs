//! Sealing documents.

use jiff::Timestamp;
use rand_core::{CryptoRng, RngCore};

use crate::cipher::{Cipher, DataKey, Iv};
use crate::documents::{Documents, Indent};
use crate::error::{MAX_RECIPIENTS, Path, SealError};
use crate::file::{DecryptedFile, EncryptedFile, Ivs, Mac};
use crate::format::{self, Format};
use crate::groups::KeyGroups;
use crate::identity::Interaction;
use crate::metadata::Metadata;
use crate::node::{Comment, Entry, Item, Kind, Node};
use crate::recipient::Recipient;
use crate::rule::{Rule, Selector};
use crate::walk::{At, Visit, walk};
use crate::wrap::wrap_all;
use crate::{audit, dotenv, flat, ini, json, yaml};

/// The version of sops whose layout is written.
pub const SOPS_VERSION: &str = "3.13.2";

/// For whom and how to seal.
#[derive(Debug, Clone, Default)]
pub struct SealOptions {
    /// Who can open the file; empty with [`key_groups`](Self::key_groups).
    pub recipients: Vec<Recipient>,
    /// Groups of which several must come together, instead of the recipients.
    pub key_groups: Option<KeyGroups>,
    /// Which values are sealed; binary files have no rule.
    pub rule: Rule,
    /// Whether the MAC covers sealed values alone.
    pub mac_only_encrypted: bool,
    /// How the file is indented.
    pub indent: Indent,
    /// Refuses to write what [`audit`](crate::EncryptedFile::audit) would find fault with.
    pub strict: bool,
    /// How plugins of recipients talk to a person; without it, none is started.
    pub interaction: Option<Interaction>,
}

impl SealOptions {
    /// Seals every value to `recipients`, in sops' default way.
    pub fn new(recipients: impl IntoIterator<Item = Recipient>) -> Self {
        Self { recipients: recipients.into_iter().collect(), ..Self::default() }
    }

    /// Seals every value to groups, in sops' default way.
    pub fn with_groups(groups: KeyGroups) -> Self {
        Self { key_groups: Some(groups), ..Self::default() }
    }

    fn recipients(&self) -> impl Iterator<Item = &Recipient> {
        let groups = self.key_groups.iter().flat_map(KeyGroups::groups);
        self.recipients.iter().chain(groups.flatten())
    }
}

/// How much of an opened file lives on in the new one.
#[derive(Debug, Clone, Copy, Default)]
pub enum Keep<'a> {
    /// A fresh data key; nothing of an old file remains.
    #[default]
    Nothing,
    /// A data key that the caller drew, because it derives more from it; nothing of an old file remains.
    Key(&'a DataKey),
    /// The same data key, so that unchanged values keep their ciphertext; the key is wrapped anew for everyone.
    Values(&'a DecryptedFile),
    /// Also keeps the wrapped key of each recipient that stays, as `sops edit` does; one that stands twice, is
    /// malformed or has more than its one stanza is wrapped anew.
    Everything(&'a DecryptedFile),
}

impl<'a> Keep<'a> {
    fn file(self) -> Option<&'a DecryptedFile> {
        match self {
            Self::Nothing | Self::Key(_) => None,
            Self::Values(file) | Self::Everything(file) => Some(file),
        }
    }
}

/// Seals documents and returns the file.
///
/// Data key and nonces come from `rng`, the time from `now`; what wraps the data key is random inside age.
///
/// # Errors
///
/// [`SealError`]: no recipient, a recipient that cannot be wrapped for, or documents that could not be read back.
pub fn seal(
    docs: &Documents,
    (format, options): (Format, &SealOptions),
    keep: Keep<'_>,
    rng: &mut (impl RngCore + CryptoRng),
    now: Timestamp,
) -> Result<Vec<u8>, SealError> {
    check(docs, format, options)?;
    let key = match keep {
        Keep::Nothing => DataKey::generate(rng),
        Keep::Key(key) => key.clone(),
        Keep::Values(file) | Keep::Everything(file) => file.key.clone(),
    };
    let binary = format == Format::Binary;
    let rule = if binary { Rule::default() } else { options.rule.clone() };
    let selector = rule.compile().ok_or(SealError::Pattern)?;
    let mac_only_encrypted = options.mac_only_encrypted && !binary;
    let mut sealer = Sealer {
        cipher: Cipher::new(&key),
        mac: Mac::new(mac_only_encrypted),
        ivs: keep.file().map(|file| file.ivs.clone()).unwrap_or_default(),
        format,
        selector: &selector,
        rng,
        clear: None,
    };
    let mut sealed = Vec::with_capacity(docs.docs.len());
    for doc in &docs.docs {
        sealed.push(walk(doc, &selector, &mut sealer)?);
    }
    if options.strict {
        refuse_clear(sealer.clear.take(), (&sealed, format))?;
    }
    let last_modified = Timestamp::from_second(now.as_second()).unwrap_or(now).to_string();
    let iv = sealer.fresh();
    let (age, groups) = wrap_all(&key, options, keep, sealer.rng)?;
    let Sealer { mut cipher, mac, .. } = sealer;
    let mac = mac.finish();
    let metadata = Metadata {
        age,
        groups,
        threshold: options.key_groups.as_ref().map(KeyGroups::threshold),
        groups_given: options.key_groups.is_some(),
        mac: Some(cipher.seal(mac.as_bytes(), last_modified.as_bytes(), Kind::Str, &iv)),
        last_modified,
        rule,
        rule_given: !binary,
        mac_only_encrypted,
        version: version(keep),
        foreign: Vec::new(),
        unknown: Vec::new(),
    };
    write(sealed, &metadata, format, options.indent)
}

fn check_recipients(options: &SealOptions) -> Result<(), SealError> {
    if options.key_groups.is_some() && !options.recipients.is_empty() {
        return Err(SealError::RecipientsAndGroups);
    }
    match options.recipients().count() {
        0 => Err(SealError::NoRecipients),
        1..=MAX_RECIPIENTS => Ok(()),
        _ => Err(SealError::TooManyRecipients),
    }
}

fn check(docs: &Documents, format: Format, options: &SealOptions) -> Result<(), SealError> {
    check_recipients(options)?;
    let fits = match (format, docs.docs.as_slice()) {
        (_, []) => false,
        (Format::Yaml, _) | (Format::Json | Format::Dotenv | Format::Ini, [_]) => true,
        (Format::Binary, [doc]) => {
            matches!(doc.as_slice(), [Entry::Pair(key, Node::Str(_))] if key == "data")
        }
        _ => false,
    };
    if !fits {
        return Err(SealError::Format);
    }
    let reserved = |entry: &Entry| matches!(entry, Entry::Pair(key, _) if format.reserves(key));
    if docs.docs.iter().flatten().any(reserved) {
        return Err(SealError::SopsKey);
    }
    Ok(())
}

fn refuse_clear(
    clear: Option<Path>,
    (sealed, format): (&[Vec<Entry>], Format),
) -> Result<(), SealError> {
    match clear.or_else(|| Some(audit::skeleton(sealed, format).into_iter().next()?.path)) {
        Some(path) => Err(SealError::Clear(path)),
        None => Ok(()),
    }
}

impl EncryptedFile {
    /// Writes the same file for other recipients: the same data key, wrapped anew for each of them.
    ///
    /// Values, MAC, time and version stay as they are, and are not looked at: a file that was changed by somebody
    /// stays one. Selection rule and MAC's scope are the file's; those of `options` do not count.
    ///
    /// # Errors
    ///
    /// [`SealError`]: no recipient, or one that cannot be wrapped for.
    pub fn rewrap(
        &self,
        key: &DataKey,
        options: &SealOptions,
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<Vec<u8>, SealError> {
        check_recipients(options)?;
        let (age, groups) = wrap_all(key, options, Keep::Nothing, rng)?;
        let threshold = options.key_groups.as_ref().map(KeyGroups::threshold);
        let metadata = Metadata { age, groups, threshold, ..self.metadata.clone() };
        write(self.docs.clone(), &metadata, self.format, options.indent)
    }
}

/// Keeps the version of a file that a newer sops wrote.
fn version(keep: Keep<'_>) -> String {
    let numbers = |text: &str| -> Option<Vec<u64>> {
        let core = text.strip_prefix('v').unwrap_or(text);
        core.split('.').map(|part| part.parse().ok()).collect()
    };
    let old = keep.file().map(|file| file.metadata.version.as_str());
    let newer = old.filter(|old| numbers(old) > numbers(SOPS_VERSION));
    newer.unwrap_or(SOPS_VERSION).to_owned()
}

fn write(
    mut docs: Vec<Vec<Entry>>,
    metadata: &Metadata,
    format: Format,
    indent: Indent,
) -> Result<Vec<u8>, SealError> {
    let block = metadata.write();
    if format.is_flat() {
        let [doc] = docs.as_slice() else { return Err(SealError::Format) };
        return write_flat(doc, &block, format);
    }
    for doc in &mut docs {
        doc.push(Entry::Pair("sops".to_owned(), block.clone()));
    }
    let text = match (format, docs.as_slice()) {
        (Format::Yaml, docs) => yaml::write(docs, indent.yaml_spaces()),
        (_, [doc]) => json::write(doc, indent.json_indent(format)).ok_or(SealError::Format)?,
        _ => return Err(SealError::Format),
    };
    let mut text = text;
    Ok(std::mem::take(&mut *text))
}

/// Writes a format that cannot say everything, and looks whether it says what it should.
fn write_flat(doc: &[Entry], block: &Node, format: Format) -> Result<Vec<u8>, SealError> {
    let pairs = flat::pairs(block).into_iter();
    let (text, wanted) = if format == Format::Dotenv {
        let pair = |(name, text): (String, String)| {
            Entry::Pair(format!("{}{name}", dotenv::PREFIX), Node::str(text))
        };
        let whole: Vec<_> = doc.iter().cloned().chain(pairs.map(pair)).collect();
        (dotenv::write(&whole).map_err(SealError::NoForm)?, whole)
    } else {
        let pair = |(name, text): (String, String)| {
            Entry::Pair(name, Node::str(text.replace('\n', "\\n")))
        };
        let block = Entry::Pair("sops".to_owned(), Node::Map(pairs.map(pair).collect()));
        let whole: Vec<_> = doc.iter().cloned().chain([block]).collect();
        (ini::write(&whole).map_err(SealError::NoForm)?, ini::with_default(whole))
    };
    let found = format::read(&text, format).map_err(|_| SealError::Format)?;
    let mut path = Path::default();
    if flat::difference(&wanted, found.docs.first().map_or(&[], Vec::as_slice), &mut path) {
        return Err(SealError::NoForm(path));
    }
    let mut text = text;
    Ok(std::mem::take(&mut *text))
}

struct Sealer<'s, R> {
    cipher: Cipher,
    mac: Mac,
    ivs: Ivs,
    format: Format,
    selector: &'s Selector,
    rng: &'s mut R,
    /// The first leaf or comment that was left in the clear.
    clear: Option<Path>,
}

impl<R: RngCore + CryptoRng> Sealer<'_, R> {
    fn fresh(&mut self) -> Iv {
        let mut iv = [0; 32];
        self.rng.fill_bytes(&mut iv);
        iv
    }

    fn seal(&mut self, kind: Kind, aad: &str, plain: &[u8]) -> String {
        let kept = if self.ivs.is_empty() { None } else { self.ivs.take(kind, aad, plain) };
        let iv = kept.unwrap_or_else(|| self.fresh());
        self.cipher.seal(plain, aad.as_bytes(), kind, &iv)
    }

    /// Notes that something stays in the clear.
    fn leave(&mut self, at: &At<'_>) {
        self.clear.get_or_insert_with(|| at.path());
    }

    /// Refuses what the format would change on the way.
    fn fits(&self, at: &At<'_>, leaf: &Node) -> Result<(), SealError> {
        match leaf {
            _ if self.format == Format::Yaml => Ok(()),
            Node::Null if self.format.is_flat() => Err(SealError::NoForm(at.path())),
            _ if self.format.is_flat() => Ok(()),
            Node::Float(number) if !number.is_finite() => Err(SealError::NotFinite(at.path())),
            Node::Str(bytes) if !at.sealed && bytes.as_str().is_none() => Err(SealError::Format),
            _ => Ok(()),
        }
    }
}

impl<R: RngCore + CryptoRng> Visit for Sealer<'_, R> {
    type Error = SealError;

    fn leaf(&mut self, at: &At<'_>, leaf: &Node) -> Result<Item, SealError> {
        self.fits(at, leaf)?;
        // What stays readable in a format without types is hashed as the text that will be read.
        let text = (self.format.is_flat() && !at.sealed).then(|| flat::as_text(leaf)).flatten();
        let leaf = text.as_ref().unwrap_or(leaf);
        let Some((kind, plain)) = leaf.plain() else {
            self.leave(at);
            return Ok(Item::Node(leaf.clone()));
        };
        self.mac.add(plain.bytes(), at.sealed);
        if !at.sealed || plain.bytes().is_empty() {
            self.leave(at);
            return Ok(Item::Node(leaf.clone()));
        }
        Ok(Item::Node(Node::text(self.seal(kind, at.aad, plain.bytes()))))
    }

    fn comment(&mut self, at: &At<'_>, comment: &Comment) -> Result<Item, SealError> {
        let text = comment.text.expose();
        let lost = matches!(self.format, Format::Json | Format::Binary);
        if lost || !at.sealed || text.is_empty() {
            if !text.is_empty() {
                self.leave(at);
            }
            return Ok(Item::Comment(comment.clone()));
        }
        let sealed = self.seal(Kind::Comment, at.aad, text.as_bytes());
        if self.selector.comment_counts_itself() && self.selector.comment_hits(&sealed) {
            return Err(SealError::CommentMatches(at.path()));
        }
        if at.in_list {
            // The reader sees a value there, and a value ends what the comments before it say.
            if self.selector.on_comments() {
                return Err(SealError::ListComment(at.path()));
            }
            return Ok(Item::Node(Node::text(sealed)));
        }
        let mut made = Comment::new(sealed);
        made.inline = comment.inline;
        Ok(Item::Comment(made))
    }

    fn moves_strays(&self) -> bool {
        !self.format.is_flat()
    }

    fn too_deep(&self, path: Path) -> SealError {
        SealError::TooDeep(path)
    }
}
