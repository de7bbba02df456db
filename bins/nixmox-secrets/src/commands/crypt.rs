//! `encrypt` and `decrypt`: any file, as sops does it.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use nixmox_cli::{Exit, Failure};
use nixmox_secrets::Fleet;
use nixmox_sops::{
    CreationRule, CreationRules, Documents, EncryptedFile, Format, Identities, Indent, Keep,
    Recipient, SealOptions, is_sops, seal,
};
use rand_core::OsRng;

use super::input::read_file;
use super::values;
use crate::advice;
use crate::args::{Args, Crypt, Evaluate, Trust};
use crate::context::{Context, interaction};

/// Encrypts a plain file to the recipients of `.sops.yaml`, or to a host's key.
pub(crate) fn encrypt(args: &Args, crypt: &Crypt) -> Result<Exit, Failure> {
    let plain = read_file(&crypt.file)?;
    let format = format(&crypt.file);
    if is_sops(plain.expose(), format) {
        let message = format!("{} is encrypted already", crypt.file.display());
        return Err(Failure::new(Exit::AlreadyEncrypted, message));
    }
    let documents = Documents::parse(plain.expose(), format).map_err(|e| {
        Failure::new(Exit::Usage, format!("{} cannot be read", crypt.file.display())).because(e)
    })?;
    let options = match &crypt.node {
        Some(node) => SealOptions::new([host_recipient(args, node)?]),
        None => rule_options(&crypt.file)?,
    };
    let (keep, now) = (Keep::Nothing, Timestamp::now());
    let sealed = seal(&documents, (format, &options), keep, &mut OsRng, now).map_err(|e| {
        Failure::new(Exit::Failure, format!("{} cannot be sealed", crypt.file.display())).because(e)
    })?;
    write(crypt, &sealed)
}

/// Decrypts a sops file with the user's keys, or with a host's.
pub(crate) fn decrypt(args: &Args, crypt: &Crypt) -> Result<Exit, Failure> {
    let bytes = read_file(&crypt.file)?;
    let name = crypt.file.display();
    let format = match nixmox_sops::detect(bytes.expose()) {
        Some(Format::Binary) => Format::Binary,
        _ => format(&crypt.file),
    };
    let file = EncryptedFile::parse(bytes.expose(), format).map_err(|e| {
        Failure::new(Exit::Failure, format!("{name} is not a sound sops file")).because(e)
    })?;
    let context = match &crypt.node {
        Some(_) => Context::find(args)?,
        None => Context::at(PathBuf::from("."), args.switches.json),
    };
    let opened = match &crypt.node {
        Some(node) => file.open(&host_identities(&context, node)?),
        None => file.open(&context.loaded().identities),
    };
    // A host's key is not one of those that were looked for.
    let loaded = if crypt.node.is_none() { context.loaded_if_asked() } else { None };
    let opened = opened.map_err(|error| advice::unopened(&name.to_string(), error, loaded))?;
    let plain = opened.documents().to_bytes(format, Indent::default()).map_err(|e| {
        Failure::new(Exit::Failure, format!("{name} cannot be written out")).because(e)
    })?;
    write(crypt, plain.expose())
}

/// Tells a file's format by its name, as sops does.
fn format(path: &Path) -> Format {
    Format::from_path(&path.to_string_lossy())
}

fn fleet(context: &Context) -> Result<Fleet, Failure> {
    let options = context.options(Trust::default(), Evaluate::default());
    Fleet::open(&context.root, options.ask_nix).map_err(|error| context.explain(error))
}

fn host_recipient(args: &Args, host: &str) -> Result<Recipient, Failure> {
    let context = Context::find(args)?;
    let recipient = nixmox_secrets::host_recipient(&fleet(&context)?, host)
        .map_err(|error| context.explain(error))?;
    // No master is opened here that could vouch for the key: whoever encrypts is told whose it is.
    let told = writeln!(
        anstream::stderr(),
        "encrypting to {recipient}, the key of {host} in this repository"
    );
    told.map(|()| recipient)
        .map_err(|e| Failure::new(Exit::Write, "cannot write to standard error").because(e))
}

fn host_identities(context: &Context, host: &str) -> Result<Identities, Failure> {
    nixmox_secrets::host_identities(&fleet(context)?, host, &context.loaded().identities)
        .map_err(|error| context.explain(error))
}

/// Finds the rule of the nearest `.sops.yaml` upwards for a file, as sops does from the current directory.
fn rule_options(path: &Path) -> Result<SealOptions, Failure> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let here = std::env::current_dir().unwrap_or_default();
    let found = here.ancestors().map(|dir| dir.join(".sops.yaml")).find(|file| file.is_file());
    let config = found.ok_or_else(|| {
        Failure::new(Exit::Config, "no .sops.yaml here or above names recipients")
            .hint("`nixmox-secrets init` writes one; --node HOST encrypts to a host instead")
    })?;
    let fail =
        |e| Failure::new(Exit::Config, format!("{} cannot be used", config.display())).because(e);
    let text = read_file(&config)?;
    let below =
        config.parent().and_then(|dir| absolute.strip_prefix(dir).ok()).unwrap_or(&absolute);
    let CreationRule { recipients, key_groups, rule, mac_only_encrypted, indent, .. } =
        CreationRules::parse(text.expose())
            .and_then(|rules| rules.rule_for(&below.to_string_lossy()))
            .map_err(fail)?;
    let mut options = SealOptions::new(recipients);
    options.key_groups = key_groups;
    (options.rule, options.mac_only_encrypted, options.indent) = (rule, mac_only_encrypted, indent);
    options.interaction = Some(interaction());
    Ok(options)
}

/// Writes the result where it belongs: a new file is readable by its owner alone, a replaced one is replaced whole.
fn write(crypt: &Crypt, bytes: &[u8]) -> Result<Exit, Failure> {
    let target = if crypt.in_place { Some(&crypt.file) } else { crypt.output.as_ref() };
    let Some(target) = target else {
        values::write_bytes(bytes)?;
        return Ok(Exit::Ok);
    };
    values::replace_file(target, bytes)?;
    Ok(Exit::Ok)
}
