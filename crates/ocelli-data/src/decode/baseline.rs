//! Baseline JPEGs at 1/4 or 1/8 of their size, from the low frequencies of their blocks alone.
//!
//! Of the 8 × 8 coefficients of a block those of the lowest N × N frequencies are read, for N of 2 or 1, and put
//! through an inverse transform of that size; colour that is stored at half the resolution keeps twice as many. The
//! codes of the others are passed over, several at a time: reading them one by one is what the time of a reduced
//! decode goes into elsewhere.

use macerator::{AutoArch, Simd, WithSimd};

use super::RgbImage;
use crate::spare;

/// Decodes at a part of the size, as stored: before orientation. `side` gives the part in eighths (1 or 2) for a
/// width and height, or `None` where more is wanted.
///
/// The answer is also `None` for whatever is not a whole, sound baseline file of grey, YCbCr or RGB.
pub(super) fn decode(bytes: &[u8], side: impl Fn(u32, u32) -> Option<u8>) -> Option<RgbImage> {
    let mut file = File { bytes, at: 2, ..File::default() };
    loop {
        let [0xFF, marker] = *file.bytes.get(file.at..)?.first_chunk()? else { return None };
        file.at += 1;
        if marker == 0xFF {
            continue;
        }
        let length = usize::from(u16::from_be_bytes(*file.bytes.get(file.at + 1..)?.first_chunk()?));
        let segment = file.bytes.get(file.at + 3..file.at + 1 + length)?;
        file.at += 1 + length;
        match marker {
            // Frames of other kinds than sequential Huffman coding.
            0xC2 | 0xC3 | 0xC5..=0xC7 | 0xC9..=0xCF => return None,
            0xC0 | 0xC1 => file.frame(segment, &side)?,
            0xC4 => file.codes(segment)?,
            0xDB => file.quanta(segment)?,
            0xDD => file.interval = usize::from(u16::from_be_bytes(*segment.first_chunk()?)),
            0xE0 => file.jfif |= segment.starts_with(b"JFIF\0"),
            0xEE if segment.starts_with(b"Adobe") => file.adobe = segment.get(11).copied(),
            0xDA => {
                let components = file.scan_components(segment)?;
                AutoArch::new().dispatch(Scan { file: &mut file, components })?;
                if file.components.iter().all(|component| component.done) {
                    return AutoArch::new().dispatch(Pixels { file: &mut file });
                }
            }
            _ => {}
        }
    }
}

/// What is known of a file so far.
#[derive(Default)]
struct File<'a> {
    bytes: &'a [u8],
    at: usize,
    width: usize,
    height: usize,
    /// Of 8 pixels of the whole image as many are made.
    side: usize,
    components: Vec<Component>,
    /// The samples of the components.
    planes: Vec<Vec<u8>>,
    quanta: [Option<[f32; 64]>; 4],
    dc: [Option<Codes>; 4],
    ac: [Option<Codes>; 4],
    /// Units between restart markers; 0: there are none.
    interval: usize,
    jfif: bool,
    /// The colour transform that Adobe's marker tells.
    adobe: Option<u8>,
}

#[derive(Default)]
struct Component {
    id: u8,
    /// Blocks of a unit.
    across: usize,
    down: usize,
    quanta: usize,
    /// The pixels that are made of a block.
    width: usize,
    height: usize,
    /// The length of a row of its plane.
    stride: usize,
    done: bool,
}

