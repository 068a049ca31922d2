//! The bench's target for Tollgate stays runnable: its files are taken, and its key is a key.

use std::path::Path;
use std::process::Command;

use tollgate_tests::binary;

#[test]
fn the_configuration_that_is_measured_is_one_that_is_taken() {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/tollgate.toml");
    let target: toml::Table = std::fs::read_to_string(target)
        .expect("the target")
        .parse()
        .expect("TOML");
    let folder = tempfile::tempdir().expect("a folder");
    let fill = |text: &str| {
        text.replace("${port}", "0")
            .replace("${upstream}", "http://127.0.0.1:9")
    };
    for (name, text) in target["files"].as_table().expect("files") {
        std::fs::write(
            folder.path().join(name),
            fill(text.as_str().expect("a text")),
        )
        .expect("written");
    }
    let words = |command: &toml::Value| -> Vec<String> {
        let words = command.as_array().expect("a command");
        words
            .iter()
            .map(|word| fill(word.as_str().expect("a word")))
            .collect()
    };
    let run = |words: Vec<String>| {
        let mut path = binary().parent().expect("a folder").as_os_str().to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").expect("PATH"));
        let output = Command::new(&words[0])
            .args(&words[1..])
            .current_dir(folder.path())
            .env("PATH", path)
            .env("MOCK_KEY", "sk-mock")
            .env_remove("DATABASE_URL")
            .output()
            .expect("it runs");
        assert!(
            output.status.success(),
            "{words:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("text")
    };
    for command in target["prepare"].as_array().expect("commands") {
        run(words(command));
    }
    run(["tollgate", "--config", "tollgate.toml", "check"]
        .map(str::to_owned)
        .to_vec());
    let key = run(words(&target["key_command"]));
    assert!(key.starts_with("tg_") && key.trim().len() > 30, "{key}");
}
