//! `.sops.yaml`: who may open which file.

use std::collections::BTreeSet;

use nixmox_sops::{ConfigError, CreationRule, CreationRules, Recipient};

use crate::Error;
use crate::store::{RelPath, sha256};

/// The creation rules of a fleet, and where they stand.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) path: RelPath,
    /// SHA-256 of the file as it was read.
    pub(crate) base: [u8; 32],
    rules: CreationRules,
}

impl Rules {
    pub(crate) fn parse(path: RelPath, bytes: &[u8]) -> Result<Self, Error> {
        let rules = CreationRules::parse(bytes)
            .map_err(|source| Error::Rules { path: path.clone(), source })?;
        Ok(Self { path, base: sha256(bytes), rules })
    }

    /// Returns the recipients that the rules name for `path`, each once; rules see paths from their own directory.
    ///
    /// # Errors
    ///
    /// [`Error::NoRecipients`] when no rule names any, [`Error::Rules`] when the rule cannot be used.
    pub(crate) fn recipients(&self, path: &RelPath) -> Result<Vec<Recipient>, Error> {
        self.rule(path).map(|rule| rule.recipients)
    }

    /// Returns all that the rules say about `path`; each recipient once.
    ///
    /// # Errors
    ///
    /// As for [`Rules::recipients`].
    pub(crate) fn rule(&self, path: &RelPath) -> Result<CreationRule, Error> {
        let home = self.path.as_str().strip_suffix(".sops.yaml").unwrap_or_default();
        let seen = path.as_str().strip_prefix(home).unwrap_or(path.as_str());
        match self.rules.rule_for(seen) {
            Ok(rule) if rule.key_groups.is_some() => {
                let source = ConfigError::SeveralGroups;
                Err(Error::Rules { path: self.path.clone(), source })
            }
            Ok(mut rule) if !rule.recipients.is_empty() => {
                let mut known = BTreeSet::new();
                rule.recipients.retain(|recipient| known.insert(recipient.clone()));
                Ok(rule)
            }
            Ok(_)
            | Err(ConfigError::NoRules | ConfigError::NoMatch | ConfigError::NoRecipients) => {
                Err(Error::NoRecipients { path: path.clone() })
            }
            Err(source) => Err(Error::Rules { path: self.path.clone(), source }),
        }
    }
}
