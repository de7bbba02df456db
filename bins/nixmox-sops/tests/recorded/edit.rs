//! `set`, `unset`, `edit`, `rotate`, `updatekeys`, `decrypt --extract`, `filestatus`, `exec-env` and `exec-file`.

use std::fs;

use serde_json::Value;

use crate::common::*;

/// Cases that end otherwise than with sops: with this code, and why.
const EXCEPTIONS: [(&str, i64, &str); 4] = [
    ("edit/edit-invalid-yaml", 2, "sops opens the editor for ever; without a terminal we give up"),
    (
        "edit/edit-add-sops-key",
        203,
        "sops opens the editor for ever; without a terminal we give up",
    ),
    ("edit/edit-empty", 92, "sops opens the editor for ever; without a terminal we give up"),
    ("edit/edit-show-master-keys", 0, "sops throws the edit away; here it is kept"),
];

/// What is printed otherwise than by sops, and why.
const OTHER_OUTPUT: [(&str, &str); 1] =
    [("edit/exec-env", "the order of an environment says nothing; compared as a set")];

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().filter(|line| !line.starts_with("PWD=")).collect();
    lines.sort_unstable();
    lines
}

fn same_output(id: &str, recorded: &str, ours: &str) -> bool {
    if OTHER_OUTPUT.iter().any(|(other, _)| *other == id) {
        return sorted(recorded) == sorted(ours);
    }
    recorded == ours
}

#[test]
fn an_empty_file_is_said_to_be_empty() {
    let mut place = Place::new();
    place.vars.insert("SOPS_AGE_RECIPIENTS".to_owned(), recipient("age1"));
    for (name, text, code) in [("e.yaml", "", 92), ("c.yaml", "# nothing\n", 92), ("e.json", "", 2)]
    {
        fs::write(place.cwd.join(name), text).unwrap();
        let ran = place.run(&["-e", name]);
        assert_eq!(ran.code, code, "{ran:?}");
        let said = format!("{name} cannot be read");
        assert!(ran.err.contains(&said) && ran.err.contains("no document in it"), "{ran:?}");
        assert!(!ran.err.contains("line 0") && !ran.err.contains("column 0"), "{ran:?}");
    }
    fs::write(place.cwd.join("bad.yaml"), "a: b\n\tc: d\n").unwrap();
    let ran = place.run(&["-e", "bad.yaml"]);
    assert!(ran.err.contains("line 1, column 4: "), "{ran:?}");
}

#[test]
fn every_recorded_command_ends_and_changes_files_as_sops_does() {
    let mut report = Report::default();
    for case in cases("edit") {
        let id = text(&case, "id");
        report.run += 1;
        let mut place = Place::with("age-key-file", text(&case, "identity"));
        let before = fixture(text(&case, "before"));
        let name = text(&case, "before").rsplit('/').next().unwrap();
        let file = place.write(name, &before);
        if let Some(script) = case["editor"].as_str() {
            let path = place.write("editor.sh", format!("{script}\n"));
            place.var("EDITOR", &format!("sh {path}"));
        }
        let args: Vec<String> = words(&case, "command")
            .into_iter()
            .map(|word| match word.as_str() {
                "FILE" => file.clone(),
                "<path>" => place.path("other").display().to_string(),
                config if config.ends_with(".sops.yaml") => {
                    fixtures().join(config).display().to_string()
                }
                _ => word,
            })
            .collect();
        let ran = place.run(&args);
        let exception = EXCEPTIONS.iter().find(|(exception, ..)| *exception == id);
        let code = exception.map_or(case["exit"].as_i64(), |(_, code, _)| Some(*code));
        report.check(Some(ran.code) == code, || format!("{id}: {code:?} {args:?} {ran:?}"));
        let out = String::from_utf8_lossy(&ran.out);
        let recorded = text(&case, "stdout");
        report.check(same_output(id, recorded, &out), || format!("{id}: {recorded:?} {out:?}"));
        place.is_clean();
        let after = fs::read(&file).unwrap();
        let changes = case["file_changed"] == true || id == "edit/edit-show-master-keys";
        report.check((after != before) == changes, || format!("{id}: changed is not {changes}"));
        check_after(&case, &place, &file, &mut report);
    }
    report.end(74);
}

