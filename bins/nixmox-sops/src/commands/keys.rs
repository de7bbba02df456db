//! `rotate` and `updatekeys`.

use std::io::BufRead as _;
use std::path::{Path, PathBuf};

use nixmox_cli::{Exit, Failure};
use nixmox_sops::{EncryptedFile, Format, Keep, Recipient};
use rand_core::OsRng;

use crate::advice;
use crate::args::{Global, Keys, Open, Output, Types};
use crate::config::{self, Config};
use crate::files::{self, Kind};
use crate::opened::{self, Again};

/// Seals a file under a new data key, for more or fewer recipients.
pub(crate) fn rotate(
    global: &Global,
    (file, types): (&[PathBuf], &Types),
    (open, keys): (&Open, &Keys),
    output: &Output,
) -> Result<(), Failure> {
    files::check_output(output)?;
    let file = files::one(file)?;
    let changes_keys = !keys.add_age.is_empty() || !keys.rm_age.is_empty();
    if changes_keys && !file.exists() {
        let message = format!(
            "cannot add or remove keys on non-existent file {}, use the `edit` subcommand instead",
            file.display()
        );
        return Err(Failure::new(Exit::NoFileForKeys, message));
    }
    let name = file.display().to_string();
    let (from, to) = files::formats(types, file);
    let (more, fewer) =
        (config::parse_recipients(&keys.add_age)?, config::parse_recipients(&keys.rm_age)?);
    let sealed = opened::at(file, from)?;
    let opened = opened::open(&sealed, &name, open)?;
    let mut again = Again::same(global, &sealed, &name)?;
    if let Some(first) = again.groups.first_mut() {
        first.extend(more);
    }
    for group in &mut again.groups {
        group.retain(|recipient| !fewer.contains(recipient));
    }
    let bytes = again.seal(opened.documents(), to, Keep::Nothing)?;
    files::put(&bytes, Kind::Sealed, Some(file), output)
}

/// Gives files the recipients of their creation rules; goes on after one that fails.
pub(crate) fn update(
    global: &Global,
    files: &[PathBuf],
    input_type: Option<&str>,
    yes: bool,
) -> Result<(), Failure> {
    if files.is_empty() {
        return Err(Failure::new(Exit::NoFile, "no file specified"));
    }
    if let [one] = files {
        return update_one(global, one, input_type, yes);
    }
    let mut failed = 0;
    for file in files {
        if let Err(failure) = update_one(global, file, input_type, yes) {
            failure.report();
            failed += 1;
        }
    }
    match failed {
        0 => Ok(()),
        count => {
            Err(Failure::new(Exit::Failure, format!("{count} of {} files failed", files.len())))
        }
    }
}

fn update_one(
    global: &Global,
    path: &Path,
    input_type: Option<&str>,
    yes: bool,
) -> Result<(), Failure> {
    let name = path.display().to_string();
    advice::say(&format!("Syncing keys for file {name}"));
    let by_name = || Format::from_path(&path.to_string_lossy());
    let format = input_type.and_then(Format::from_name).unwrap_or_else(by_name);
    let bytes = files::read(path)?;
    let config = Config::load(global)?;
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let rule = config.as_ref().map(|config| config.rule_for(&whole)).transpose()?.flatten();
    let rule = rule.ok_or_else(|| {
        Failure::new(Exit::Failure, format!("no creation rule says who can open {name}"))
    })?;
    let file = opened::parse(bytes.expose(), format, &name)?;
    opened::refuse_foreign(&file, &name)?;
    let wanted: Vec<Vec<Recipient>> = match &rule.key_groups {
        Some(groups) => groups.groups().to_vec(),
        None => vec![rule.recipients.clone()],
    };
    let Some(changes) = difference(&file, &wanted) else {
        advice::say(&format!("File {name} already up to date"));
        return Ok(());
    };
    files::print(changes.as_bytes())?;
    if !yes && !agreed()? {
        advice::say(&format!("File {name} not changed"));
        return Ok(());
    }
    let key = opened::data_key(&file, &name)?;
    if file.open_with(&key).is_err() {
        advice::warn(&format!(
            "{name} was changed without its key; its values are as they were found"
        ));
    }
    // sops keeps the number that stands in the file; what the rule says is what was meant.
    let threshold = rule.shamir_threshold.or(file.metadata().threshold());
    let threshold = threshold.map(|number| number.min(wanted.len()));
    let mut options = opened::options_for(wanted, threshold)?;
    options.indent = config::indent(global, config.as_ref())?;
    options.interaction = Some(nixmox_keyring::interaction());
    let bytes = file.rewrap(&key, &options, &mut OsRng).map_err(|e| advice::unsealed(&name, e))?;
    files::write(path, &bytes, Kind::Sealed)?;
    advice::say(&format!("File {name} synced with new keys"));
    Ok(())
}

/// Shows who comes and who goes, group by group; nothing when everybody stays where he is.
fn difference(file: &EncryptedFile, wanted: &[Vec<Recipient>]) -> Option<String> {
    let old = file.metadata().groups();
    let mut text = "The following changes will be made to the file's groups:\n".to_owned();
    let mut changed = false;
    for index in 0..old.len().max(wanted.len()) {
        let old: Vec<&str> = old.get(index).cloned().unwrap_or_default();
        let new = wanted.get(index).map(Vec::as_slice).unwrap_or_default();
        let new: Vec<&str> = new.iter().map(Recipient::as_str).collect();
        text.push_str(&format!("Group {}\n", index + 1));
        let stay = new.iter().filter(|label| old.contains(label)).map(|label| ("   ", label));
        let come = new.iter().filter(|label| !old.contains(label)).map(|label| ("+++", label));
        let go = old.iter().filter(|label| !new.contains(label)).map(|label| ("---", label));
        for (mark, label) in stay.chain(come).chain(go) {
            changed |= mark != "   ";
            text.push_str(&format!("{mark} {}\n", nixmox_cli::terminal::escape(label)));
        }
    }
    changed.then_some(text)
}

/// Asks on standard output, as sops does, until there is an answer.
fn agreed() -> Result<bool, Failure> {
    loop {
        files::print(b"Is this okay? (y/n):")?;
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer);
        match (read, answer.trim()) {
            (Ok(0) | Err(_), _) => {
                return Err(Failure::new(Exit::Failure, "nobody answered; nothing was changed"));
            }
            (_, "y" | "Y" | "yes") => return Ok(true),
            (_, "n" | "N" | "no") => return Ok(false),
            _ => {}
        }
    }
}
