//! `ocelli inspect`

use std::collections::BTreeMap;

use anstream::println;
use indicatif::{DecimalBytes, ProgressBar, ProgressStyle};
use ocelli::{Group, ImageData, ImageFacts, Inspected};

use crate::Failure;
use crate::arguments::Inspect;
use crate::words::{count, counted};

/// So many examples of a finding are listed; all of them are in the JSON.
const EXAMPLES: usize = 5;

pub fn run(arguments: &Inspect) -> Result<(), Failure> {
    let mut data = match arguments.source.data() {
        (table, Some(options)) => ImageData::from_csv(table, options),
        (folder, None) => ImageData::from_folder(folder),
    };
    if let Some(held_out) = arguments.source.held_out()? {
        data = data.hold_out(held_out);
    }
    let bar = ProgressBar::new(0);
    let template = "   looking  {bar:30} {human_pos} of {human_len} images · {eta} left";
    bar.set_style(ProgressStyle::with_template(template).expect("a valid template").progress_chars("━╸ "));
    let found = data.seed(arguments.seed).threads(arguments.threads).inspect(|total| {
        bar.set_length(total as u64);
        bar.inc(1);
    })?;
    bar.finish_and_clear();
    if arguments.json {
        println!("{}", json(&found));
    } else {
        print(&found, arguments.size as u32);
    }
    Ok(())
}

/// Everything, with the images' ids beside their facts.
fn json(found: &Inspected) -> serde_json::Value {
    let ids: Vec<&str> = found.items.items.iter().map(|item| item.id.as_str()).collect();
    serde_json::json!({
        "ids": ids,
        "task": found.items.task,
        "skipped": found.skipped,
        "notices": found.notices,
        "problem": found.problem,
        "inspection": found.inspection,
    })
}

fn print(found: &Inspected, size: u32) {
    let Inspected { items, inspection, .. } = found;
    let images = &inspection.images;
    let total: u64 = images.iter().map(|image| image.bytes).sum();
    println!(
        "images   {} in {}, {}\n",
        counted(images.len(), "image"),
        counted(items.classes.len(), "class"),
        DecimalBytes(total)
    );
    print_classes(found);
    print_sizes(images, size);
    print_kinds(images);
    print_findings(found, size);
}

fn print_classes(found: &Inspected) {
    let classes = &found.inspection.classes;
    let width = classes.iter().map(|class| class.name.chars().count()).max().unwrap_or(0).max(5);
    println!("         {:width$}  {:>7}  {:>7}  {:>7}", "class", "train", "valid", "test");
    // The largest and the smallest say most.
    let mut order: Vec<usize> = (0..classes.len()).collect();
    if classes.len() > 20 {
        order.sort_by_key(|&class| std::cmp::Reverse(classes[class].train + classes[class].valid));
    }
    for (place, &class) in order.iter().enumerate() {
        if classes.len() > 20 && place == 10 {
            println!("         … {} more …", classes.len() - 20);
        }
        if classes.len() <= 20 || place < 10 || place >= classes.len() - 10 {
            let class = &classes[class];
            let [train, valid, test] = [class.train, class.valid, class.test].map(count);
            println!("         {:width$}  {train:>7}  {valid:>7}  {test:>7}", class.name);
        }
    }
    println!();
}

fn print_sizes(images: &[ImageFacts], size: u32) {
    let mut sides: Vec<u32> =
        images.iter().filter_map(|image| image.probe.map(|probe| probe.width.min(probe.height))).collect();
    if sides.is_empty() {
        return;
    }
    sides.sort_unstable();
    println!(
        "sizes    shorter side {} to {} pixels, half of them up to {}",
        count(sides[0] as usize),
        count(sides[sides.len() - 1] as usize),
        count(sides[sides.len() / 2] as usize)
    );
    let bins: Vec<(u32, usize)> = (0..16)
        .map(|power| 1u32 << power)
        .map(|from| (from, sides.iter().filter(|&&side| side >= from && side < 2 * from).count()))
        .collect();
    let most = bins.iter().map(|(_, images)| *images).max().unwrap_or(1).max(1);
    for (from, images) in bins {
        if images > 0 {
            let bar = "█".repeat((images * 40).div_ceil(most));
            println!("         {:>6} …{:<6} {bar} {}", from, 2 * from - 1, count(images));
        }
    }
    let lost = images.iter().map(ImageFacts::lost_by_crop).sum::<f64>() / images.len() as f64;
    println!("         a centre crop to a square leaves out {:.0} % of the area on average", lost * 100.0);
    let small = images.iter().filter(|image| image.smaller_than(size)).count();
    if small > 0 {
        println!("         {} smaller than {size} px, which would be enlarged", are(small));
    }
    println!();
}

