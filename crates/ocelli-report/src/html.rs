//! One template and one style for every page.

use serde::Serialize;

const TEMPLATE: &str = include_str!("template.html");
const STYLE: &str = include_str!("style.css");
const COMMON: &str = include_str!("common.js");
/// The body of a page that is drawn by its script.
const DRAWN: &str = include_str!("drawn.html");

/// A page with this title; `body` is HTML.
pub(crate) fn document(title: &str, body: &str) -> String {
    filled(TEMPLATE, &[("title", &escaped(title)), ("style", STYLE), ("body", body)])
}

/// A page that its script draws from data.
pub(crate) fn page(title: &str, script: &str, data: &impl Serialize) -> String {
    // JSON in a script element must not contain anything that HTML takes for a tag.
    let data = serde_json::to_string(data).expect("plain values serialise").replace('<', "\\u003c");
    let script = format!("(() => {{\n{COMMON}\n{script}\n}})();");
    document(title, &filled(DRAWN, &[("data", &data), ("script", &script)]))
}

/// A page that is not a report: it has its own body, more styles, and a script that gets its data from elsewhere.
pub(crate) fn live_page(title: &str, style: &str, body: &str, script: &str) -> String {
    let style = format!("{STYLE}{style}");
    let body = format!(
        "{body}<script id=\"page-data\" type=\"application/json\">null</script>\n<script>(() => {{\n{COMMON}\n{script}\n\
         }})();</script>"
    );
    filled(TEMPLATE, &[("title", &escaped(title)), ("style", &style), ("body", &body)])
}

/// Replaces every `{{name}}` of a text in one pass, so that nothing in a part is taken for one.
fn filled(template: &str, parts: &[(&str, &str)]) -> String {
    let length = template.len() + parts.iter().map(|part| part.1.len()).sum::<usize>();
    let mut text = String::with_capacity(length);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").expect("a name is closed");
        text.push_str(before);
        text.push_str(parts.iter().find(|part| part.0 == name).expect("a known name").1);
        rest = after;
    }
    text + rest
}

/// Escapes a text for HTML, in elements and attributes.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            character => escaped.push(character),
        }
    }
    escaped
}
