//! Nix as data: an embedded evaluator of the pure subset.
//!
//! Masters of secrets and topology files are Nix expressions. This crate reads them lazily, as Nix does, without a
//! Nix installation and without the plaintext leaving the process.
//!
//! | job | function |
//! |---|---|
//! | any text to data | [`eval`] |
//! | a master, which may refer to itself as `secrets` | [`eval_master`] |
//! | the names of a set whose values need more than this crate has | [`attr_names`] |
//! | change a value and leave every other byte | [`set`], [`unset`] |
//! | data to text | [`to_nix`] |
//! | a text and the files it imports to data, with the place of every name and value | [`eval_located`] |
//! | where the bindings of a text are written | [`bindings`] |
//! | show where an error is | [`line_col`], [`masked_line`] |
//! | hand a master to a real `nix` | [`NixEvaluator`], [`wrap_master`], [`read_answer`] |
//!
//! What it accepts means what Nix says it means; a text that Nix refuses is refused. The language is whole but for
//! `let { … }` and a variable called `or`. Paths parse, and are an error when they are evaluated, like everything
//! impure: `import` (but in [`eval_located`]), fetching, files, derivations, the clock, the environment. So are the few results that differ
//! between versions of Nix: integer overflow (old ones wrap around), floats in `toJSON`, regular expressions,
//! comparison of functions. [`Construct`] lists them all.
//!
//! As in Nix's `toJSON`, a set with `__toString` or `outPath` becomes what that says, and a function is not data.
//!
//! An [`Error`] holds no byte of the text, not even a name: a forgotten quote makes a secret a name. The evaluator
//! keeps texts and names in memory that is wiped; numbers, and the stack it ran on, which goes back to the system,
//! are not. Everything runs on a stack of its own, so that nesting up to the limits is safe whatever the caller's is.
//!
//! ```
//! use nixmox_nix::{Limits, eval_master};
//!
//! let master = r#"{ secrets, ... }: {
//!   wifi = { ssid = "home"; psk = "correct horse"; };
//!   nodes.router.hostapd = "psk=${secrets.wifi.psk}";
//! }"#;
//! let tree = eval_master(master, &Limits::default())?;
//! let line = tree.at(&["nodes", "router", "hostapd"]).and_then(|value| value.as_str());
//! assert_eq!(line, Some("psk=correct horse"));
//! # Ok::<(), nixmox_nix::Error>(())
//! ```

mod ast;
mod bridge;
mod builtins;
mod edit;
mod error;
mod json;
mod lex;
mod located;
mod machine;
mod mask;
mod parse;
mod print;
mod scope;

pub use bridge::{AnswerError, NixEvaluator, read_answer, wrap_master};
pub use edit::{EditError, set, unset};
pub use error::{Argument, Construct, Error, ErrorKind, Span, line_col};
pub use located::{
    Binding, Data, File, Located, LocatedAttr, LocatedError, MAX_FILES, Place, bindings,
    eval_located,
};
pub use mask::masked_line;
pub use print::to_nix;

use machine::{Machine, V};
use nixmox_tree::{SecretTree, Value};

/// Bounds for what a text may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest text, in bytes.
    pub bytes: usize,
    /// The deepest nesting of the text, and of the evaluation; above 4,096 it counts as 4,096.
    pub depth: usize,
    /// The most steps of evaluation; list items, attributes and every eight bytes of text also count.
    pub steps: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 8 << 20, depth: 2_048, steps: 4_000_000 }
    }
}

/// A name at the top of a set, and where it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttrName {
    /// The name.
    pub name: String,
    /// Its place in the text.
    pub span: Span,
}

/// Stack for one level of nesting: several times what the largest frames of a debug build take.
const STACK_PER_LEVEL: usize = 64 << 10;
const MAX_DEPTH: usize = 4_096;
/// Offsets and indices are 32 bits wide.
const MAX_BYTES: usize = 1 << 30;

/// Evaluates a text to plain data, everything in it included.
///
/// Sets with `__toString` or `outPath` become what those say, as in Nix's `toJSON`.
///
/// # Errors
///
/// Any [`ErrorKind`]: the text is not Nix, fails, is not data, needs what this evaluator refuses, or exceeds `limits`.
pub fn eval(text: &str, limits: &Limits) -> Result<Value, Error> {
    run(text, limits, |machine| {
        let (value, span) = (machine.root()?, machine.root_span());
        machine.data(value, span, 0)
    })
}

/// Evaluates a master file: a set, or a function that gets its own result as `secrets`.
///
/// Other arguments that masters get elsewhere (`lib`, `inputs`, `nodes`, …) are an error when they are needed.
///
/// # Errors
///
/// As [`eval`]; [`ErrorKind::NotASet`] when the result is not a set, [`ErrorKind::NotAvailable`] for those arguments.
pub fn eval_master(text: &str, limits: &Limits) -> Result<SecretTree, Error> {
    run(text, limits, |machine| {
        let (value, span) = (machine.master()?, machine.root_span());
        let V::Set(_) = value else {
            return Err(Error::new(ErrorKind::NotASet(value.type_name()), span));
        };
        match machine.data(value, span, 0)? {
            Value::Tree(tree) => Ok(tree),
            _ => Err(Error::new(ErrorKind::NotASet("a string"), span)),
        }
    })
}

/// Lists the names at the top of a set, in byte order, and evaluates none of its values.
///
/// # Errors
///
/// [`ErrorKind::NotASet`] when the text is something else, such as a function; else as [`eval`].
pub fn attr_names(text: &str, limits: &Limits) -> Result<Vec<AttrName>, Error> {
    run(text, limits, |machine| {
        let value = machine.root()?;
        let V::Set(set) = &value else {
            return Err(Error::new(ErrorKind::NotASet(value.type_name()), machine.root_span()));
        };
        let names = set.attrs().iter().map(|attr| AttrName {
            name: machine.names.text(attr.name).to_owned(),
            span: attr.span,
        });
        let mut names: Vec<_> = names.collect();
        names.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(names)
    })
}

fn run<T: Send>(
    text: &str,
    limits: &Limits,
    job: impl FnOnce(&mut Machine<'_>) -> Result<T, Error> + Send,
) -> Result<T, Error> {
    let limits = limited(text, limits)?;
    on_own_stack(limits.depth, move || {
        let mut names = ast::Names::default();
        let options = parse::Options { depth: limits.depth, syntax: false };
        let ast = parse::parse(text, &mut names, options)?;
        scope::resolve(&ast, &names, limits.depth)?;
        job(&mut Machine::new(&ast, names, &limits))
    })
}

/// Checks the text's length, and caps what the limits allow at what this crate can do.
fn limited(text: &str, limits: &Limits) -> Result<Limits, Error> {
    let most = limits.bytes.min(MAX_BYTES);
    if text.len() > most {
        return Err(Error::new(ErrorKind::TooLong, Span::new(most, text.len())));
    }
    Ok(Limits { depth: limits.depth.min(MAX_DEPTH), ..*limits })
}

/// Works on a stack that is large enough for every text within the limits, whatever the caller's is.
fn on_own_stack<T: Send, E: Send + From<Error>>(
    depth: usize,
    job: impl FnOnce() -> Result<T, E> + Send,
) -> Result<T, E> {
    std::thread::scope(|scope| {
        let size = (depth + 16) * STACK_PER_LEVEL;
        let builder = std::thread::Builder::new().stack_size(size);
        let thread = builder
            .spawn_scoped(scope, job)
            .map_err(|_| Error::new(ErrorKind::NoStack, Span::default()))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
