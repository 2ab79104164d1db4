//! The memory of this process: what the C library keeps of it, how large its pages are, and how much it was at most.

use std::fs;

/// Freed memory stays with the process up to blocks of so many bytes; the largest that glibc takes.
const LARGEST_KEPT: usize = 32 << 20;
/// The heap grows by so many bytes more than are asked for, which cost nothing until they are used, so that all of it has large pages.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const GROWTH: libc::c_int = 256 << 20;

/// Lets the C library keep the memory of freed tensors: without it, every large one is mapped and zeroed anew (a tenth of a step).
/// Elsewhere than on Linux with glibc this does nothing.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt only sets thresholds of the allocator.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGEST_KEPT as libc::c_int);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
        libc::mallopt(libc::M_TOP_PAD, GROWTH);
    }
}

/// Puts what is in memory now onto large pages, so that the processor finds it faster: the weights, their moments, and what steps use
/// again and again. A wish: where the system has no large pages, or too few, nothing changes. Returns the bytes that were asked for.
pub fn use_large_pages() -> u64 {
    large_regions().map(collapse).sum()
}

/// Addresses of the heap and of tensors beside it: private, writable, of no file, and no smaller than freed memory that is kept.
fn large_regions() -> impl Iterator<Item = (usize, usize)> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let regions: Vec<_> = maps.lines().filter_map(region).filter(|(start, end)| end - start >= LARGEST_KEPT).collect();
    regions.into_iter()
}

/// A line of /proc/self/maps: `start-end rw-p offset device inode path`.
fn region(line: &str) -> Option<(usize, usize)> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let is_private = words.next()? == "rw-p";
    let path = words.nth(3);
    let address = |text: &str| usize::from_str_radix(text, 16).ok();
    (is_private && matches!(path, None | Some("[heap]"))).then_some((address(start)?, address(end)?))
}

#[cfg(target_os = "linux")]
fn collapse((start, end): (usize, usize)) -> u64 {
    const LARGE_PAGE: usize = 2 << 20;
    let first = start.next_multiple_of(LARGE_PAGE);
    let length = (end / LARGE_PAGE * LARGE_PAGE).saturating_sub(first);
    // SAFETY: the advice moves pages and never changes what is in them; a region that is gone by now is an error, which is ignored.
    unsafe {
        libc::madvise(first as *mut libc::c_void, length, libc::MADV_HUGEPAGE);
        libc::madvise(first as *mut libc::c_void, length, libc::MADV_COLLAPSE);
    }
    length as u64
}

#[cfg(not(target_os = "linux"))]
fn collapse(_region: (usize, usize)) -> u64 {
    0
}

/// The most resident memory that this process ever had, libtorch included; none where the system does not say.
pub fn peak_memory_bytes() -> Option<u64> {
    // SAFETY: a struct of integers, which getrusage fills in.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let is_known = unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) } == 0;
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    is_known.then_some(usage.ru_maxrss as u64 * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_of_files_and_shared_ones_are_left_alone() {
        assert_eq!(
            region("559dc8fe0000-559dcc001000 rw-p 00000000 00:00 0                          [heap]"),
            Some((0x559d_c8fe_0000, 0x559d_cc00_1000))
        );
        assert_eq!(region("7f0000000000-7f0004000000 rw-p 00000000 00:00 0 "), Some((0x7f00_0000_0000, 0x7f00_0400_0000)));
        for other in [
            "7f0000000000-7f0004000000 r--p 00000000 00:00 0",
            "7f0000000000-7f0004000000 rw-s 00000000 00:00 0",
            "7f0000000000-7f0004000000 rw-p 00000000 fe:00 12 /usr/lib/libc.so.6",
            "7ffc00000000-7ffc04000000 rw-p 00000000 00:00 0 [stack]",
            "",
        ] {
            assert_eq!(region(other), None, "{other}");
        }
    }

    #[test]
    fn large_pages_change_nothing_that_is_in_memory() {
        let numbers: Vec<u64> = (0..8 << 20).collect();
        let asked = use_large_pages();
        assert!(!cfg!(target_os = "linux") || asked >= 60 << 20, "{asked} bytes");
        assert!(numbers.iter().zip(0..).all(|(number, index)| *number == index));
    }
}
