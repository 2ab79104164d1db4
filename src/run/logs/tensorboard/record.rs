//! The framing of an event file: a length, the bytes, and a masked CRC32C of each (the TFRecord format). What the bytes mean is the
//! business of `event`.

/// Castagnoli's polynomial, bits reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// Added to a rotated checksum, so that one of bytes that hold checksums is as good as any (the TFRecord format).
const MASK_DELTA: u32 = 0xa282_ead8;

/// The checksum's change by each value of a byte.
static TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut remainder, mut bit) = (byte as u32, 0);
        while bit < 8 {
            remainder = (remainder >> 1) ^ if remainder & 1 == 1 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        table[byte] = remainder;
        byte += 1;
    }
    table
}

/// CRC32C (RFC 3720, appendix B.4).
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| (crc >> 8) ^ TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize])
}

fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(MASK_DELTA)
}

/// Appends `content` to `out` as one record: length (8 bytes), its checksum (4), content, its checksum (4); little-endian.
pub(super) fn push_record(content: &[u8], out: &mut Vec<u8>) {
    let length = (content.len() as u64).to_le_bytes();
    out.extend_from_slice(&length);
    out.extend_from_slice(&masked(crc32c(&length)).to_le_bytes());
    out.extend_from_slice(content);
    out.extend_from_slice(&masked(crc32c(content)).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3720, appendix B.4, and the check value that catalogues of CRCs give for the digits 1 to 9.
    #[test]
    fn checksums_are_those_of_the_standard() {
        let ascending: Vec<u8> = (0..32).collect();
        let known: [(&[u8], u32); 5] =
            [(b"123456789", 0xe306_9283), (&[0; 32], 0x8a91_36aa), (&[0xff; 32], 0x62a8_ab43), (&ascending, 0x46dd_794e), (b"", 0)];
        for (bytes, checksum) in known {
            assert_eq!(crc32c(bytes), checksum, "{bytes:?}");
        }
    }

    /// By hand: 0xe3069283 turned right by 15 bits is 0x2507c60d; with 0xa282ead8 that is 0xc78ab0e5.
    #[test]
    fn a_masked_checksum_is_rotated_and_moved() {
        assert_eq!(masked(0xe306_9283), 0xc78a_b0e5);
    }

    #[test]
    fn a_record_is_its_length_and_its_content_each_with_a_checksum() {
        let mut out = b"before".to_vec();
        push_record(b"123456789", &mut out);
        let length = [9, 0, 0, 0, 0, 0, 0, 0];
        let expected = [&b"before"[..], &length, &masked(crc32c(&length)).to_le_bytes(), b"123456789", &[0xe5, 0xb0, 0x8a, 0xc7]].concat();
        assert_eq!(out, expected);
    }
}
