//! Completions and manual pages, judged by the shells themselves and by groff (Debian packages bash, zsh, fish,
//! groff-base).

use std::fs;
use std::process::Command;

use super::common::Place;

/// Runs a judge, which has to be content and to say nothing; returns what it prints.
#[track_caller]
fn judge(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let output = output.unwrap_or_else(|e| panic!("{program} cannot be run: {e}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{program} {args:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn completions_are_scripts_of_their_shells() {
    let place = Place::new();
    let script = |shell: &str| {
        let ran = place.run(&["completions", shell]);
        assert_eq!(ran.code, 0, "{ran:?}");
        let path = place.dir.path().join(shell);
        fs::write(&path, ran.out).unwrap();
        path.display().to_string()
    };
    let bash = script("bash");
    judge("bash", &["-n", &bash]);
    let words = "f=$(complete -p nixmox-sops | sed 's/.* -F \\([^ ]*\\) .*/\\1/'); \
         COMP_WORDS=(nixmox-sops upd); COMP_CWORD=1; $f nixmox-sops upd nixmox-sops; \
         echo \"${COMPREPLY[*]}\"";
    assert_eq!(judge("bash", &["-c", &format!("source {bash}; {words}")]), "updatekeys\n");
    judge("zsh", &["-n", &script("zsh")]);
    judge("fish", &["--no-execute", &script("fish")]);
}

#[test]
fn manual_pages_are_rendered() {
    let place = Place::new();
    let pages = place.dir.path().join("man");
    let ran = place.run(&["man", "--dir", pages.to_str().unwrap()]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let mut names = Vec::new();
    for entry in fs::read_dir(&pages).unwrap() {
        let path = entry.unwrap().path();
        let options = ["-man", "-Tutf8", "-ww", "-P-cbou", "-K", "utf8"];
        let text = judge("groff", &[&options[..], &[path.to_str().unwrap()]].concat());
        assert!(text.contains("NAME") && text.contains("SYNOPSIS"), "{text}");
        names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    for name in ["nixmox-sops", "nixmox-sops-encrypt", "nixmox-sops-exec-file"] {
        assert!(names.contains(&format!("{name}.1")), "{names:?}");
    }
    let one = place.run(&["man"]);
    assert_eq!(one.out, fs::read(pages.join("nixmox-sops.1")).unwrap());
    // Files of these names can still be worked on.
    let ran = place.run(&["-d", "./man"]);
    assert!(ran.code == 100 && ran.err.contains("./man"), "{ran:?}");
}
