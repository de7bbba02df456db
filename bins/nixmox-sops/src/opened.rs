//! A sops file of anyone: read, opened with the person's keys, and sealed again for the same recipients.

use std::path::Path;

use jiff::Timestamp;
use nixmox_cli::{Exit, Failure};
use nixmox_secrets::identities::Loaded;
use nixmox_sops::{
    DecryptedFile, Documents, EncryptedFile, Format, Keep, KeyGroups, Recipient, SealOptions, seal,
};
use rand_core::OsRng;

use crate::args::{Global, Open};
use crate::config::{self, Config};
use crate::{advice, files};

/// Reads a sealed file and warns of what in it is not protected.
pub(crate) fn parse(bytes: &[u8], format: Format, name: &str) -> Result<EncryptedFile, Failure> {
    let file = EncryptedFile::parse(bytes, format).map_err(|e| advice::unreadable(name, e))?;
    advice::warn_of(name, &file);
    Ok(file)
}

/// Opens a file with the person's keys.
pub(crate) fn open(file: &EncryptedFile, name: &str, how: &Open) -> Result<DecryptedFile, Failure> {
    let loaded = nixmox_keyring::load();
    let opened = if how.ignore_mac {
        advice::warn(&format!("{name}: whether it was changed without its key is not looked at"));
        file.danger_open_ignoring_mac(&loaded.identities)
    } else {
        file.open(&loaded.identities)
    };
    opened.map_err(|error| advice::unopened(name, error, &loaded))
}

/// Opens the data key alone.
pub(crate) fn data_key(file: &EncryptedFile, name: &str) -> Result<nixmox_sops::DataKey, Failure> {
    let loaded: Loaded = nixmox_keyring::load();
    file.open_data_key(&loaded.identities).map_err(|error| advice::unopened(name, error, &loaded))
}

/// Refuses to write a file that has keys of other services: they would be lost.
pub(crate) fn refuse_foreign(file: &EncryptedFile, name: &str) -> Result<(), Failure> {
    match file.foreign_keys().first() {
        None => Ok(()),
        Some(service) => Err(Failure::new(
            Exit::Failure,
            format!("{name} has keys of {service}, which would be lost: only age's are written"),
        )),
    }
}

/// Returns the recipients of a file by group.
pub(crate) fn groups(file: &EncryptedFile, name: &str) -> Result<Vec<Vec<Recipient>>, Failure> {
    let parse = |label: &str| {
        Recipient::parse(label).map_err(|e| {
            let message = format!("{name} names a recipient that is none: {label:?}");
            Failure::new(Exit::Failure, message).because(e)
        })
    };
    let group = |labels: Vec<&str>| labels.into_iter().map(parse).collect();
    file.metadata().groups().into_iter().map(group).collect()
}

/// Makes options of groups of recipients: one group is a plain list.
pub(crate) fn options_for(
    groups: Vec<Vec<Recipient>>,
    threshold: Option<usize>,
) -> Result<SealOptions, Failure> {
    match <[Vec<Recipient>; 1]>::try_from(groups) {
        Ok([one]) if one.is_empty() => Err(Failure::new(
            Exit::Failure,
            "could not generate data key: empty key group provided",
        )),
        Ok([one]) => Ok(SealOptions::new(one)),
        Err(groups) => KeyGroups::new(groups, threshold)
            .map(SealOptions::with_groups)
            .map_err(|e| Failure::new(Exit::Failure, "could not generate data key").because(e)),
    }
}

/// Seals a file again as it was sealed, for these groups.
pub(crate) struct Again<'a> {
    pub(crate) global: &'a Global,
    pub(crate) file: &'a EncryptedFile,
    pub(crate) name: &'a str,
    pub(crate) groups: Vec<Vec<Recipient>>,
}

impl<'a> Again<'a> {
    /// For the same recipients.
    pub(crate) fn same(
        global: &'a Global,
        file: &'a EncryptedFile,
        name: &'a str,
    ) -> Result<Self, Failure> {
        refuse_foreign(file, name)?;
        Ok(Self { global, file, name, groups: groups(file, name)? })
    }

    /// Seals documents in a format.
    pub(crate) fn seal(
        self,
        docs: &Documents,
        format: Format,
        keep: Keep<'_>,
    ) -> Result<Vec<u8>, Failure> {
        let metadata = self.file.metadata();
        let mut options = options_for(self.groups, metadata.threshold())?;
        options.rule = metadata.rule().clone();
        options.mac_only_encrypted = metadata.mac_only_encrypted();
        options.indent = config::indent(self.global, Config::load(self.global)?.as_ref())?;
        options.interaction = Some(nixmox_keyring::interaction());
        seal(docs, (format, &options), keep, &mut OsRng, Timestamp::now())
            .map_err(|error| advice::unsealed(self.name, error))
    }
}

/// Reads and parses a sealed file at a path.
pub(crate) fn at(path: &Path, format: Format) -> Result<EncryptedFile, Failure> {
    let bytes = files::read(path)?;
    parse(bytes.expose(), format, &path.display().to_string())
}
