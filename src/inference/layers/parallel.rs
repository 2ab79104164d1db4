//! One output written by several threads: each takes the next piece as it becomes free, so that uneven pieces balance, and no piece is
//! written by two. Which numbers go where does not depend on the number of threads.

use crate::ternary::threads::Threads;

/// Numbers below which waking threads costs more than they save.
const FEW_OPERATIONS: usize = 1 << 14;

/// Calls `compute(index, piece)` for each piece of `output` of `length` numbers; the last may be shorter. `operations` is about what a
/// piece costs, in multiplications.
pub(super) fn for_each_piece<T: Send>(
    threads: &Threads,
    output: &mut [T],
    length: usize,
    operations: usize,
    compute: impl Fn(usize, &mut [T]) + Sync,
) {
    let length = length.max(1);
    if output.len() <= length || !is_worth_threads(operations.saturating_mul(output.len() / length)) {
        output.chunks_mut(length).enumerate().for_each(|(index, piece)| compute(index, piece));
        return;
    }
    threads.for_each(output.chunks_mut(length).enumerate(), |(index, piece)| compute(index, piece));
}

/// Whether this number of multiplications is worth waking threads.
pub(super) fn is_worth_threads(operations: usize) -> bool {
    operations >= FEW_OPERATIONS
}
