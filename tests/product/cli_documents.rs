//! Shell completions and man pages: bash and man accept them.

use crate::support::process::command;
use crate::support::{TemporaryFile, skip};
use std::process::{Command, Output};

fn print(arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = command(arguments).output().unwrap();
    assert!(status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

#[test]
fn bash_completes_commands_and_flags() {
    let script = TemporaryFile::new("bash", &print(&["completions", "bash"]));
    for (words, expected) in [
        ("streamgauge ta", "tail"),
        ("streamgauge tail --col", "--cold"),
        ("streamgauge --upst", "--upstream"),
        ("streamgauge completions fi", "fish"),
    ] {
        let program = format!(
            "source {}\nCOMP_WORDS=({words})\nCOMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n\
             _streamgauge streamgauge \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"\n\
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            script.path()
        );
        let bash = Command::new("bash").args(["--norc", "-c", &program]).output();
        let Ok(bash) = bash else { return skip("bash is not installed") };
        let replies = String::from_utf8(bash.stdout).unwrap();
        assert!(replies.lines().any(|reply| reply == expected), "{words}: {replies}");
        assert_eq!(String::from_utf8(bash.stderr).unwrap(), "", "{words}");
    }
}

#[test]
fn every_shell_has_completions() {
    for (shell, words) in [("zsh", "#compdef streamgauge"), ("fish", "complete -c streamgauge")] {
        let script = print(&["completions", shell]);
        assert!(script.contains(words) && script.contains("slow"), "{shell}: {script}");
    }
    assert_eq!(command(&["completions", "none"]).output().unwrap().status.code(), Some(64));
}

#[test]
fn man_reads_the_pages() {
    for (arguments, name, words) in [
        (&["man"][..], "streamgauge", "--upstream"),
        (&["man", "tail"], "streamgauge-tail", "--slow"),
        (&["man", "top"], "streamgauge-top", "--token-file"),
    ] {
        let page = print(arguments);
        assert!(page.contains(&format!(".TH {name} 1")), "{page}");
        let file = TemporaryFile::new("1", &page);
        match Command::new("lexgrog").arg(file.path()).output() {
            Ok(Output { status, stdout, .. }) => {
                let stdout = String::from_utf8(stdout).unwrap();
                assert!(status.success() && stdout.contains(&format!("\"{name} - ")), "{stdout}");
            }
            Err(_) => skip("lexgrog is not installed"),
        }
        let mut man = Command::new("man");
        man.args(["--warnings", "-l", file.path()]).env("LC_ALL", "C").env("MANWIDTH", "200");
        let Ok(shown) = man.output() else {
            skip("man is not installed");
            continue;
        };
        let text = String::from_utf8(shown.stdout).unwrap();
        assert!(shown.status.success() && text.contains(words), "{text}");
        assert_eq!(String::from_utf8(shown.stderr).unwrap(), "", "warnings of man");
    }
    assert_eq!(command(&["man", "nothing"]).output().unwrap().status.code(), Some(64));
}
