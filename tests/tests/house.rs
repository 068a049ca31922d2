//! The house keeps its plan: rooms import only from the floors below, files stay readable, money
//! meets no float, and what the README tells people to type exists.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tollgate_tests::binary;

/// From the ground up. A room may use any room of a lower floor.
const FLOORS: [&[&str]; 9] = [
    &["money", "time", "id"],
    &["chat", "catalog", "settings"],
    &["pricing", "access", "compliance"],
    &["routing", "ledger", "backend", "history"],
    &["stack", "fleet"],
    &["edge"],
    &["serve"],
    &["demo"],
    &["commands"],
];

/// Every arrow that does not point down, with the one reason why it may stand.
const EXCEPTIONS: [(&str, &str, &str); 4] = [
    (
        "money",
        "chat",
        "a rate times a number of tokens is an amount",
    ),
    (
        "catalog",
        "chat",
        "an offer's context is a number of tokens",
    ),
    (
        "access",
        "ledger",
        "a key says who pays, in the ledger's words, and lies in its database",
    ),
    (
        "history",
        "ledger",
        "what is kept of conversations lies in the ledger's database",
    ),
];

/// Longest file, tests not counted.
const MOST_LINES: usize = 500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
}

fn rust_files(folder: &str) -> Vec<PathBuf> {
    let mut folders = vec![root().join(folder)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a source folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    assert!(!files.is_empty(), "{folder} holds no source");
    files
}

/// The file's code: without comments, and without the tests at its end.
fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).expect("a source file");
    let (text, _) = text
        .split_once("#[cfg(test)]\nmod tests {")
        .unwrap_or((&text, ""));
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// `gateway/src/ledger/spool/log.rs` lies in `ledger`, `gateway/src/money.rs` in `money`.
fn room(file: &Path) -> String {
    let inside = file
        .strip_prefix(root().join("gateway/src"))
        .expect("a file of the gateway");
    let first = inside.components().next().expect("a name");
    let name = first.as_os_str().to_string_lossy();
    name.trim_end_matches(".rs").to_owned()
}

/// The rooms that a piece of code names by `crate::`.
fn named(code: &str) -> BTreeSet<String> {
    let word = |text: &str| -> String {
        text.chars()
            .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
            .collect()
    };
    let mut rooms = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let Some(group) = rest.strip_prefix('{') else {
            rooms.insert(word(rest));
            continue;
        };
        let mut depth = 0;
        let mut start = true;
        for (at, letter) in group.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                _ if start && !letter.is_whitespace() => {
                    rooms.insert(word(&group[at..]));
                    start = false;
                }
                _ => {}
            }
        }
    }
    rooms
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

#[test]
fn the_reader_of_imports_sees_every_form() {
    let code = "use crate::money::Money;\nuse crate::{chat::{Tokens, Usage}, id, time::{self}};\nlet x = crate::ledger::Entry;";
    let rooms: Vec<String> = named(code).into_iter().collect();
    assert_eq!(rooms, ["chat", "id", "ledger", "money", "time"]);
}

