//! Bytes that are owned or lie in somebody else's region, such as a mapped file, which stays alive as long as they do.

use super::large_pages::Pool;
use crate::{Error, Result};
use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// Bytes behind a shared owner. Cloning copies none.
#[derive(Clone)]
pub struct SharedBytes {
    owner: Arc<dyn AsRef<[u8]> + Send + Sync>,
    range: Range<usize>,
}

impl SharedBytes {
    /// The bytes `range` of `owner`, which has to show the same bytes ever after.
    ///
    /// # Errors
    /// A range that ends beyond them.
    pub fn of(owner: Arc<dyn AsRef<[u8]> + Send + Sync>, range: Range<usize>) -> Result<Self> {
        let length = (*owner).as_ref().len();
        if range.start > range.end || range.end > length {
            return Err(Error::input(format!("bytes {} to {} do not lie in {length} bytes", range.start, range.end)));
        }
        Ok(Self { owner, range })
    }

    /// `length` bytes of `pool` that start at a multiple of 64, as `write` leaves them; they are 0 before.
    pub(super) fn aligned(pool: &Pool, length: usize, write: impl FnOnce(&mut [u8])) -> Self {
        let mut bytes = pool.take(length);
        write(&mut bytes);
        Self { owner: Arc::new(bytes.freeze()), range: 0..length }
    }
}

impl From<Vec<u8>> for SharedBytes {
    fn from(bytes: Vec<u8>) -> Self {
        let range = 0..bytes.len();
        Self { owner: Arc::new(bytes), range }
    }
}

impl Deref for SharedBytes {
    type Target = [u8];

    /// None where the owner broke its promise.
    fn deref(&self) -> &[u8] {
        (*self.owner).as_ref().get(self.range.clone()).unwrap_or_default()
    }
}

impl fmt::Debug for SharedBytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SharedBytes({} bytes)", self.range.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_region_keeps_the_region_alive() {
        let region: Arc<Vec<u8>> = Arc::new((0..10).collect());
        let part = SharedBytes::of(Arc::clone(&region) as _, 3..5).unwrap();
        drop(region);
        assert_eq!(part.clone()[..], [3, 4]);
        assert!(SharedBytes::of(Arc::new([0; 4]), 3..5).unwrap_err().to_string().contains("bytes 3 to 5"));
    }

    #[test]
    fn aligned_bytes_start_at_a_multiple_of_64() {
        for length in [1, 64, 1000] {
            let bytes = SharedBytes::aligned(&Pool::default(), length, |bytes| bytes.fill(7));
            assert_eq!(bytes.as_ptr() as usize % 64, 0);
            assert_eq!(bytes[..], vec![7; length]);
        }
    }
}
