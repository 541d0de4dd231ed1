//! JPEGs at 1/2, 1/4 or 1/8 of their size, straight from the low frequencies of their blocks.
//!
//! A block of 8 × 8 pixels is a sum of cosines; its N × N lowest frequencies are the block at N/8 of its size
//! (the method of libjpeg's scaled decoding). Nearly all time goes into the entropy code, so coefficients that
//! are not needed are passed over without being computed: at 1/8 only the mean of a block is read. No maintained
//! Rust decoder does this fast enough (see the table in `benches/data`).
//!
//! This reads baseline and extended Huffman-coded files of one scan with one or three components, which is how
//! cameras write. For anything else, and for anything wrong in a file, the answer is `None`, and the caller
//! decodes the whole image.

use std::f32::consts::PI;

/// An image at a reduced size, as stored: before orientation.
pub(super) struct Reduced {
    pub width: u32,
    pub height: u32,
    pub pixels: Vec<u8>,
}

/// The sizes of a file's image, if it is one that can be reduced.
pub(super) fn size(bytes: &[u8]) -> Option<(u32, u32)> {
    let header = Header::read(bytes)?;
    Some((header.width as u32, header.height as u32))
}

/// Decodes at `side`/8 of the size; `side` is 1, 2 or 4.
pub(super) fn decode(bytes: &[u8], side: usize) -> Option<Reduced> {
    let header = Header::read(bytes)?;
    let planes = header.planes(side)?;
    let (width, height) = ((header.width * side).div_ceil(8), (header.height * side).div_ceil(8));
    let mut pixels = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        let row = |plane: usize| &planes[plane].values[y * planes[plane].stride..][..width];
        match planes.len() {
            1 => pixels.extend(row(0).iter().flat_map(|&value| [byte(value); 3])),
            _ if header.is_rgb => {
                let values = row(0).iter().zip(row(1)).zip(row(2));
                pixels.extend(values.flat_map(|((&r, &g), &b)| [byte(r), byte(g), byte(b)]));
            }
            _ => {
                let values = row(0).iter().zip(row(1)).zip(row(2));
                pixels.extend(values.flat_map(|((&y, &cb), &cr)| {
                    let (cb, cr) = (cb - 128.0, cr - 128.0);
                    [byte(y + 1.402 * cr), byte(y - 0.344_136 * cb - 0.714_136 * cr), byte(y + 1.772 * cb)]
                }));
            }
        }
    }
    Some(Reduced { width: width as u32, height: height as u32, pixels })
}

fn byte(value: f32) -> u8 {
    // The cast saturates.
    (value + 0.5) as u8
}

/// All that precedes the entropy-coded data.
struct Header<'a> {
    width: usize,
    height: usize,
    components: Vec<Component>,
    quantization: [Option<[f32; 64]>; 4],
    dc: [Option<Huffman>; 4],
    ac: [Option<Huffman>; 4],
    restart_interval: usize,
    is_rgb: bool,
    data: &'a [u8],
}

/// One colour component.
#[derive(Clone)]
struct Component {
    id: u8,
    across: usize,
    down: usize,
    quantization: usize,
    dc: usize,
    ac: usize,
}

