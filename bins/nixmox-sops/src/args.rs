//! The command line, word for word that of sops.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{
    ArgMatches, Args as ClapArgs, CommandFactory as _, FromArgMatches as _, Parser, Subcommand,
    ValueHint,
};

/// sops' own command line, with age keys.
///
/// Reads and writes the files of sops 3.9 to 3.13: YAML, JSON, dotenv, ini and binary. Keys are found where sops finds
/// them: SOPS_AGE_KEY, SOPS_AGE_KEY_FILE, SOPS_AGE_KEY_CMD, sops/age/keys.txt and SSH keys. Without a command, FILE is
/// opened in the editor, or what -d, -e, -r or --set say is done with it.
#[derive(Parser, Debug)]
#[command(name = "nixmox-sops", version, max_term_width = 100)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(flatten)]
    pub(crate) legacy: Legacy,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Options that stand before or behind a command.
#[derive(ClapArgs, Debug, Default)]
pub(crate) struct Global {
    /// Use this configuration instead of the nearest .sops.yaml upwards from the current directory.
    #[arg(long, global = true, env = "SOPS_CONFIG", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Indent YAML and JSON by so many spaces.
    #[arg(long, global = true, value_name = "N")]
    pub(crate) indent: Option<usize>,
    /// Compute the MAC over the sealed values alone.
    #[arg(long, global = true)]
    pub(crate) mac_only_encrypted: bool,
    /// Key types in the order in which they are tried; only age is there.
    #[arg(long, global = true, env = "SOPS_DECRYPTION_ORDER", value_name = "TYPES")]
    pub(crate) decryption_order: Option<String>,
    /// Accepted for sops' sake; there is nothing more to say.
    #[arg(long, global = true, hide = true)]
    verbose: bool,
    /// Accepted for sops' sake; no version is ever checked.
    #[arg(long, global = true, hide = true)]
    disable_version_check: bool,
    /// Accepted for sops' sake; keys are always used in this process.
    #[arg(long, global = true, hide = true, num_args = 0..=1, require_equals = true)]
    enable_local_keyservice: Option<Option<String>>,
}

