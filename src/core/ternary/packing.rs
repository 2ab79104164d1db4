//! Four ternary codes in a byte, in Hugging Face's layout: the rows are cut into four stacked blocks of `R = ceil(rows / 4)`, and byte
//! `[r, c]` holds `code + 1` of row `r + i * R` in bits `2i` and `2i + 1`. Neighbouring rows are not neighbours in a byte.

use crate::{Error, Result};

/// Rows of the packed matrix for `num_rows` rows of codes.
pub fn num_packed_rows(num_rows: usize) -> usize {
    num_rows.div_ceil(4)
}

/// Packs `codes` `[num_rows, num_columns]`, each -1, 0 or +1, into bytes `[ceil(num_rows / 4), num_columns]`. Bits of rows that do not
/// exist are 0.
///
/// # Errors
/// A length other than `num_rows * num_columns`, or a code other than -1, 0, +1.
pub fn pack(codes: &[i8], num_rows: usize, num_columns: usize) -> Result<Vec<u8>> {
    require_length("codes", codes.len(), num_rows, num_columns)?;
    let block_length = num_packed_rows(num_rows) * num_columns;
    let mut packed = vec![0; block_length];
    if let Some(index) = codes.iter().position(|code| !(-1..=1).contains(code)) {
        return Err(Error::input(format!("code {index} is {}: only -1, 0 and 1 can be packed", codes[index])));
    }
    for (block, codes) in codes.chunks(block_length.max(1)).enumerate() {
        packed.iter_mut().zip(codes).for_each(|(byte, code)| *byte |= ((code + 1) as u8) << (2 * block));
    }
    Ok(packed)
}

/// The inverse of [`pack`]: codes `[num_rows, num_columns]`. Bits of rows that do not exist are ignored.
///
/// # Errors
/// A length other than `ceil(num_rows / 4) * num_columns`, or a pair of bits that is 3, which is no code.
pub fn unpack(packed: &[u8], num_rows: usize, num_columns: usize) -> Result<Vec<i8>> {
    require_length("packed bytes", packed.len(), num_packed_rows(num_rows), num_columns)?;
    let mut codes = Vec::with_capacity(num_rows * num_columns);
    for block in 0..4 {
        let length = packed.len().min(num_rows * num_columns - codes.len());
        let first = codes.len();
        codes.extend(packed[..length].iter().map(|byte| (byte >> (2 * block) & 3) as i8 - 1));
        if let Some(index) = codes[first..].iter().position(|&code| code == 2) {
            return Err(Error::input(format!("byte {index} is {:#04x}: bits 3 are no ternary code", packed[index])));
        }
    }
    Ok(codes)
}

fn require_length(what: &str, length: usize, num_rows: usize, num_columns: usize) -> Result<()> {
    if num_rows.checked_mul(num_columns) == Some(length) {
        return Ok(());
    }
    Err(Error::input(format!("{length} {what} are not the {num_rows} x {num_columns} of the shape")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_example_packs_to_its_bytes_and_back() {
        let codes = [0, -1, -1, 1, -1, 1, -1, 1, 1, 0, 0, -1, 1, -1, 1, -1];
        let packed = pack(&codes, 8, 2).unwrap();
        assert_eq!(packed, [0xA1, 0x18, 0x90, 0x0A]);
        assert_eq!(unpack(&packed, 8, 2).unwrap(), codes);
    }

    #[test]
    fn every_shape_unpacks_to_what_was_packed() {
        for (num_rows, num_columns) in (0..10).flat_map(|rows| (0..6).map(move |columns| (rows, columns))) {
            let codes: Vec<i8> = (0..num_rows * num_columns).map(|index| (index * 7 % 3) as i8 - 1).collect();
            let packed = pack(&codes, num_rows, num_columns).unwrap();
            assert_eq!(packed.len(), num_packed_rows(num_rows) * num_columns);
            assert_eq!(unpack(&packed, num_rows, num_columns).unwrap(), codes, "{num_rows} x {num_columns}");
        }
    }

    #[test]
    fn bits_of_rows_that_do_not_exist_are_written_as_0_and_ignored() {
        assert_eq!(pack(&[1], 1, 1).unwrap(), [0b10]);
        assert_eq!(unpack(&[0b1111_1110], 1, 1).unwrap(), [1]);
    }

    #[test]
    fn what_is_no_code_is_named() {
        assert!(pack(&[0, 2], 2, 1).unwrap_err().to_string().contains("code 1 is 2"));
        assert!(unpack(&[0, 0b1100], 4, 2).unwrap_err().to_string().contains("byte 1 is 0x0c"));
    }

    #[test]
    fn a_length_that_does_not_fit_the_shape_is_refused() {
        assert_eq!(pack(&[0; 5], 2, 3).unwrap_err().exit_status(), 2);
        assert_eq!(unpack(&[0; 5], 8, 3).unwrap_err().exit_status(), 2);
        assert!(pack(&[], usize::MAX, 2).is_err());
    }
}