impl File<'_> {
    fn frame(&mut self, segment: &[u8], side: impl Fn(u32, u32) -> Option<u8>) -> Option<()> {
        let [8, y0, y1, x0, x1, count @ (1 | 3)] = *segment.first_chunk()? else { return None };
        let [height, width] = [[y0, y1], [x0, x1]].map(u16::from_be_bytes);
        if height == 0 || width == 0 || !self.components.is_empty() {
            return None;
        }
        (self.width, self.height) = (width.into(), height.into());
        self.side = side(width.into(), height.into())?.into();
        let parts = segment.get(6..6 + 3 * usize::from(count))?.as_chunks::<3>().0;
        for &[id, sampling, quanta] in parts {
            // A single component's blocks come one by one, whatever is said.
            let sampling = if count == 1 { 0x11 } else { sampling };
            let (across, down) = (usize::from(sampling >> 4), usize::from(sampling & 15));
            self.components.push(Component {
                id,
                across,
                down,
                quanta: quanta.into(),
                ..Component::default()
            });
        }
        let (across, down) = self.blocks_of_unit();
        let (units, side) = (self.units(), self.side);
        for component in &mut self.components {
            let whole = |most: usize, own: usize| (1..=4).contains(&own) && most.is_multiple_of(own);
            if component.quanta > 3 || !whole(across, component.across) || !whole(down, component.down) {
                return None;
            }
            component.width = (side * across / component.across).min(8);
            component.height = (side * down / component.down).min(8);
            if !component.width.is_power_of_two() || !component.height.is_power_of_two() {
                return None;
            }
            component.stride = units.0 * component.across * component.width;
            self.planes.push(spare::zeros(component.stride * units.1 * component.down * component.height));
        }
        Some(())
    }

    /// Blocks of a unit, of the component that has most.
    fn blocks_of_unit(&self) -> (usize, usize) {
        let most = |of: fn(&Component) -> usize| self.components.iter().map(of).max().unwrap_or(1);
        (most(|component| component.across), most(|component| component.down))
    }

    /// Units across and down.
    fn units(&self) -> (usize, usize) {
        let (across, down) = self.blocks_of_unit();
        (self.width.div_ceil(8 * across), self.height.div_ceil(8 * down))
    }

    fn quanta(&mut self, mut segment: &[u8]) -> Option<()> {
        while let [kind, rest @ ..] = segment {
            let bytes = 1 + usize::from(kind >> 4);
            let values = rest.get(..64 * bytes)?;
            let mut quanta = [0.0; 64];
            for (at, value) in values.chunks_exact(bytes).enumerate() {
                quanta[ZIGZAG[at]] = value.iter().fold(0.0, |sum, &byte| sum * 256.0 + f32::from(byte));
            }
            *self.quanta.get_mut(usize::from(kind & 15))? = Some(quanta);
            segment = &rest[64 * bytes..];
        }
        Some(())
    }

    fn codes(&mut self, mut segment: &[u8]) -> Option<()> {
        while let [kind, rest @ ..] = segment {
            let counts = rest.first_chunk::<16>()?;
            let symbols = rest.get(16..16 + counts.iter().map(|&count| usize::from(count)).sum::<usize>())?;
            let codes = Codes::new(counts, symbols)?;
            let tables = if kind >> 4 == 0 { &mut self.dc } else { &mut self.ac };
            *tables.get_mut(usize::from(kind & 15))? = Some(codes);
            segment = &rest[16 + symbols.len()..];
        }
        Some(())
    }

    /// The components of a scan, with their tables of codes.
    fn scan_components(&self, segment: &[u8]) -> Option<Vec<(usize, usize, usize)>> {
        let count = usize::from(*segment.first()?);
        let parts = segment.get(1..1 + 2 * count)?.as_chunks::<2>().0;
        let find = |&[id, tables]: &[u8; 2]| {
            let at = self.components.iter().position(|component| component.id == id && !component.done)?;
            Some((at, usize::from(tables >> 4), usize::from(tables & 15)))
        };
        parts.iter().map(find).collect()
    }

    fn is_rgb(&self) -> bool {
        match self.adobe {
            _ if self.jfif => false,
            Some(transform) => transform == 0,
            None => self.components.iter().map(|component| component.id).eq(*b"RGB"),
        }
    }
}

/// The coded bytes from `at` up to the next marker, without stuffed zeros; `None` if the file breaks off.
fn coded(bytes: &[u8], at: &mut usize, into: &mut Vec<u8>) -> Option<()> {
    into.clear();
    loop {
        let rest = bytes.get(*at..)?;
        let end = memchr::memchr(0xFF, rest)?;
        into.extend_from_slice(&rest[..end]);
        match *rest.get(end + 1)? {
            0 => {
                into.push(0xFF);
                *at += end + 2;
            }
            0xFF => *at += end + 1,
            _ => {
                *at += end;
                return Some(());
            }
        }
    }
}

/// The coefficients' places, row by row, in the order in which they are stored.
const ZIGZAG: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7,
    14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39,
    46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// Bits that tables of codes are looked up by.
const LOOK: u32 = 12;

/// A table of Huffman codes.
struct Codes {
    /// By the next bits: the symbol and its code's length; 0: it is longer than these.
    short: Vec<(u8, u8)>,
    /// For codes of each length: the first number that is no code of it, and what is to be added to give the place
    /// among the symbols.
    limits: [u32; 17],
    offsets: [i32; 17],
    symbols: Vec<u8>,
    /// By the next bits: what can be passed over.
    skips: Vec<Skip>,
}

/// Codes of coefficients, with the numbers that follow them, in 16 bits: the bits they have (0: nothing is known), then
/// the coefficients they tell of, of which the end of a block counts as one, then whether they end the block.
#[derive(Clone, Copy, Default)]
struct Skip(u16);