/// What sops took before it had commands.
#[derive(ClapArgs, Debug)]
pub(crate) struct Legacy {
    /// Decrypt FILE.
    #[arg(short, long)]
    pub(crate) decrypt: bool,
    /// Encrypt FILE.
    #[arg(short, long)]
    pub(crate) encrypt: bool,
    /// Give FILE a new data key.
    #[arg(short, long)]
    pub(crate) rotate: bool,
    /// Set a value: '["a"][0] JSON'. Every user of the machine can read it in the process list.
    #[arg(long, value_name = "PATH VALUE")]
    pub(crate) set: Option<String>,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) types: Types,
    #[command(flatten)]
    pub(crate) seal: Seal,
    #[command(flatten)]
    pub(crate) open: Open,
    #[command(flatten)]
    pub(crate) keys: Keys,
    /// Show for whom the file is while it is edited.
    #[arg(short, long)]
    pub(crate) show_master_keys: bool,
    /// The file.
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: Vec<PathBuf>,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Encrypt a file
    Encrypt {
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        types: Types,
        #[command(flatten)]
        seal: Seal,
        /// The file; without it standard input, which needs --filename-override.
        #[arg(value_hint = ValueHint::FilePath)]
        file: Vec<PathBuf>,
    },
    /// Decrypt a file
    Decrypt {
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        types: Types,
        #[command(flatten)]
        open: Open,
        /// The file; without it standard input.
        #[arg(value_hint = ValueHint::FilePath)]
        file: Vec<PathBuf>,
    },
    /// Edit a file, or begin a new one
    Edit {
        #[command(flatten)]
        types: Types,
        #[command(flatten)]
        seal: Seal,
        #[command(flatten)]
        open: Open,
        /// Show for whom the file is.
        #[arg(short, long)]
        show_master_keys: bool,
        /// The file.
        #[arg(value_hint = ValueHint::FilePath)]
        file: Vec<PathBuf>,
    },
    /// Set one value; every user of the machine can read VALUE in the process list, so pipe it in
    Set {
        #[command(flatten)]
        types: Types,
        #[command(flatten)]
        open: Open,
        /// Write nothing when the value is there already.
        #[arg(long)]
        idempotent: bool,
        /// Read the value, as JSON, from standard input.
        #[arg(long, conflicts_with = "value_file")]
        value_stdin: bool,
        /// Read the value, as JSON, from the file that VALUE names.
        #[arg(long)]
        value_file: bool,
        /// FILE PATH [VALUE], such as: f.yaml '["a"][0]' '"text"'
        words: Vec<OsString>,
    },
    /// Remove one value
    Unset {
        #[command(flatten)]
        types: Types,
        #[command(flatten)]
        open: Open,
        /// Say nothing when there is no such value.
        #[arg(long)]
        idempotent: bool,
        /// FILE PATH, such as: f.yaml '["a"][0]'
        words: Vec<OsString>,
    },
    /// Give a file a new data key
    Rotate {
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        types: Types,
        #[command(flatten)]
        open: Open,
        #[command(flatten)]
        keys: Keys,
        /// The file.
        #[arg(value_hint = ValueHint::FilePath)]
        file: Vec<PathBuf>,
    },
    /// Give files the recipients that .sops.yaml has for them
    Updatekeys {
        /// Ask nothing.
        #[arg(short, long)]
        yes: bool,
        /// Take the files for this format.
        #[arg(long, value_name = "TYPE")]
        input_type: Option<String>,
        /// Accepted for sops' sake.
        #[arg(long, hide = true)]
        shamir_secret_sharing_threshold: Option<usize>,
        /// The files.
        #[arg(value_hint = ValueHint::FilePath)]
        file: Vec<PathBuf>,
    },
    /// Say whether a file is encrypted, as JSON
    Filestatus {
        /// Take the file for this format.
        #[arg(long, value_name = "TYPE")]
        input_type: Option<String>,
        /// The file.
        #[arg(value_hint = ValueHint::FilePath)]
        file: Vec<PathBuf>,
    },
    /// Run a shell command with the file's values in its environment
    ///
    /// Other processes of the same user can read an environment for as long as the command runs.
    ExecEnv(Exec),
    /// Run a shell command with the decrypted file in memory; {} in the command is its path
    ExecFile(Exec),
    /// Print a completion script for a shell
    Completions {
        /// The shell.
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write all of them to a directory
    Man {
        /// Write `nixmox-sops.1` and one page for each command there.
        #[arg(long, value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
}

/// Arguments of `exec-env` and `exec-file`.
#[derive(ClapArgs, Debug)]
pub(crate) struct Exec {
    /// Keep nothing of this environment but the values.
    #[arg(long)]
    pub(crate) pristine: bool,
    /// Become the command instead of waiting for it.
    #[arg(long)]
    pub(crate) same_process: bool,
    /// Accepted for sops' sake: the file is always one that can be read again.
    #[arg(long, hide = true)]
    no_fifo: bool,
    /// Name of the decrypted file.
    #[arg(long, value_name = "NAME")]
    pub(crate) filename: Option<String>,
    /// Not there: run this program as that user.
    #[arg(long, hide = true)]
    pub(crate) user: Option<String>,
    /// Not there: put the command into the background yourself.
    #[arg(long, hide = true)]
    pub(crate) background: bool,
    #[command(flatten)]
    pub(crate) types: Types,
    /// FILE COMMAND
    pub(crate) words: Vec<OsString>,
}

/// Where the result goes.
#[derive(ClapArgs, Debug, Default, Clone)]
pub(crate) struct Output {
    /// Replace the file by the result.
    #[arg(short, long)]
    pub(crate) in_place: bool,
    /// Write the result here.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
}

/// What the file is, and is to be.
#[derive(ClapArgs, Debug, Default, Clone)]
pub(crate) struct Types {
    /// Format of the file: yaml, json, dotenv, ini or binary; without it its ending tells.
    #[arg(long, value_name = "TYPE")]
    pub(crate) input_type: Option<String>,
    /// Format of the result.
    #[arg(long, value_name = "TYPE")]
    pub(crate) output_type: Option<String>,
    /// Take the file for one of this name, for its format and for the rules of .sops.yaml.
    #[arg(long, value_name = "NAME")]
    pub(crate) filename_override: Option<PathBuf>,
}

/// How a file is opened.
#[derive(ClapArgs, Debug, Default, Clone)]
pub(crate) struct Open {
    /// Do not look whether the file was changed without its key.
    #[arg(long)]
    pub(crate) ignore_mac: bool,
    /// Only this value: '["a"][0]'.
    #[arg(long, value_name = "PATH")]
    pub(crate) extract: Option<String>,
}

/// For whom a new file is sealed, and which values.
#[derive(ClapArgs, Debug, Default, Clone)]
pub(crate) struct Seal {
    /// age recipients, separated by commas.
    #[arg(short, long, env = "SOPS_AGE_RECIPIENTS", value_name = "RECIPIENTS")]
    pub(crate) age: Vec<String>,
    /// How many key groups must come together.
    #[arg(long, value_name = "N")]
    pub(crate) shamir_secret_sharing_threshold: Option<usize>,
    /// Leave what is below keys with this ending readable.
    #[arg(long, value_name = "SUFFIX")]
    pub(crate) unencrypted_suffix: Option<String>,
    /// Seal only what is below keys with this ending.
    #[arg(long, value_name = "SUFFIX")]
    pub(crate) encrypted_suffix: Option<String>,
    /// Leave what is below matching keys readable.
    #[arg(long, value_name = "REGEX")]
    pub(crate) unencrypted_regex: Option<String>,
    /// Seal only what is below matching keys.
    #[arg(long, value_name = "REGEX")]
    pub(crate) encrypted_regex: Option<String>,
    /// Leave what follows matching comments readable.
    #[arg(long, value_name = "REGEX")]
    pub(crate) unencrypted_comment_regex: Option<String>,
    /// Seal only what follows matching comments.
    #[arg(long, value_name = "REGEX")]
    pub(crate) encrypted_comment_regex: Option<String>,
    #[command(flatten)]
    pub(crate) foreign: Foreign,
}

/// Keys of services other than age: taken so that they can be refused with a word.
#[derive(ClapArgs, Debug, Default, Clone)]
pub(crate) struct Foreign {
    #[arg(short, long, hide = true, env = "SOPS_PGP_FP")]
    pgp: Option<String>,
    #[arg(short, long, hide = true, env = "SOPS_KMS_ARN")]
    kms: Option<String>,
    #[arg(long, hide = true, env = "SOPS_GCP_KMS_IDS")]
    gcp_kms: Option<String>,
    #[arg(long, hide = true, env = "SOPS_HUAWEICLOUD_KMS_IDS")]
    hckms: Option<String>,
    #[arg(long, hide = true, env = "SOPS_AZURE_KEYVAULT_URLS")]
    azure_kv: Option<String>,
    #[arg(long, hide = true, env = "SOPS_VAULT_URIS")]
    hc_vault_transit: Option<String>,
}

impl Foreign {
    /// Names the first service that is asked for.
    pub(crate) fn first(&self) -> Option<&'static str> {
        let given = [
            ("pgp", &self.pgp),
            ("kms", &self.kms),
            ("gcp-kms", &self.gcp_kms),
            ("hckms", &self.hckms),
            ("azure-kv", &self.azure_kv),
            ("hc-vault-transit", &self.hc_vault_transit),
        ];
        let is_given =
            |(_, value): &(_, &Option<String>)| value.as_ref().is_some_and(|v| !v.is_empty());
        given.into_iter().find(is_given).map(|(name, _)| name)
    }
}

