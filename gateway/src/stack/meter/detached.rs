//! A future that outlives whoever waits for it: hyper drops a request's future when its caller
//! hangs up, and the attempt under way must still be counted.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;

pub(super) struct Detached<T: Send + 'static> {
    future: Option<BoxFuture<'static, T>>,
    begun: bool,
    /// Whether to go on without the caller; otherwise dropping the future books what is known.
    goes_on: bool,
    patience: Duration,
    left: Arc<AtomicBool>,
}

impl<T: Send + 'static> Detached<T> {
    pub(super) fn new(
        future: BoxFuture<'static, T>,
        goes_on: bool,
        patience: Duration,
        left: Arc<AtomicBool>,
    ) -> Self {
        Detached {
            future: Some(future),
            begun: false,
            goes_on,
            patience,
            left,
        }
    }
}

impl<T: Send + 'static> Future for Detached<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        self.begun = true;
        let future = self
            .future
            .as_mut()
            .expect("a future is not polled after it was ready");
        let output = std::task::ready!(future.as_mut().poll(context));
        self.future = None;
        Poll::Ready(output)
    }
}

impl<T: Send + 'static> Drop for Detached<T> {
    fn drop(&mut self) {
        let Some(future) = self.future.take() else {
            return;
        };
        self.left.store(true, Relaxed);
        if !(self.begun && self.goes_on) {
            return;
        }
        let patience = self.patience;
        // Without a runtime the process is ending: dropping the future books what is known.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let _ = tokio::time::timeout(patience, future).await;
            });
        }
    }
}
