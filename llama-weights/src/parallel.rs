//! Work on all cores whose results are taken in the order of its parts, with no more of them in memory than the cores need.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::channel;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Does `work` for every part and gives each result to `take`, on this thread and in order. Not more than two parts for each core are begun
/// and not taken yet. The first error of `take` ends it.
pub(crate) fn in_order<P: Send, R: Send, E>(
    parts: impl Iterator<Item = P>,
    work: impl Fn(P) -> R + Sync,
    mut take: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E> {
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let (give, given) = channel::<(usize, P)>();
    let given = Mutex::new(given);
    let (tell, told) = channel::<(usize, Result<R, Box<dyn Any + Send>>)>();
    thread::scope(|scope| {
        for _ in 0..workers {
            let (given, work, tell) = (&given, &work, tell.clone());
            scope.spawn(move || {
                loop {
                    // A statement of its own, so that the lock is gone while there is work.
                    let next = given.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((number, part)) = next else { return };
                    let result = catch_unwind(AssertUnwindSafe(|| work(part)));
                    // Nobody listens after an error.
                    let _ = tell.send((number, result));
                }
            });
        }
        // Gone when this is left, by an error too: then the workers end.
        let give = give;
        let mut parts = parts.enumerate();
        let (mut begun, mut taken) = (0, 0);
        let mut waiting = BTreeMap::new();
        loop {
            while begun < taken + 2 * workers {
                let Some(part) = parts.next() else { break };
                // Workers end after this only.
                let _ = give.send(part);
                begun += 1;
            }
            if taken == begun {
                return Ok(());
            }
            let Ok((number, result)) = told.recv() else {
                return Ok(()); // Impossible: this side holds a sender's copy.
            };
            waiting.insert(number, result.unwrap_or_else(|panic| resume_unwind(panic)));
            while let Some(result) = waiting.remove(&taken) {
                taken += 1;
                take(result)?;
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn results_come_in_order_and_few_wait() {
        let begun = AtomicUsize::new(0);
        let mut taken = Vec::new();
        let work = |n: usize| {
            begun.fetch_add(1, Ordering::SeqCst);
            // Later parts are done sooner.
            thread::sleep(std::time::Duration::from_micros(((200 - n) * 3) as u64));
            n * n
        };
        let most = 2 * thread::available_parallelism().map_or(1, usize::from);
        let done = in_order(0..200, work, |square| {
            assert!(begun.load(Ordering::SeqCst) <= taken.len() + most);
            taken.push(square);
            Ok::<(), ()>(())
        });
        assert_eq!(done, Ok(()));
        assert_eq!(taken, (0..200).map(|n| n * n).collect::<Vec<_>>());
        assert_eq!(in_order(0..0, work, |_| Err(())), Ok(()));
    }

    #[test]
    fn an_error_ends_it() {
        let mut taken = 0;
        let done = in_order(
            0..,
            |n: usize| n,
            |n| {
                taken += 1;
                if n == 5 { Err("five") } else { Ok(()) }
            },
        );
        assert_eq!((done, taken), (Err("five"), 6));
    }

    #[test]
    #[should_panic(expected = "part 3")]
    fn a_panic_of_a_part_is_this_thread_s() {
        let work = |n: usize| assert!(n != 3, "part {n}");
        let _ = in_order(0..100, work, |()| Ok::<(), ()>(()));
    }
}
