//! The machine, by each key by which it may be recognised.

use std::path::PathBuf;

use nixmox_deploy::{SshOption, Target, UserName};
use nixmox_hostkey::HostPublicKey;

use super::Work;
use crate::identity::{Answer, Face, somebody};
use crate::{Identity, InstallError};

impl Work<'_> {
    /// Returns the machine as it can be reached by each key that is known.
    pub(crate) fn faces(&self) -> Result<Vec<Face>, InstallError> {
        let (order, ssh) = (self.order, &self.context.ssh);
        let mut faces = Vec::new();
        // Without a key of its own, ssh would look for one elsewhere.
        if !order.after.host_keys.is_empty() {
            faces.push(Face::new(Identity::Node, &order.after, ssh)?);
        }
        if let Some(target) = self.installer() {
            faces.push(Face::new(Identity::Installer, &target, ssh)?);
        }
        if let Some(key) = self.before_key() {
            let target = Target { host_keys: vec![key], ..order.before.clone() };
            faces.push(Face::new(Identity::Before, &target, ssh)?);
        }
        Ok(faces)
    }

    fn before_key(&self) -> Option<HostPublicKey> {
        HostPublicKey::parse(self.memory.before_key.as_deref()?).ok()
    }

    /// Returns how the installer of this run is reached, if there is one and its key is still here.
    fn installer(&self) -> Option<Target> {
        let key = HostPublicKey::parse(self.memory.installer_key.as_deref()?).ok()?;
        let client = self.client_key();
        if !client.is_file() {
            return None;
        }
        let mut target = self.order.installer.clone();
        let given = |option: &SshOption| {
            !["user", "identityfile"].contains(&option.name().to_ascii_lowercase().as_str())
        };
        target.ssh_options.retain(given);
        for (name, value) in [("IdentityFile", client.to_str()?), ("IdentitiesOnly", "yes")] {
            target.ssh_options.push(SshOption::parse(name, value).ok()?);
        }
        target.user = UserName::parse("root").ok();
        target.use_remote_sudo = false;
        target.host_keys = vec![key];
        Some(target)
    }

    pub(crate) fn client_key(&self) -> PathBuf {
        self.context.private.join(format!("{}-{}", self.order.node, self.memory.run))
    }

    /// Waits for whoever answers, and lets in nobody who is not known.
    pub(super) async fn meet<'f>(&self, faces: &'f [Face]) -> Result<&'f Face, InstallError> {
        let known = self.before_key().is_some();
        match somebody(faces, self.order.patience.connect).await {
            Answer::Known(face) => Ok(face),
            Answer::Denied(identity, _) => Err(InstallError::Denied(identity)),
            Answer::Stranger if !known => Err(InstallError::Unauthenticated),
            Answer::Stranger => Err(InstallError::Stranger),
            Answer::Silent(Some(error)) => Err(InstallError::Unreachable(error)),
            Answer::Silent(None) => Err(InstallError::Silent),
        }
    }
}
