//! A waker for parts of one task that wake each other.
//!
//! A body and the connection that feeds it talk over hyper's channel. Driven by one task, each message
//! between them would wake the very task that is just polling both, and cost it another turn per
//! chunk for nothing. While it polls, such a wake only tells it to look again.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Most times that the parts are polled in one turn of the task. Each message between them takes one
/// more look; what wakes itself more often has used up its turn.
const MOST_TURNS: usize = 3;

#[derive(Debug)]
pub(super) struct QuietWaker {
    shared: Arc<Shared>,
    /// What the parts get.
    waker: Waker,
    /// A copy of the task's, to see without a lock that it is the same as ever.
    task: Waker,
}

#[derive(Debug)]
struct Shared {
    task: Mutex<Waker>,
    polling: AtomicBool,
    woken: AtomicBool,
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // In this order, and in the opposite one in `poll`: of a wake by another thread that comes as
        // the poll ends, one of the two sides sees the other.
        self.woken.store(true, SeqCst);
        if !self.polling.load(SeqCst) {
            self.task.lock().unwrap_or_else(PoisonError::into_inner).wake_by_ref();
        }
    }
}

impl Default for QuietWaker {
    fn default() -> Self {
        let shared = Arc::new(Shared {
            task: Mutex::new(Waker::noop().clone()),
            polling: AtomicBool::new(false),
            // Nothing was polled yet, so everything may be ready.
            woken: AtomicBool::new(true),
        });
        let waker = Waker::from(Arc::clone(&shared));
        Self { shared, waker, task: Waker::noop().clone() }
    }
}

impl QuietWaker {
    /// Polls until there is something, or nothing more to do; not at all if nothing was woken since
    /// there was nothing. Whoever gets something must poll again, as one does with a stream.
    pub(super) fn poll<T>(
        &mut self,
        cx: &Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let Shared { task, polling, woken } = &*self.shared;
        if !self.task.will_wake(cx.waker()) {
            self.task.clone_from(cx.waker());
            task.lock().unwrap_or_else(PoisonError::into_inner).clone_from(cx.waker());
        }
        polling.store(true, Relaxed);
        let mut inner = Context::from_waker(&self.waker);
        let mut polled = Poll::Pending;
        for _ in 0..MOST_TURNS {
            if polled.is_ready() || !woken.load(Relaxed) {
                break;
            }
            woken.store(false, Relaxed);
            polled = poll(&mut inner);
        }
        polling.store(false, SeqCst);
        if polled.is_ready() {
            // There may be more.
            woken.store(true, Relaxed);
        } else if woken.load(SeqCst) {
            // From another thread, or tokio's budget for this turn is spent: let others have theirs.
            cx.waker().wake_by_ref();
        }
        polled
    }
}
