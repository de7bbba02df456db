//! Where manifests come from: a file and what it imports, or a revision of git.

use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

use nixmox_cli::terminal::escape;
use nixmox_cli::{Exit, Failure};
use nixmox_manifest::{FILE_NAMES, Format, Loaded, MAX_BYTES};

use crate::args::Args;
use crate::tools;

/// A manifest's file, and the directory that it and its imports lie in.
pub(crate) struct Found {
    /// The top of the git repository, or the manifest's own directory.
    root: PathBuf,
    /// The path from there, with `/`.
    name: String,
}

impl Found {
    /// Finds the manifest that the arguments name, or the nearest one upwards from here.
    pub(crate) fn new(args: &Args) -> Result<Self, Failure> {
        match args.file() {
            Some(file) => Self::of(file),
            None => Self::search(),
        }
    }

    pub(crate) fn of(file: &Path) -> Result<Self, Failure> {
        let shown = file.display().to_string();
        let whole = file.canonicalize().map_err(|e| {
            Failure::new(Exit::NoFile, format!("cannot read {}", escape(&shown))).because(e)
        })?;
        let own = whole.parent().unwrap_or(Path::new("/"));
        let root = own.ancestors().find(|dir| dir.join(".git").exists()).unwrap_or(own);
        let name = whole.strip_prefix(root).ok().and_then(Path::to_str);
        let name = name.ok_or_else(|| {
            Failure::new(Exit::Usage, format!("the path {} is not UTF-8", escape(&shown)))
        })?;
        Ok(Self { root: root.to_owned(), name: name.to_owned() })
    }

    fn search() -> Result<Self, Failure> {
        let here = std::env::current_dir().map_err(|e| {
            Failure::new(Exit::NoFile, "the current directory cannot be found").because(e)
        })?;
        let all = here.ancestors().flat_map(|dir| FILE_NAMES.map(|name| dir.join(name)));
        match all.into_iter().find(|path| path.is_file()) {
            Some(file) => Self::of(&file),
            None => Err(Failure::new(Exit::NoFile, "there is no service manifest here or above")
                .hint("name it: --manifest FILE")
                .hint(
                    "it is looked for as service-manifest.nix, .toml, .yaml, .json, also in nixos/",
                )),
        }
    }

    /// Reads the manifest.
    pub(crate) fn load(&self, nix: bool) -> Result<Loaded, Failure> {
        let format = format(&self.name)?;
        if nix && format == Format::Nix {
            return tools::evaluate(&self.root, &self.name);
        }
        let text = read(&self.root.join(&self.name)).map_err(|e| {
            let message = format!("cannot read {}", escape(&self.name));
            Failure::new(Exit::NoFile, message).because(e)
        })?;
        let import = |name: &str| read_import(&self.root, name);
        Ok(Loaded::with_imports((&self.name, &text), format, &import))
    }

    /// Reads what a word means: a file, or the manifest as it is in a revision of git.
    pub(crate) fn load_version(&self, word: &str, nix: bool) -> Result<Loaded, Failure> {
        if Path::new(word).is_file() {
            return Self::of(Path::new(word))?.load(nix);
        }
        if word.starts_with('-') || word.contains(':') {
            return Err(Failure::new(
                Exit::Usage,
                format!("`{word}` is neither a file nor a revision"),
            ));
        }
        let text = self.blob(word, &self.name).ok_or_else(|| {
            let message =
                format!("`{word}` is neither a file nor a revision that has {}", self.name);
            Failure::new(Exit::NoFile, message)
        })?;
        let import = |name: &str| {
            let inside = Path::new(name).components().all(|c| matches!(c, Component::Normal(_)));
            inside.then(|| self.blob(word, name)).flatten()
        };
        let shown = format!("{word}:{}", self.name);
        let format = format(&self.name)?;
        // Imports are named beside the manifest, whose name is shown with the revision in front.
        let import = |name: &str| import(name.strip_prefix(&format!("{word}:")).unwrap_or(name));
        Ok(Loaded::with_imports((&shown, &text), format, &import))
    }

    /// Reads a file of a revision; git's configuration has no part in that.
    fn blob(&self, revision: &str, name: &str) -> Option<String> {
        let mut command = nixmox_cli::scrubbed(Command::new("git"));
        command.arg("-C").arg(&self.root).args(["cat-file", "blob", "--end-of-options"]);
        command.arg(format!("{revision}:{name}")).stdin(Stdio::null()).stderr(Stdio::null());
        let output = command.output().ok()?;
        let text = output.status.success().then_some(output.stdout)?;
        String::from_utf8(text).ok().filter(|text| text.len() <= MAX_BYTES)
    }
}

fn format(name: &str) -> Result<Format, Failure> {
    Format::of_name(name).ok_or_else(|| {
        Failure::new(Exit::Usage, format!("{} is in no known format", escape(name)))
            .hint("its name ends in .nix, .toml, .yaml or .json")
    })
}

/// Reads a text that is not too long.
pub(crate) fn read(path: &Path) -> std::io::Result<String> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("not a file"));
    }
    let most = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let mut text = String::new();
    file.take(most).read_to_string(&mut text)?;
    Ok(text)
}

/// Reads a file that the manifest imports: below the root, and through no link.
pub(crate) fn read_import(root: &Path, name: &str) -> Option<String> {
    let mut path = root.to_owned();
    for part in Path::new(name).components() {
        let Component::Normal(part) = part else { return None };
        path.push(part);
        if path.symlink_metadata().ok()?.file_type().is_symlink() {
            return None;
        }
    }
    if path.is_dir() {
        return read_import(root, &format!("{name}/default.nix"));
    }
    read(&path).ok().filter(|text| text.len() <= MAX_BYTES)
}
