//! Token ids as bytes: two or four little-endian bytes each. Owns the choice between them and the check that an id is in the vocabulary.

use crate::{Error, Result};

/// Bytes that a token takes in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenWidth {
    /// Ids below 65,536.
    Two,
    /// Any id.
    Four,
}

impl TokenWidth {
    /// The least that holds every id below `vocab_size`.
    pub fn of_vocabulary(vocab_size: usize) -> Self {
        if vocab_size <= 1 << 16 { Self::Two } else { Self::Four }
    }

    /// 2 or 4.
    pub fn bytes(self) -> usize {
        match self {
            Self::Two => 2,
            Self::Four => 4,
        }
    }

    /// The ids in `bytes`, whose length is that of `out` times the width.
    pub(super) fn unpack(self, bytes: &[u8], out: &mut [u32]) {
        match self {
            Self::Two => {
                let ids = bytes.as_chunks::<2>().0;
                out.iter_mut().zip(ids).for_each(|(out, id)| *out = u32::from(u16::from_le_bytes(*id)));
            }
            Self::Four => {
                let ids = bytes.as_chunks::<4>().0;
                out.iter_mut().zip(ids).for_each(|(out, id)| *out = u32::from_le_bytes(*id));
            }
        }
    }

    fn pack(self, ids: &[u32], out: &mut Vec<u8>) {
        match self {
            Self::Two => ids.iter().for_each(|&id| out.extend_from_slice(&(id as u16).to_le_bytes())),
            Self::Four => ids.iter().for_each(|&id| out.extend_from_slice(&id.to_le_bytes())),
        }
    }
}

/// Documents as they will lie in a shard: the bytes of their tokens, one document after another, and how long each is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedDocuments {
    vocab_size: usize,
    pub(super) width: TokenWidth,
    pub(super) bytes: Vec<u8>,
    /// Tokens of each document.
    pub(super) lengths: Vec<u64>,
}

impl PackedDocuments {
    /// None yet.
    pub fn new(vocab_size: usize) -> Self {
        Self { vocab_size, width: TokenWidth::of_vocabulary(vocab_size), bytes: Vec::new(), lengths: Vec::new() }
    }

    /// Adds a document.
    ///
    /// # Errors
    /// An id outside the vocabulary, which is a defect of the tokenizer.
    pub fn push(&mut self, tokens: &[u32]) -> Result<()> {
        if let Some(position) = tokens.iter().position(|&token| token as usize >= self.vocab_size) {
            let message = format!("token {position} of a document is {}, and the vocabulary ends at {}", tokens[position], self.vocab_size);
            return Err(Error::ours(message).hint("the tokenizer gives ids that it does not count in its vocabulary"));
        }
        self.width.pack(tokens, &mut self.bytes);
        self.lengths.push(tokens.len() as u64);
        Ok(())
    }

    /// Tokens of all of them.
    pub fn num_tokens(&self) -> u64 {
        (self.bytes.len() / self.width.bytes()) as u64
    }

    /// How many they are.
    pub fn num_documents(&self) -> u64 {
        self.lengths.len() as u64
    }
}