#[test]
fn every_room_imports_only_from_the_floors_below() {
    let mut wrong = Vec::new();
    let mut used = BTreeSet::new();
    for file in rust_files("gateway/src") {
        let from = room(&file);
        if from == "lib" || from == "main" {
            continue;
        }
        let shown = file
            .strip_prefix(root())
            .expect("inside")
            .display()
            .to_string();
        let Some(ours) = floor(&from) else {
            wrong.push(format!("{shown}: the room `{from}` stands on no floor; say where in this test and in the design"));
            continue;
        };
        for to in named(&code(&file)) {
            let Some(theirs) = floor(&to) else { continue };
            let excepted = EXCEPTIONS
                .iter()
                .any(|(one, other, _)| *one == from && *other == to);
            if excepted {
                used.insert((from.clone(), to.clone()));
            }
            if to != from && theirs >= ours && !excepted {
                wrong.push(format!(
                    "{shown}: `{from}` (floor {ours}) uses `{to}` (floor {theirs})"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    for (from, to, _) in EXCEPTIONS {
        let needed = used.contains(&(from.to_owned(), to.to_owned()));
        assert!(
            needed,
            "the exception {from} -> {to} is needed no more: take it out"
        );
    }
}

#[test]
fn the_engine_never_knows_the_gateway() {
    for file in rust_files("selfhost/src") {
        assert!(!code(&file).contains("tollgate::"), "{}", file.display());
    }
}

#[test]
fn a_room_that_must_not_know_http_does_not() {
    for file in rust_files("gateway/src") {
        let room = room(&file);
        let code = code(&file);
        let forbidden: &[&str] = match room.as_str() {
            "chat" | "money" | "time" | "id" | "catalog" | "pricing" | "compliance" | "routing" => {
                &["hyper::", "reqwest::", "axum::", "sqlx::", "tokio::net"]
            }
            "ledger" | "access" | "history" => &["hyper::", "reqwest::", "axum::"],
            _ => &[],
        };
        for word in forbidden {
            assert!(
                !code.contains(word),
                "{}: `{room}` knows {word}",
                file.display()
            );
        }
    }
}

#[test]
fn no_float_comes_near_money() {
    for file in rust_files("gateway/src") {
        if ["money", "pricing", "ledger"].contains(&room(&file).as_str()) {
            let code = code(&file);
            let words = code.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
            let found = words.filter(|word| ["f32", "f64"].contains(word)).count();
            assert_eq!(found, 0, "{}: a float", file.display());
        }
    }
}

#[test]
fn files_open_with_what_they_are_and_stay_readable() {
    let mut wrong = Vec::new();
    for folder in ["gateway/src", "selfhost/src", "tests/src", "tests/tests"] {
        for file in rust_files(folder) {
            let shown = file
                .strip_prefix(root())
                .expect("inside")
                .display()
                .to_string();
            let text = fs::read_to_string(&file).expect("a source file");
            if !text.starts_with("//! ") {
                wrong.push(format!(
                    "{shown}: opens without a paragraph that says what lives here"
                ));
            }
            let lines = code(&file).lines().count();
            // Tests are read one at a time.
            let tests = shown.contains("tests") || shown.contains("sample");
            if lines
                > if tests {
                    MOST_LINES * 3 / 2
                } else {
                    MOST_LINES
                }
            {
                wrong.push(format!(
                    "{shown}: {lines} lines of code; is it one room, or two behind one door?"
                ));
            }
            let name = file
                .file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            let vague = [
                "util", "utils", "helper", "helpers", "common", "misc", "manager", "managers",
            ];
            if vague.contains(&name.as_str()) {
                wrong.push(format!("{shown}: a name that says nothing"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Lines of the README's code blocks, continuations joined.
fn readme_commands() -> Vec<String> {
    let text = fs::read_to_string(root().join("README.md")).expect("a README.md");
    let blocks = text.split("```").skip(1).step_by(2);
    let joined: Vec<String> = blocks.map(|block| block.replace("\\\n", " ")).collect();
    let lines = joined.iter().flat_map(|block| block.lines());
    lines
        .map(|line| line.trim().trim_start_matches("$ ").to_owned())
        .collect()
}

#[test]
fn every_tollgate_command_of_the_readme_exists_with_its_options() {
    let mut helps: BTreeMap<Vec<String>, String> = BTreeMap::new();
    let mut seen = 0;
    for line in readme_commands() {
        // What follows a pipe or a comment is not ours.
        let line = line.split([';', '|', '#', '>']).next().unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(at) = words
            .iter()
            .position(|word| *word == "tollgate" || word.ends_with("/tollgate"))
        else {
            continue;
        };
        if words[..at].iter().any(|word| !word.contains('=')) {
            continue;
        }
        seen += 1;
        let is_name = |word: &&&str| {
            word.bytes()
                .all(|letter| letter.is_ascii_lowercase() || letter == b'-')
        };
        let path: Vec<String> = words[at + 1..]
            .iter()
            .take_while(is_name)
            .filter(|word| !word.starts_with('-'))
            .map(|word| (*word).to_owned())
            .collect();
        let help = helps.entry(path.clone()).or_insert_with(|| help_of(&path));
        for option in words[at + 1..]
            .iter()
            .filter(|word| word.starts_with("--") && word.len() > 2)
        {
            let option = option.split('=').next().unwrap_or_default();
            assert!(
                help.contains(option),
                "README: `{line}`: `{path:?}` has no {option}:\n{help}"
            );
        }
    }
    assert!(seen > 0, "the README shows no command of ours");
}

/// The help of the longest known beginning of these words: later ones are arguments.
fn help_of(path: &[String]) -> String {
    for length in (0..=path.len()).rev() {
        let output = Command::new(binary())
            .args(&path[..length])
            .arg("--help")
            .output()
            .expect("tollgate runs");
        let help = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            assert!(
                length > 0 || path.is_empty(),
                "README: tollgate has no command `{}`",
                path.join(" ")
            );
            return help;
        }
    }
    panic!("`tollgate --help` fails");
}
