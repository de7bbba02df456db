//! The data key inside age files, one for each recipient.

use std::cell::RefCell;
use std::io::{BufRead, Read, Write as _};

use age::armor::ArmoredReader;
use age_core::format::{FileKey, Stanza};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

use crate::cipher::DataKey;
use crate::error::SealError;
use crate::identity::{Identities, Interaction};
use crate::recipient::{Recipient, RecipientKey};

/// Largest age file that is looked at; that of a post-quantum recipient has three kilobytes.
const MAX_ENC_BYTES: usize = 64 << 10;

/// The marks around an armored file.
const BEGIN: &str = "-----BEGIN AGE ENCRYPTED FILE-----\n";
const END: &str = "-----END AGE ENCRYPTED FILE-----\n";

/// Letters in a line of an armored file.
const LINE: usize = 64;

/// Wraps the key for one recipient: an armored age file with one stanza. Its randomness is age's own.
pub(crate) fn wrap(
    key: &[u8],
    recipient: &Recipient,
    interaction: Option<&Interaction>,
) -> Result<String, SealError> {
    let wrapped = match recipient.key() {
        RecipientKey::X25519(public) => encrypt(public, key),
        RecipientKey::Ssh(public) => encrypt(public, key),
        RecipientKey::Plugin(public) => {
            let interaction =
                interaction.ok_or_else(|| SealError::Plugin(recipient.to_string()))?;
            let keys = [public.clone()];
            age::plugin::RecipientPluginV1::new(public.plugin(), &keys, &[], interaction.clone())
                .map_err(age::EncryptError::PluginResolve)
                .and_then(|plugin| encrypt(&plugin, key))
        }
    };
    let file = wrapped.map_err(|source| SealError::Wrap {
        recipient: recipient.to_string(),
        source: Box::new(source),
    })?;
    Ok(armor(&file))
}

/// Encrypts as `age::encrypt` does, which panics when a plugin fails.
fn encrypt(recipient: &dyn age::Recipient, key: &[u8]) -> Result<Vec<u8>, age::EncryptError> {
    let mut file = Vec::with_capacity(512);
    let recipients = std::iter::once(recipient);
    let mut writer = age::Encryptor::with_recipients(recipients)?.wrap_output(&mut file)?;
    writer.write_all(key)?;
    writer.finish()?;
    Ok(file)
}

/// Armors an age file: base64 in lines of 64 letters between two marks.
///
/// age's own writer keeps room for files of any size, which for every data key costs more than its encryption.
fn armor(file: &[u8]) -> String {
    let base64 = BASE64_STANDARD.encode(file);
    let mut text = String::with_capacity(base64.len() + base64.len() / LINE + 96);
    text.push_str(BEGIN);
    let mut rest = base64.as_str();
    while let Some((line, after)) = rest.split_at_checked(LINE) {
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(rest);
    text.push_str(if rest.is_empty() { "" } else { "\n" });
    text.push_str(END);
    text
}

/// Opens one age file and returns what is inside, a few dozen bytes.
pub(crate) fn unwrap(
    enc: &str,
    identities: &Identities,
) -> Result<Zeroizing<Vec<u8>>, age::DecryptError> {
    if let Some(file) = plain(enc) {
        let reader = age::Decryptor::new_buffered(file.as_slice())?.decrypt(identities.iter())?;
        return read_key(reader);
    }
    read_key(decryptor(enc)?.decrypt(identities.iter())?)
}

/// Takes the armor off a file of the one form that [`armor`] writes; anything else is left to age's own reader, which
/// keeps room for files of any size here as well.
fn plain(enc: &str) -> Option<Vec<u8>> {
    let inner = Some(enc)
        .filter(|enc| enc.len() <= MAX_ENC_BYTES)?
        .strip_prefix(BEGIN)?
        .strip_suffix(END)?;
    let base64: String = inner.split('\n').collect();
    let file = BASE64_STANDARD.decode(base64).ok()?;
    (armor(&file) == enc).then_some(file)
}

fn read_key(reader: impl Read) -> Result<Zeroizing<Vec<u8>>, age::DecryptError> {
    let mut key = Zeroizing::new(Vec::with_capacity(64));
    reader.take(64).read_to_end(&mut key).map_err(age::DecryptError::Io)?;
    Ok(key)
}

fn decryptor(enc: &str) -> Result<age::Decryptor<impl BufRead>, age::DecryptError> {
    if enc.len() > MAX_ENC_BYTES {
        return Err(age::DecryptError::InvalidHeader);
    }
    let text = enc.trim_start();
    age::Decryptor::new_buffered(ArmoredReader::new(text.as_bytes()))
}

/// Lists the types of the stanzas in an age file, without grease; `None` when it is not an age file.
pub(crate) fn stanzas(enc: &str) -> Option<Vec<String>> {
    struct Recorder(RefCell<Vec<String>>);

    impl age::Identity for Recorder {
        fn unwrap_stanza(&self, _: &Stanza) -> Option<Result<FileKey, age::DecryptError>> {
            None
        }

        fn unwrap_stanzas(&self, stanzas: &[Stanza]) -> Option<Result<FileKey, age::DecryptError>> {
            let real =
                stanzas.iter().map(|s| s.tag.clone()).filter(|tag| !tag.ends_with("-grease"));
            self.0.borrow_mut().extend(real);
            None
        }
    }

    let recorder = Recorder(RefCell::new(Vec::new()));
    let identity: &dyn age::Identity = &recorder;
    match decryptor(enc).ok()?.decrypt(std::iter::once(identity)) {
        Err(age::DecryptError::NoMatchingKeys) => Some(recorder.0.into_inner()),
        _ => None,
    }
}

/// Tells whether an age file has exactly one stanza, of the recipient's kind; `None` when it is not an age file.
pub(crate) fn is_for(enc: &str, recipient: Option<&Recipient>) -> Option<bool> {
    let stanzas = stanzas(enc)?;
    Some(match (stanzas.as_slice(), recipient.and_then(Recipient::stanza)) {
        ([one], Some(wanted)) => one == wanted,
        ([one], None) => one != "scrypt",
        _ => false,
    })
}

/// Turns the bytes of a data key into one.
pub(crate) fn data_key(bytes: &[u8]) -> Option<DataKey> {
    bytes.try_into().ok().map(|key| DataKey(Zeroizing::new(key)))
}

#[cfg(test)]
mod tests {
    use age::armor::{ArmoredWriter, Format};

    use super::*;

    #[test]
    fn a_file_is_armored_as_age_does() {
        for length in 1..200 {
            let file = vec![7; length];
            let mut theirs =
                ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor).expect("armor");
            theirs.write_all(&file).expect("written to memory");
            let theirs = theirs.finish().expect("written to memory");
            let mut theirs = String::from_utf8(theirs).expect("ASCII");
            if !theirs.ends_with('\n') {
                theirs.push('\n');
            }
            assert_eq!(armor(&file), theirs, "{length} bytes");
        }
    }
}
