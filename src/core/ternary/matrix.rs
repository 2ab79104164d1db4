//! A ternary matrix in 2 bits a weight, in the layout that the kernels read. Owns the layout; what is computed with it belongs to
//! `multiply`.
//!
//! 16 rows make a group and 16 columns of a group a block of 64 bytes; the blocks of a group lie one after another, then come those of
//! the next group. Byte `4 r + b` of a block holds in bits `2 f` and `2 f + 1` the `code + 1` of row `r`, column `4 f + b`, so that
//! a 32-bit lane under one mask is four neighbouring columns of one row: an operand of the dot products of 8-bit numbers. Rows and
//! columns that do not exist are zeros, `code + 1 = 1`.

use super::bytes::SharedBytes;
use super::large_pages::Pool;
use super::packing;
use crate::{Error, Result};

/// Rows of a group: the 32-bit lanes of the widest vector.
pub const GROUP_ROWS: usize = 16;
/// Columns of a block: 16 fields of 2 bits in a lane.
pub const BLOCK_COLUMNS: usize = 16;
/// Bytes of a block.
pub const BLOCK_BYTES: usize = 64;
/// The most columns. Kernels sum fields where they lie in a byte, up to 64 times their value: 3 * 64 * 128 / 4 * 2^18 fits 32 bits.
pub const MAX_COLUMNS: usize = 1 << 18;

/// Bytes that are zeros throughout.
const ZEROS: u8 = 0b01_01_01_01;

/// Ternary codes `[rows, columns]` and what a code of 1 stands for.
#[derive(Debug, Clone)]
pub struct PackedMatrix {
    blocks: SharedBytes,
    rows: usize,
    columns: usize,
    scale: f32,
}

impl PackedMatrix {
    /// [`PackedMatrix::pack_in`] memory of its own.
    ///
    /// # Errors
    /// Those of [`PackedMatrix::pack_in`].
    pub fn pack(codes: &[i8], rows: usize, columns: usize, scale: f32) -> Result<Self> {
        Self::pack_in(&Pool::default(), codes, rows, columns, scale)
    }

    /// Packs `codes` `[rows, columns]`, each -1, 0 or 1, into memory of `pool`.
    ///
    /// # Errors
    /// A shape that [`PackedMatrix::num_bytes`] refuses, another number of codes, or a code that is not ternary.
    pub fn pack_in(pool: &Pool, codes: &[i8], rows: usize, columns: usize, scale: f32) -> Result<Self> {
        let num_bytes = Self::num_bytes(rows, columns)?;
        if codes.len() != rows * columns {
            return Err(Error::input(format!("{} codes are not the {rows} x {columns} of the shape", codes.len())));
        }
        let field = |code: &i8| code.wrapping_add(1).cast_unsigned();
        // All of them at once, which compilers make vectors of, before one is looked for.
        if codes.iter().map(field).fold(0, u8::max) > 2 {
            let index = codes.iter().position(|code| field(code) > 2).unwrap_or_default();
            return Err(Error::input(format!("code {index} is {}: only -1, 0 and 1 can be packed", codes[index])));
        }
        let blocks = pack_rows(pool, num_bytes, columns, rows, |row, fields| {
            for (to, code) in fields.iter_mut().zip(&codes[row * columns..]) {
                *to = field(code);
            }
        });
        Ok(Self { blocks, rows, columns, scale })
    }

    /// Packs what is packed in Hugging Face's layout, `[ceil(rows / 4), columns]` (see [`super::packing`]), into memory of `pool`.
    ///
    /// # Errors
    /// A shape that [`PackedMatrix::num_bytes`] refuses, another number of bytes, or bits that are no code.
    pub fn repack_in(pool: &Pool, packed: &[u8], rows: usize, columns: usize, scale: f32) -> Result<Self> {
        let num_bytes = Self::num_bytes(rows, columns)?;
        let stacked_rows = packing::num_packed_rows(rows);
        if packed.len() != stacked_rows * columns {
            return Err(Error::input(format!("{} packed bytes are not those of {rows} x {columns} codes", packed.len())));
        }
        if packed.iter().fold(0, |found, byte| found | byte & byte >> 1 & 0b01_01_01_01) != 0 {
            // Perhaps only in rows that do not exist.
            packing::unpack(packed, rows, columns)?;
        }
        let blocks = pack_rows(pool, num_bytes, columns, rows, |row, fields| {
            let shift = 2 * (row / stacked_rows);
            for (to, byte) in fields.iter_mut().zip(&packed[row % stacked_rows * columns..]) {
                *to = byte >> shift & 3;
            }
        });
        Ok(Self { blocks, rows, columns, scale })
    }

