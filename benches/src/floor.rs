//! The floors: what a job cannot do without, done bare.
//!
//! Counted are the operations on the curve, AES-GCM over every value with its 32-byte nonce, the hashes of the MACs,
//! and the files. Not counted is everything that a better program might do without: parsing, base64, YAML, HKDF and
//! ChaCha20-Poly1305 inside age, allocation, the digests of what is written, the journal's hashes.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use aes_gcm::aead::consts::U32;
use aes_gcm::aes::Aes256;
use aes_gcm::{AeadInPlace, AesGcm, KeyInit};
use curve25519_dalek::MontgomeryPoint;
use ed25519_dalek::SigningKey;
use hmac::{Hmac, Mac};
use rustix::fs::syncfs;
use sha2::{Digest, Sha256, Sha512};

use crate::Failure;
use crate::fleet::{self, SECRET, Shape};
use crate::job::Job;
use crate::readers::ADMINS;

/// Operations that are spread over the cores, for each of some hosts.
struct Work {
    hosts: usize,
    /// ed25519 keys derived from their seed, each with its form on the other curve.
    keys: usize,
    /// Multiplications of the base point: an ephemeral key, or the public half of an identity.
    bases: usize,
    /// Multiplications of another point: one to wrap a data key, one to unwrap it.
    agreements: usize,
    /// Values sealed or opened.
    values: usize,
    /// MACs over all of them, sealed or opened as one more value.
    macs: usize,
}

/// Does the floor of `job` for the fleet at `root`, which is read and left alone; files are written beside it.
pub(crate) fn run(job: Job, root: &Path, shape: Shape) -> Result<Duration, Failure> {
    let each = shape.each();
    let work = match job {
        // A key; its seal to the admin; its host's file. Two ephemeral keys, two agreements.
        Job::FromNothing => Work {
            hosts: shape.all_hosts(),
            keys: 1,
            bases: 2,
            agreements: 2,
            values: each + 1,
            macs: 2,
        },
        // The key is opened, and with it the file; one value of it is sealed, and the data key wrapped anew.
        Job::OneGroup => {
            Work { hosts: shape.hosts, keys: 1, bases: 1, agreements: 3, values: each + 2, macs: 3 }
        }
        // The key and the file are opened: two identities, two agreements, one ed25519 key.
        Job::Access => {
            Work { hosts: shape.all_hosts(), keys: 1, bases: 2, agreements: 2, values: 1, macs: 1 }
        }
        // The key is opened, and sealed to every admin; the file is sealed to the host.
        Job::UpdateKeys => Work {
            hosts: shape.all_hosts(),
            keys: 1,
            bases: 2 + ADMINS,
            agreements: 2 + ADMINS,
            values: each + 2,
            macs: 3,
        },
        Job::NoChange | Job::Get => {
            Work { hosts: 0, keys: 0, bases: 0, agreements: 0, values: 0, macs: 0 }
        }
    };
    let (written, read) = (written(job, root, shape)?, read(job, root, shape));
    let master = fs::metadata(root.join("secrets.yaml"))?.len();
    let mut master = vec![0; usize::try_from(master)? / 4 * 3];
    let target = Target::new(root, &written, job != Job::FromNothing)?;
    let start = Instant::now();
    // Who opens a key derives his public half, who seals makes an ephemeral one: both cost the same.
    let passes = if matches!(job, Job::OneGroup | Job::UpdateKeys) { 2 } else { 1 };
    (0..passes).for_each(|_| open_or_seal(&mut master));
    spread(work.hosts, |_| work.host());
    spread(read.len(), |at| read.get(at).map(|path| digest(path)).unwrap_or_default());
    target.write(&written)?;
    Ok(start.elapsed())
}

/// Lists the generated files of a group's hosts, the sealed one of each first.
fn generated(group: usize, shape: Shape) -> impl Iterator<Item = [PathBuf; 3]> {
    let dir = move |at| Path::new("nodes").join(fleet::group(group)).join(fleet::host(group, at));
    let names = ["secrets.yaml", "ssh_host_ed25519_key", "ssh_host_ed25519_key.pub"];
    (0..shape.hosts).map(move |at| names.map(|name| dir(at).join(name)))
}

fn all_generated(shape: Shape) -> impl Iterator<Item = PathBuf> {
    (0..shape.groups).flat_map(move |group| generated(group, shape)).flatten()
}

/// A file to write, and how large.
type ToWrite = (PathBuf, usize);

/// Lists the files that a job writes.
fn written(job: Job, root: &Path, shape: Shape) -> Result<Vec<ToWrite>, Failure> {
    let own = ["secrets.yaml", ".nixmox/digests.json"].map(PathBuf::from);
    let paths: Vec<PathBuf> = match job {
        Job::FromNothing => all_generated(shape).chain(own).collect(),
        Job::OneGroup => generated(1, shape).map(|[sealed, ..]| sealed).chain(own).collect(),
        Job::UpdateKeys => {
            let public = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "pub");
            all_generated(shape).filter(|path| !public(path)).chain(own).collect()
        }
        Job::NoChange | Job::Get | Job::Access => Vec::new(),
    };
    let size = |path: PathBuf| {
        let size = usize::try_from(fs::metadata(root.join(&path))?.len())?;
        Ok((path, size))
    };
    paths.into_iter().map(size).collect()
}

/// Lists the files that a job reads to see whether they have changed.
fn read(job: Job, root: &Path, shape: Shape) -> Vec<PathBuf> {
    match job {
        Job::OneGroup | Job::NoChange | Job::Access | Job::UpdateKeys => {
            all_generated(shape).map(|p| root.join(p)).collect()
        }
        Job::FromNothing | Job::Get => Vec::new(),
    }
}

