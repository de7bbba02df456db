//! Values that a command makes.

use nixmox_tree::{SecretBytes, SecretString, SecretTree, Value};
use rand_core::{CryptoRng, RngCore};
use serde_json::{Map, Value as Json};
use zeroize::Zeroizing;

use super::random::hex;
use super::{Inputs, Made};
use crate::error::GenerateError;
use crate::kind::Command;
use crate::sandbox::Job;

/// Runs a command: it reads `{ "host", "inputs", "seed" }`, and prints the value, or a set of its outputs.
pub(super) fn command(
    command: &Command,
    inputs: &Inputs<'_>,
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<Made, GenerateError> {
    let item = || inputs.item.clone();
    let sandbox = inputs.sandbox.ok_or_else(|| GenerateError::NoSandbox { item: item() })?;
    let input = input(command, inputs, &hex(32, rng));
    let job = Job { command: &command.words, input };
    let printed =
        sandbox.run(&job).map_err(|source| GenerateError::Sandbox { item: item(), source })?;
    let wanted = |wanted| GenerateError::Output { item: item(), wanted };
    let text = printed.as_str().ok_or_else(|| wanted("UTF-8 text"))?;
    let value = if command.outputs.is_empty() {
        Value::string(text.strip_suffix('\n').unwrap_or(text))
    } else {
        outputs(command, text)
            .ok_or_else(|| wanted("a JSON object with a text for each of its outputs"))?
    };
    Ok(Made { value, expires: None })
}

/// Writes what the command reads, in memory that is wiped.
fn input(command: &Command, inputs: &Inputs<'_>, seed: &SecretString) -> SecretBytes {
    // Room for every character escaped, so that no part is left behind in a smaller allocation.
    let secrets: usize = inputs.secrets.iter().map(|secret| 6 * secret.len() + 2000).sum();
    let mut text = Zeroizing::new(Vec::with_capacity(secrets + 4096));
    let quoted = |text: &mut Vec<u8>, value: &str| {
        // Writing a text to memory cannot fail.
        let _ = serde_json::to_writer(text, value);
    };
    text.extend_from_slice(b"{\"host\":");
    match &inputs.item.host {
        Some(host) => quoted(&mut text, host),
        None => text.extend_from_slice(b"null"),
    }
    text.extend_from_slice(b",\"inputs\":{");
    for (number, (name, secret)) in command.inputs.keys().zip(&inputs.secrets).enumerate() {
        if number > 0 {
            text.push(b',');
        }
        quoted(&mut text, name);
        text.push(b':');
        quoted(&mut text, secret.expose());
    }
    text.extend_from_slice(b"},\"seed\":");
    quoted(&mut text, seed.expose());
    text.extend_from_slice(b"}\n");
    SecretBytes::from(text)
}

fn outputs(command: &Command, text: &str) -> Option<Value> {
    let mut printed: Map<String, Json> = serde_json::from_str(text).ok()?;
    let mut parts = SecretTree::new();
    for name in &command.outputs {
        match printed.remove(name)? {
            Json::String(text) if !text.is_empty() => drop(parts.insert(name, Value::string(text))),
            _ => return None,
        }
    }
    printed.is_empty().then_some(parts.into())
}