    /// The matrix whose blocks these are, [`PackedMatrix::bytes`] of an earlier one. A field of 3 is no code; it is not looked for here,
    /// since that would read all of a mapped file, and counts as a weight of 2.
    ///
    /// # Errors
    /// A shape that [`PackedMatrix::num_bytes`] refuses, or another number of bytes.
    pub fn from_blocks(blocks: SharedBytes, rows: usize, columns: usize, scale: f32) -> Result<Self> {
        let num_bytes = Self::num_bytes(rows, columns)?;
        if blocks.len() != num_bytes {
            return Err(Error::input(format!("{} bytes are not the {num_bytes} of {rows} x {columns} packed codes", blocks.len())));
        }
        Ok(Self { blocks, rows, columns, scale })
    }

    /// Bytes of a packed matrix, padding included.
    ///
    /// # Errors
    /// No column, more than [`MAX_COLUMNS`], or more rows than memory can hold.
    pub fn num_bytes(rows: usize, columns: usize) -> Result<usize> {
        if columns == 0 || columns > MAX_COLUMNS {
            return Err(Error::input(format!("{columns} columns are not in 1 to {MAX_COLUMNS}")));
        }
        let num_bytes = rows.div_ceil(GROUP_ROWS).checked_mul(num_blocks(columns) * BLOCK_BYTES);
        num_bytes.filter(|_| rows.checked_mul(columns).is_some()).ok_or_else(|| Error::input(format!("{rows} rows are too many")))
    }

    /// The bytes of a packed matrix as `[groups, blocks of a group, bytes of a block]`.
    pub fn block_shape(rows: usize, columns: usize) -> [usize; 3] {
        [rows.div_ceil(GROUP_ROWS), num_blocks(columns), BLOCK_BYTES]
    }

    /// Outputs of a product.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs of a product.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// What a code of 1 stands for.
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// The blocks, padding included.
    pub fn bytes(&self) -> &[u8] {
        &self.blocks
    }

    /// The first byte in which a field is no code, padding included; reads all of them.
    pub fn find_no_code(&self) -> Option<usize> {
        self.blocks.iter().position(|byte| byte & byte >> 1 & 0b01_01_01_01 != 0)
    }

    /// The codes `[rows, columns]`.
    pub fn unpack(&self) -> Vec<i8> {
        let code = |row: usize, column: usize| {
            let block = row / GROUP_ROWS * num_blocks(self.columns) + column / BLOCK_COLUMNS;
            let byte = self.blocks[block * BLOCK_BYTES + row % GROUP_ROWS * 4 + column % 4];
            (byte >> (column % BLOCK_COLUMNS / 4 * 2) & 3) as i8 - 1
        };
        (0..self.rows).flat_map(|row| (0..self.columns).map(move |column| code(row, column))).collect()
    }
}

/// Blocks of a group.
pub(super) fn num_blocks(columns: usize) -> usize {
    columns.div_ceil(BLOCK_COLUMNS)
}