impl<'a> Header<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut header = Header {
            width: 0,
            height: 0,
            components: Vec::new(),
            quantization: [None; 4],
            dc: Default::default(),
            ac: Default::default(),
            restart_interval: 0,
            is_rgb: false,
            data: &[],
        };
        let mut transform = None;
        let mut rest = bytes.strip_prefix(&[0xFF, 0xD8])?;
        loop {
            let (&0xFF, after) = rest.split_first()? else { return None };
            let (&marker, after) = after.split_first()?;
            if marker == 0xFF {
                rest = &rest[1..];
                continue;
            }
            let length = usize::from(u16::from_be_bytes([*after.first()?, *after.get(1)?]));
            let segment = after.get(2..length)?;
            rest = &after[length..];
            match marker {
                0xC0 | 0xC1 => header.frame(segment)?,
                0xC4 => header.huffman(segment)?,
                0xDB => header.quantization(segment)?,
                0xDD => {
                    header.restart_interval =
                        usize::from(u16::from_be_bytes([*segment.first()?, *segment.get(1)?]))
                }
                0xEE if segment.starts_with(b"Adobe") => transform = segment.get(11).copied(),
                0xDA => {
                    header.scan(segment)?;
                    header.data = rest;
                    let ids: Vec<u8> = header.components.iter().map(|component| component.id).collect();
                    header.is_rgb =
                        ids.len() == 3 && (transform == Some(0) || (transform.is_none() && ids == *b"RGB"));
                    return Some(header);
                }
                // Tables that are of no use here; anything else is another kind of JPEG.
                0xE0..=0xEF | 0xFE => {}
                _ => return None,
            }
        }
    }

    fn frame(&mut self, segment: &[u8]) -> Option<()> {
        let &[8, h1, h2, w1, w2, count @ (1 | 3), ref components @ ..] = segment else { return None };
        (self.height, self.width) =
            (usize::from(u16::from_be_bytes([h1, h2])), usize::from(u16::from_be_bytes([w1, w2])));
        if self.width == 0
            || self.height == 0
            || !self.components.is_empty()
            || components.len() != usize::from(count) * 3
        {
            return None;
        }
        for part in components.chunks_exact(3) {
            let (across, down) = (usize::from(part[1] >> 4), usize::from(part[1] & 15));
            if ![1, 2, 4].contains(&across) || ![1, 2, 4].contains(&down) || part[2] > 3 {
                return None;
            }
            self.components.push(Component {
                id: part[0],
                across,
                down,
                quantization: usize::from(part[2]),
                dc: 0,
                ac: 0,
            });
        }
        Some(())
    }

    fn scan(&mut self, segment: &[u8]) -> Option<()> {
        let (&count, rest) = segment.split_first()?;
        let (parts, end) = rest.split_at_checked(usize::from(count) * 2)?;
        if usize::from(count) != self.components.len() || end != [0, 63, 0] {
            return None;
        }
        for (component, part) in self.components.iter_mut().zip(parts.chunks_exact(2)) {
            (component.dc, component.ac) = (usize::from(part[1] >> 4), usize::from(part[1] & 15));
            if component.id != part[0] || component.dc > 3 || component.ac > 3 {
                return None;
            }
        }
        Some(())
    }

    fn quantization(&mut self, mut segment: &[u8]) -> Option<()> {
        while let Some((&kind, rest)) = segment.split_first() {
            let wide = usize::from(kind >> 4);
            let (values, rest) = rest.split_at_checked(64 * (wide + 1))?;
            let mut table = [0.0; 64];
            for (value, bytes) in table.iter_mut().zip(values.chunks_exact(wide + 1)) {
                *value = bytes.iter().fold(0.0, |value, &byte| value * 256.0 + f32::from(byte));
            }
            *self.quantization.get_mut(usize::from(kind & 15))? = Some(table);
            segment = rest;
        }
        Some(())
    }

    fn huffman(&mut self, mut segment: &[u8]) -> Option<()> {
        while let Some((&kind, rest)) = segment.split_first() {
            let (counts, rest) = rest.split_at_checked(16)?;
            let total = counts.iter().map(|&count| usize::from(count)).sum();
            let (symbols, rest) = rest.split_at_checked(total)?;
            let tables = if kind >> 4 == 0 { &mut self.dc } else { &mut self.ac };
            *tables.get_mut(usize::from(kind & 15))? = Some(Huffman::new(counts, symbols)?);
            segment = rest;
        }
        Some(())
    }

    /// The values of all components at `side`/8 of the size of the image.
    fn planes(&self, side: usize) -> Option<Vec<Plane<'_>>> {
        let most = |of: fn(&Component) -> usize| self.components.iter().map(of).max();
        let (most_across, most_down) = (most(|c| c.across)?, most(|c| c.down)?);
        // A single component is not interleaved: its blocks follow each other whatever its sampling factors.
        let single = self.components.len() == 1;
        let (most_across, most_down) = if single { (1, 1) } else { (most_across, most_down) };
        let (units_across, units_down) =
            (self.width.div_ceil(8 * most_across), self.height.div_ceil(8 * most_down));
        let mut planes = Vec::new();
        for component in &self.components {
            let (across, down) = if single { (1, 1) } else { (component.across, component.down) };
            // A subsampled component has fewer blocks, of which more frequencies are kept.
            let block = (side * most_across / across, side * most_down / down);
            if block.0 > 8 || block.1 > 8 || most_across % across != 0 || most_down % down != 0 {
                return None;
            }
            let stride = units_across * across * block.0;
            planes.push(Plane {
                values: vec![0.0; stride * units_down * down * block.1],
                stride,
                blocks: (across, down),
                block,
                inverse: Inverse::new(block),
                dc: self.dc[component.dc].as_ref()?,
                ac: self.ac[component.ac].as_ref()?,
                quantization: self.quantization[component.quantization].as_ref()?,
                previous: 0,
            });
        }
        let mut bits = Bits::new(self.data);
        for unit in 0..units_across * units_down {
            if self.restart_interval > 0 && unit > 0 && unit % self.restart_interval == 0 {
                bits.restart()?;
                planes.iter_mut().for_each(|plane| plane.previous = 0);
            }
            let (unit_x, unit_y) = (unit % units_across, unit / units_across);
            for plane in &mut planes {
                let (across, down) = plane.blocks;
                for place in 0..across * down {
                    plane.block(
                        &mut bits,
                        unit_x * across + place % across,
                        unit_y * down + place / across,
                    )?;
                }
            }
        }
        (!bits.ran_out()).then_some(planes)
    }
}