impl Codes {
    fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let (mut short, mut limits, mut offsets) = (vec![(0, 0); 1 << LOOK], [0; 17], [0; 17]);
        let (mut code, mut place) = (0u32, 0);
        for (length, &count) in (1u32..).zip(counts) {
            offsets[length as usize] = place as i32 - code as i32;
            for symbol in symbols.iter().skip(place).take(count.into()) {
                if code >= 1 << length {
                    return None;
                }
                if length <= LOOK {
                    let first = (code << (LOOK - length)) as usize;
                    short[first..first + (1 << (LOOK - length))].fill((*symbol, length as u8));
                }
                code += 1;
            }
            place += usize::from(count);
            limits[length as usize] = code;
            code <<= 1;
        }
        let skips = (0..1usize << LOOK).map(|bits| Skip::of(bits, &short)).collect();
        Some(Codes { short, limits, offsets, symbols: symbols.to_vec(), skips })
    }

    #[inline(always)]
    fn symbol(&self, bits: &mut Bits) -> Option<u8> {
        let (symbol, length) = self.short[bits.peek(LOOK)];
        if length > 0 {
            bits.pass(length.into());
            return Some(symbol);
        }
        for length in LOOK + 1..=16 {
            let code = bits.peek(length) as u32;
            if code < self.limits[length as usize] {
                bits.pass(length);
                return self.symbols.get((code as i32 + self.offsets[length as usize]) as usize).copied();
            }
        }
        None
    }
}

impl Skip {
    /// As many whole codes as begin in these bits.
    fn of(bits: usize, short: &[(u8, u8)]) -> Self {
        let (mut passed, mut coefficients, mut ends) = (0, 0, false);
        while passed < LOOK && coefficients < 64 && !ends {
            let (symbol, length) = short[bits << passed & ((1 << LOOK) - 1)];
            if length == 0 || u32::from(length) > LOOK - passed {
                break;
            }
            let (run, size) = (symbol >> 4, symbol & 15);
            ends = size == 0 && run != 15;
            passed += u32::from(length + size);
            coefficients += if ends { 1 } else { u16::from(run) + 1 };
        }
        Skip(passed as u16 | coefficients << 5 | u16::from(ends) << 15)
    }

    #[inline(always)]
    fn bits(self) -> u32 {
        u32::from(self.0 & 31)
    }

    #[inline(always)]
    fn coefficients(self) -> usize {
        usize::from(self.0 >> 5 & 127)
    }

    #[inline(always)]
    fn ends(self) -> bool {
        self.0 >> 15 == 1
    }
}

/// Coded bits, the next one uppermost.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    bits: u64,
    count: u32,
}

impl Bits<'_> {
    /// Makes sure that more than 32 bits are at hand; behind the end are zeros.
    #[inline(always)]
    fn refill(&mut self) {
        if self.count <= 32 {
            let next =
                self.bytes.get(self.at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default();
            self.bits |= u64::from_be_bytes(next) >> self.count;
            let bytes = (63 - self.count) / 8;
            self.at += bytes as usize;
            self.count += 8 * bytes;
        }
    }

    /// The next bits, 1 to 16.
    #[inline(always)]
    fn peek(&self, count: u32) -> usize {
        (self.bits >> (64 - count)) as usize
    }

    #[inline(always)]
    fn pass(&mut self, count: u32) {
        self.bits <<= count;
        self.count -= count;
    }

    /// A number of that many bits, up to 15.
    #[inline(always)]
    fn number(&mut self, size: u8) -> i32 {
        if size == 0 {
            return 0;
        }
        let size = u32::from(size);
        let value = self.peek(size) as i32;
        self.pass(size);
        if value < 1 << (size - 1) { value - (1 << size) + 1 } else { value }
    }

    /// Whether more was read than there is.
    fn is_over(&self) -> bool {
        self.at * 8 > self.bytes.len() * 8 - PADDING * 8 + self.count as usize
    }

    /// Reads a block's first coefficients, as many as are to be kept, as far as they are not 0.
    #[inline(always)]
    fn block(
        &mut self,
        dc: &Codes,
        ac: &Codes,
        keep: usize,
        last_dc: &mut i32,
        into: &mut [i32; 64],
    ) -> Option<()> {
        self.refill();
        let size = dc.symbol(self)?;
        *last_dc = last_dc.wrapping_add(self.number(size & 15));
        into[0] = *last_dc;
        let mut at = 1;
        while at < keep {
            self.refill();
            let symbol = ac.symbol(self)?;
            let (run, size) = (symbol >> 4, symbol & 15);
            if size == 0 && run != 15 {
                return Some(());
            }
            at += usize::from(run);
            let value = self.number(size);
            if at < keep {
                into[ZIGZAG[at]] = value;
            }
            at += 1;
        }
        while at < 64 {
            self.refill();
            let skip = ac.skips[self.peek(LOOK)];
            if skip.bits() > 0 && at + skip.coefficients() <= 64 {
                self.pass(skip.bits());
                at += skip.coefficients();
                if skip.ends() {
                    return Some(());
                }
                continue;
            }
            let symbol = ac.symbol(self)?;
            let (run, size) = (symbol >> 4, symbol & 15);
            if size == 0 && run != 15 {
                return Some(());
            }
            self.pass(size.into());
            at += usize::from(run) + 1;
        }
        (at == 64).then_some(())
    }
}

