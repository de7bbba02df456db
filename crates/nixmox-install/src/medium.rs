//! Installers that are booted from a medium, and are recognised by a key that was made before.

use nixmox_hostkey::HostKey;
use nixmox_tree::SecretString;

use crate::cpio::{Entry, archive};

/// Makes a second initrd for an installer, from which that takes its host key and the keys that may log in as root.
///
/// It has the layout of the archives of nixos-images: `ssh/ssh_host_ed25519_key` and `ssh/authorized_keys`. It holds the
/// private key, so whoever reads it can pretend to be that installer.
pub fn installer_keys(host_key: &HostKey, allowed: &[String]) -> SecretString {
    let private = host_key.to_openssh("installer");
    let public = format!("{}\n", host_key.public().to_openssh("installer"));
    let allowed: String = allowed.iter().map(|line| format!("{}\n", line.trim())).collect();
    archive(&[
        Entry::directory("ssh", 0o700),
        Entry::file("ssh/ssh_host_ed25519_key", 0o600, private.expose()),
        Entry::file("ssh/ssh_host_ed25519_key.pub", 0o644, &public),
        Entry::file("ssh/authorized_keys", 0o600, &allowed),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::OsRng;

    #[test]
    fn an_initrd_has_the_keys_where_installers_look_for_them() {
        let key = HostKey::generate(&mut OsRng);
        let made = installer_keys(&key, &["ssh-ed25519 AAAA me".to_owned()]);
        let text = made.expose();
        assert!(text.starts_with("070701") && text.contains("TRAILER!!!"));
        for part in ["ssh/authorized_keys\0", "ssh-ed25519 AAAA me\n", "OPENSSH PRIVATE KEY"] {
            assert!(text.contains(part), "{part}");
        }
        assert!(text.contains(&key.public().to_openssh("installer")));
    }
}