/// Does something for each of some numbers, on all cores.
fn spread(count: usize, each: impl Fn(usize) + Sync) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if count == 0 {
        return;
    }
    std::thread::scope(|scope| {
        for core in 0..cores {
            let each = &each;
            // Neighbours on one core: they lie in one directory.
            let share = |core: usize| count * core / cores;
            scope.spawn(move || (share(core)..share(core + 1)).for_each(each));
        }
    });
}

impl Work {
    fn host(&self) {
        let mut sum = [3; 32];
        for _ in 0..self.keys {
            sum = SigningKey::from_bytes(&sum).verifying_key().to_montgomery().to_bytes();
        }
        for _ in 0..self.bases {
            sum = MontgomeryPoint::mul_base_clamped(sum).to_bytes();
        }
        for _ in 0..self.agreements {
            sum = MontgomeryPoint(sum).mul_clamped([9; 32]).to_bytes();
        }
        std::hint::black_box(sum);
        let aes = AesGcm::<Aes256, U32>::new(&sum.into());
        let mut value = [5; SECRET];
        let share = |of: usize| self.values * of / self.macs.max(1);
        for of in 0..self.macs {
            let mut mac = Sha512::new();
            for _ in share(of)..share(of + 1) {
                std::hint::black_box(aes.encrypt_in_place_detached(&sum.into(), b"k:", &mut value))
                    .ok();
                mac.update(value);
            }
            let mut hex = [mac.finalize(); 2];
            hex.iter_mut().for_each(|half| {
                std::hint::black_box(aes.encrypt_in_place_detached(&sum.into(), b"t", half)).ok();
            });
        }
    }
}

/// Opens or seals a master: one multiplication of the base point, one agreement, then all of the text.
fn open_or_seal(text: &mut [u8]) {
    let point = MontgomeryPoint::mul_base_clamped([9; 32]);
    let aes = AesGcm::<Aes256, U32>::new(&point.mul_clamped([3; 32]).to_bytes().into());
    std::hint::black_box(aes.encrypt_in_place_detached(&[2; 32].into(), b"data:", text)).ok();
    std::hint::black_box(Sha512::digest(&*text));
}

/// Reads a file and digests it under a key.
fn digest(path: &Path) {
    let bytes = fs::read(path).unwrap_or_default();
    let mac = <Hmac<Sha256> as KeyInit>::new(&[1; 64].into());
    std::hint::black_box(mac.chain_update(bytes).finalize());
}

/// So many files are staged in one directory: cores that fill the same one wait for each other.
const BLOCK: usize = 512;

/// A place to write files to.
struct Target {
    root: PathBuf,
    stage: PathBuf,
}

impl Target {
    /// Makes what a fleet has before the job: its directories, and the files that the job replaces.
    fn new(root: &Path, written: &[ToWrite], replaced: bool) -> Result<Self, Failure> {
        let above = root.parent().ok_or("the root of all is no fleet")?;
        // It stays: files that are made soon after others were removed cost some file systems more.
        let root = tempfile::Builder::new().prefix("floor-").tempdir_in(above)?.keep();
        let stage = root.join("stage");
        for block in 0..=written.len() / BLOCK {
            fs::create_dir_all(stage.join(block.to_string()))?;
        }
        for (path, size) in written {
            let [host, group] = [1, 2].map(|above| path.ancestors().nth(above));
            if let Some(dir) = if replaced { host } else { group } {
                fs::create_dir_all(root.join(dir))?;
            }
            if replaced {
                fs::write(root.join(path), vec![b'o'; *size])?;
            }
        }
        syncfs(File::open(&root)?)?;
        Ok(Self { root, stage })
    }

    fn staged(&self, index: usize) -> PathBuf {
        self.stage.join((index / BLOCK).to_string()).join(index.to_string())
    }

    /// Writes all files or none: staged, synced, decided by one rename, renamed into place, synced, and over: what
    /// decides is gone for good, or it would be carried out again over what is written later.
    fn write(&self, files: &[ToWrite]) -> Result<(), Failure> {
        if files.is_empty() {
            return Ok(());
        }
        let top = File::open(&self.root)?;
        try_spread(files, |(index, (_, size))| fs::write(self.staged(index), vec![b'x'; *size]))?;
        syncfs(&top)?;
        let draft = self.stage.join("draft");
        fs::write(&draft, vec![b'x'; files.len() * 200])?;
        File::open(&draft)?.sync_all()?;
        fs::rename(&draft, self.stage.join("journal"))?;
        File::open(&self.stage)?.sync_all()?;
        try_spread(files, |(index, (path, _))| {
            let path = self.root.join(path);
            if let Some(dir) = path.parent().filter(|dir| !dir.is_dir()) {
                fs::create_dir(dir).or_else(|error| match dir.is_dir() {
                    true => Ok(()),
                    false => Err(error),
                })?;
            }
            // What is replaced is freed outside the lock of all renames.
            let _old = File::open(&path);
            fs::rename(self.staged(index), path)
        })?;
        syncfs(&top)?;
        fs::remove_file(self.stage.join("journal"))?;
        Ok(File::open(&self.stage)?.sync_all()?)
    }
}

/// Does something for each of some items, on all cores, and returns an error if there was one.
fn try_spread<T: Sync>(
    items: &[T],
    each: impl Fn((usize, &T)) -> io::Result<()> + Sync,
) -> io::Result<()> {
    let failed = Mutex::new(None);
    spread(items.len(), |index| {
        let Some(item) = items.get(index) else { return };
        if let (Err(error), Ok(mut failed)) = (each((index, item)), failed.lock()) {
            *failed = Some(error);
        }
    });
    failed.into_inner().ok().flatten().map_or(Ok(()), Err)
}