fn print_kinds(images: &[ImageFacts]) {
    let mut formats: BTreeMap<&str, usize> = BTreeMap::new();
    let mut colours: BTreeMap<String, usize> = BTreeMap::new();
    for probe in images.iter().filter_map(|image| image.probe) {
        *formats.entry(probe.format.name()).or_default() += 1;
        let channels = match probe.colour.channels {
            1 => "grey or palette",
            2 => "grey with transparency",
            3 => "RGB",
            _ => "four channels",
        };
        *colours.entry(format!("{channels}, {} bits", probe.colour.bits)).or_default() += 1;
    }
    let list = |counts: Vec<(String, usize)>| {
        counts
            .iter()
            .map(|(name, images)| format!("{name} {}", count(*images)))
            .collect::<Vec<_>>()
            .join(" · ")
    };
    println!(
        "formats  {}",
        list(formats.into_iter().map(|(name, images)| (name.to_owned(), images)).collect())
    );
    println!("colours  {}", list(colours.into_iter().collect()));
    let turned =
        images.iter().filter(|image| image.probe.is_some_and(|probe| probe.orientation != 1)).count();
    if turned > 0 {
        println!("         {} turned by a note of the camera, which is followed", are(turned));
    }
    println!();
}

fn print_findings(found: &Inspected, size: u32) {
    let Inspected { items, inspection, .. } = found;
    let id = |item: usize| items[item].id.clone();
    let of = |wanted: &dyn Fn(&ImageFacts) -> Option<String>| -> Vec<String> {
        inspection.images.iter().filter_map(wanted).collect()
    };
    let label = |item: usize| {
        let names = items[item].target.classes().iter().filter_map(|&class| items.classes.name(class));
        names.collect::<Vec<_>>().join(" ")
    };
    let groups = |groups: &[Group], wanted: &dyn Fn(&Group) -> bool| -> Vec<String> {
        let line = |group: &Group| {
            let members = group.items.iter().map(|&item| match group.different_labels {
                true => format!("{} ({})", id(item), label(item)),
                false => id(item),
            });
            members.collect::<Vec<_>>().join(" = ")
        };
        groups.iter().filter(|group| wanted(group)).map(line).collect()
    };
    let (same, alike) = (&inspection.duplicates, &inspection.near_duplicates);
    let skipped =
        found.skipped.iter().map(|skipped| format!("{}: {}", skipped.path.display(), skipped.reason));
    let findings = [
        ("cannot be decoded", of(&|image| Some(format!("{}: {}", id(image.item), image.problem.as_ref()?)))),
        ("identical, with different labels", groups(same, &|group| group.different_labels)),
        ("identical, in training and held out", groups(same, &|group| group.across_splits)),
        ("identical otherwise", groups(same, &|group| !group.different_labels && !group.across_splits)),
        ("look the same, with different labels", groups(alike, &|group| group.different_labels)),
        ("look the same, in training and held out", groups(alike, &|group| group.across_splits)),
        ("look the same otherwise", groups(alike, &|group| !group.different_labels && !group.across_splits)),
        (
            "with another ending than their format's",
            of(&|image| Some(format!("{} is a .{} file", id(image.item), image.wrong_extension?))),
        ),
        (
            "tiny, less than a quarter of the size",
            of(&|image| image.smaller_than(size / 4).then(|| id(image.item))),
        ),
        (
            "more than three times as long as wide",
            of(&|image| (image.aspect() > 3.0).then(|| id(image.item))),
        ),
        (
            "classes whose names differ in upper and lower case only",
            inspection.case_collisions.iter().map(|names| names.join(" = ")).collect(),
        ),
        ("skipped files and folders", skipped.collect()),
    ];
    let mut any = false;
    for (what, lines) in findings.into_iter().filter(|(_, lines)| !lines.is_empty()) {
        any = true;
        println!("{what}: {}", count(lines.len()));
        for line in lines.iter().take(EXAMPLES) {
            println!("         {line}");
        }
        if lines.len() > EXAMPLES {
            println!("         … {} more, which --json lists", count(lines.len() - EXAMPLES));
        }
    }
    for notice in found.notices.iter().chain(&found.problem) {
        any = true;
        println!("note     {notice}");
    }
    if !any {
        println!("nothing looks wrong");
    }
}

/// `1 is`, `3 are`
fn are(images: usize) -> String {
    format!("{} {}", count(images), if images == 1 { "is" } else { "are" })
}
