//! The settings of a run, as rows.

use ocelli::finished::FinishedRun;
use serde_json::Value;

/// Every setting by its dotted name.
pub(crate) fn settings(records: &FinishedRun) -> Vec<[String; 2]> {
    fn walk(path: &str, value: &Value, rows: &mut Vec<[String; 2]>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    walk(&path, value, rows);
                }
            }
            // Phases of a recipe and the like, counted from 1.
            Value::Array(values) if values.iter().any(Value::is_object) => {
                for (index, value) in values.iter().enumerate() {
                    walk(&format!("{path}.{}", index + 1), value, rows);
                }
            }
            Value::Null => {}
            Value::String(text) => rows.push([path.to_owned(), text.clone()]),
            other => rows.push([path.to_owned(), other.to_string()]),
        }
    }
    let mut rows = Vec::new();
    walk("", &serde_json::to_value(&records.settings).expect("plain values"), &mut rows);
    rows
}
