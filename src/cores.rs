//! The machine's cores: the same work for many things, on all of them at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Does `work` for every item, `per_core` of them at once on each core; the results are in the order of the items. More than
/// one is of use where the work waits for the file system.
///
/// # Errors
///
/// The first failure in the order of the items. Once one has failed, no other is begun; what has begun is finished.
pub fn each<'a, T: Sync, R: Send, E: Send>(
    items: &'a [T],
    per_core: usize,
    work: impl Fn(&'a T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else {
                return done;
            };
            let result = work(item);
            if result.is_err() {
                next.store(items.len(), Ordering::Relaxed);
            }
            done.push((index, result));
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut done = thread::scope(|scope| {
        let others: Vec<_> = (1..(cores * per_core).min(items.len()))
            .map(|_| scope.spawn(worker))
            .collect();
        let mut done = worker();
        for other in others {
            let theirs = other.join();
            done.extend(theirs.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        done
    });
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_the_items() {
        let items: Vec<usize> = (0..1000).collect();
        let doubled = each(&items, 4, |item| Ok::<_, ()>(item * 2));
        assert_eq!(doubled, Ok((0..1000).map(|item| item * 2).collect()));
        let none: [usize; 0] = [];
        assert_eq!(each(&none, 1, |item| Ok::<_, ()>(*item)), Ok(Vec::new()));
    }

    #[test]
    fn the_first_failure_is_told_and_little_is_begun_after_it() {
        let items: Vec<usize> = (0..100_000).collect();
        let begun = AtomicUsize::new(0);
        let outcome = each(&items, 1, |item| {
            begun.fetch_add(1, Ordering::Relaxed);
            if *item >= 3 { Err(*item) } else { Ok(()) }
        });
        assert_eq!(outcome, Err(3));
        assert!(begun.into_inner() < items.len());
    }
}
