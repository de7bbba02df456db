//! YAML as go-yaml reads and writes it, in the part that sops uses.

mod compose;
mod lex;
mod resolve;
mod style;
mod write;

pub(crate) use compose::compose;
pub(crate) use write::{write, write_value};

#[cfg(test)]
mod tests {
    use super::{compose, write};

    /// Reads a text and prints it again, as `sops -d` would after sealing (comments behind values aside).
    #[track_caller]
    fn check(text: &str, expect: &str) {
        let found = compose(text.as_bytes()).expect("YAML");
        assert_eq!(String::from_utf8_lossy(&write(&found.docs, 4)), expect);
    }

    #[test]
    fn comments_stay_with_their_container() {
        check("a: 1 # x\n# y\nb: 2\n", "a: 1 # x\n# y\nb: 2\n");
        check("# x\n\n# y\na: 1\n", "# x\n# y\na: 1\n");
        check(
            "a:\n  # x\n  b: 1\n  # y\n# z\nc: 2\n",
            "a:\n    # x\n    b: 1\n    # y\n# z\nc: 2\n",
        );
        check("a: # x\n  b: 1\n", "# x\na:\n    b: 1\n");
        check("a:\n# x\n- 1\n# y\nb: 2\n", "a:\n    # x\n    - 1\n# y\nb: 2\n");
        check("a:\n  - 1 # x\n  # y\n", "a:\n    # x\n    - 1\n    # y\n");
        check("a: [1, 2] # x\n", "a:\n    # x\n    - 1\n    - 2\n");
        check("a: {b: 1} # x\n", "a:\n    # x\n    b: 1\n");
        check("a: | # x\n  t\n# y\n", "a: | # x\n    t\n# y\n");
        check("a: \"q # no\" # x\nb: 'it''s # no' # y\n", "a: 'q # no' # x\nb: 'it''s # no' # y\n");
        check(
            "a:\n  - b: 1\n    # x\n  # y\n  - c: 2\n",
            "a:\n    - b: 1\n      # x\n    # y\n    - c: 2\n",
        );
        check("a:\n  - # x\n    b: 1\n", "a:\n    # x\n    - b: 1\n");
        check("a: 1\n# x\n---\n# y\nb: 2\n", "a: 1\n# x\n---\n# y\nb: 2\n");
        check("a: # x\nb: 2\n", "a: null # x\nb: 2\n");
        check("a: 1 # x", "a: 1 # x\n");
        check("a: 1\n# x", "a: 1\n# x\n");
        check("a: \"1\" # x\n...\n", "a: \"1\" # x\n");
        check("a: b#c\n", "a: b#c\n");
        check("é: ü # ß\n", "é: ü # ß\n");
    }

    #[test]
    fn lists_and_odd_keys_print_as_go_yaml_does() {
        check("a: [[1, [2]], {b: []}]\n", "a:\n    - - 1\n      - - 2\n    - b: []\n");
        check("a: &x {b: 1}\nc: *x\n", "a:\n    b: 1\nc:\n    b: 1\n");
        check("\"x\\ny\": 1\n", "? |-\n    x\n    y\n: 1\n");
    }
}
