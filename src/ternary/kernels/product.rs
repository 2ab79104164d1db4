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

    /// Blocks of a row group.
    pub(super) fn num_blocks(&self) -> usize {
        self.product.num_blocks
    }

    /// The blocks of `groups`, one group after another.
    pub(super) fn blocks(&self, groups: Range<usize>) -> &'a [u8] {
        let group_bytes = self.product.num_blocks * BLOCK_BYTES;
        &self.product.blocks[groups.start * group_bytes..groups.end * group_bytes]
    }

    /// The blocks of a group that a line of activations meets, four but for the last.
    #[inline]
    pub(super) fn line_blocks(&self, group: usize) -> impl Iterator<Item = &'a [[u8; BLOCK_BYTES]]> {
        self.blocks(group..group + 1).as_chunks().0.chunks(Line::LENGTH / BLOCK_COLUMNS)
    }

    /// What a weight of 1 stands for.
    pub(super) fn scale(&self) -> f32 {
        self.product.scale
    }

    /// The results of one group for one token: 16, or fewer where the rows end.
    pub(super) fn out(&mut self, token: usize, group: usize) -> &mut [f32] {
        assert!(token < self.product.activations.tokens() && self.groups.contains(&group), "group {group} of token {token} is another's");
        let first = group * GROUP_ROWS;
        // SAFETY: with `[tokens, rows]` and the token and group just checked, the range lies in `out`; nobody else has the group.
        unsafe {
            let start = self.product.out.add(token * self.product.rows + first);
            from_raw_parts_mut(start, GROUP_ROWS.min(self.product.rows - first))
        }
    }

    /// Writes the results of a group for a token from its exact sums: `sum * scale / scale of the token`, left to right.
    pub(super) fn finish(&mut self, token: usize, group: usize, sums: &[i32; GROUP_ROWS]) {
        let (scale, activation_scale) = (self.scale(), self.activations().scales()[token]);
        for (out, &sum) in self.out(token, group).iter_mut().zip(sums) {
            *out = sum as f32 * scale / activation_scale;
        }
    }
}
