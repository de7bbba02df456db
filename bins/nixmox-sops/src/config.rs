//! `.sops.yaml`, and what the command line says over it.

use std::path::{Path, PathBuf};

use nixmox_cli::{Exit, Failure};
use nixmox_sops::{
    ConfigError, CreationRule, CreationRules, Format, Indent, Recipient, Rule, SealOptions,
};

use crate::advice;
use crate::args::{Global, Seal};
use crate::files;

/// The configuration that counts, and where its paths begin.
pub(crate) struct Config {
    dir: PathBuf,
    name: String,
    rules: CreationRules,
}

impl Config {
    /// Reads the configuration that is named, or the nearest one upwards from the current directory.
    pub(crate) fn load(global: &Global) -> Result<Option<Self>, Failure> {
        let named = global.config.clone().filter(|path| !path.as_os_str().is_empty());
        let Some(path) = named.or_else(nearest) else { return Ok(None) };
        let name = path.display().to_string();
        let text = files::read(&path).map_err(|failure| {
            Failure::new(Exit::Failure, format!("error loading config {name}"))
                .because(std::io::Error::other(failure.message().to_owned()))
        })?;
        let rules = CreationRules::parse(text.expose()).map_err(|e| advice::config(&name, e))?;
        let whole = std::path::absolute(&path).unwrap_or(path);
        let dir = whole.parent().unwrap_or(Path::new("/")).to_owned();
        Ok(Some(Self { dir, name, rules }))
    }

    /// Returns what the first rule for a file says; nothing when there are no rules at all.
    pub(crate) fn rule_for(&self, file: &Path) -> Result<Option<CreationRule>, Failure> {
        let below = file.strip_prefix(&self.dir).unwrap_or(file);
        match self.rules.settings_for(&below.to_string_lossy()) {
            Ok(rule) => Ok(Some(rule)),
            Err(ConfigError::NoRules) => Ok(None),
            Err(error) => Err(advice::config(&self.name, error)),
        }
    }
}

fn nearest() -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    for dir in here.ancestors().take(100) {
        let file = dir.join(".sops.yaml");
        if file.is_file() {
            return Some(file);
        }
        if dir.join(".sops.yml").is_file() {
            advice::warn(
                "ignoring \".sops.yml\" when searching for config file; the config file must be called \".sops.yaml\"",
            );
        }
    }
    None
}

/// Returns how results are indented.
pub(crate) fn indent(global: &Global, config: Option<&Config>) -> Result<Indent, Failure> {
    let mut indent = match config {
        Some(config) => config.rules.indent().map_err(|e| advice::config(&config.name, e))?,
        None => Indent::default(),
    };
    if let Some(spaces) = global.indent {
        let yaml = Some(spaces).filter(|spaces| *spaces > 0);
        indent = Indent { yaml, json: Some(spaces), binary: Some(spaces) };
    }
    Ok(indent)
}

/// Finds out for whom and how a new file is sealed.
pub(crate) fn seal_options(
    global: &Global,
    seal: &Seal,
    (file, format): (&Path, Format),
) -> Result<SealOptions, Failure> {
    if let Some(service) = seal.foreign.first() {
        let message = format!("keys of {service} are not there: only age's are");
        return Err(Failure::new(Exit::Failure, message));
    }
    let config = Config::load(global)?;
    let rule = config.as_ref().map(|config| config.rule_for(file)).transpose()?.flatten();
    let mut options = recipients(seal, rule.as_ref())?;
    let selection = selection(seal)?;
    options.rule = match (&rule, selection) {
        (Some(rule), Some(flag)) if rule.rule_given && rule.rule.name() != flag.name() => {
            return Err(several_rules("the configuration and the command line"));
        }
        (_, Some(flag)) => flag,
        (Some(rule), None) => rule.rule.clone(),
        (None, None) => Rule::default(),
    };
    options.mac_only_encrypted =
        global.mac_only_encrypted || rule.as_ref().is_some_and(|rule| rule.mac_only_encrypted);
    if format == Format::Binary && (options.rule != Rule::default() || options.mac_only_encrypted) {
        advice::warn("a binary file is sealed as a whole: what selects values does not count");
    }
    options.indent = indent(global, config.as_ref())?;
    options.interaction = Some(nixmox_keyring::interaction());
    Ok(options)
}

fn recipients(seal: &Seal, rule: Option<&CreationRule>) -> Result<SealOptions, Failure> {
    let flags = parse_recipients(&seal.age)?;
    if !flags.is_empty() {
        return Ok(SealOptions::new(flags));
    }
    let Some(rule) = rule else {
        let message = "config file not found, or has no creation rules, and no keys provided through command line options";
        return Err(Failure::new(Exit::Failure, message)
            .hint("name recipients with --age, or write .sops.yaml here or above"));
    };
    match &rule.key_groups {
        Some(groups) => {
            let threshold = seal.shamir_secret_sharing_threshold.filter(|number| *number > 0);
            let threshold = threshold.or(rule.shamir_threshold);
            groups.clone().with_threshold(threshold).map(SealOptions::with_groups).map_err(|e| {
                Failure::new(Exit::Failure, "could not split data key into parts for Shamir")
                    .because(e)
            })
        }
        None => Ok(SealOptions::new(rule.recipients.iter().cloned())),
    }
}

/// Reads lists of recipients that are separated by commas.
pub(crate) fn parse_recipients(lists: &[String]) -> Result<Vec<Recipient>, Failure> {
    let words = lists.iter().flat_map(|list| list.split(',')).map(str::trim);
    let parse = |word: &str| {
        Recipient::parse(word).map_err(|e| {
            Failure::new(Exit::Failure, format!("failed to parse input, not a recipient: {word:?}"))
                .because(e)
        })
    };
    words.filter(|word| !word.is_empty()).map(parse).collect()
}

fn selection(seal: &Seal) -> Result<Option<Rule>, Failure> {
    let given = |text: &Option<String>, rule: fn(String) -> Rule| {
        text.clone().filter(|text| !text.is_empty()).map(rule)
    };
    let mut rules = [
        given(&seal.unencrypted_suffix, Rule::UnencryptedSuffix),
        given(&seal.encrypted_suffix, Rule::EncryptedSuffix),
        given(&seal.unencrypted_regex, Rule::UnencryptedRegex),
        given(&seal.encrypted_regex, Rule::EncryptedRegex),
        given(&seal.unencrypted_comment_regex, Rule::UnencryptedCommentRegex),
        given(&seal.encrypted_comment_regex, Rule::EncryptedCommentRegex),
    ]
    .into_iter()
    .flatten();
    match (rules.next(), rules.next()) {
        (_, Some(_)) => Err(several_rules("the command line")),
        (rule, None) => Ok(rule),
    }
}

fn several_rules(whose: &str) -> Failure {
    let message = format!("{whose} give more than one rule for what is encrypted");
    Failure::new(Exit::Conflict, message).hint("one of encrypted_suffix, unencrypted_suffix, encrypted_regex, unencrypted_regex, encrypted_comment_regex and unencrypted_comment_regex can be used in a file")
}
