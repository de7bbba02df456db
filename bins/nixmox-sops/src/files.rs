//! Files that come in and go out; what is replaced is replaced whole.

use std::fs::{File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nixmox_cli::{Exit, Failure};
use nixmox_sops::{Format, MAX_BYTES};
use nixmox_tree::SecretBytes;
use zeroize::Zeroizing;

use crate::args::{Output, Types};

/// The one file that a command works on.
pub(crate) fn one(files: &[PathBuf]) -> Result<&Path, Failure> {
    let mut files = files.iter();
    let file = files.next().ok_or_else(|| Failure::new(Exit::NoFile, "no file specified"))?;
    if files.next().is_some() {
        crate::advice::warn("more than one file is given; only the first one is looked at");
    }
    Ok(file)
}

/// Reads a file of at most 64 MiB into memory that is wiped.
pub(crate) fn read(path: &Path) -> Result<SecretBytes, Failure> {
    let name = path.display();
    let file = File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Failure::new(Exit::NoFile, format!("cannot operate on non-existent file {name}"))
        }
        _ => Failure::new(Exit::Usage, format!("{name} cannot be read")).because(error),
    })?;
    let size = file.metadata().map_or(0, |meta| meta.len());
    bounded(file, size, &name.to_string())
}

/// Reads standard input.
pub(crate) fn read_stdin() -> Result<SecretBytes, Failure> {
    // Not through the buffer of `Stdin`, which nobody wipes.
    let fd = rustix::io::dup(std::io::stdin()).map_err(|errno| {
        Failure::new(Exit::Usage, "standard input cannot be read")
            .because(std::io::Error::from(errno))
    })?;
    bounded(File::from(fd), 0, "standard input")
}

fn bounded(input: impl Read, size: u64, name: &str) -> Result<SecretBytes, Failure> {
    let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
    // Room for all of it from the start: a vector that grows leaves copies of its content behind.
    let room = usize::try_from(size.min(limit)).unwrap_or(0).saturating_add(4096);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    input.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| {
        Failure::new(Exit::Usage, format!("{name} cannot be read")).because(error)
    })?;
    if bytes.len() > MAX_BYTES {
        return Err(Failure::new(Exit::Usage, format!("{name} is larger than {MAX_BYTES} bytes")));
    }
    Ok(SecretBytes::from(bytes))
}

/// The formats of a file and of the result: as the options say, else as a name ends. An unknown word is no word, as
/// in sops.
pub(crate) fn formats(types: &Types, file: &Path) -> (Format, Format) {
    let name = types.filename_override.as_deref().unwrap_or(file).to_string_lossy();
    let known = |word: &Option<String>| {
        let format = word.as_deref().and_then(Format::from_name);
        format.unwrap_or_else(|| Format::from_path(&name))
    };
    (known(&types.input_type), known(&types.output_type))
}

/// Whether a result is sealed, so that everybody may read it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sealed,
    Plain,
}

/// Refuses to write to two places.
pub(crate) fn check_output(output: &Output) -> Result<(), Failure> {
    if output.in_place && output.output.is_some() {
        let message = "cannot operate on both --output and --in-place";
        return Err(Failure::new(Exit::Conflict, message));
    }
    Ok(())
}

/// Writes a result where it belongs.
pub(crate) fn put(
    bytes: &[u8],
    kind: Kind,
    file: Option<&Path>,
    output: &Output,
) -> Result<(), Failure> {
    match (&output.output, file.filter(|_| output.in_place)) {
        (Some(target), _) => write(target, bytes, kind),
        (None, Some(file)) => write(file, bytes, kind),
        (None, None) => print(bytes),
    }
}

/// Prints a result on standard output; a reader that went away is no failure of ours.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Failure> {
    // Not through the buffer of `Stdout`, which nobody wipes.
    let written = rustix::io::dup(std::io::stdout())
        .map_err(std::io::Error::from)
        .and_then(|fd| File::from(fd).write_all(bytes));
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Write, "cannot write to standard output").because(error))
        }
        _ => Ok(()),
    }
}

/// Replaces a file whole, through links and with its mode; what is no regular file is written to.
pub(crate) fn write(target: &Path, bytes: &[u8], kind: Kind) -> Result<(), Failure> {
    let fail = |error| {
        Failure::new(Exit::Write, format!("{} cannot be written", target.display())).because(error)
    };
    let there = target.metadata().ok();
    if there.as_ref().is_some_and(|meta| !meta.is_file()) {
        let mut file = File::options().write(true).open(target).map_err(fail)?;
        return file.write_all(bytes).map_err(fail);
    }
    let real =
        if there.is_some() { target.canonicalize().map_err(fail)? } else { target.to_owned() };
    let parent = real.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let fresh = if kind == Kind::Sealed { 0o666 } else { 0o600 };
    let mut temporary = tempfile::Builder::new()
        .permissions(Permissions::from_mode(fresh))
        .tempfile_in(parent)
        .map_err(fail)?;
    if let Some(meta) = &there {
        temporary.as_file().set_permissions(meta.permissions()).map_err(fail)?;
    }
    temporary.write_all(bytes).map_err(fail)?;
    temporary.as_file().sync_all().map_err(fail)?;
    temporary.persist(&real).map_err(|error| fail(error.error))?;
    Ok(())
}
