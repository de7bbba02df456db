//! Real editors, whose start files ask for every copy there is: none may stay.
//!
//! vim and nano are the Debian packages of these names.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::pty::{Pty, example};

const VIMRC: &str = "set nocompatible nomore shortmess+=I\n\
    set backup writebackup undofile swapfile history=50\n\
    set backupdir=~/copies undodir=~/copies directory=~/copies viminfo='9,f1,<50,:50,/50\n";
const NANORC: &str = "set backup\nset historylog\nset positionlog\nset backupdir";

/// A home directory with start files. It is not in `/tmp`, where vim makes no backup files.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir_in("/var/tmp").unwrap();
    fs::write(home.path().join(".vimrc"), VIMRC).unwrap();
    let copies = home.path().join("copies");
    let nanorc = format!("{NANORC} {}\n", copies.display());
    fs::write(home.path().join(".nanorc"), nanorc).unwrap();
    fs::create_dir(copies).unwrap();
    home
}

/// Lists every file below `directory`, in order.
fn files(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    found.sort();
    found
}

fn start(home: &Path, program: &str, arguments: &[&str]) -> Pty {
    let home = home.display();
    // As root, nano believes the password file rather than $HOME; its histories follow this variable.
    let variables = [format!("HOME={home}"), format!("XDG_DATA_HOME={home}/copies")];
    let mut all: Vec<&str> = variables.iter().map(String::as_str).collect();
    all.push(program);
    all.extend(arguments);
    Pty::run("/usr/bin/env", &all)
}

/// Puts the home directory in the place of `~`, as nobody else does without a shell.
fn at_home(editor: &str, home: &Path) -> String {
    editor.replace('~', &home.display().to_string())
}

#[track_caller]
fn check(editor: &str, keys: &[&str]) {
    let (home, shm) = (home(), tempfile::tempdir_in("/dev/shm").unwrap());
    let place = shm.path().display().to_string();
    let command = at_home(editor, home.path());
    let mut pty = start(home.path(), example(), &["edit", &place, "1", &command]);
    pty.expect("first line");
    assert_eq!(files(shm.path()), ["secrets.nix"], "while {editor} runs");
    press(&mut pty, keys);
    pty.expect("changed true, left []");
    assert_eq!(pty.end().code, Some(0));
    assert_eq!(files(home.path()), [".nanorc", ".vimrc"], "after {editor}");
    assert_eq!(fs::read_dir(shm.path()).unwrap().count(), 0);
}

/// Shows that the start files do leave copies when nobody stops them; otherwise `check` would prove nothing.
#[track_caller]
fn control(editor: &str, keys: &[&str]) {
    let home = home();
    let file = home.path().join("secrets.nix");
    fs::write(&file, "first line\n").unwrap();
    let command = at_home(editor, home.path());
    let mut words: Vec<&str> = command.split(' ').collect();
    words.push(file.to_str().unwrap());
    let mut pty = start(home.path(), words[0], &words[1..]);
    pty.expect("first line");
    press(&mut pty, keys);
    assert_eq!(pty.end().code, Some(0));
    let copies = files(&home.path().join("copies"));
    assert!(copies.len() >= 2, "{editor} left only {copies:?}");
}

fn press(pty: &mut Pty, keys: &[&str]) {
    for keys in keys {
        pty.send(keys);
        std::thread::sleep(Duration::from_millis(100));
    }
}

const VIM_KEYS: [&str; 3] = [":%s/first/other/\r", "/line\r", ":wq\r"];
const NANO_KEYS: [&str; 4] = ["other ", "\x18", "y", "\r"];

#[test]
fn vim_leaves_nothing() {
    control("vim", &VIM_KEYS);
    check("vim", &VIM_KEYS);
    check("vim -N -u NONE --cmd 'set backup undofile'", &VIM_KEYS);
}

#[test]
fn nano_leaves_nothing() {
    control("nano -f ~/.nanorc", &NANO_KEYS);
    check("nano -f ~/.nanorc", &NANO_KEYS);
}

#[test]
fn vim_can_be_left_with_an_error() {
    let (home, shm) = (home(), tempfile::tempdir_in("/dev/shm").unwrap());
    let place = shm.path().display().to_string();
    let mut pty = start(home.path(), example(), &["edit", &place, "1", "vim"]);
    pty.expect("first line");
    press(&mut pty, &[":cq\r"]);
    pty.expect("vim failed (exit status: 1)");
    assert_eq!(pty.end().code, Some(201));
}

#[test]
fn vim_that_is_ended_leaves_nothing() {
    let (home, shm) = (home(), tempfile::tempdir_in("/dev/shm").unwrap());
    let place = shm.path().display().to_string();
    let mut pty = start(home.path(), example(), &["edit", &place, "1", "vim"]);
    pty.expect("first line");
    press(&mut pty, &["ounsaved"]);
    pty.signal(rustix::process::Signal::TERM);
    let end = pty.end();
    assert_eq!((end.code, end.echoes), (Some(143), true));
    assert_eq!(files(home.path()), [".nanorc", ".vimrc"]);
    assert_eq!(fs::read_dir(shm.path()).unwrap().count(), 0);
}