/// One component's values.
struct Plane<'a> {
    values: Vec<f32>,
    stride: usize,
    /// Blocks a unit, across and down.
    blocks: (usize, usize),
    /// Values a block, across and down.
    block: (usize, usize),
    inverse: Inverse,
    dc: &'a Huffman,
    ac: &'a Huffman,
    quantization: &'a [f32; 64],
    previous: i32,
}

impl Plane<'_> {
    /// Reads a block and puts its values at a place counted in blocks.
    fn block(&mut self, bits: &mut Bits, x: usize, y: usize) -> Option<()> {
        let (width, height) = self.block;
        let (_, size) = bits.symbol(self.dc)?;
        self.previous = self.previous.wrapping_add(bits.value(size));
        let mut coefficients = [0.0f32; 64];
        coefficients[0] = self.previous as f32 * self.quantization[0];
        let mut changes = false;
        let mut at = 1;
        while at < 64 {
            let (run, size) = bits.symbol(self.ac)?;
            if size == 0 {
                if run != 15 {
                    break;
                }
                at += 16;
                continue;
            }
            at += run;
            let (u, v) = *ZIGZAG.get(at)?;
            if usize::from(u) < width && usize::from(v) < height {
                let value = bits.value(size);
                coefficients[usize::from(v) * 8 + usize::from(u)] = value as f32 * self.quantization[at];
                changes = true;
            } else {
                bits.skip(size);
            }
            at += 1;
        }
        let start = y * height * self.stride + x * width;
        if changes {
            self.inverse.apply(&coefficients, &mut self.values[start..], self.stride);
        } else {
            let mean = coefficients[0] / 8.0 + 128.0;
            for row in 0..height {
                self.values[start + row * self.stride..][..width].fill(mean);
            }
        }
        Some(())
    }
}

/// The inverse cosine transform of the lowest frequencies.
struct Inverse {
    size: (usize, usize),
    /// By place and frequency.
    across: [[f32; 8]; 8],
    down: [[f32; 8]; 8],
}

impl Inverse {
    fn new(size: (usize, usize)) -> Self {
        Inverse { size, across: cosines(size.0), down: cosines(size.1) }
    }

    fn apply(&self, coefficients: &[f32; 64], values: &mut [f32], stride: usize) {
        let (width, height) = self.size;
        let mut rows = [[0.0f32; 8]; 8];
        for (row, line) in rows.iter_mut().zip(coefficients.chunks_exact(8)).take(height) {
            for (x, value) in row.iter_mut().enumerate().take(width) {
                *value = (0..width).map(|u| self.across[x][u] * line[u]).sum();
            }
        }
        for y in 0..height {
            for x in 0..width {
                let value: f32 = (0..height).map(|v| self.down[y][v] * rows[v][x]).sum();
                values[y * stride + x] = value + 128.0;
            }
        }
    }
}

/// The orthonormal 8-point transform's basis, at N places: √(1/8) and 1/2 · cos((2x + 1) u π / 2N).
fn cosines(n: usize) -> [[f32; 8]; 8] {
    std::array::from_fn(|x| {
        std::array::from_fn(|u| match u {
            0 => 0.125f32.sqrt(),
            _ => 0.5 * ((2 * x + 1) as f32 * u as f32 * PI / (2 * n) as f32).cos(),
        })
    })
}

/// Bits of a code that are looked up at once.
const PEEK: u32 = 10;

/// A table of codes.
struct Huffman {
    /// By the next bits: length of the code << 8 | symbol; 0 for longer codes.
    short: Vec<u16>,
    /// For each length the first code beyond that length, aligned to 16 bits, and the offset of its symbols.
    ends: [(u32, i32); 17],
    symbols: Vec<u8>,
}

impl Huffman {
    fn new(counts: &[u8], symbols: &[u8]) -> Option<Self> {
        let mut short = vec![0u16; 1 << PEEK];
        let mut ends = [(0, 0); 17];
        let (mut code, mut at) = (0u32, 0usize);
        for length in 1..=16u32 {
            let count = usize::from(counts[length as usize - 1]);
            let offset = at as i32 - code as i32;
            for &symbol in &symbols[at..at + count] {
                if length <= PEEK {
                    let start = (code << (PEEK - length)) as usize;
                    let entry = (length as u16) << 8 | u16::from(symbol);
                    short.get_mut(start..start + (1 << (PEEK - length)))?.fill(entry);
                }
                code += 1;
            }
            at += count;
            if code > 1 << length {
                return None;
            }
            ends[length as usize] = (code << (16 - length), offset);
            code <<= 1;
        }
        Some(Huffman { short, ends, symbols: symbols.to_vec() })
    }
}

