//! Where tiles find the inputs of their pixels, and where they store their outputs.

use super::{PackedDense, tile::MAX_PIXELS};
use crate::{conv::geometry::SamplingGrid, element::Element};
use std::ops::Range;

/// How the inputs of a pixel are addressed.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum InputMode {
    /// Input and output pixels are the same, in the same order.
    Pointwise,
    /// By one address for each tap.
    Taps,
    /// By one address for each row of taps, whose inputs are contiguous in memory.
    Rows,
    /// By one address: all inputs are copied into a contiguous patch first.
    Patches,
}

/// The inputs and outputs of a piece of the pixels.
pub(super) struct TileInputs<'a, T> {
    mode: InputMode,
    grid: &'a SamplingGrid,
    x: &'a [T],
    group_in: usize,
    taps_per_row: usize,
    /// Unless `mode` is [`InputMode::Pointwise`].
    located: Vec<Pixel>,
    pub(super) pixels: usize,
    /// Addresses of each pixel, and the words that are read at each address.
    pub(super) taps: usize,
    pub(super) first_word: usize,
    pub(super) words_per_tap: usize,
    /// `[tap][pixel]`, into `x` or one of the vectors below.
    pub(super) pointers: Vec<*const T>,
    pub(super) pointer_stride: usize,
    /// The index of each output pixel's first element.
    pub(super) outputs: Vec<usize>,
    zeros: Vec<T>,
    /// Rows of taps that reach into padding, and how long they are.
    edges: Vec<T>,
    patch_len: usize,
    /// Patches and the distance between them; those of this group.
    patches: Vec<T>,
    patch_stride: usize,
    gathered_group: Option<usize>,
}

impl<'a, T: Element> TileInputs<'a, T> {
    pub(super) fn new(
        mode: InputMode,
        packed: &PackedDense,
        grid: &'a SamplingGrid,
        x: &'a [T],
        piece: Range<usize>,
    ) -> Self {
        let (taps, taps_together) = match mode {
            InputMode::Pointwise | InputMode::Taps => (packed.taps, 1),
            InputMode::Rows => (packed.taps / packed.taps_per_row, packed.taps_per_row),
            InputMode::Patches => (1, packed.taps),
        };
        let patch_len = (taps_together * packed.group_in).next_multiple_of(T::PER_WORD);
        let patch_stride = patch_len.next_multiple_of(16) + COPIED + 16;
        let pixels = piece.len();
        let (copies_edges, gathers) = (mode == InputMode::Rows, mode == InputMode::Patches);
        let zeros = vec![T::default(); if copies_edges || gathers { patch_len } else { grid.in_channels }];
        // A tile that is not full reads the addresses of a whole one.
        let pointer_stride = pixels + MAX_PIXELS;
        let mut inputs = TileInputs {
            mode,
            grid,
            x,
            group_in: packed.group_in,
            taps_per_row: packed.taps_per_row,
            located: Vec::new(),
            pixels,
            taps,
            first_word: 0,
            words_per_tap: patch_len / T::PER_WORD,
            pointers: vec![zeros.as_ptr(); pointer_stride * taps],
            pointer_stride,
            outputs: vec![0; pointer_stride],
            zeros,
            edges: vec![T::default(); if copies_edges { patch_len * taps * pixels } else { 0 }],
            patch_len,
            patches: vec![T::default(); if gathers { patch_stride * pixels } else { 0 }],
            patch_stride,
            gathered_group: None,
        };
        if mode == InputMode::Pointwise {
            inputs.point_pixels(piece);
            return inputs;
        }
        inputs.located = locate(grid, piece);
        for (pixel, output) in inputs.located.iter().zip(&mut inputs.outputs) {
            *output = pixel.output * grid.out_channels;
        }
        match mode {
            InputMode::Taps => inputs.point_taps(),
            InputMode::Rows => inputs.point_rows(),
            // Gathered when a group is selected.
            InputMode::Pointwise | InputMode::Patches => {}
        }
        inputs
    }

    /// Prepares the inputs of a group, which the addresses are those of from now on.
    pub(super) fn select_group(&mut self, group: usize) {
        if self.mode != InputMode::Patches {
            self.first_word = group * self.group_in / T::PER_WORD;
        } else if self.gathered_group != Some(group) {
            self.gather(group * self.group_in);
            for (pointer, patch) in self.pointers.iter_mut().zip(self.patches.chunks_exact(self.patch_stride))
            {
                *pointer = patch.as_ptr();
            }
            self.gathered_group = Some(group);
        }
    }

