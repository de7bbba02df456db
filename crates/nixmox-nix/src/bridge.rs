//! The way to a real `nix`, for masters that need more than this evaluator has; the process itself is elsewhere.

use nixmox_tree::{SecretBytes, SecretString, SecretTree, Value};
use zeroize::Zeroizing;

use crate::json;
use crate::parse::push_wiped;

/// A real Nix.
pub trait NixEvaluator {
    /// What can go wrong with it.
    type Error;

    /// Evaluates an expression strictly and returns the result as JSON.
    ///
    /// The text holds secrets: it goes to the process over standard input only, never as an argument, through the
    /// environment or a file. So does the answer come back.
    ///
    /// # Errors
    ///
    /// Whatever the implementation says, without a byte of the text.
    fn eval_json(&self, text: &SecretString) -> Result<SecretBytes, Self::Error>;
}

/// Why an answer of a real Nix is not a master's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The answer is not JSON, or JSON without one meaning.
    #[error("the answer of nix is not JSON")]
    NotJson,
    /// The answer is not an object.
    #[error("must be an attribute set, but is a {0}")]
    NotASet(&'static str),
}

/// Wraps a master into the expression that a real Nix evaluates: applied to its own result as `secrets`.
///
/// `arguments` is a Nix expression for the set of the other arguments, such as `{ }`.
pub fn wrap_master(text: &str, arguments: &str) -> SecretString {
    let mut out = Zeroizing::new(String::new());
    let parts = [
        "let\n  file = (\n",
        text,
        "\n  );\n  all = (\n",
        arguments,
        "\n  ) // { secrets = result; };\n  named = builtins.functionArgs file;\n  ",
        "passed = if named == { } then all else builtins.intersectAttrs named all;\n  ",
        "result = if builtins.isFunction file then file passed else file;\nin\nresult\n",
    ];
    parts.iter().for_each(|part| push_wiped(&mut out, part));
    out.into()
}

/// Reads the JSON that a real Nix answered for a master.
///
/// # Errors
///
/// [`AnswerError::NotJson`], [`AnswerError::NotASet`].
pub fn read_answer(answer: &SecretBytes) -> Result<SecretTree, AnswerError> {
    let value = answer.as_str().and_then(json::read).ok_or(AnswerError::NotJson)?;
    match value {
        Value::Tree(tree) => Ok(tree),
        other => Err(AnswerError::NotASet(other.type_name())),
    }
}
