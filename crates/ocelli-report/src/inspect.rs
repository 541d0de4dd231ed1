//! The inspection of a data set as a page: without a script, offline, light and dark.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;

use ocelli::Result;
use ocelli_data::Decoder;
use ocelli_data::inspect::report::{ClassCounts, Finding, Histogram, Report};
use ocelli_data::text::count;

use crate::html::{document, escaped};

/// The longer side of a thumbnail, in pixels.
const THUMBNAIL: u32 = 144;
const QUALITY: u8 = 75;
/// The most thumbnails of all classes together, and of one.
const EXAMPLES: usize = 240;
const EXAMPLES_OF_A_CLASS: usize = 8;
/// The most cases of a finding with pictures, and images of a case.
const SHOWN: usize = 24;
const SHOWN_OF_A_CASE: usize = 6;
/// The most further cases that are listed by name.
const LISTED: usize = 1000;
const BINS: usize = 20;

/// The page about a data set. Thumbnails are decoded with `threads` threads (0: one per core).
///
/// # Errors
/// Where a thread cannot be started.
pub fn inspect_page(report: &Report, decoder: &Decoder, threads: usize) -> Result<String> {
    let findings = report.findings();
    let examples = examples(report);
    let of_findings = findings.iter().flat_map(|finding| {
        let shown = finding.cases.iter().take(SHOWN);
        shown.flat_map(|case| case.items.iter().take(SHOWN_OF_A_CASE).copied())
    });
    let shown: BTreeSet<usize> = examples.iter().flatten().copied().chain(of_findings).collect();
    let thumbnails = report.thumbnails(shown, decoder, THUMBNAIL, threads)?.into_iter();
    let pictures = thumbnails.map(|(item, image)| (item, image.to_inline_jpeg(QUALITY))).collect();
    Ok(Page { report, pictures }.html(&findings, &examples))
}

/// Items of each class, spread over all of its items.
fn examples(report: &Report) -> Vec<Vec<usize>> {
    let classes = report.items.classes.len();
    let each = (EXAMPLES / classes.max(1)).clamp(1, EXAMPLES_OF_A_CLASS);
    let mut members = vec![Vec::new(); classes];
    for image in &report.inspection.images {
        if image.problem.is_none() {
            report.items[image.item]
                .target
                .classes()
                .iter()
                .for_each(|&class| members[class].push(image.item));
        }
    }
    let spread =
        |items: Vec<usize>| items.iter().copied().step_by(items.len().div_ceil(each).max(1)).collect();
    members.into_iter().map(spread).collect()
}

struct Page<'a> {
    report: &'a Report,
    pictures: HashMap<usize, String>,
}

