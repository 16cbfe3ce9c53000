//! Who owns which page of the KV cache: a pool of page numbers and a table per sequence.
//!
//! Pure bookkeeping; the pages themselves are GPU buffers that all layers number alike.

/// The free pages of a cache.
#[derive(Debug)]
pub(crate) struct PagePool {
    free: Vec<u32>,
    /// Positions per page, a power of two.
    page_size: usize,
}

/// The pages of one sequence, in the order of its positions.
#[derive(Debug, Default)]
pub(crate) struct PageTable {
    pages: Vec<u32>,
}

impl PagePool {
    /// A pool of the pages `0..n_pages`, all free.
    pub(crate) fn new(n_pages: u32, page_size: usize) -> Self {
        debug_assert!(page_size.is_power_of_two());
        Self {
            // Taken from the end: a lone sequence gets pages 0, 1, 2, … and reads memory in order.
            free: (0..n_pages).rev().collect(),
            page_size,
        }
    }
}

impl PageTable {
    /// The page numbers, as the step buffer takes them.
    pub(crate) fn pages(&self) -> &[u32] {
        &self.pages
    }

    /// Takes pages until `positions` positions have one. `false`, and nothing taken, where the pool
    /// has too few.
    #[must_use]
    pub(crate) fn reserve(&mut self, pool: &mut PagePool, positions: usize) -> bool {
        let missing = positions
            .div_ceil(pool.page_size)
            .saturating_sub(self.pages.len());
        let Some(rest) = pool.free.len().checked_sub(missing) else {
            return false;
        };
        self.pages.extend(pool.free.drain(rest..).rev());
        true
    }

    /// Gives back every page that holds only positions from `positions` on.
    pub(crate) fn truncate(&mut self, pool: &mut PagePool, positions: usize) {
        let kept = positions.div_ceil(pool.page_size).min(self.pages.len());
        pool.free.extend(self.pages.drain(kept..).rev());
    }
}

#[cfg(test)]
mod tests {
    use super::{PagePool, PageTable};
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn a_lone_sequence_gets_pages_in_order() {
        let mut pool = PagePool::new(4, 16);
        let mut table = PageTable::default();
        assert!(table.reserve(&mut pool, 1));
        assert_eq!(table.pages(), [0]);
        assert!(table.reserve(&mut pool, 33));
        assert_eq!(table.pages(), [0, 1, 2]);
        table.truncate(&mut pool, 16);
        assert_eq!(table.pages(), [0]);
        assert!(table.reserve(&mut pool, 64));
        assert_eq!(table.pages(), [0, 1, 2, 3]);
        assert!(pool.free.is_empty());
    }

    #[test]
    fn a_pool_too_small_gives_nothing() {
        let mut pool = PagePool::new(2, 16);
        let mut table = PageTable::default();
        assert!(!table.reserve(&mut pool, 33));
        assert_eq!((table.pages().len(), pool.free.len()), (0, 2));
    }

    proptest! {
        /// Whatever several sequences do, no page has two owners and none is lost.
        #[test]
        fn every_page_has_exactly_one_owner(
            actions in prop::collection::vec((0usize..3, 0usize..200), 0..60)
        ) {
            let mut pool = PagePool::new(20, 16);
            let mut tables: [PageTable; 3] = Default::default();
            for (sequence, positions) in actions {
                let table = &mut tables[sequence];
                if positions > table.pages().len() * 16 {
                    let enough = table.reserve(&mut pool, positions);
                    prop_assert_eq!(enough, table.pages().len() * 16 >= positions);
                } else {
                    table.truncate(&mut pool, positions);
                    prop_assert_eq!(table.pages().len(), positions.div_ceil(16));
                }
                let owned = tables.iter().flat_map(PageTable::pages);
                let all: Vec<u32> = owned.chain(&pool.free).copied().collect();
                prop_assert_eq!(all.len(), 20);
                prop_assert_eq!(all.iter().collect::<HashSet<_>>().len(), 20);
            }
        }
    }
}
