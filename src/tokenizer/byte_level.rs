//! The bytes that byte-level tokens stand for. GPT-2's files write every byte as one visible character: those that print as themselves,
//! the rest, in order, from U+0100 on.

/// The byte that `character` is written for.
fn byte_of(character: char) -> Option<u8> {
    let byte = match u32::from(character) {
        own @ (0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff) => own,
        moved @ 0x100..=0x120 => moved - 0x100,
        moved @ 0x121..=0x142 => moved - 0x121 + 0x7f,
        0x143 => 0xad,
        _ => return None,
    };
    u8::try_from(byte).ok()
}

/// The bytes of a token. One with a character that stands for no byte is text as it is, as the `tokenizers` library has it.
pub(super) fn bytes_of(token: &str) -> Vec<u8> {
    token.chars().map(byte_of).collect::<Option<Vec<u8>>>().unwrap_or_else(|| token.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_written_as_one_character() {
        let mut bytes: Vec<u8> = ('\0'..='\u{200}').filter_map(byte_of).collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
        let known = [("Ġ", &b" "[..]), ("Ċ", b"\n"), ("č", b"\r"), ("Ãł", b"\xc3\xa0"), ("ÂŃ", b"\xc2\xad"), ("a b", b"a b")];
        known.iter().for_each(|(token, bytes)| assert_eq!(bytes_of(token), *bytes, "{token}"));
    }
}
