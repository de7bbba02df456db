//! `edit`: a file in the person's editor.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use nixmox_cli::editor::{EditorError, Options, Session};
use nixmox_cli::{Exit, Failure, prompt};
use nixmox_sops::{DecryptedFile, Documents, EncryptedFile, Format, Keep, seal};
use nixmox_tree::SecretString;
use rand_core::OsRng;

use super::crypt;
use crate::advice;
use crate::args::{Global, Open, Seal, Types};
use crate::config::{self, Config};
use crate::files::{self, Kind};
use crate::opened::{self, Again};

/// Opens a file in the editor, and seals what comes back.
pub(crate) fn edit(
    global: &Global,
    (file, types): (&[PathBuf], &Types),
    (seal_args, open): (&Seal, &Open),
    show_master_keys: bool,
) -> Result<(), Failure> {
    let path = files::one(file)?;
    let name = path.display().to_string();
    let (from, to) = files::formats(types, path);
    if !path.exists() {
        let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let options = config::seal_options(global, seal_args, (&whole, to))?;
        let docs = write(path, &SecretString::new(example(from)), from)?;
        let sealed = seal(&docs, (to, &options), Keep::Nothing, &mut OsRng, Timestamp::now())
            .map_err(|e| advice::unsealed(&name, e))?;
        return files::write(path, &sealed, Kind::Sealed);
    }
    let sealed = opened::at(path, from)?;
    if show_master_keys {
        for (index, group) in sealed.metadata().groups().iter().enumerate() {
            advice::say(&format!("Group {}: {}", index + 1, group.join(", ")));
        }
    }
    let opened = opened::open(&sealed, &name, open)?;
    let again = Again::same(global, &sealed, &name)?;
    let text = text(global, (&sealed, &opened), &name)?;
    let docs = write(path, &text, from)?;
    let bytes = again.seal(&docs, to, Keep::Everything(&opened))?;
    files::write(path, &bytes, Kind::Sealed)
}

/// Prints the plaintext for the editor, if it can be read back from there.
fn text(
    global: &Global,
    (sealed, opened): (&EncryptedFile, &DecryptedFile),
    name: &str,
) -> Result<SecretString, Failure> {
    let indent = config::indent(global, Config::load(global)?.as_ref())?;
    let format = sealed.format();
    let bytes = crypt::printed(opened.documents(), format, (name, indent))?;
    let lost = || {
        Failure::new(Exit::Editor, format!("{name} has values that an editor would change"))
            .hint("change single values with `nixmox-sops set`")
    };
    let flat = matches!(format, Format::Dotenv | Format::Ini);
    let same = |docs: Documents| docs.to_tree() == opened.documents().to_tree();
    if flat && !Documents::parse(bytes.expose(), format).is_ok_and(same) {
        return Err(lost());
    }
    bytes.as_str().map(SecretString::new).ok_or_else(lost)
}

/// Lets the person write until what he wrote can be read, or he gives up.
fn write(path: &Path, text: &SecretString, format: Format) -> Result<Documents, Failure> {
    let options = Options::from_env(false).map_err(editor)?;
    if let Some(warning) = options.editor.warning() {
        advice::warn(warning);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut session = Session::open(text, &name, &options).map_err(editor)?;
    loop {
        let edited = session.run().map_err(editor)?;
        if !edited.leftovers.is_empty() {
            advice::warn(&format!(
                "the editor left files, which are removed: {}",
                edited.leftovers.join(", ")
            ));
        }
        if !edited.changed {
            return Err(Failure::new(Exit::Unchanged, "file has not changed, exiting"));
        }
        let error = match Documents::parse(edited.text.expose().as_bytes(), format) {
            Ok(docs) if !docs.is_empty() => return Ok(docs),
            Ok(_) => Failure::new(Exit::EmptyFile, "there is nothing in it"),
            Err(error) => advice::plain(&name, error, format == Format::Yaml),
        };
        let exit = error.exit();
        error.report();
        let discard = prompt::confirm("Throw this text away? Anything but y opens it again.");
        if discard.unwrap_or(true) {
            return Err(Failure::new(exit, "given up; nothing was changed"));
        }
    }
}

fn editor(error: EditorError) -> Failure {
    let exit = error.exit();
    Failure::from_error(exit, error)
}

/// What a new file begins with.
fn example(format: Format) -> &'static str {
    match format {
        Format::Json => {
            "{\n\t\"example_key\": \"example value\",\n\t\"example_list\": [\"a\", \"b\"]\n}\n"
        }
        Format::Dotenv => "# an example: replace it\nEXAMPLE_KEY=example value\n",
        Format::Ini => "; an example: replace it\n[example]\nkey = example value\n",
        Format::Yaml => {
            "# an example: replace it\nexample_key: example value\nexample_list:\n    - a\n    - b\n"
        }
        _ => "replace this text by your own\n",
    }
}
