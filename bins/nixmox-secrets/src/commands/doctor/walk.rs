//! Files that are searched: the work tree, temporary files, shell histories, store paths. No link is followed.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nixmox_cli::Progress;
use nixmox_cli::terminal::plural;
use nixmox_secrets::FILE_LIMIT;
use nixmox_secrets::doctor::{Needles, Occurrence, Shell, Trouble, leftover};
use nixmox_topology::Topology;
use nixmox_tree::SecretBytes;
use rustix::fs::OFlags;

use super::fix::Fix;
use super::{Examined, searching, shown};

/// The most files of one walk.
const MAX_FILES: usize = 1_000_000;
/// How deep directories are searched.
const MAX_DEPTH: usize = 64;
/// How deep temporary files are searched: programs make one directory, sometimes one in it.
const TEMPORARY_DEPTH: usize = 3;
/// The largest temporary file that is searched, in bytes.
const TEMPORARY_LIMIT: u64 = 16 * 1024 * 1024;
/// The largest shell history, in bytes.
const HISTORY_LIMIT: u64 = 256 * 1024 * 1024;
/// Histories below the home directory, and how they are read.
const HISTORIES: [(&str, Shell); 9] = [
    (".bash_history", Shell::Bash),
    (".sh_history", Shell::Bash),
    (".ash_history", Shell::Bash),
    (".mksh_history", Shell::Bash),
    (".histfile", Shell::Zsh),
    (".zhistory", Shell::Zsh),
    (".zsh_history", Shell::Zsh),
    (".local/share/fish/fish_history", Shell::Fish),
    (".local/state/bash/history", Shell::Bash),
];

/// Opens a regular file, and nothing that a link leads to.
pub(super) fn open_regular(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Lists regular files below a directory, in order; what cannot be listed is noted.
struct Walk<'a> {
    depth: usize,
    /// Directories that are passed by.
    skip: &'a dyn Fn(&Path) -> bool,
    files: Vec<PathBuf>,
    problems: Vec<(PathBuf, String)>,
}

impl Walk<'_> {
    fn below(&mut self, directory: &Path, depth: usize) {
        let note = |error: io::Error| (directory.to_owned(), error.to_string());
        let mut entries: Vec<_> = match fs::read_dir(directory) {
            Ok(entries) => entries.filter_map(Result::ok).collect(),
            Err(error) => return self.problems.push(note(error)),
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let Ok(kind) = entry.file_type() else { continue };
            let path = entry.path();
            if kind.is_file() && self.files.len() < MAX_FILES {
                self.files.push(path);
            } else if kind.is_dir() && depth < self.depth && !(self.skip)(&path) {
                self.below(&path, depth + 1);
            }
        }
    }
}

/// Walks a directory and tells about what is beyond the limits.
fn files(
    top: &Path,
    depth: usize,
    skip: &dyn Fn(&Path) -> bool,
    examined: &mut Examined,
) -> Vec<PathBuf> {
    let mut walk = Walk { depth, skip, files: Vec::new(), problems: Vec::new() };
    walk.below(top, 0);
    if walk.files.len() >= MAX_FILES {
        let cause = format!("it has more than {MAX_FILES} files");
        examined.found(Trouble::NotSearched(cause), top.display().to_string());
    }
    for (path, cause) in walk.problems {
        examined.found(Trouble::NotSearched(cause), path.display().to_string());
    }
    walk.files
}

/// Looks through the fleet's directory, ignored files included, for leftovers and for values.
pub(super) fn tree(
    root: &Path,
    topology: &Topology,
    needles: Option<&Needles>,
    examined: &mut Examined,
) {
    let is_git = |path: &Path| path.file_name().is_some_and(|name| name == ".git");
    let found = files(root, MAX_DEPTH, &is_git, examined);
    let progress = searching("the work tree");
    for path in &found {
        progress.say(&shown(root, path));
        if let Err(error) = file_of_tree(root, path, (topology, needles), examined) {
            examined.found(Trouble::NotSearched(error.to_string()), shown(root, path));
        }
    }
    examined.looked.push(format!("searched {} of the work tree", plural(found.len(), "file")));
}

