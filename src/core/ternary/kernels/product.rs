//! A product of one matrix, and the share of it that a thread computes: its row groups, for all tokens. Threads write `[tokens, rows]` side
//! by side, which slices cannot express.

use crate::ternary::int8_rows::{Int8Rows, Line};
use crate::ternary::matrix::{BLOCK_BYTES, BLOCK_COLUMNS, GROUP_ROWS, PackedMatrix, num_blocks};
use crate::{Error, Result};
use std::marker::PhantomData;
use std::ops::Range;
use std::slice::from_raw_parts_mut;

/// One matrix, the activations that it is multiplied with, and where the result goes. Shapes are right.
pub(in crate::ternary) struct Product<'a> {
    /// Row groups of `num_blocks` blocks.
    blocks: &'a [u8],
    num_blocks: usize,
    rows: usize,
    scale: f32,
    activations: &'a Int8Rows,
    /// `[tokens, rows]`, borrowed as a whole.
    out: *mut f32,
    borrowed: PhantomData<&'a mut [f32]>,
}

// SAFETY: `out` stands for a `&mut [f32]`, which threads reach only through shares, and those are disjoint.
unsafe impl Sync for Product<'_> {}

impl<'a> Product<'a> {
    /// # Errors
    /// Activations of another width, or an `out` of another length.
    pub(in crate::ternary) fn new(matrix: &'a PackedMatrix, activations: &'a Int8Rows, out: &'a mut [f32]) -> Result<Self> {
        let (tokens, rows) = (activations.tokens(), matrix.rows());
        if tokens > 0 && activations.columns() != matrix.columns() {
            return Err(Error::ours(format!("activations of {} columns meet a matrix of {}", activations.columns(), matrix.columns())));
        }
        if tokens.checked_mul(rows) != Some(out.len()) {
            return Err(Error::ours(format!("{} outputs are not the {tokens} x {rows} of the product", out.len())));
        }
        let num_blocks = num_blocks(matrix.columns());
        let blocks = matrix.bytes();
        if blocks.len() != rows.div_ceil(GROUP_ROWS) * num_blocks * BLOCK_BYTES {
            return Err(Error::ours("a region of packed codes has become shorter"));
        }
        Ok(Self { blocks, num_blocks, rows, scale: matrix.scale(), activations, out: out.as_mut_ptr(), borrowed: PhantomData })
    }

    pub(super) fn num_groups(&self) -> usize {
        self.rows.div_ceil(GROUP_ROWS)
    }

    /// # Safety
    /// While the share lives, there is no other of one of its groups.
    pub(super) unsafe fn share(&self, groups: Range<usize>) -> Share<'_> {
        Share { product: self, groups: groups.start..groups.end.min(self.num_groups()) }
    }
}

/// Several groups side by side: reading them together keeps more of the memory at work than one after another.
pub(super) struct Streams<'a, const GROUPS: usize>([&'a [[u8; BLOCK_BYTES]]; GROUPS]);

impl<'a, const GROUPS: usize> Streams<'a, GROUPS> {
    /// Blocks that a line of activations meets; fewer at the end.
    const LINE_BLOCKS: usize = Line::LENGTH / BLOCK_COLUMNS;

    /// The blocks of each group that meet a line.
    #[inline]
    pub(super) fn at(&self, line: usize) -> [&'a [[u8; BLOCK_BYTES]]; GROUPS] {
        let start = line * Self::LINE_BLOCKS;
        self.0.map(|blocks| &blocks[start..blocks.len().min(start + Self::LINE_BLOCKS)])
    }

    /// How many bytes behind the blocks of a line those lie that should be asked for by then: a page further, since hardware alone stops
    /// at the end of each. What follows the end of a group is the next stream, whose next group is as many groups further.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    pub(super) fn ahead(&self, line: usize) -> usize {
        const AHEAD: usize = 4096 / BLOCK_BYTES;
        let num_blocks = self.0[0].len();
        let is_inside = line * Self::LINE_BLOCKS + AHEAD < num_blocks;
        BLOCK_BYTES * if is_inside { AHEAD } else { AHEAD + (GROUPS - 1) * num_blocks }
    }
}

/// Some row groups of a product, which nobody else computes.
pub(super) struct Share<'a> {
    product: &'a Product<'a>,
    groups: Range<usize>,
}

impl<'a> Share<'a> {
    pub(super) fn groups(&self) -> Range<usize> {
        self.groups.clone()
    }

    pub(super) fn activations(&self) -> &'a Int8Rows {
        self.product.activations
    }

    /// The blocks of `groups`, one group after another.
    pub(super) fn blocks(&self, groups: Range<usize>) -> &'a [u8] {
        let group_bytes = self.product.num_blocks * BLOCK_BYTES;
        &self.product.blocks[groups.start * group_bytes..groups.end * group_bytes]
    }

    /// The blocks of each of `groups`; where there are fewer than `GROUPS`, of the last one again.
    #[inline]
    pub(super) fn streams<const GROUPS: usize>(&self, groups: Range<usize>) -> Streams<'a, GROUPS> {
        let group = |index: usize| (groups.start + index).min(groups.end - 1);
        Streams(std::array::from_fn(|index| self.blocks(group(index)..group(index) + 1).as_chunks().0))
    }

    /// The results of one group for one token: 16, or fewer where the rows end.
    fn out(&mut self, token: usize, group: usize) -> &mut [f32] {
        assert!(token < self.product.activations.tokens() && self.groups.contains(&group), "group {group} of token {token} is another's");
        let first = group * GROUP_ROWS;
        // SAFETY: with `[tokens, rows]` and the token and group just checked, the range lies in `out`; nobody else has the group.
        unsafe {
            let start = self.product.out.add(token * self.product.rows + first);
            from_raw_parts_mut(start, GROUP_ROWS.min(self.product.rows - first))
        }
    }

    /// Writes the results of a group for a token from its exact sums: `sum * scale / scale of the token`, left to right.
    #[inline(always)]
    pub(super) fn finish(&mut self, token: usize, group: usize, sums: &[i32; GROUP_ROWS]) {
        let (scale, activation_scale) = (self.product.scale, self.activations().scales()[token]);
        let mut results = [0.0; GROUP_ROWS];
        for (result, &sum) in results.iter_mut().zip(sums) {
            *result = sum as f32 * scale / activation_scale;
        }
        let out = self.out(token, group);
        match out.first_chunk_mut() {
            Some(out) => *out = results,
            None => out.copy_from_slice(&results[..out.len()]),
        }
    }
}

/// `range` in pieces of `size`, the last perhaps shorter.
pub(super) fn pieces(range: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> {
    range.clone().step_by(size).map(move |start| start..range.end.min(start + size))
}