/// The entropy-coded data as bits.
struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    /// The next bits, the first one highest.
    buffer: u64,
    count: u32,
    /// Bits that were made up after the end.
    invented: u32,
}

impl<'a> Bits<'a> {
    fn new(data: &'a [u8]) -> Self {
        Bits { data, at: 0, buffer: 0, count: 0, invented: 0 }
    }

    /// Makes at least 48 bits available; after the end they are zeros.
    #[inline(always)]
    fn refill(&mut self) {
        if self.count >= 48 {
            return;
        }
        if let Some(next) = self.data.get(self.at..self.at + 8) {
            let word = u64::from_be_bytes(next.try_into().expect("eight bytes"));
            // No byte is 0xFF exactly if no byte of the complement is 0.
            let complement = !word;
            if complement.wrapping_sub(0x0101_0101_0101_0101) & word & 0x8080_8080_8080_8080 == 0 {
                let bytes = (64 - self.count) / 8;
                let fresh = if bytes == 8 { word } else { word >> (64 - 8 * bytes) << (64 - 8 * bytes) };
                self.buffer |= fresh >> self.count;
                self.count += 8 * bytes;
                self.at += bytes as usize;
                return;
            }
        }
        while self.count <= 56 {
            let byte = match (self.data.get(self.at), self.data.get(self.at + 1)) {
                (Some(0xFF), Some(0)) => {
                    self.at += 2;
                    0xFF
                }
                (Some(0xFF), _) | (None, _) => {
                    self.invented += 8;
                    0
                }
                (Some(&byte), _) => {
                    self.at += 1;
                    byte
                }
            };
            self.buffer |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    #[inline(always)]
    fn drop_bits(&mut self, count: u32) {
        self.buffer <<= count;
        self.count -= count;
    }

    /// The next symbol: run and size. At least 16 bits, enough for a value, remain.
    #[inline(always)]
    fn symbol(&mut self, table: &Huffman) -> Option<(usize, u32)> {
        self.refill();
        let entry = table.short[(self.buffer >> (64 - PEEK)) as usize];
        let symbol = if entry != 0 {
            self.drop_bits(u32::from(entry >> 8));
            entry as u8
        } else {
            self.long_symbol(table)?
        };
        Some((usize::from(symbol >> 4), u32::from(symbol & 15)))
    }

    #[cold]
    fn long_symbol(&mut self, table: &Huffman) -> Option<u8> {
        let next = (self.buffer >> 48) as u32;
        let length = (PEEK + 1..=16).find(|&length| next < table.ends[length as usize].0)?;
        let (_, offset) = table.ends[length as usize];
        let symbol = *table.symbols.get(((next >> (16 - length)) as i32 + offset) as usize)?;
        self.drop_bits(length);
        Some(symbol)
    }

    /// A value of `size` bits, of which those that begin with 0 are negative.
    #[inline(always)]
    fn value(&mut self, size: u32) -> i32 {
        if size == 0 {
            return 0;
        }
        let bits = (self.buffer >> (64 - size)) as i32;
        self.drop_bits(size);
        if bits >> (size - 1) == 0 { bits - (1 << size) + 1 } else { bits }
    }

    #[inline(always)]
    fn skip(&mut self, size: u32) {
        self.drop_bits(size);
    }

    /// Passes the restart marker that must come next.
    fn restart(&mut self) -> Option<()> {
        if self.ran_out() {
            return None;
        }
        // Bytes taken into the buffer beyond the marker cannot be: it stops the refill.
        let marker = self.data.get(self.at..self.at + 2)?;
        if marker[0] != 0xFF || !(0xD0..=0xD7).contains(&marker[1]) {
            return None;
        }
        *self = Bits { data: self.data, at: self.at + 2, buffer: 0, count: 0, invented: 0 };
        Some(())
    }

    /// Whether more bits were used than there are.
    fn ran_out(&self) -> bool {
        self.invented > self.count
    }
}

/// Column and row of the coefficients in the order of the file.
const ZIGZAG: [(u8, u8); 64] = zigzag();

const fn zigzag() -> [(u8, u8); 64] {
    let mut order = [(0, 0); 64];
    let (mut x, mut y, mut at) = (0i8, 0i8, 0);
    while at < 64 {
        order[at] = (x as u8, y as u8);
        let up = (x + y) % 2 == 0;
        if up && x == 7 || !up && y == 7 {
            // At the right edge going up, or at the lower edge going down.
            if up { y += 1 } else { x += 1 }
        } else if up && y == 0 {
            x += 1;
        } else if !up && x == 0 {
            y += 1;
        } else if up {
            x += 1;
            y -= 1;
        } else {
            x -= 1;
            y += 1;
        }
        at += 1;
    }
    order
}