impl Page<'_> {
    fn html(&self, findings: &[Finding], examples: &[Vec<usize>]) -> String {
        let name = self.report.data.display().to_string();
        let mut out = String::new();
        self.header(&mut out, &name);
        out.push_str("<main id=\"content\" tabindex=\"-1\">\n");
        self.contents(&mut out, findings);
        self.classes(&mut out, examples);
        self.sizes(&mut out);
        self.formats(&mut out);
        for (number, finding) in findings.iter().enumerate() {
            self.finding(&mut out, number, finding);
        }
        put(
            &mut out,
            format_args!(
                "<footer>Ocelli {}. No file was changed.</footer>\n</main>",
                env!("CARGO_PKG_VERSION")
            ),
        );
        document(&format!("{name} · Ocelli"), &out)
    }

    /// The title, notices, and links to the sections.
    fn header(&self, out: &mut String, name: &str) {
        let report = self.report;
        let total: u64 = report.inspection.images.iter().map(|image| image.bytes).sum();
        let split = &report.split;
        put(
            out,
            format_args!(
                "<header id=\"top\"><h1>{}</h1>\n<p class=\"quiet\">{} images in {} classes, {} · train {}, valid {}, \
                 test {}</p>\n",
                escaped(name),
                count(report.items.len()),
                count(report.items.classes.len()),
                bytes(total),
                count(split.train.len()),
                count(split.valid.len()),
                count(split.test.len()),
            ),
        );
        for notice in report.notices.iter().chain(&report.problem) {
            put(out, format_args!("<p class=\"notice\">{}</p>\n", escaped(notice)));
        }
        out.push_str("</header>\n<nav aria-label=\"Sections\"><ul>");
        for (id, title) in
            [("findings", "Findings"), ("classes", "Classes"), ("sizes", "Sizes"), ("kinds", "Formats")]
        {
            put(out, format_args!("<li><a href=\"#{id}\">{title}</a></li>"));
        }
        out.push_str("</ul></nav>\n");
    }

    /// The findings, each with a link.
    fn contents(&self, out: &mut String, findings: &[Finding]) {
        out.push_str("<section id=\"findings\"><h2>Findings</h2>\n");
        if findings.is_empty() {
            out.push_str("<p>Nothing looks wrong.</p>\n</section>\n");
            return;
        }
        out.push_str("<ul class=\"contents\">\n");
        for (number, finding) in findings.iter().enumerate() {
            put(
                out,
                format_args!(
                    "<li><a href=\"#finding-{number}\">{}</a> <b>{}</b></li>\n",
                    finding.title,
                    count(finding.cases.len())
                ),
            );
        }
        out.push_str("</ul>\n</section>\n");
    }

    fn classes(&self, out: &mut String, examples: &[Vec<usize>]) {
        let classes = self.report.class_counts();
        let most =
            classes.iter().map(|class| class.train + class.valid + class.test).max().unwrap_or(0).max(1);
        out.push_str(
            "<section id=\"classes\"><h2>Classes</h2>\n<div class=\"scroll\"><table class=\"full\">\n<thead><tr><th scope=\"col\">class</th>\
             <th scope=\"col\">train</th><th scope=\"col\">valid</th>\
             <th scope=\"col\">test</th><th scope=\"col\">lost by a centre crop</th>\
             <th scope=\"col\" aria-hidden=\"true\"></th></tr></thead>\n<tbody>\n",
        );
        for ClassCounts { class, train, valid, test, lost_by_crop } in &classes {
            let bar = |images: &usize, name: &str| {
                let width = 100.0 * *images as f64 / most as f64;
                format!("<span class=\"{name}\" style=\"width:{width:.2}%\"></span>")
            };
            put(
                out,
                format_args!(
                    "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td>\
                 <td>{lost_by_crop} %</td><td class=\"counts\" aria-hidden=\"true\">{}{}{}</td></tr>\n",
                    escaped(class),
                    count(*train),
                    count(*valid),
                    count(*test),
                    bar(train, "train"),
                    bar(valid, "valid"),
                    bar(test, "test"),
                ),
            );
        }
        out.push_str("</tbody>\n</table></div>\n<h3>Examples</h3>\n");
        for (class, items) in classes.iter().zip(examples) {
            if !items.is_empty() {
                put(out, format_args!("<h4>{}</h4>\n<div class=\"strip\">", escaped(&class.class)));
                items.iter().for_each(|&item| self.picture(out, item));
                out.push_str("</div>\n");
            }
        }
        out.push_str("</section>\n");
    }

    fn sizes(&self, out: &mut String) {
        let (widths, heights) = self.report.sizes();
        if widths.is_empty() {
            return;
        }
        put(
            out,
            format_args!(
                "<section id=\"sizes\"><h2>Sizes</h2>\n<p>A centre crop to a square leaves out {:.0} % of the area on average.</p>\n\
             <div class=\"columns\">\n",
                100.0 * self.report.lost_by_crop()
            ),
        );
        for (name, sides) in [("Width", &widths), ("Height", &heights)] {
            put(
                out,
                format_args!(
                    "<figure class=\"plain\"><figcaption>{name}: {} to {} px, half of them up to {}</figcaption>{}</figure>\n",
                    count(sides[0] as usize),
                    count(sides[sides.len() - 1] as usize),
                    count(sides[sides.len() / 2] as usize),
                    chart(&Histogram::of(sides, BINS), name)
                ),
            );
        }
        out.push_str("</div>\n");
        let small = self.report.inspection.images.iter().filter(|image| image.smaller_than(self.report.size));
        let small = small.count();
        if small > 0 {
            put(
                out,
                format_args!(
                    "<p>{} of {} images are smaller than {} px and would be enlarged.</p>\n",
                    count(small),
                    count(widths.len()),
                    self.report.size
                ),
            );
        }
        out.push_str("</section>\n");
    }

    fn formats(&self, out: &mut String) {
        let (formats, colours) = self.report.kinds();
        let formats: Vec<(String, usize)> =
            formats.into_iter().map(|(name, images)| (name.to_owned(), images)).collect();
        out.push_str("<section id=\"kinds\"><h2>Formats</h2>\n<div class=\"columns\">\n");
        for (name, kinds) in [("format", formats), ("colour", colours.into_iter().collect())] {
            put(
                out,
                format_args!(
                    "<table><thead><tr><th scope=\"col\">{name}</th><th scope=\"col\">images</th></tr></thead>\
                 <tbody>\n"
                ),
            );
            for (kind, images) in kinds {
                put(out, format_args!("<tr><th scope=\"row\">{kind}</th><td>{}</td></tr>\n", count(images)));
            }
            out.push_str("</tbody></table>\n");
        }
        out.push_str("</div>\n</section>\n");
    }

    fn finding(&self, out: &mut String, number: usize, finding: &Finding) {
        put(
            out,
            format_args!(
                "<section id=\"finding-{number}\">\n<h2>{} <span class=\"quiet\">{}</span></h2>\n",
                capitalized(finding.title),
                count(finding.cases.len())
            ),
        );
        if !finding.advice.is_empty() {
            put(out, format_args!("<p>{}.</p>\n", capitalized(finding.advice)));
        }
        let (pictured, plain): (Vec<_>, Vec<_>) = finding
            .cases
            .iter()
            .take(SHOWN)
            .partition(|case| case.items.iter().any(|item| self.pictures.contains_key(item)));
        if !pictured.is_empty() {
            out.push_str("<div class=\"cases\">\n");
            for case in pictured {
                out.push_str("<div class=\"case\"><div class=\"strip\">");
                case.items.iter().take(SHOWN_OF_A_CASE).for_each(|&item| self.picture(out, item));
                put(out, format_args!("</div><p>{}</p></div>\n", escaped(&case.text)));
            }
            out.push_str("</div>\n");
        }
        list(out, plain.iter().map(|case| case.text.as_str()));
        let more = finding.cases.len().saturating_sub(SHOWN);
        if more > 0 {
            put(out, format_args!("<details><summary>{} more</summary>\n", count(more)));
            list(out, finding.cases.iter().skip(SHOWN).take(LISTED).map(|case| case.text.as_str()));
            if more > LISTED {
                put(out, format_args!("<p>… and {} more, which the JSON lists.</p>\n", count(more - LISTED)));
            }
            out.push_str("</details>\n");
        }
        out.push_str("</section>\n");
    }

    fn picture(&self, out: &mut String, item: usize) {
        let id = escaped(&self.report.items[item].id);
        if let Some(url) = self.pictures.get(&item) {
            put(out, format_args!("<img src=\"{url}\" alt=\"{id}\" title=\"{id}\" loading=\"lazy\">"));
        }
    }
}

