//! The user's signing key: a file that signs in this process, or whatever his `ssh-keygen` signs with.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nixmox_signing::{KeyError, KeyFile, PublicKey, SignFailed, Signature, Signer};
use nixmox_tree::{SecretBytes, SecretString};
use zeroize::Zeroizing;

/// Names the key file to sign with, before all others.
const VARIABLE: &str = "NIXMOX_SIGNING_KEY";
/// The keys that OpenSSH makes when it is not told a name.
const CUSTOMARY: [&str; 5] = ["id_ed25519", "id_ed25519_sk", "id_ecdsa", "id_ecdsa_sk", "id_rsa"];
/// The largest key file, in bytes.
const LIMIT: u64 = 1024 * 1024;

/// Finds a key of the user that is among `signers`: the one that is named, a customary one, or one of his agent.
pub(crate) fn find(
    signers: &BTreeMap<PublicKey, String>,
    named: Option<&Path>,
) -> Option<Box<dyn Signer>> {
    let variable = std::env::var_os(VARIABLE).filter(|name| !name.is_empty()).map(PathBuf::from);
    let ssh = std::env::home_dir().map(|home| home.join(".ssh"));
    let customary = CUSTOMARY.iter().filter_map(|name| Some(ssh.as_ref()?.join(name)));
    let files = variable.into_iter().chain(named.map(Path::to_owned)).chain(customary);
    let keys = files.filter_map(|path| load(&path).ok());
    let mut may_sign = keys.filter(|key| signers.contains_key(key.public()));
    may_sign.next().or_else(|| agent(signers))
}

/// Takes a key file: one that signs here, or the name of one that `ssh-keygen` signs with.
pub(crate) fn load(path: &Path) -> io::Result<Box<dyn Signer>> {
    let text = read(path)?;
    match KeyFile::parse(&text) {
        Ok(key) => return Ok(Box::new(key)),
        Err(KeyError::Encrypted | KeyError::Type) => {}
        Err(error) => {
            // A public key: its private half is in an agent or beside it.
            let public = PublicKey::parse(text.expose()).map_err(|_| io::Error::other(error))?;
            return Ok(Box::new(Keygen { public, path: path.to_owned(), held: None }));
        }
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(".pub");
    let public = read(Path::new(&beside))?;
    let public = PublicKey::parse(public.expose()).map_err(io::Error::other)?;
    Ok(Box::new(Keygen { public, path: path.to_owned(), held: None }))
}

/// Finds a key of the user's agent that is among `signers`, or the first that can sign when there are none.
pub(crate) fn agent(signers: &BTreeMap<PublicKey, String>) -> Option<Box<dyn Signer>> {
    std::env::var_os("SSH_AUTH_SOCK").filter(|socket| !socket.is_empty())?;
    let mut add = nixmox_cli::scrubbed(Command::new("ssh-add"));
    let listed = add.arg("-L").stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let listed = String::from_utf8(listed.stdout).ok()?;
    let mut keys = listed.lines().filter_map(|line| PublicKey::parse(line).ok());
    let public = keys.find(|key| signers.is_empty() || signers.contains_key(key))?;
    // ssh-keygen wants to be told the key by a file.
    let mut held = tempfile::Builder::new().prefix("nixmox-").suffix(".pub").tempfile().ok()?;
    writeln!(held, "{public}").ok()?;
    Some(Box::new(Keygen { public, path: held.path().to_owned(), held: Some(held) }))
}

/// A key that `ssh-keygen` signs with: under a passphrase, in an agent, or on a token.
struct Keygen {
    public: PublicKey,
    path: PathBuf,
    /// Keeps the file there for as long as the key is used.
    #[expect(dead_code, reason = "it is there to be removed at the end")]
    held: Option<tempfile::NamedTempFile>,
}

impl Signer for Keygen {
    fn public(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, namespace: &str, message: &[u8]) -> Result<Signature, SignFailed> {
        let failed = |error: io::Error| SignFailed(Box::new(error));
        let mut command = nixmox_cli::scrubbed(Command::new("ssh-keygen"));
        command.args(["-Y", "sign", "-q", "-n", namespace, "-f"]).arg(&self.path);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().map_err(failed)?;
        let written = child.stdin.take().map(|mut pipe| pipe.write_all(message));
        let output = child.wait_with_output().map_err(failed)?;
        if !output.status.success() {
            return Err(failed(io::Error::other(format!("ssh-keygen: {}", output.status))));
        }
        written.transpose().map_err(failed)?;
        let signature =
            Signature::parse(&output.stdout).map_err(|error| failed(io::Error::other(error)))?;
        // Another key of the agent must not have signed.
        signature
            .verify(&self.public, namespace, message)
            .map_err(|error| failed(io::Error::other(error)))?;
        Ok(signature)
    }
}

/// Reads a key file into memory that is wiped.
fn read(path: &Path) -> io::Result<SecretString> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(16 * 1024));
    File::open(path)?.take(LIMIT).read_to_end(&mut bytes)?;
    let bytes = SecretBytes::from(bytes);
    bytes.as_str().map(SecretString::new).ok_or_else(|| io::Error::other("it is no text"))
}