/// Zeros behind coded bytes, so that the last of them are read as fast as the others.
const PADDING: usize = 8;

/// Decodes a scan into the planes of its components.
struct Scan<'a, 'b> {
    file: &'a mut File<'b>,
    components: Vec<(usize, usize, usize)>,
}

/// How a component's blocks are decoded.
struct Blocks<'a> {
    component: usize,
    across: usize,
    down: usize,
    dc: &'a Codes,
    ac: &'a Codes,
    quanta: &'a [f32; 64],
    /// Coefficients that are read, in the order in which they are stored.
    keep: usize,
    wave_across: [[f32; 8]; 8],
    wave_down: [[f32; 8]; 8],
}

impl WithSimd for Scan<'_, '_> {
    type Output = Option<()>;

    // Inlined, as is everything it calls, so that it is compiled for the processor's instructions.
    #[inline(always)]
    fn with_simd<S: Simd>(self) -> Option<()> {
        let Scan { file, components } = self;
        let (mut at, mut planes) = (file.at, std::mem::take(&mut file.planes));
        let (mut across, mut down) = file.units();
        let mut blocks = Vec::with_capacity(components.len());
        for &(number, of_dc, of_ac) in &components {
            let component = &file.components[number];
            let (width, height) = (component.width, component.height);
            let kept = |place: &usize| place % 8 < width && place / 8 < height;
            blocks.push(Blocks {
                component: number,
                across: component.across,
                down: component.down,
                dc: file.dc.get(of_dc)?.as_ref()?,
                ac: file.ac.get(of_ac)?.as_ref()?,
                quanta: file.quanta[component.quanta].as_ref()?,
                keep: ZIGZAG.iter().rposition(kept)? + 1,
                wave_across: waves(width),
                wave_down: waves(height),
            });
        }
        if let [only] = &mut blocks[..] {
            // Alone, a component has no blocks that only fill a unit.
            let component = &file.components[only.component];
            let most = file.blocks_of_unit();
            across = (file.width * component.across).div_ceil(8 * most.0);
            down = (file.height * component.down).div_ceil(8 * most.1);
            (only.across, only.down) = (1, 1);
        }
        let mut coded = spare::take(file.bytes.len() - at + PADDING);
        let total = across * down;
        let interval = if file.interval == 0 { total } else { file.interval };
        for start in (0..total).step_by(interval) {
            if start > 0 {
                let [0xFF, 0xD0..=0xD7] = *file.bytes.get(at..)?.first_chunk()? else { return None };
                at += 2;
            }
            self::coded(file.bytes, &mut at, &mut coded)?;
            coded.resize(coded.len() + PADDING, 0);
            let mut bits = Bits { bytes: &coded, at: 0, bits: 0, count: 0 };
            let mut last_dc = [0; 3];
            for unit in start..total.min(start + interval) {
                for (blocks, last_dc) in blocks.iter().zip(&mut last_dc) {
                    let component = &file.components[blocks.component];
                    let plane = &mut planes[blocks.component];
                    for block in 0..blocks.across * blocks.down {
                        let column = unit % across * blocks.across + block % blocks.across;
                        let row = unit / across * blocks.down + block / blocks.across;
                        let place = row * component.height * component.stride + column * component.width;
                        let mut coefficients = [0; 64];
                        bits.block(blocks.dc, blocks.ac, blocks.keep, last_dc, &mut coefficients)?;
                        blocks.invert(&coefficients, component, &mut plane[place..]);
                    }
                }
                if bits.is_over() {
                    return None;
                }
            }
        }
        spare::keep(coded);
        components.into_iter().for_each(|(number, ..)| file.components[number].done = true);
        (file.at, file.planes) = (at, planes);
        Some(())
    }
}

