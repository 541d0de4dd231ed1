//! The verbs: one file each, with its flags, its help and its implementation.

mod augment;
#[cfg(feature = "serve")]
mod clean;
#[cfg(feature = "report")]
mod compare;
mod completions;
mod doctor;
mod embed;
#[cfg(feature = "report")]
mod evaluate;
mod explain;
#[cfg(feature = "onnx")]
mod export;
mod inspect;
mod lr_find;
mod man;
mod models;
mod plan;
mod predict;
mod pull;
#[cfg(feature = "report")]
mod report;
mod samples;
#[cfg(feature = "serve")]
mod serve;
mod show;
mod similar;
mod submit;
mod train;
mod version;
#[cfg(all(feature = "report", feature = "serve"))]
mod watch;

use clap::error::ErrorKind;
use clap::{Command, CommandFactory, Parser, Subcommand};

use crate::errors::Failure;

/// Trains image classifiers: a folder of photos in, a classifier out.
#[derive(Debug, Parser)]
#[command(name = "ocelli", version, disable_version_flag = true, max_term_width = 80)]
#[command(arg_required_else_help = true, args_conflicts_with_subcommands = true)]
#[command(after_help = "To begin:
  ocelli samples
  ocelli train samples/emoji")]
pub struct Ocelli {
    /// Print the version
    #[arg(long, short = 'V')]
    version: bool,
    /// With --version: the commit, the features, and what is found on this machine
    #[arg(long, short, requires = "version")]
    verbose: bool,
    #[command(subcommand)]
    verb: Option<Verb>,
}

impl Ocelli {
    pub fn run(&self) -> Result<(), Failure> {
        match &self.verb {
            Some(verb) => verb.run(),
            None if self.version => {
                version::print(self.verbose);
                Ok(())
            }
            None => Err(Failure::Usage(command().error(ErrorKind::MissingSubcommand, "a verb is missing"))),
        }
    }
}

#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant)] // one value a process
enum Verb {
    Train(train::Train),
    #[cfg(all(feature = "report", feature = "serve"))]
    Watch(watch::Watch),
    LrFind(lr_find::LrFind),
    Predict(predict::Predict),
    #[cfg(feature = "report")]
    Evaluate(evaluate::Evaluate),
    Inspect(inspect::Inspect),
    Augment(augment::Augment),
    #[cfg(feature = "serve")]
    Serve(serve::Serve),
    #[cfg(feature = "serve")]
    Clean(clean::Clean),
    Explain(explain::Explain),
    Embed(embed::Embed),
    Similar(similar::Similar),
    #[cfg(feature = "report")]
    Report(report::Report),
    #[cfg(feature = "report")]
    Compare(compare::Compare),
    Show(show::Show),
    Submit(submit::Submit),
    #[cfg(feature = "onnx")]
    Export(export::Export),
    Models(models::Models),
    Plan(plan::Plan),
    Pull(pull::Pull),
    Samples(samples::Samples),
    Doctor(doctor::Doctor),
    Completions(completions::Completions),
    Man(man::Man),
}

impl Verb {
    fn run(&self) -> Result<(), Failure> {
        match self {
            Self::Train(verb) => verb.run(),
            #[cfg(all(feature = "report", feature = "serve"))]
            Self::Watch(verb) => verb.run(),
            Self::LrFind(verb) => verb.run(),
            Self::Predict(verb) => verb.run(),
            #[cfg(feature = "report")]
            Self::Evaluate(verb) => verb.run(),
            Self::Inspect(verb) => verb.run(),
            Self::Augment(verb) => verb.run(),
            #[cfg(feature = "serve")]
            Self::Serve(verb) => verb.run(),
            #[cfg(feature = "serve")]
            Self::Clean(verb) => verb.run(),
            Self::Explain(verb) => verb.run(),
            Self::Embed(verb) => verb.run(),
            Self::Similar(verb) => verb.run(),
            #[cfg(feature = "report")]
            Self::Report(verb) => verb.run(),
            #[cfg(feature = "report")]
            Self::Compare(verb) => verb.run(),
            Self::Show(verb) => verb.run(),
            Self::Submit(verb) => verb.run(),
            #[cfg(feature = "onnx")]
            Self::Export(verb) => verb.run(),
            Self::Models(verb) => verb.run(),
            Self::Plan(verb) => verb.run(),
            Self::Pull(verb) => verb.run(),
            Self::Samples(verb) => verb.run(),
            Self::Doctor(verb) => verb.run(),
            Self::Completions(verb) => verb.run(),
            Self::Man(verb) => verb.run(),
        }
    }
}

/// The complete command.
pub fn command() -> Command {
    documented().mut_subcommand("train", train::complete)
}