fn file_of_tree(
    root: &Path,
    path: &Path,
    (topology, needles): (&Topology, Option<&Needles>),
    examined: &mut Examined,
) -> io::Result<()> {
    let mut file = match open_regular(path) {
        // Somebody else removed or replaced it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    let place = shown(root, path);
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    if length > FILE_LIMIT {
        let found = needles.map_or(Ok(Vec::new()), |needles| needles.scan(&mut file))?;
        occurrences(found, &place, Trouble::ValueInTree, examined);
        return Ok(());
    }
    let mut bytes = Vec::with_capacity(length + 1);
    file.read_to_end(&mut bytes)?;
    let bytes = SecretBytes::new(bytes);
    let is_node = |name: &str| topology.contains(name);
    match leftover(&place, bytes.expose(), &is_node) {
        Some(found) if found.is_copy() => {
            examined.fixable(Trouble::Leftover(found), place, Fix::Remove(path.to_owned()));
        }
        Some(found) => examined.found(Trouble::Leftover(found), place),
        None => {
            let found =
                needles.map_or(Ok(Vec::new()), |needles| needles.scan(&mut bytes.expose()))?;
            occurrences(found, &place, Trouble::ValueInTree, examined);
        }
    }
    Ok(())
}

fn occurrences(
    found: Vec<Occurrence>,
    place: &str,
    trouble: fn(Vec<String>, u64) -> Trouble,
    examined: &mut Examined,
) {
    for Occurrence { names, line } in found {
        examined.found(trouble(names, line), place);
    }
}

/// Looks through the user's own temporary files, where sops and agenix keep what they edit.
pub(super) fn temporary(root: &Path, needles: &Needles, examined: &mut Examined) {
    let top = std::env::temp_dir();
    let fleet = root.canonicalize().ok();
    let user = rustix::process::geteuid().as_raw();
    let is_own = |path: &Path| fs::symlink_metadata(path).is_ok_and(|found| found.uid() == user);
    let real = |path: &Path| path.canonicalize().ok();
    let home = std::env::home_dir().and_then(|home| real(&home));
    let skip = |path: &Path| {
        let known = real(path) == fleet || real(path) == home;
        known || !is_own(path) || path.join(".git").exists()
    };
    let mut walk =
        Walk { depth: TEMPORARY_DEPTH, skip: &skip, files: Vec::new(), problems: Vec::new() };
    walk.below(&top, 0);
    let progress = searching("temporary files");
    // What editors work on is small.
    let small = |path: &Path| fs::symlink_metadata(path).is_ok_and(|m| m.len() <= TEMPORARY_LIMIT);
    for path in walk.files.iter().filter(|path| is_own(path) && small(path)) {
        progress.say(&path.display().to_string());
        // What others remove while we look is of no interest.
        let found = open_regular(path).and_then(|mut file| needles.scan(&mut file));
        let place = path.display().to_string();
        occurrences(found.unwrap_or_default(), &place, Trouble::ValueInTemp, examined);
    }
}

/// Looks through the histories of the user's shells.
pub(super) fn shells(needles: &Needles, examined: &mut Examined) {
    let mut histories: Vec<(PathBuf, Shell)> = Vec::new();
    if let Some(home) = std::env::home_dir() {
        histories.extend(HISTORIES.iter().map(|(name, shell)| (home.join(name), *shell)));
    }
    let named = |variable: &str| std::env::var_os(variable).filter(|v| !v.is_empty());
    if let Some(data) = named("XDG_DATA_HOME") {
        histories.push((Path::new(&data).join("fish/fish_history"), Shell::Fish));
    }
    if let Some(directory) = named("ZDOTDIR") {
        histories.push((Path::new(&directory).join(".zsh_history"), Shell::Zsh));
    }
    if let Some(file) = named("HISTFILE").map(PathBuf::from) {
        let zsh = named("SHELL").is_some_and(|shell| shell.to_string_lossy().ends_with("zsh"));
        histories.push((file, if zsh { Shell::Zsh } else { Shell::Bash }));
    }
    let mut read = 0;
    for (path, shell) in histories {
        let place = path.display().to_string();
        match history(&path, shell, needles) {
            Ok(None) => {}
            Ok(Some(found)) => {
                read += 1;
                occurrences(found, &place, Trouble::ValueInShell, examined);
            }
            Err(error) => examined.found(Trouble::NotSearched(error.to_string()), place),
        }
    }
    let histories = if read == 1 { "shell history" } else { "shell histories" };
    examined.looked.push(format!("searched {read} {histories}"));
}

/// Searches one history; nothing when there is none.
fn history(path: &Path, shell: Shell, needles: &Needles) -> io::Result<Option<Vec<Occurrence>>> {
    // A person may keep his history behind a link of his own.
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let found = file.metadata()?;
    if !found.is_file() {
        return Ok(None);
    }
    if found.len() > HISTORY_LIMIT {
        return Err(io::Error::other("it is too large"));
    }
    let mut bytes = Vec::new();
    file.take(HISTORY_LIMIT).read_to_end(&mut bytes)?;
    let typed = shell.read(SecretBytes::new(bytes).expose());
    needles.scan(&mut typed.as_slice()).map(Some)
}

/// Looks through a store path; of the running system through everything that it is made of.
pub(super) fn store(path: &Path, needles: &Needles, examined: &mut Examined) {
    let place = path.display().to_string();
    let tops = match closure(path) {
        Ok(tops) => tops,
        Err(error) => {
            return examined.found(Trouble::NotSearched(error.to_string()), place);
        }
    };
    let progress = Progress::bar("searching the store", tops.len());
    let mut searched = 0;
    for top in &tops {
        progress.say(&top.display().to_string());
        let found = match fs::symlink_metadata(top) {
            Ok(found) if found.is_dir() => files(top, MAX_DEPTH, &|_| false, examined),
            Ok(found) if found.is_file() => vec![top.clone()],
            _ => Vec::new(),
        };
        searched += found.len();
        for path in found {
            let place = path.display().to_string();
            match open_regular(&path).and_then(|mut file| needles.scan(&mut file)) {
                Ok(found) => occurrences(found, &place, Trouble::ValueInStore, examined),
                Err(error) => examined.found(Trouble::NotSearched(error.to_string()), place),
            }
        }
        progress.step();
    }
    let (files, tops) = (plural(searched, "file"), plural(tops.len(), "store path"));
    examined.looked.push(format!("searched {files} of {tops}"));
}

/// Asks Nix what a link into the store leads to; anything else is taken as it is.
fn closure(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::symlink_metadata(path)?.is_symlink() {
        return Ok(vec![path.to_owned()]);
    }
    let mut nix = nixmox_cli::scrubbed(Command::new("nix-store"));
    nix.args(["--query", "--requisites", "--"]).arg(path);
    let mut child = nix.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let paths: Vec<PathBuf> = match child.stdout.take() {
        Some(out) => BufReader::new(out).lines().map_while(Result::ok).map(PathBuf::from).collect(),
        None => Vec::new(),
    };
    match child.wait()?.success() {
        true => Ok(paths),
        false => Err(io::Error::other("nix-store does not know it")),
    }
}