fn list<'a>(out: &mut String, lines: impl Iterator<Item = &'a str>) {
    let lines: Vec<String> = lines.map(|line| format!("<li>{}</li>\n", escaped(line))).collect();
    if !lines.is_empty() {
        put(out, format_args!("<ul class=\"names\">\n{}</ul>\n", lines.concat()));
    }
}

/// Bars with the numbers of pixels below; the numbers of images are in the bars' titles and in the label.
fn chart(histogram: &Histogram, name: &str) -> String {
    let Histogram { start, step, counts, beyond } = histogram;
    let bars: Vec<(String, usize)> = counts
        .iter()
        .enumerate()
        .map(|(bin, &images)| {
            let from = start + bin as u32 * step;
            (if *step == 1 { format!("{from}") } else { format!("{from} to {}", from + step - 1) }, images)
        })
        .chain((*beyond > 0).then(|| (format!("{} and more", start + counts.len() as u32 * step), *beyond)))
        .collect();
    let (width, height, base) = (480.0, 150.0, 130.0);
    let most = bars.iter().map(|(_, images)| *images).max().unwrap_or(0).max(1) as f64;
    let pitch = width / bars.len() as f64;
    let mut svg =
        format!("<svg class=\"histogram\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"");
    let described = bars.iter().filter(|(_, images)| *images > 0);
    let described: Vec<String> = described.map(|(range, images)| format!("{range} px: {images}")).collect();
    put(&mut svg, format_args!("{name} of images. {}\">", described.join("; ")));
    for (bin, (range, images)) in bars.iter().enumerate() {
        let tall = (*images as f64 / most * (base - 8.0)).max(if *images > 0 { 1.0 } else { 0.0 });
        put(
            &mut svg,
            format_args!(
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{tall:.1}\"><title>{range} px: {images}</title></rect>",
                bin as f64 * pitch + 1.0,
                base - tall,
                (pitch - 2.0).max(1.0),
            ),
        );
    }
    put(&mut svg, format_args!("<line x1=\"0\" x2=\"{width}\" y1=\"{base}\" y2=\"{base}\"/>"));
    // About six numbers fit below.
    for bin in (0..counts.len()).step_by(counts.len().div_ceil(6).max(1)) {
        put(
            &mut svg,
            format_args!(
                "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                bin as f64 * pitch + 1.0,
                height - 4.0,
                start + bin as u32 * step
            ),
        );
    }
    if *beyond > 0 {
        put(
            &mut svg,
            format_args!("<text x=\"{width}\" y=\"{:.1}\" text-anchor=\"end\">more</text>", height - 4.0),
        );
    }
    svg.push_str("</svg>");
    svg
}

fn put(out: &mut String, text: std::fmt::Arguments) {
    out.write_fmt(text).expect("writing to a String does not fail");
}

fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

/// `18 MB`
fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.0} kB", bytes as f64 / 1e3),
        1_000_000..10_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        10_000_000..1_000_000_000 => format!("{:.0} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}
