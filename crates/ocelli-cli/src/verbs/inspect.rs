//! `ocelli inspect`

use std::path::PathBuf;

use clap::Args;
use indicatif::DecimalBytes;
#[cfg(feature = "report")]
use ocelli::Decoder;
use ocelli::inspection::Report;
use ocelli::inspection::report::{ClassCounts, Finding, Histogram};
use ocelli::text_of;

use crate::errors::Failure;
use crate::flags::{ChannelFlags, DataFlags, ThreadFlags};
use crate::output::{self, message, println, progress_bar, shown};
use crate::terminal::is_warning;
use crate::text::{count, counted};
use crate::values::{seed, side};

/// Check a data set before training
///
/// Decodes every image once and lists what may be wrong: bad files, duplicates, rare classes and more.
/// Nothing is changed.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Inspect {
    /// Folder of photos with one folder per class, or a table of labels
    data: PathBuf,

    /// Image size that a network would see, in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 224, value_parser = side)]
    size: usize,
    /// Random seed of the split
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = seed)]
    seed: u64,
    /// Print everything as a JSON object
    #[arg(long)]
    json: bool,
    #[cfg(feature = "report")]
    /// Write an HTML page with pictures of the classes and of the findings
    ///
    /// With - it goes to standard output.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    threads: ThreadFlags,

    #[command(flatten)]
    source: DataFlags,
    #[command(flatten)]
    channels: ChannelFlags,
}

#[cfg(feature = "report")]
const EXAMPLES: &str = "Examples:
  ocelli inspect photos --html photos.html
  ocelli inspect dogbreeds --labels labels.csv --json > dogbreeds.json";
#[cfg(not(feature = "report"))]
const EXAMPLES: &str = "Examples:
  ocelli inspect photos
  ocelli inspect dogbreeds --labels labels.csv --json > dogbreeds.json";

/// The most cases of a finding that are listed; the JSON has all.
const CASES: usize = 5;
/// Up to this many classes are all listed; of more, half as many at either end.
const CLASSES: usize = 20;
/// Bins of the histograms, and the characters of their longest bar.
const BINS: usize = 12;
const BAR: usize = 24;

impl Inspect {
    pub fn run(&self) -> Result<(), Failure> {
        #[cfg(feature = "report")]
        let html =
            self.html.as_deref().map(|path| output::TextFile::new(path, "--html", self.json)).transpose()?;
        let channels = self.channels.channels();
        let data = self.source.builder(&self.data).channels(channels);
        let bar = progress_bar("   inspecting     {bar:30} {human_pos} of {human_len} images · {eta} left");
        let threads = self.threads.threads;
        let report = data.seed(self.seed).threads(threads).size(self.size).inspect(|total| {
            bar.set_length(total as u64);
            bar.inc(1);
        })?;
        bar.finish_and_clear();
        #[cfg(feature = "report")]
        if let Some(file) = &html {
            let usual = Decoder { channels, ..Decoder::default() };
            let decoder = self.source.max_pixels.map_or(usual, |max_pixels| Decoder { max_pixels, ..usual });
            let page = ocelli_report::inspect_page(&report, &decoder, threads)?;
            ocelli::write_whole(file.path(), page.as_bytes())?;
            if file.is_stdout() {
                return file.send();
            }
        }
        if self.json {
            output::json(&json(&report));
        } else {
            print(&report);
        }
        #[cfg(feature = "report")]
        if let Some(path) = &self.html {
            let line = format!("page     {}", shown(path.display()));
            if self.json { output::eprintln!("{line}") } else { println!("\n{line}") }
        }
        Ok(())
    }
}

/// Everything, with the images' ids beside their properties.
fn json(report: &Report) -> serde_json::Value {
    let ids: Vec<&str> = report.items.items.iter().map(|item| item.id.as_str()).collect();
    let labels: Vec<String> = (0..report.items.len()).map(|item| report.label(item)).collect();
    serde_json::json!({
        "data": text_of(&report.data),
        "ids": ids,
        "labels": labels,
        "task": report.items.task,
        "classes": report.class_counts(),
        "lost_by_crop": report.lost_by_crop(),
        "skipped": report.skipped,
        "notices": report.notices,
        "problem": report.problem,
        "inspection": report.inspection,
        "findings": report.findings(),
    })
}

fn print(report: &Report) {
    let images = &report.inspection.images;
    println!(
        "images   {} in {}, {}\n",
        counted(images.len(), "image"),
        counted(report.items.classes.len(), "class"),
        DecimalBytes(images.iter().map(|image| image.bytes).sum())
    );
    print_classes(report);
    print_sizes(report);
    print_kinds(report);
    let problems: Vec<&str> = report.problem.iter().flat_map(|problem| problem.lines()).collect();
    for problem in &problems {
        println!("warning  {}", message(problem));
    }
    let warned = report.notices.iter().any(|notice| is_warning(notice));
    print_findings(&report.findings(), problems.is_empty() && !warned);
    for notice in &report.notices {
        match notice.strip_prefix("warning: ") {
            Some(warning) => println!("warning  {}", message(warning)),
            None => println!("note     {}", message(notice)),
        }
    }
}

