//! Whether bytes are those that a repository lists.

use super::names::is_hex;
use sha1::Digest;

/// What a repository says of a file's content. The hash is also the file's name in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The SHA-256 of the bytes: files in Git LFS, and those in the Hub's own large-file store.
    Sha256(String),
    /// The SHA-1 of the bytes as a git object: files in git itself.
    GitBlob(String),
}

impl Content {
    /// From the hash as a server writes it, by its length; none if it is no hash.
    pub(super) fn from_hash(hash: &str) -> Option<Self> {
        let hash = hash.trim_start_matches("W/").trim_matches('"').to_ascii_lowercase();
        match hash.len() {
            64 if is_hex(&hash, 64) => Some(Self::Sha256(hash)),
            40 if is_hex(&hash, 40) => Some(Self::GitBlob(hash)),
            _ => None,
        }
    }

    /// In hexadecimal.
    pub fn hash(&self) -> &str {
        match self {
            Self::Sha256(hash) | Self::GitBlob(hash) => hash,
        }
    }

    /// A hasher of a file of `size` bytes.
    pub(super) fn hasher(&self, size: u64) -> Hasher {
        match self {
            Self::Sha256(_) => Hasher::Sha256(sha2::Sha256::new()),
            Self::GitBlob(_) => Hasher::GitBlob(sha1::Sha1::new_with_prefix(format!("blob {size}\0"))),
        }
    }
}

/// Hashes as a [`Content`] is hashed.
pub(super) enum Hasher {
    Sha256(sha2::Sha256),
    GitBlob(sha1::Sha1),
}

impl Hasher {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::GitBlob(hasher) => hasher.update(bytes),
        }
    }

    /// In hexadecimal.
    pub(super) fn finish(self) -> String {
        match self {
            Self::Sha256(hasher) => hexadecimal(&hasher.finalize()),
            Self::GitBlob(hasher) => hexadecimal(&hasher.finalize()),
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash_of(content: &Content, bytes: &[u8]) -> String {
        let mut hasher = content.hasher(bytes.len() as u64);
        bytes.chunks(2).for_each(|piece| hasher.update(piece));
        hasher.finish()
    }

    #[test]
    fn hashes_are_those_of_git_and_of_sha256sum() {
        // `printf hello | git hash-object --stdin` and `printf hello | sha256sum`.
        let git = Content::from_hash("b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0").unwrap();
        let sha256 = Content::from_hash("\"2CF24DBA5FB0A30E26E83B2AC5B9E29E1B161E5C1FA7425E73043362938B9824\"").unwrap();
        assert_eq!(hash_of(&git, b"hello"), git.hash());
        assert_eq!(hash_of(&sha256, b"hello"), sha256.hash());
    }

    #[test]
    fn an_etag_that_is_no_hash_is_none() {
        assert_eq!(Content::from_hash("../.."), None);
        assert_eq!(Content::from_hash(&format!("{}/", "a".repeat(63))), None);
        assert_eq!(Content::from_hash(&format!("W/\"{}\"", "a".repeat(40))), Some(Content::GitBlob("a".repeat(40))));
    }
}