    fn point_pixels(&mut self, piece: Range<usize>) {
        let SamplingGrid { in_channels, out_channels, .. } = *self.grid;
        let inputs = self.x[piece.start * in_channels..piece.end * in_channels].chunks_exact(in_channels);
        for (pointer, input) in self.pointers.iter_mut().zip(inputs) {
            *pointer = input.as_ptr();
        }
        for (pixel, output) in piece.zip(&mut self.outputs) {
            *output = pixel * out_channels;
        }
    }

    fn point_taps(&mut self) {
        let mut start = 0;
        for run in self.located.chunk_by(Pixel::is_in_row_of) {
            let pointers = self.pointers.chunks_exact_mut(self.pointer_stride);
            for (tap, pointers) in self.grid.taps.iter().zip(pointers) {
                let pointers = &mut pointers[start..start + run.len()];
                let inside = pixels_inside(self.grid, run, &[*tap], |_| true);
                pointers[..inside.start].fill(self.zeros.as_ptr());
                pointers[inside.end..].fill(self.zeros.as_ptr());
                point_inside(self.grid, self.x, run, *tap, inside, pointers);
            }
            start += run.len();
        }
    }

    /// The last word of a row of taps may hold an element more than the row has; its weight is 0. Rows that
    /// reach into padding are copied into `edges`.
    fn point_rows(&mut self) {
        let channels = self.grid.in_channels;
        let mut edges = self.edges.chunks_exact_mut(self.patch_len);
        let mut first = 0;
        for run in self.located.chunk_by(Pixel::is_in_row_of) {
            let rows = self.grid.taps.chunks_exact(self.taps_per_row);
            for (taps, pointers) in rows.zip(self.pointers.chunks_exact_mut(self.pointer_stride)) {
                let ends_inside = |start: usize| start * channels + self.patch_len <= self.x.len();
                let inside = pixels_inside(self.grid, run, taps, ends_inside);
                let pointers = &mut pointers[first..first + run.len()];
                point_inside(self.grid, self.x, run, taps[0], inside.clone(), pointers);
                for i in (0..inside.start).chain(inside.end..run.len()) {
                    let edge = edges.next().expect("there is room for all");
                    for (tap, edge) in taps.iter().zip(edge.chunks_exact_mut(channels)) {
                        match input_pixel(self.grid, &run[i], *tap) {
                            Some(input) => edge.copy_from_slice(&self.x[input * channels..][..channels]),
                            None => edge.fill(T::default()),
                        }
                    }
                    pointers[i] = edge.as_ptr();
                }
            }
            first += run.len();
        }
    }

    /// Copies the inputs of each pixel into its patch, `[tap][channel]`; `first`: the group's first channel.
    fn gather(&mut self, first: usize) {
        let (grid, group_in) = (self.grid, self.group_in);
        // Neighbouring taps read contiguous inputs if there is one group.
        let contiguous =
            |a: &[isize; 2], b: &[isize; 2]| group_in == grid.in_channels && a[0] == b[0] && a[1] + 1 == b[1];
        let rows: Vec<&[[isize; 2]]> = grid.taps.chunk_by(contiguous).collect();
        let mut first_patch = 0;
        for run in self.located.chunk_by(Pixel::is_in_row_of) {
            let patches = first_patch * self.patch_stride..(first_patch + run.len()) * self.patch_stride;
            let patches = &mut self.patches[patches];
            first_patch += run.len();
            let mut at = 0;
            for taps in &rows {
                gather_row(grid, self.x, run, taps, first..first + group_in, at, self.patch_stride, patches);
                at += taps.len() * group_in;
            }
            for patch in patches.chunks_exact_mut(self.patch_stride) {
                // A last word that is not full.
                patch[at..][..8].fill(T::default());
            }
        }
    }
}

/// Elements that are copied at once, and that patches have room for beyond their end.
const COPIED: usize = 32;

