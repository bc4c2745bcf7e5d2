//! A waker for parts of one task that wake each other.
//!
//! A body and the connection that feeds it talk over hyper's channel. Driven by one task, each message
//! between them would wake the very task that is just polling both, and cost it another turn per
//! chunk for nothing. While it polls, such a wake only tells it to look again.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

#[derive(Debug)]
pub(super) struct QuietWaker {
    shared: Arc<Shared>,
    waker: Waker,
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
        self.woken.store(true, SeqCst);
        // Another thread may wake while we poll: then we see `woken`, now or before we return.
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
            woken: AtomicBool::new(false),
        });
        let waker = Waker::from(Arc::clone(&shared));
        Self { shared, waker }
    }
}

impl QuietWaker {
    /// Polls until there is something, or nothing more to do. Whoever gets something must poll again,
    /// as one does with a stream: a wake meanwhile is then seen.
    pub(super) fn poll<T>(
        &self,
        cx: &Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        {
            let mut task = self.shared.task.lock().unwrap_or_else(PoisonError::into_inner);
            if !task.will_wake(cx.waker()) {
                task.clone_from(cx.waker());
            }
        }
        let mut inner = Context::from_waker(&self.waker);
        self.shared.polling.store(true, SeqCst);
        let polled = loop {
            self.shared.woken.store(false, SeqCst);
            let polled = poll(&mut inner);
            if polled.is_ready() || !self.shared.woken.load(SeqCst) {
                break polled;
            }
        };
        self.shared.polling.store(false, SeqCst);
        // A wake from another thread, between the last look and the line above.
        if polled.is_pending() && self.shared.woken.load(SeqCst) {
            cx.waker().wake_by_ref();
        }
        polled
    }
}