/// Who comes and who goes.
#[derive(ClapArgs, Debug, Default, Clone)]
pub(crate) struct Keys {
    /// Add these age recipients, separated by commas.
    #[arg(long, value_name = "RECIPIENTS")]
    pub(crate) add_age: Vec<String>,
    /// Remove these age recipients, separated by commas.
    #[arg(long, value_name = "RECIPIENTS")]
    pub(crate) rm_age: Vec<String>,
}

/// Reads the command line, and names the options before a command that the command does not see.
pub(crate) fn parse(words: impl Iterator<Item = OsString>) -> (Args, Vec<String>) {
    let matches = Args::command().get_matches_from(go_style(words));
    let ignored = ignored(&matches);
    (Args::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()), ignored)
}

fn ignored(matches: &ArgMatches) -> Vec<String> {
    if matches.subcommand().is_none() {
        return Vec::new();
    }
    let command = Args::command();
    let own = command.get_arguments().filter(|arg| !arg.is_global_set());
    own.filter(|arg| matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine))
        .filter_map(|arg| arg.get_long().map(str::to_owned))
        .collect()
}

/// Gives long options that are written with one dash, as Go's programs take them, their second one.
pub(crate) fn go_style(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let command = Args::command();
    let mut known: Vec<String> = Vec::new();
    for part in std::iter::once(&command).chain(command.get_subcommands()) {
        known.extend(part.get_arguments().filter_map(|a| a.get_long().map(str::to_owned)));
    }
    let mut rest = false;
    let with_two = |word: OsString| {
        rest |= word == "--";
        let name = word.to_str().and_then(|text| text.strip_prefix('-')).unwrap_or_default();
        let long = name.split('=').next().unwrap_or_default();
        if rest || long.len() < 2 || !known.iter().any(|k| k == long) {
            return word;
        }
        OsString::from(format!("--{name}"))
    };
    words.map(with_two).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn one_dash_is_enough_for_long_options() {
        let words = |text: &str| go_style(text.split(' ').map(OsString::from)).join(" ".as_ref());
        assert_eq!(words("x -age a -d --set b"), "x --age a -d --set b");
        assert_eq!(words("x -output=f -di"), "x --output=f -di");
        assert_eq!(words("x -- -age"), "x -- -age");
    }
}
