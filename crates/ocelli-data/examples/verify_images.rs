//! Decodes the files whose paths stand in standard input, one a line, and says of each what became of it: for
//! `ci/corpora`, which compares that with Pillow.
//!
//! Before a file is begun its number is printed, after it one line of JSON, followed by the pixels of the upright image
//! (`width · height · 3` bytes) where it was read. A process that ends in between was ended by the file. With the
//! argument `--no-pixels` pixels are left out.
//!
//! `verdicts` says for the shorter sides 32, 64 and 224 and for the whole image whether the file was read: they must
//! be the same. `peak_kb` is the largest resident memory while the file was read (Linux; elsewhere 0).

use std::io::{self, BufRead, Write};
use std::time::Instant;

use ocelli_data::Decoder;

fn main() -> io::Result<()> {
    let pixels_wanted = std::env::args().all(|argument| argument != "--no-pixels");
    let decoder = Decoder::default();
    let mut out = io::BufWriter::new(io::stdout().lock());
    for (number, path) in io::stdin().lock().lines().enumerate() {
        let path = path?;
        writeln!(out, "begin {number}")?;
        out.flush()?;
        // From here on the kernel counts the peak anew.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        let start = Instant::now();
        let whole = decoder.decode_file(&path);
        let seconds = start.elapsed().as_secs_f64();
        let mut verdicts: Vec<bool> =
            [32, 64, 224].into_iter().map(|side| decoder.decode_file_for(&path, side).is_ok()).collect();
        verdicts.push(whole.is_ok());
        let peak_kb = peak_kb().unwrap_or(0);
        let line = match &whole {
            Ok(image) => {
                serde_json::json!({ "path": path, "width": image.width(), "height": image.height(), "seconds": seconds, "peak_kb": peak_kb, "verdicts": verdicts })
            }
            Err(error) => {
                let error = error.to_string();
                let reason = error.strip_prefix(&format!("{path}: ")).unwrap_or(&error);
                serde_json::json!({ "path": path, "error": reason, "seconds": seconds, "peak_kb": peak_kb, "verdicts": verdicts })
            }
        };
        writeln!(out, "{line}")?;
        if let (Ok(image), true) = (&whole, pixels_wanted) {
            out.write_all(image.pixels())?;
        }
        out.flush()?;
    }
    Ok(())
}

fn peak_kb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
