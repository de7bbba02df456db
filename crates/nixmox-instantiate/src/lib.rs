//! The installed `nix-instantiate`, for what is beyond the embedded evaluator.
//!
//! | to | use |
//! |---|---|
//! | evaluate a text that may hold secrets | [`NixInstantiate`], over standard input |
//! | apply a function to a file of a repository | [`foreign`] |
//! | learn a group's members, or a manifest's services | [`members`] |
//! | evaluate a whole manifest | [`manifest`] |
//!
//! Every run is restricted: it reads nothing but the tree that it is given, fetches nothing and builds nothing, and
//! sees no key in its environment. This is what the programs share; the libraries never start a process.

use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use nixmox_manifest::{FILE_NAMES, Loaded};
use nixmox_nix::NixEvaluator;
use nixmox_secrets::store::RelPath;
use nixmox_tree::{SecretBytes, SecretString};

/// Lists the services of a manifest, each with its section and a point before it.
const SERVICES: &str = "(m: builtins.concatMap (s: map (n: s + \".\" + n) (builtins.attrNames (m.${s} or { }))) \
    [ \"core_services\" \"services\" ])";

/// Evaluates through `nix-instantiate`, with the text on standard input.
#[derive(Debug, Clone, Copy, Default)]
pub struct NixInstantiate;

impl NixEvaluator for NixInstantiate {
    type Error = io::Error;

    fn eval_json(&self, text: &SecretString) -> io::Result<SecretBytes> {
        // The text may look at nothing but what NIX_PATH names, and fetch and build nothing.
        let mut child =
            nix(&["--eval", "--strict", "--json", "-", "--option", "restrict-eval", "true"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                // What Nix says about an error quotes the text.
                .stderr(Stdio::null())
                .spawn()?;
        let mut stdin = child.stdin.take();
        let writer = text.clone();
        let feed = std::thread::spawn(move || match &mut stdin {
            Some(stdin) => stdin.write_all(writer.expose().as_bytes()),
            None => Ok(()),
        });
        let output = child.wait_with_output()?;
        let answer = SecretBytes::new(output.stdout);
        // A Nix that stops reading has said why with its exit status.
        let _ = feed.join();
        if output.status.success() {
            Ok(answer)
        } else {
            Err(io::Error::other("nix-instantiate refused the text"))
        }
    }
}

/// Evaluates a file of somebody else's tree, which may look at nothing but that tree, and fetches nothing.
///
/// `expression` is a function of the file, such as `builtins.attrNames`; the answer is JSON. `file` is a path below
/// `root`. Nothing when Nix is missing or refuses.
pub fn foreign(root: &Path, file: &str, expression: &str) -> Option<Vec<u8>> {
    let mut search = std::ffi::OsString::from("nixmox-tree=");
    search.push(root.canonicalize().ok()?);
    let expression = format!("{{ file }}: {expression} (import (<nixmox-tree> + (\"/\" + file)))");
    let mut nix = nix(&["--eval", "--strict", "--json", "--option", "restrict-eval", "true"]);
    nix.arg("-I").arg(search).args(["--expr", &expression, "--argstr", "file", file]);
    let output = nix.stdin(Stdio::null()).output().ok()?;
    output.status.success().then_some(output.stdout)
}

/// Asks Nix for the names in a file that holds no secrets: the members of a group, or the services of the manifest.
/// Nothing when Nix is missing or refuses.
pub fn members(root: &Path, file: &RelPath) -> Option<Vec<String>> {
    let is_manifest = FILE_NAMES.contains(&file.as_str());
    let expression = if is_manifest { SERVICES } else { "builtins.attrNames" };
    serde_json::from_slice(&foreign(root, file.as_str(), expression)?).ok()
}

/// Has Nix evaluate the whole manifest; the places in it are not asked for. Nothing when Nix is missing or refuses.
pub fn manifest(root: &Path, file: &RelPath) -> Option<Loaded> {
    let answer = foreign(root, file.as_str(), "(m: { value = m; positions = [ ]; })")?;
    Some(Loaded::from_nix(std::str::from_utf8(&answer).ok()?, Vec::new()))
}

/// Prepares a run without keys in its environment, which builds nothing.
fn nix(arguments: &[&str]) -> Command {
    let mut command = nixmox_cli::scrubbed(Command::new("nix-instantiate"));
    command.args(["--option", "allow-import-from-derivation", "false"]).args(arguments);
    command
}