/// Opens the file that a command left, and looks for whom it is.
fn check_after(case: &Value, place: &Place, file: &str, report: &mut Report) {
    let id = text(case, "id");
    let plain = case.get("after_plain").and_then(Value::as_str).map(fixture);
    let Some(plain) = plain.filter(|_| id != "edit/edit-show-master-keys") else { return };
    let ignore = if id.contains("ignore-mac") { &["--ignore-mac"][..] } else { &[] };
    let args: Vec<&str> = ["decrypt"].iter().chain(ignore).copied().chain([file]).collect();
    let opener = Place::with("age-key-file", "identities/combined_age1_age2.txt");
    let ran = opener.run(&args);
    report.check(ran.out == plain, || {
        format!("{id}: opens to {ran:?}, not {}", String::from_utf8_lossy(&plain))
    });
    let labels = |text: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.split_once("recipient: "));
        lines.map(|(_, label)| label.to_owned()).collect()
    };
    let ours = fs::read_to_string(file).unwrap_or_default();
    let theirs = String::from_utf8_lossy(&fixture(text(case, "after"))).into_owned();
    report.check(labels(&ours) == labels(&theirs), || format!("{id}: {:?}", labels(&ours)));
    place.is_clean();
}

#[test]
fn what_came_before_commands_still_works() {
    let mut place = Place::with("age-key-file", "identities/age1.txt");
    place.var("SOPS_AGE_RECIPIENTS", &recipient("age1"));
    place.var("EDITOR", "false");
    let file = place.write("f.yaml", "a: one\nb: 2\n");
    let run = |args: &[&str], code: i64| {
        let ran = place.run(args);
        assert_eq!(ran.code, code, "{args:?} {ran:?}");
        String::from_utf8(ran.out).unwrap()
    };
    run(&["-e", "-i", &file], 0);
    run(&["-e", "-i", &file], 203);
    assert_eq!(run(&["-d", &file], 0), "a: one\nb: 2\n");
    assert_eq!(run(&["-d", "--extract", "[\"a\"]", &file], 0), "one");
    run(&["--set", "[\"a\"] \"two\"", &file], 0);
    assert_eq!(
        run(&["--decrypt", "--output-type", "json", &file], 0),
        "{\n\t\"a\": \"two\",\n\t\"b\": 2\n}\n"
    );
    run(&["-r", "-i", "--add-age", &recipient("age2"), &file], 0);
    assert!(fs::read_to_string(&file).unwrap().contains(&recipient("age2")));
    run(&["-e", "-d", &file], 8);
    run(&[&file], 201);
    run(&["-d", "/no/such.yaml"], 100);
    run(&["decrypt", "--extract", "a", &file], 91);
    run(&["set", &file, "a", "1"], 7);
    run(&["set", &file, "[\"a\"]", "[1]"], 7);
    run(&["set", &file, "[\"a\"]"], 100);
    run(&["rotate", "--add-age", &recipient("age2"), "/no/such.yaml"], 49);
    run(&["-d", "-i", &file], 0);
    assert_eq!(fs::read_to_string(&file).unwrap(), "a: two\nb: 2\n");
}

#[test]
fn values_need_not_stand_in_the_command_line() {
    let mut place = Place::with("age-key-file", "identities/age1.txt");
    place.var("SOPS_AGE_RECIPIENTS", &recipient("age1"));
    let file = place.write("f.env", "A=1\n");
    assert_eq!(place.run(&["encrypt", "-i", &file]).code, 0);
    let value = place.write("value", "\"from a file\"");
    let ran = place.run(&["set", "--value-file", &file, "[\"B\"]", &value]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let said = place.run(&["set", &file, "[\"A\"]", "\"2\""]);
    assert!(said.code == 0 && said.err.contains("--value-stdin"), "{said:?}");
    let ran = place.run(&["decrypt", &file]);
    assert_eq!(String::from_utf8_lossy(&ran.out), "A=2\nB=from a file\n");
}

#[test]
fn modes_and_links_outlive_a_change() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let mut place = Place::with("age-key-file", "identities/age1.txt");
    place.var("SOPS_AGE_RECIPIENTS", &recipient("age1"));
    let file = place.write("real.yaml", "a: 1\n");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let link = place.path("link.yaml");
    symlink(&file, &link).unwrap();
    let link = link.display().to_string();
    assert_eq!(place.run(&["encrypt", "-i", &link]).code, 0);
    assert_eq!(place.run(&["set", &link, "[\"a\"]", "2"]).code, 0);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    let out = place.path("plain").display().to_string();
    assert_eq!(place.run(&["decrypt", "--output", &out, &link]).code, 0);
    assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
}
