//! An installer in place of what runs.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use nixmox_hostkey::HostKey;
use rand_core::OsRng;
use sha2::{Digest, Sha256};

use super::{Work, refused};
use crate::cpio::{Entry, archive};
use crate::error::Cause;
use crate::facts::Facts;
use crate::identity::{Answer, who};
use crate::order::Image;
use crate::problem::{Problem, grave};
use crate::remote::{Remote, hex};
use crate::reply::Reply;
use crate::{Identity, InstallError, Phase};

/// How long the image may travel.
const TRAVEL: Duration = Duration::from_secs(2 * 60 * 60);
/// How long the kernel may take to read it.
const LOAD: Duration = Duration::from_secs(600);
/// What every archive that is compressed with gzip begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// The longest command line that Linux takes on all processors.
const MAX_LINE: usize = 2048;
const PHASE: Phase = Phase::BootInstaller;

impl Work<'_> {
    /// Starts the installer of this run, which has a key that only this run knows, and waits for it.
    pub(super) async fn boot(
        &mut self,
        remote: &Remote<'_>,
        facts: &Facts,
    ) -> Result<(), InstallError> {
        let Some(image) = &self.order.image else {
            return Err(refused(vec![grave(Problem::NoImage)]));
        };
        // Whoever does not agree keeps what runs now.
        if facts.has("lsblk") {
            self.agreed(remote, true).await?;
        }
        let form = checked(image).map_err(|problem| refused(vec![grave(problem)]))?;
        let at = |error| InstallError::at(PHASE, error);
        let words = ["image", &image.sha256, form];
        let command = remote.command(&words, &[]).map_err(at)?;
        let sent = remote.send(command.stdin_file(image.path.clone()).timeout(TRAVEL)).await;
        let line = command_line(image, &Reply::parse(&sent.map_err(at)?.stdout))?;
        let network = remote.ask(&["network"], &[]).await;
        let network = network.map(|output| output.stdout).unwrap_or_default();
        self.give_keys(remote, &network).await?;
        let command = remote.command(&["load"], &[]).map_err(at)?;
        remote.send(command.stdin(line.into_bytes()).timeout(LOAD)).await.map_err(at)?;
        self.memory.jumped_from = Some(facts.boot_id.clone());
        self.save()?;
        remote.ask(&["jump"], &[]).await.map_err(at)?;
        remote.host().close().await;
        self.installer_answers(&facts.boot_id).await
    }

    /// Makes the keys of this run's installer; they travel to it within the initrd, in memory.
    async fn give_keys(&mut self, remote: &Remote<'_>, network: &[u8]) -> Result<(), InstallError> {
        let (own, client) = (HostKey::generate(&mut OsRng), HostKey::generate(&mut OsRng));
        let path = self.client_key();
        keep(&path, client.to_openssh("nixmox-install").expose().as_bytes())
            .map_err(|source| InstallError::State { path, source })?;
        self.memory.installer_key = Some(own.public().to_openssh(""));
        self.save()?;
        let private = own.to_openssh("installer");
        let public = format!("{}\n", own.public().to_openssh("installer"));
        let allowed = format!("{}\n", client.public().to_openssh("nixmox-install"));
        let network = String::from_utf8_lossy(network);
        let mut parts = network.split("\n\n");
        let mut part =
            || parts.next().map(str::trim).filter(|p| p.starts_with('[')).unwrap_or("[]");
        let (addresses, routes4, routes6) = (part(), part(), part());
        let entries = [
            Entry::directory("ssh", 0o700),
            Entry::file("ssh/ssh_host_ed25519_key", 0o600, private.expose()),
            Entry::file("ssh/ssh_host_ed25519_key.pub", 0o644, &public),
            Entry::file("ssh/authorized_keys", 0o600, &allowed),
            Entry::file("addrs.json", 0o644, addresses),
            Entry::file("routes-v4.json", 0o644, routes4),
            Entry::file("routes-v6.json", 0o644, routes6),
        ];
        let sent = remote.send_secret(&["append"], archive(&entries)).await;
        sent.map(drop).map_err(|error| InstallError::at(PHASE, error))
    }

    async fn installer_answers(&self, before: &str) -> Result<(), InstallError> {
        let end = Instant::now() + self.order.patience.kexec;
        let faces = self.faces()?;
        let failed = |cause| Err(InstallError::at(PHASE, cause));
        let mut still = false;
        while Instant::now() < end {
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.go_on()?;
            match who(&faces).await {
                Answer::Known(face) if face.identity == Identity::Installer => return Ok(()),
                Answer::Known(face) => {
                    let facts = Remote::new(&face.host, &self.memory.run).facts().await;
                    face.host.close().await;
                    if facts.is_ok_and(|facts| facts.boot_id != before) {
                        return failed(Cause::RebootedInstead);
                    }
                    still = true;
                }
                Answer::Denied(..) => still = false,
                Answer::Silent(_) => still = false,
                Answer::Stranger => return Err(InstallError::Stranger),
            }
        }
        if still {
            return failed(Cause::StillRuns);
        }
        failed(Cause::NoAnswer(self.order.patience.kexec.as_secs()))
    }
}