/// The waves of an inverse transform of `size` samples, so scaled that the coefficients of 8 give their mean values.
fn waves(size: usize) -> [[f32; 8]; 8] {
    let wave = |frequency: usize, at: usize| {
        let phase = ((2 * at + 1) * frequency) as f64 * std::f64::consts::PI / (2 * size) as f64;
        let scale = if frequency == 0 { std::f64::consts::FRAC_1_SQRT_2 } else { 1.0 };
        if frequency < size && at < size { (0.5 * scale * phase.cos()) as f32 } else { 0.0 }
    };
    std::array::from_fn(|frequency| std::array::from_fn(|at| wave(frequency, at)))
}

impl Blocks<'_> {
    /// Puts the pixels of a block where `plane` begins.
    #[inline(always)]
    fn invert(&self, coefficients: &[i32; 64], component: &Component, plane: &mut [u8]) {
        let (width, height) = (component.width, component.height);
        if (width, height) == (1, 1) {
            plane[0] = level(coefficients[0] as f32 * self.quanta[0] * 0.125);
            return;
        }
        let mut lines = [[0.0f32; 8]; 8];
        for (frequency, line) in lines.iter_mut().enumerate().take(height) {
            for (across, value) in line.iter_mut().enumerate() {
                let at = frequency * 8 + across;
                *value = coefficients[at] as f32 * self.quanta[at];
            }
        }
        for y in 0..height {
            let mut column = [0.0f32; 8];
            for (line, wave) in lines.iter().zip(&self.wave_down).take(height) {
                column.iter_mut().zip(line).for_each(|(sum, value)| *sum += wave[y] * value);
            }
            let mut row = [0.0f32; 8];
            for (value, wave) in column.iter().zip(&self.wave_across).take(width) {
                row.iter_mut().zip(wave).for_each(|(sum, wave)| *sum += value * wave);
            }
            let row = row.map(level);
            plane[y * component.stride..][..width].copy_from_slice(&row[..width]);
        }
    }
}

/// A sample, stored about 0.
#[inline(always)]
fn level(value: f32) -> u8 {
    (value + 128.5).clamp(0.0, 255.0) as u8
}

/// Makes the image of the planes.
struct Pixels<'a, 'b> {
    file: &'a mut File<'b>,
}

impl WithSimd for Pixels<'_, '_> {
    type Output = Option<RgbImage>;

    #[inline(always)]
    fn with_simd<S: Simd>(self) -> Option<RgbImage> {
        let file = self.file;
        let (width, height) = ((file.width * file.side).div_ceil(8), (file.height * file.side).div_ceil(8));
        let most = file.blocks_of_unit();
        let rgb = file.is_rgb();
        let mut pixels = spare::zeros(width * height * 3);
        let mut lines = vec![vec![0; width]; file.components.len()];
        for (y, row) in pixels.chunks_exact_mut(width * 3).enumerate() {
            for ((line, component), plane) in lines.iter_mut().zip(&file.components).zip(&file.planes) {
                // Colour stored at a quarter of the resolution has fewer samples than pixels at half of the size.
                let across = most.0 * file.side / (component.across * component.width);
                let down = most.1 * file.side / (component.down * component.height);
                let from = &plane[y / down * component.stride..][..width.div_ceil(across)];
                match across {
                    1 => line.copy_from_slice(from),
                    _ => line.iter_mut().enumerate().for_each(|(x, value)| *value = from[x / across]),
                }
            }
            let row = row.as_chunks_mut::<3>().0;
            match &lines[..] {
                [red, green, blue] if rgb => {
                    for (pixel, ((&r, &g), &b)) in row.iter_mut().zip(red.iter().zip(green).zip(blue)) {
                        *pixel = [r, g, b];
                    }
                }
                [luma, blue, red] => {
                    for (pixel, ((&y, &cb), &cr)) in row.iter_mut().zip(luma.iter().zip(blue).zip(red)) {
                        *pixel = from_ycc(y, cb, cr);
                    }
                }
                _ => row.iter_mut().zip(&lines[0]).for_each(|(pixel, &value)| *pixel = [value; 3]),
            }
        }
        file.planes.drain(..).for_each(spare::keep);
        RgbImage::new(width as u32, height as u32, pixels)
    }
}

/// JFIF's colours, in 16 bits after the point.
#[inline(always)]
fn from_ycc(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    let (y, cb, cr) = ((i32::from(y) << 16) + (1 << 15), i32::from(cb) - 128, i32::from(cr) - 128);
    [y + 91_881 * cr, y - 22_554 * cb - 46_802 * cr, y + 116_130 * cb]
        .map(|value| (value >> 16).clamp(0, 255) as u8)
}
