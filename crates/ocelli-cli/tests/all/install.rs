//! What comes with the command when it is installed: the version, completions, manual pages, samples.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::{Place, samples, snapshot, stderr};

/// The verbs, by the command's own help.
fn verbs(place: &Place) -> Vec<String> {
    let help = place.run(&["--help"]);
    let listed =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let verbs: Vec<String> = listed
        .map(|line| line.split_whitespace().next().unwrap().to_owned())
        .filter(|verb| verb != "help")
        .collect();
    assert!(verbs.len() >= 16, "{help}");
    verbs
}

#[test]
fn the_version_says_what_was_built_and_what_is_found() {
    let place = Place::empty();
    let short = format!("ocelli {}\n", env!("CARGO_PKG_VERSION"));
    for flag in ["--version", "-V"] {
        assert_eq!(place.run(&[flag]), short);
    }
    let long = place.run(&["--version", "--verbose"]);
    assert_eq!(place.run(&["-vV"]), long);
    assert!(long.starts_with(&short), "{long}");
    let line = |name: &str| {
        let line = long.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name}: {long}")).trim().to_owned()
    };
    assert_eq!(line("cache folder"), place.path("cache").display().to_string());
    assert!(line("threads").parse::<usize>().unwrap() >= 1);
    assert!(line("instructions").starts_with("portable"), "{long}");
    assert!(line("built for").contains(std::env::consts::ARCH), "{long}");
    assert!(line("features").split(", ").any(|feature| feature == "hub"), "{long}");

    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let head = Command::new("git").arg("-C").arg(&root).args(["rev-parse", "HEAD"]).output();
    match head.ok().filter(|head| head.status.success() && root.join(".git").exists()) {
        Some(head) => {
            assert!(line("commit").starts_with(String::from_utf8_lossy(&head.stdout).trim()), "{long}")
        }
        None => eprintln!("skipped: this is no clone"),
    }

    let forced = place.ocelli(&["-Vv"]).env("OCELLI_ISA", "portable").output().unwrap();
    assert!(String::from_utf8_lossy(&forced.stdout).contains("(used: portable)"), "{forced:?}");

    for arguments in [&["--verbose"][..], &["--version", "train"], &["--version", "--nonsense"]] {
        let output = place.ocelli(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn every_shell_has_completions_that_know_every_verb_and_no_flag_that_is_only_refused() {
    let place = Place::empty();
    let verbs = verbs(&place);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = place.run(&["completions", shell]);
        for verb in &verbs {
            assert!(script.contains(verb.as_str()), "{shell} does not know {verb}");
        }
        assert!(script.contains("learning") || shell == "bash", "{shell} shows no help");
        assert!(script.contains("head-epochs") && !script.contains("img-size"), "{shell}");
        assert_eq!(place.run(&["completions", &shell.to_uppercase()]), script);
    }
    let refused = place.refusal(&["completions", "cobra"]);
    for word in ["cobra", "bash", "zsh", "fish"] {
        assert!(refused.contains(word), "{refused}");
    }
    assert!(place.refusal(&["completions"]).contains("SHELL"));
}

#[test]
fn the_completions_work_in_bash() {
    let place = Place::empty();
    fs::write(place.path("ocelli.bash"), place.run(&["completions", "bash"])).unwrap();
    let complete = |words: &str, last: usize| {
        let script = format!(
            "source ocelli.bash && COMP_WORDS=({words}) && COMP_CWORD={last} && \
             _ocelli ocelli \"${{COMP_WORDS[$COMP_CWORD]}}\" && printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        let output = Command::new("bash").args(["-c", &script]).current_dir(place.path("")).output();
        output.map(|output| {
            String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
        })
    };
    let Ok(found) = complete("ocelli mo", 1) else {
        eprintln!("skipped: there is no bash here");
        return;
    };
    assert_eq!(found, ["models"]);
    assert_eq!(complete("ocelli models --ben", 2).unwrap(), ["--benchmark"]);
    assert_eq!(complete("ocelli completions fi", 2).unwrap(), ["fish"]);
}

#[test]
fn every_verb_has_a_manual_page() {
    let place = Place::empty();
    let printed = place.run(&["man", "man/man1"]);
    let verbs = verbs(&place);
    let mut names: Vec<String> = fs::read_dir(place.path("man/man1"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let mut wanted: Vec<String> = verbs.iter().map(|verb| format!("ocelli-{verb}.1")).collect();
    wanted.push("ocelli.1".to_owned());
    wanted.sort();
    assert_eq!(names, wanted);
    assert_eq!(printed.lines().count(), wanted.len());
    let main = place.read("man/man1/ocelli.1");
    assert_eq!(place.run(&["man"]), main);
    let train = place.read("man/man1/ocelli-train.1");
    for (page, part) in [(&main, "ocelli\\-train(1)"), (&train, "\\-\\-head\\-epochs"), (&train, "Examples:")]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!train.contains("img\\-size"), "flags that are only refused are not shown");
    assert!(main.contains(concat!("Ocelli ", env!("CARGO_PKG_VERSION"))), "{main}");

    // A second time is as good as an upgrade.
    fs::write(place.path("man/man1/ocelli.1"), "old").unwrap();
    place.run(&["man", "man/man1"]);
    assert_eq!(place.read("man/man1/ocelli.1"), main);

    fs::write(place.path("file"), "").unwrap();
    for folder in ["file", "file/below"] {
        let refused = place.refusal(&["man", folder]);
        assert!(
            refused.contains(&format!("cannot create {folder}: it, or a part of its path, is a file")),
            "{refused}"
        );
    }
    assert!(place.refusal(&["man", "-"]).contains("FOLDER -"));
    // Nobody can make a folder there, root neither.
    if Path::new("/proc/self").exists() {
        let refused = place.refusal(&["man", "/proc/man"]);
        assert!(refused.contains("cannot create /proc/man: nothing can be created in /proc"), "{refused}");
    }
}

#[test]
fn the_samples_are_those_of_the_repository_and_can_be_trained_on() {
    let place = Place::empty();
    let printed = place.run(&["samples"]);
    assert_eq!(printed, "samples  samples\nnext     ocelli train samples/emoji\n");
    let root = samples().parent().unwrap().to_owned();
    let written = snapshot(&place.path("samples"));
    let named = |root: &Path, files: Vec<(std::path::PathBuf, Vec<u8>)>| -> Vec<_> {
        files.into_iter().map(|(path, bytes)| (path.strip_prefix(root).unwrap().to_owned(), bytes)).collect()
    };
    let mut wanted = named(&root, snapshot(&root));
    wanted.retain(|(path, _)| path.extension().is_none_or(|end| end != "py"));
    assert!(wanted.len() > 700);
    assert!(
        named(&place.path("samples"), written) == wanted,
        "samples.tar.gz is not the folder samples: run ci/samples"
    );
    place.run(&["inspect", "samples/emoji", "--json"]);
    let left: Vec<_> =
        fs::read_dir(place.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 1 + usize::from(place.path("cache").exists()), "{left:?}");

    // A name with a space is quoted for the shell.
    assert!(place.run(&["samples", "my samples"]).ends_with("ocelli train 'my samples/emoji'\n"));
}

#[test]
fn samples_overwrite_nothing_and_leave_nothing_behind() {
    let place = Place::empty();
    fs::create_dir(place.path("samples")).unwrap();
    fs::write(place.path("samples/mine"), "x").unwrap();
    fs::write(place.path("file"), "x").unwrap();
    for (arguments, wanted) in [
        (&["samples"][..], "samples: it exists already"),
        (&["samples", "file"], "file: it exists already"),
        (&["samples", "."], "it exists already"),
        (&["samples", "file/below"], "cannot write file/below"),
        (&["samples", "-"], "FOLDER -"),
        (&["samples", ""], "FOLDER"),
    ] {
        let refused = place.refusal(arguments);
        assert!(refused.contains(wanted), "{arguments:?}: {refused}");
        assert!(!refused.contains("os error"), "{refused}");
    }
    assert_eq!(snapshot(&place.path("samples")).len(), 1);
    assert_eq!(fs::read_dir(place.path("")).unwrap().count(), 2, "nothing is left behind");

    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("nowhere", place.path("link")).unwrap();
        assert!(place.refusal(&["samples", "link"]).contains("exists already"));
        // Nobody can write there, root neither.
        if Path::new("/proc/self").exists() {
            let refused = place.refusal(&["samples", "/proc/samples"]);
            assert!(
                refused.contains("cannot write /proc/samples: nothing can be created in /proc"),
                "{refused}"
            );
        }
    }
}