/// Looks at the archive: it has the digest that was given, and this form.
pub(super) fn checked(image: &Image) -> Result<&'static str, Problem> {
    let fail =
        |error: io::Error| Problem::ImageUnread { path: image.path.clone(), why: error.kind() };
    let mut file = fs::File::open(&image.path).map_err(fail)?;
    let (mut hash, mut piece, mut begin) = (Sha256::new(), vec![0; 1 << 20], Vec::new());
    loop {
        let read = file.read(&mut piece).map_err(fail)?;
        let Some(part) = piece.get(..read).filter(|part| !part.is_empty()) else { break };
        if begin.len() < GZIP.len() {
            begin.extend_from_slice(part.get(..GZIP.len()).unwrap_or(part));
        }
        hash.update(part);
    }
    let found = hex(&hash.finalize());
    if !found.eq_ignore_ascii_case(&image.sha256) {
        return Err(Problem::ImageDigest { path: image.path.clone(), found });
    }
    Ok(if begin.starts_with(&GZIP) { "gzip" } else { "plain" })
}

/// Puts together the command line of the installer's kernel.
fn command_line(image: &Image, reply: &Reply) -> Result<String, InstallError> {
    let own = image.command_line.as_deref().or_else(|| reply.text("line"));
    let own = own.ok_or_else(|| InstallError::at(PHASE, Cause::CommandLine))?;
    let words = [own].into_iter().chain(image.arguments.iter().map(String::as_str));
    let line = words.collect::<Vec<_>>().join(" ");
    // What a shell would have put in there is not known here.
    if line.len() > MAX_LINE || line.contains(|c: char| c.is_control() || "$`\"".contains(c)) {
        return Err(InstallError::at(PHASE, Cause::CommandLine));
    }
    Ok(line)
}

/// Writes a private file.
fn keep(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(line: Option<&str>, arguments: &[&str]) -> Image {
        Image {
            path: "x".into(),
            sha256: String::new(),
            arguments: arguments.iter().map(|a| (*a).to_owned()).collect(),
            command_line: line.map(str::to_owned),
        }
    }

    #[test]
    fn command_lines_come_from_the_archive_or_are_given() {
        #[track_caller]
        fn check(image: &Image, answer: &str, expect: Option<&str>) {
            let line = command_line(image, &Reply::parse(answer.as_bytes())).ok();
            assert_eq!(line.as_deref(), expect);
        }
        let answer = "line=init=/x loglevel=4\n";
        check(&image(None, &[]), answer, Some("init=/x loglevel=4"));
        check(&image(None, &["panic=5"]), answer, Some("init=/x loglevel=4 panic=5"));
        check(&image(Some("init=/y"), &[]), answer, Some("init=/y"));
        check(&image(None, &[]), "", None);
        check(&image(None, &[]), "line=init=$(reboot)\n", None);
    }

    #[test]
    fn an_archive_is_taken_by_its_digest_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image");
        fs::write(&path, b"\x1f\x8bx").unwrap();
        let mut image = Image { path, ..image(None, &[]) };
        assert!(checked(&image).is_err());
        image.sha256 = hex(&Sha256::digest(b"\x1f\x8bx")).to_uppercase();
        assert_eq!(checked(&image).ok(), Some("gzip"));
        fs::write(&image.path, b"y").unwrap();
        image.sha256 = hex(&Sha256::digest(b"y"));
        assert_eq!(checked(&image).ok(), Some("plain"));
    }

    #[test]
    fn keys_are_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/key");
        for text in ["one", "two"] {
            keep(&path, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    }
}
