//! The page as one file.

use serde::Serialize;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");
const COMMON: &str = include_str!("common.js");

/// A page with this title, script and data.
pub(super) fn page(title: &str, script: &str, data: &impl Serialize) -> String {
    // Within a script element, JSON must not hold what HTML takes for a tag.
    let data = serde_json::to_string(data).expect("plain values serialise").replace('<', "\\u003c");
    let parts = [
        ("title", escaped(title)),
        ("style", STYLE.to_owned()),
        ("script", format!("(() => {{\n{COMMON}\n{script}\n}})();")),
        ("data", data),
    ];
    // In one pass, so that nothing in a part is taken for a place.
    let mut page = String::with_capacity(PAGE.len() + parts.iter().map(|part| part.1.len()).sum::<usize>());
    let mut rest = PAGE;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").expect("a place is closed");
        page.push_str(before);
        page.push_str(&parts.iter().find(|part| part.0 == name).expect("a known place").1);
        rest = after;
    }
    page + rest
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