/// The blocks of `rows`, whose `code + 1` of each column `write` puts into the slice that it is given.
fn pack_rows(pool: &Pool, num_bytes: usize, columns: usize, rows: usize, write: impl Fn(usize, &mut [u8])) -> SharedBytes {
    let mut fields = vec![1; columns.next_multiple_of(BLOCK_COLUMNS)];
    SharedBytes::aligned(pool, num_bytes, |bytes| {
        bytes.fill(ZEROS);
        for row in 0..rows {
            write(row, &mut fields[..columns]);
            let group = bytes[row / GROUP_ROWS * num_blocks(columns) * BLOCK_BYTES..].as_chunks_mut::<BLOCK_BYTES>().0;
            for (fields, block) in fields.as_chunks::<4>().0.as_chunks::<4>().0.iter().zip(group) {
                let [ones, fours, sixteens, sixty_fours] = fields.map(u32::from_le_bytes);
                let lane = ones | fours << 2 | sixteens << 4 | sixty_fours << 6;
                block.as_chunks_mut().0[row % GROUP_ROWS] = lane.to_le_bytes();
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn codes(length: usize) -> Vec<i8> {
        (0..length).map(|index| (index * index % 7 % 3) as i8 - 1).collect()
    }

    #[test]
    fn every_shape_unpacks_to_what_was_packed() {
        for (rows, columns) in [(0, 1), (1, 1), (1, 5), (15, 16), (16, 17), (17, 15), (40, 100), (3, 5460)] {
            let codes = codes(rows * columns);
            let matrix = PackedMatrix::pack(&codes, rows, columns, 0.5).unwrap();
            assert_eq!(matrix.bytes().len(), rows.div_ceil(16) * columns.div_ceil(16) * 64);
            assert_eq!(matrix.unpack(), codes, "{rows} x {columns}");
            assert_eq!((matrix.rows(), matrix.columns(), matrix.scale()), (rows, columns, 0.5));
        }
    }

    #[test]
    fn what_is_packed_in_another_layout_gives_the_same_matrix() {
        for (rows, columns) in [(0, 3), (1, 1), (2, 40), (5, 17), (18, 100), (64, 33)] {
            let codes = codes(rows * columns);
            let stacked = packing::pack(&codes, rows, columns).unwrap();
            let matrix = PackedMatrix::repack_in(&Pool::default(), &stacked, rows, columns, 1.0).unwrap();
            assert_eq!(matrix.bytes(), PackedMatrix::pack(&codes, rows, columns, 1.0).unwrap().bytes(), "{rows} x {columns}");
        }
        assert_eq!(PackedMatrix::repack_in(&Pool::default(), &[0b1111_1110], 1, 1, 1.0).unwrap().unpack(), [1]);
        assert!(PackedMatrix::repack_in(&Pool::default(), &[0b11], 1, 1, 1.0).unwrap_err().to_string().contains("byte 0 is 0x03"));
        assert!(PackedMatrix::repack_in(&Pool::default(), &[0; 3], 4, 2, 1.0).unwrap_err().to_string().contains("3 packed bytes"));
    }

    #[test]
    fn the_layout_is_the_one_described() {
        // Row 17 is row 1 of the second group; column 23 is 4 f + b = 7 of the second block: f = 1, b = 3.
        let mut codes = vec![0; 18 * 32];
        codes[17 * 32 + 23] = 1;
        let matrix = PackedMatrix::pack(&codes, 18, 32, 1.0).unwrap();
        let mut expected = vec![0b01_01_01_01; 4 * 64];
        expected[3 * 64 + 4 + 3] = 0b01_01_10_01;
        assert_eq!(matrix.bytes(), expected);
    }

    #[test]
    fn padding_is_zeros() {
        let matrix = PackedMatrix::pack(&[-1], 1, 1, 1.0).unwrap();
        assert_eq!(matrix.bytes()[0], 0b01_01_01_00);
        assert!(matrix.bytes()[1..].iter().all(|&byte| byte == ZEROS));
    }

    #[test]
    fn blocks_of_a_region_are_a_matrix() {
        let packed = PackedMatrix::pack(&codes(17 * 20), 17, 20, 2.0).unwrap();
        let region: Arc<Vec<u8>> = Arc::new([&[9; 3], packed.bytes()].concat());
        let blocks = SharedBytes::of(region, 3..3 + packed.bytes().len()).unwrap();
        let matrix = PackedMatrix::from_blocks(blocks, 17, 20, 2.0).unwrap();
        assert_eq!((matrix.unpack(), matrix.find_no_code()), (codes(17 * 20), None));
        let mut damaged = packed.bytes().to_vec();
        damaged[70] |= 0b11_00_00;
        assert_eq!(PackedMatrix::from_blocks(damaged.into(), 17, 20, 2.0).unwrap().find_no_code(), Some(70));
        let error = PackedMatrix::from_blocks(vec![0; 64].into(), 17, 20, 2.0).unwrap_err();
        assert!(error.to_string().contains("64 bytes are not the 256 of 17 x 20"), "{error}");
    }

    #[test]
    fn what_cannot_be_packed_is_refused() {
        for code in [2, -2, 127, -128] {
            let error = PackedMatrix::pack(&[0, code], 1, 2, 1.0).unwrap_err();
            assert!(error.to_string().contains(&format!("code 1 is {code}")), "{error}");
        }
        assert!(PackedMatrix::pack(&[0; 5], 2, 3, 1.0).unwrap_err().to_string().contains("5 codes are not the 2 x 3"));
        assert!(PackedMatrix::pack(&[], 1, 0, 1.0).is_err());
        assert!(PackedMatrix::num_bytes(1, MAX_COLUMNS + 1).is_err());
        assert!(PackedMatrix::num_bytes(usize::MAX, 100).is_err());
    }
}
