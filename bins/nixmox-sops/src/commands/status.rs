//! `filestatus`.

use std::path::PathBuf;

use nixmox_cli::Failure;
use nixmox_sops::{EncryptedFile, Format, ParseError};

use crate::{advice, files};

/// Prints whether a file is encrypted: it has metadata that can be read, and a MAC.
pub(crate) fn filestatus(file: &[PathBuf], input_type: Option<&str>) -> Result<(), Failure> {
    let path = files::one(file)?;
    let by_name = || Format::from_path(&path.to_string_lossy());
    let format = input_type.and_then(Format::from_name).unwrap_or_else(by_name);
    let bytes = files::read(path)?;
    let encrypted = match EncryptedFile::parse(bytes.expose(), format) {
        Ok(file) => file.metadata().has_mac(),
        Err(error @ ParseError::Document(_)) => {
            return Err(advice::unreadable(&path.display().to_string(), error));
        }
        Err(_) => false,
    };
    files::print(format!("{{\"encrypted\":{encrypted}}}\n").as_bytes())
}
