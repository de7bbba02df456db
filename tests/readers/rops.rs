//! Opens a sops file from standard input with the `rops` crate and prints its values as JSON.
//!
//! A program of its own, because `rops` takes the key from the environment (`ROPS_AGE`) alone.

use std::io::Read as _;
use std::process::ExitCode;

use rops::cryptography::{cipher::AES256GCM, hasher::SHA512};
use rops::file::RopsFile;
use rops::file::format::{FileFormat, JsonFileFormat, YamlFileFormat};
use rops::file::state::EncryptedFile;

fn open<F: FileFormat>(text: &str) -> Result<String, String> {
    let file = text.parse::<RopsFile<EncryptedFile<AES256GCM, SHA512>, F>>();
    let opened = file.map_err(|e| format!("{e:?}"))?.decrypt::<JsonFileFormat>();
    let map = opened.map_err(|e| format!("{e:?}"))?.into_inner_map();
    serde_json::to_string(&map).map_err(|e| e.to_string())
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "this program's answer")]
fn main() -> ExitCode {
    let mut text = String::new();
    let opened = match std::io::stdin().read_to_string(&mut text) {
        Err(e) => Err(e.to_string()),
        Ok(_) if text.starts_with('{') => open::<JsonFileFormat>(&text),
        Ok(_) => open::<YamlFileFormat>(&text),
    };
    match opened {
        Ok(json) => {
            println!("{json}");
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}
