//! Whose turn it is: the machine has two cores, which two nodes share without noticing. A larger cluster has them alone.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How many nodes may run at the same time, if they are clusters of one.
const SEATS: usize = 2;

/// Seats that are taken, for as long as this lives.
pub(crate) struct Taken(Vec<usize>);

#[derive(Clone, Copy)]
struct Hall {
    taken: [bool; SEATS],
    /// Numbers are given to whoever comes, and called in their order: whoever needs both seats is not passed by.
    given: u64,
    called: u64,
}

static HALL: Mutex<Hall> = Mutex::new(Hall {
    taken: [false; SEATS],
    given: 0,
    called: 0,
});
static MOVED: Condvar = Condvar::new();

impl Taken {
    /// Waits for one seat.
    pub(crate) fn one() -> Self {
        Self::some(1)
    }

    /// Waits until everybody else is gone.
    pub(crate) fn all() -> Self {
        Self::some(SEATS)
    }

    /// The seats, by their numbers.
    pub(crate) fn numbers(&self) -> &[usize] {
        &self.0
    }

    fn some(count: usize) -> Self {
        let mut hall = hall();
        let number = hall.given;
        hall.given += 1;
        let mut hall = MOVED
            .wait_while(hall, |hall| {
                hall.called != number || hall.free().count() < count
            })
            .unwrap_or_else(PoisonError::into_inner);
        hall.called += 1;
        let seats: Vec<usize> = hall.free().take(count).collect();
        for seat in &seats {
            hall.taken[*seat] = true;
        }
        MOVED.notify_all();
        Self(seats)
    }
}

impl Hall {
    fn free(self) -> impl Iterator<Item = usize> {
        (0..SEATS).filter(move |seat| !self.taken[*seat])
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut hall = hall();
        for seat in &self.0 {
            hall.taken[*seat] = false;
        }
        MOVED.notify_all();
    }
}

fn hall() -> MutexGuard<'static, Hall> {
    HALL.lock().unwrap_or_else(PoisonError::into_inner)
}