/// Copies the inputs of a run of pixels at some contiguous taps to index `at` of their patches.
#[allow(clippy::too_many_arguments)] // where from, where to, and how much
fn gather_row<T: Element>(
    grid: &SamplingGrid,
    x: &[T],
    run: &[Pixel],
    taps: &[[isize; 2]],
    channels: Range<usize>,
    at: usize,
    patch_stride: usize,
    patches: &mut [T],
) {
    let (first, group_in) = (channels.start, channels.len());
    let len = taps.len() * group_in;
    let inside = pixels_inside(grid, run, taps, |start| {
        start * grid.in_channels + first + len.next_multiple_of(COPIED) <= x.len()
    });
    for (i, (pixel, patch)) in run.iter().zip(patches.chunks_exact_mut(patch_stride)).enumerate() {
        let patch = &mut patch[at..];
        if inside.contains(&i) {
            let input = (pixel.image * grid.in_height + (pixel.row + taps[0][0]) as usize) * grid.in_width
                + (pixel.column + taps[0][1]) as usize;
            let x = &x[input * grid.in_channels + first..];
            // Whole blocks: the excess is overwritten by the next row, or lies beyond the patch.
            for block in (0..len).step_by(COPIED) {
                let to: &mut [T; COPIED] = (&mut patch[block..][..COPIED]).try_into().expect("as long");
                *to = x[block..][..COPIED].try_into().expect("as long");
            }
            continue;
        }
        for (tap, patch) in taps.iter().zip(patch.chunks_exact_mut(group_in)) {
            match input_pixel(grid, pixel, *tap) {
                Some(input) => {
                    let x = &x[input * grid.in_channels + first..][..group_in];
                    patch.iter_mut().zip(x).for_each(|(patch, x)| *patch = *x);
                }
                None => patch.fill(T::default()),
            }
        }
    }
}

/// A pixel of the grid.
struct Pixel {
    image: usize,
    /// Input pixel of the tap (0, 0).
    row: isize,
    column: isize,
    /// Index in the output, in pixels.
    output: usize,
}

impl Pixel {
    fn is_in_row_of(&self, other: &Pixel) -> bool {
        (self.image, self.row) == (other.image, other.row)
    }
}

fn locate(grid: &SamplingGrid, piece: Range<usize>) -> Vec<Pixel> {
    let in_image = grid.height * grid.width;
    let mut image = piece.start / in_image;
    let mut row = piece.start % in_image / grid.width;
    let mut column = piece.start % grid.width;
    piece
        .map(|_| {
            let output =
                grid.out_first + image * grid.out_image + row * grid.out_row + column * grid.out_column;
            let pixel = Pixel {
                image,
                row: (row * grid.stride[0]) as isize,
                column: (column * grid.stride[1]) as isize,
                output,
            };
            column += 1;
            if column == grid.width {
                (row, column) = (row + 1, 0);
                if row == grid.height {
                    (image, row) = (image + 1, 0);
                }
            }
            pixel
        })
        .collect()
}

/// The input pixel at a tap, unless it is padding.
fn input_pixel(grid: &SamplingGrid, pixel: &Pixel, tap: [isize; 2]) -> Option<usize> {
    let (row, column) = (pixel.row + tap[0], pixel.column + tap[1]);
    // Negative numbers become large ones.
    let inside = (row as usize) < grid.in_height && (column as usize) < grid.in_width;
    inside.then(|| (pixel.image * grid.in_height + row as usize) * grid.in_width + column as usize)
}

/// Fills in the addresses of a tap's inputs for those pixels of a run for which it is inside of the image.
fn point_inside<T: Element>(
    grid: &SamplingGrid,
    x: &[T],
    run: &[Pixel],
    tap: [isize; 2],
    inside: Range<usize>,
    pointers: &mut [*const T],
) {
    let Some(pixel) = run[inside.clone()].first() else { return };
    let input = input_pixel(grid, pixel, tap).expect("the tap is inside of the image");
    let from = x[input * grid.in_channels..].as_ptr();
    let stride = grid.stride[1] * grid.in_channels;
    for (i, pointer) in pointers[inside].iter_mut().enumerate() {
        *pointer = from.wrapping_add(i * stride);
    }
}

/// The pixels of a run in one row for which all of these taps, neighbours in a row, are inside of the image,
/// and whose first input pixel `fits`.
fn pixels_inside(
    grid: &SamplingGrid,
    run: &[Pixel],
    taps: &[[isize; 2]],
    fits: impl Fn(usize) -> bool,
) -> Range<usize> {
    let row = run[0].row + taps[0][0];
    if row < 0 || row as usize >= grid.in_height {
        return 0..0;
    }
    let (left, right) = (taps[0][1], taps[taps.len() - 1][1]);
    let start = run.partition_point(|pixel| pixel.column + left < 0);
    let end = run.partition_point(|pixel| {
        let column = pixel.column + left;
        pixel.column + right < grid.in_width as isize
            && fits((pixel.image * grid.in_height + row as usize) * grid.in_width + column.max(0) as usize)
    });
    start..end.max(start)
}
