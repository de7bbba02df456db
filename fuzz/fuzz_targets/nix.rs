//! Arbitrary text through everything that reads Nix: no panic, no hang, no overflow, and edits that do what they say.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nixmox_nix::{
    EditError, Limits, attr_names, eval, eval_master, line_col, masked_line, set, to_nix, unset,
};
use nixmox_tree::Value;

const LIMITS: Limits = Limits { bytes: 1 << 16, depth: 128, steps: 20_000 };

fuzz_target!(|text: &str| {
    let value = eval(text, &LIMITS);
    match &value {
        Ok(value) => {
            if let Ok(again) = eval(to_nix(value).expose(), &Limits::default()) {
                assert!(again == *value);
            }
        }
        Err(error) => {
            let span = error.span();
            assert!(span.start() <= span.end());
            let (line, _) = line_col(text, span.start());
            let shown = masked_line(text, line);
            assert!(!shown.contains(|c: char| c.is_control()));
        }
    }
    let _ = eval_master(text, &LIMITS);
    let _ = attr_names(text, &LIMITS);
    let new = Value::string("new\n${value}\n");
    for path in [&["a"][..], &["a", "b"], &["nodes", "h", "x y"]] {
        match set(text, path, &new, &LIMITS) {
            Ok(edited) => {
                // Other values may refer to the new one, so only the value itself is sure.
                if let (Ok(Value::Tree(_)), Ok(Value::Tree(tree))) =
                    (&value, eval(edited.expose(), &LIMITS))
                {
                    assert!(tree.at(path) == Some(&new));
                }
                let removed = unset(edited.expose(), path, &LIMITS);
                assert!(!matches!(removed, Err(EditError::Missing | EditError::Text(_))));
            }
            Err(error) => assert!(!matches!(error, EditError::Result(e) if !is_a_limit(e))),
        }
    }
});

/// The edited text may leave the limits, or collide with what the text already gets wrong.
fn is_a_limit(error: nixmox_nix::Error) -> bool {
    use nixmox_nix::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::TooLong
            | ErrorKind::TooDeep
            | ErrorKind::UndefinedVariable
            | ErrorKind::Unsupported(_)
    )
}
