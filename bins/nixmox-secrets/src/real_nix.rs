//! The installed `nix-instantiate`, for what is beyond the embedded evaluator.

use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use nixmox_nix::NixEvaluator;
use nixmox_secrets::store::RelPath;
use nixmox_tree::{SecretBytes, SecretString};

/// Evaluates through `nix-instantiate`, with the text on standard input.
pub(crate) struct NixInstantiate;

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
/// `expression` is a function of the file, such as `builtins.attrNames`; the answer is JSON.
pub(crate) fn foreign(root: &Path, file: &str, expression: &str) -> Option<Vec<u8>> {
    let mut search = std::ffi::OsString::from("nixmox-tree=");
    search.push(root.canonicalize().ok()?);
    let expression = format!("{{ file }}: {expression} (import (<nixmox-tree> + (\"/\" + file)))");
    let mut nix = nix(&["--eval", "--strict", "--json", "--option", "restrict-eval", "true"]);
    nix.arg("-I").arg(search).args(["--expr", &expression, "--argstr", "file", file]);
    let output = nix.stdin(Stdio::null()).output().ok()?;
    output.status.success().then_some(output.stdout)
}

/// Asks Nix for the members of a group file, which holds no secrets; nothing when Nix is missing or refuses.
pub(crate) fn members(root: &Path, file: &RelPath) -> Option<Vec<String>> {
    let path = root.join(file.as_str()).canonicalize().ok()?;
    let expression = "{ file }: builtins.attrNames (import file)";
    let output = nix(&["--eval", "--strict", "--json", "--expr", expression, "--arg", "file"])
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    output.status.success().then(|| serde_json::from_slice(&output.stdout).ok()).flatten()
}

/// Prepares a run without keys in its environment, which builds nothing.
fn nix(arguments: &[&str]) -> Command {
    let mut command = nixmox_cli::scrubbed(Command::new("nix-instantiate"));
    command.args(["--option", "allow-import-from-derivation", "false"]).args(arguments);
    command
}
