//! NumPy's files: `.npy`, its format 1.0. An `.npz` is a ZIP archive of them.
//!
//! <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>

/// Bytes of a header: the values that follow are aligned to 64 bytes, and any shape fits.
pub(crate) const HEADER: usize = 128;

/// The header of an array; `kind` is NumPy's, such as `<f4`.
pub(crate) fn header(kind: &str, shape: &[usize]) -> [u8; HEADER] {
    let lengths: String = shape.iter().map(|length| format!("{length}, ")).collect();
    let lengths = if shape.len() > 1 { lengths.trim_end_matches(", ") } else { lengths.trim_end() };
    let text = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({lengths}), }}");
    let mut bytes = [b' '; HEADER];
    bytes[..8].copy_from_slice(b"\x93NUMPY\x01\x00");
    bytes[8..10].copy_from_slice(&((HEADER - 10) as u16).to_le_bytes());
    bytes[10..10 + text.len()].copy_from_slice(text.as_bytes());
    bytes[HEADER - 1] = b'\n';
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_those_of_the_format() {
        let bytes = header("<f4", &[12, 2560]);
        assert_eq!(&bytes[..10], b"\x93NUMPY\x01\x00\x76\x00", "magic, version 1.0, 118 bytes follow");
        let text = std::str::from_utf8(&bytes[10..]).unwrap();
        assert_eq!(text.trim_end(), "{'descr': '<f4', 'fortran_order': False, 'shape': (12, 2560), }");
        assert!(text.ends_with('\n') && bytes.len().is_multiple_of(64));
        assert!(std::str::from_utf8(&header("<U7", &[3])[10..]).unwrap().contains("'shape': (3,), }"));
    }
}