/// The command without the flags that it knows only to refuse them: for shell completions and manual pages.
fn documented() -> Command {
    let command = Ocelli::command().mut_subcommand("plan", plan::complete);
    #[cfg(feature = "report")]
    let command = command.mut_subcommand("evaluate", evaluate::complete);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The flags of a verb, without those of other trainers, which are only refused.
    fn flags_of(verb: &Command) -> impl Iterator<Item = &clap::Arg> {
        verb.get_arguments().filter(|argument| argument.get_long().is_some() && !argument.is_hide_set())
    }

    /// The lines of a text from `Examples:` on that begin with the command.
    fn examples(help: &str) -> Vec<String> {
        let lines = help.lines().skip_while(|line| *line != "Examples:").skip(1);
        let command = lines.filter_map(|line| line.find("ocelli ").map(|start| line[start..].to_owned()));
        command.map(|line| line.split(" > ").next().unwrap_or_default().trim().to_owned()).collect()
    }

    #[test]
    fn the_command_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn every_help_fits_a_screen_in_short_and_has_examples_that_parse() {
        let mut ocelli = command();
        ocelli.build();
        for verb in ocelli.get_subcommands_mut().filter(|verb| verb.get_name() != "help") {
            let name = verb.get_name().to_owned();
            let (short, long) = (verb.render_help().to_string(), verb.render_long_help().to_string());
            let widest = short.lines().map(|line| line.chars().count()).max().unwrap_or(0);
            let height = short.lines().count();
            assert!(
                height <= 40 && widest <= 80,
                "{name} -h has {height} lines of {widest} columns:\n{short}"
            );
            let found = examples(&long);
            assert!(found.len() >= 2, "{name} --help has {} examples:\n{long}", found.len());
            for example in found.iter().chain(&examples(&short)) {
                let words = example.split_whitespace().map(|word| word.trim_matches('\''));
                if let Err(error) = command().try_get_matches_from(words) {
                    panic!("{example}: {error}");
                }
            }
            if long.lines().filter(|line| line.trim_start().starts_with("--")).count()
                > short.lines().filter(|line| line.trim_start().starts_with("--")).count()
            {
                assert!(short.contains("--help"), "{name} -h does not say that there is more:\n{short}");
            }
        }
    }

    #[test]
    fn every_flag_has_one_meaning_in_one_line() {
        let mut meanings = std::collections::BTreeMap::new();
        for verb in command().get_subcommands() {
            for flag in flags_of(verb) {
                let (name, id) = (flag.get_long().unwrap().to_owned(), flag.get_id().to_string());
                let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
                assert!(!help.is_empty() && !help.ends_with('.'), "{} --{name}: {help}", verb.get_name());
                let kind = format!("{:?}", flag.get_value_parser().type_id());
                let first = meanings.entry(name.clone()).or_insert((kind.clone(), id.clone()));
                assert_eq!(first.0, kind, "--{name} of {} takes something else", verb.get_name());
            }
        }
    }

    #[test]
    fn flags_of_other_trainers_are_refused_with_those_to_use() {
        for (flag, advice) in
            [("--epochs", "--unfrozen-epochs"), ("--model", "--arch"), ("--imgsz", "--size")]
        {
            let error = command().try_get_matches_from(["ocelli", "train", "photos", flag, "1"]).unwrap_err();
            let text = error.to_string();
            assert!(text.contains("unexpected argument") && text.contains(advice), "{text}");
        }
    }

    #[test]
    fn a_resumed_run_takes_no_settings() {
        let refused = |arguments: &[&str]| {
            let words = ["ocelli", "train", "--resume", "run"].iter().chain(arguments);
            command().try_get_matches_from(words).is_err()
        };
        let train = command().find_subcommand("train").unwrap().clone();
        let mut settings = 0;
        for flag in flags_of(&train) {
            let name = format!("--{}", flag.get_long().unwrap());
            let takes_value = flag.get_action().takes_values();
            let free = [
                "--data",
                "--skip-changed",
                "--out",
                "--tensorboard",
                "--trace",
                "--watch",
                "--device",
                "--threads",
                "--cache",
                "--join",
                "--rank",
                "--ranks",
                "--data-per-rank",
                "--quiet",
                "--verbose",
            ];
            if ["--resume", "--help"].contains(&name.as_str()) {
                continue;
            }
            let value = match flag.get_long().unwrap() {
                "threads" => "1",
                "device" => "cpu",
                _ => "x",
            };
            let given: &[&str] = match takes_value {
                // Each needs the others.
                _ if ["--join", "--rank", "--ranks"].contains(&name.as_str()) => {
                    &["--join", "host:1", "--rank", "0", "--ranks", "2"]
                }
                true => &[&name, value],
                false => &[&name],
            };
            assert_eq!(refused(given), !free.contains(&name.as_str()), "{name}");
            settings += usize::from(!free.contains(&name.as_str()));
        }
        assert!(settings > 50 && refused(&["photos"]), "{settings}");
    }
}