fn print_classes(report: &Report) {
    let mut classes = report.class_counts();
    classes.iter_mut().for_each(|class| class.class = shown(&class.class));
    let width = classes.iter().map(|class| class.class.chars().count()).max().unwrap_or(0).max(5);
    println!(
        "         {:width$}  {:>7}  {:>7}  {:>7}  {:>12}",
        "class", "train", "valid", "test", "lost by crop"
    );
    let many = classes.len() > CLASSES;
    if many {
        // The largest and the smallest classes are the most informative.
        classes.sort_by_key(|class| std::cmp::Reverse(class.train + class.valid + class.test));
    }
    let left_out = classes.len().saturating_sub(CLASSES);
    for (index, ClassCounts { class, train, valid, test, lost_by_crop }) in classes.iter().enumerate() {
        if many && index == CLASSES / 2 {
            println!("         … {left_out} more …");
        }
        if !many || !(CLASSES / 2..CLASSES / 2 + left_out).contains(&index) {
            let [train, valid, test] = [train, valid, test].map(|images| count(*images));
            println!("         {class:width$}  {train:>7}  {valid:>7}  {test:>7}  {lost_by_crop:>10} %");
        }
    }
    let without = report.items.items.iter().filter(|item| item.target.classes().is_empty()).count();
    if without > 0 {
        println!("         {} without a label", counted(without, "image"));
    }
    println!();
}

fn print_sizes(report: &Report) {
    let (widths, heights) = report.sizes();
    for (name, sides) in [("width", &widths), ("height", &heights)] {
        if sides.is_empty() {
            return;
        }
        let [least, middle, most] =
            [0, sides.len() / 2, sides.len() - 1].map(|index| count(sides[index] as usize));
        match least == most {
            true => println!("{name:8} {least} pixels"),
            false => println!("{name:8} {least} to {most} pixels, median {middle}"),
        }
        let Histogram { start, step, counts, beyond } = Histogram::of(sides, BINS);
        let most = counts.iter().copied().max().unwrap_or(0).max(beyond).max(1);
        let bars =
            counts.iter().enumerate().map(|(bin, images)| (start + bin as u32 * step, Some(step), *images));
        let more = (beyond > 0).then_some((start + counts.len() as u32 * step, None, beyond));
        for (from, step, images) in bars.chain(more) {
            let to = match step {
                Some(1) => String::new(),
                Some(step) => format!("… {}", from + step - 1),
                None => "…".to_owned(),
            };
            let bar = "█".repeat((images * BAR).div_ceil(most));
            println!(
                "         {from:>6} {to:<8} {bar}{}{}",
                if images > 0 { " " } else { "" },
                count(images)
            );
        }
    }
    println!(
        "\n         a centre crop to a square loses {:.0} % of the area on average",
        report.lost_by_crop() * 100.0
    );
    let small = report.inspection.images.iter().filter(|image| image.smaller_than(report.size)).count();
    if small > 0 {
        println!("         {} smaller than {} px and will be enlarged", are(small), report.size);
    }
    println!();
}

fn print_kinds(report: &Report) {
    fn list<'a>(kinds: impl Iterator<Item = (&'a str, usize)>) -> String {
        let kinds: Vec<String> = kinds.map(|(kind, images)| format!("{kind} {}", count(images))).collect();
        kinds.join(" · ")
    }
    let (formats, colours) = report.kinds();
    println!("formats  {}", list(formats.iter().map(|(kind, images)| (*kind, *images))));
    println!("colours  {}\n", list(colours.iter().map(|(kind, images)| (kind.as_str(), *images))));
}

fn print_findings(findings: &[Finding], all_well: bool) {
    if findings.is_empty() && all_well {
        println!("no problems found");
    }
    for Finding { title, advice, cases } in findings {
        let advice = if advice.is_empty() { String::new() } else { format!("   ({advice})") };
        println!("{}: {}{}", message(title), count(cases.len()), message(advice));
        for case in cases.iter().take(CASES) {
            println!("         {}", message(&case.text));
        }
        if cases.len() > CASES {
            println!("         … {} more, see --json", count(cases.len() - CASES));
        }
    }
}

/// `1 is`, `3 are`
fn are(images: usize) -> String {
    format!("{} {}", count(images), if images == 1 { "is" } else { "are" })
}
