//! The events as server-sent events. A reader that is slow holds no more than one piece of the stream, and is sent how
//! many events it missed.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Interval, interval};

use crate::admin::api::answer::Problem;
use crate::admin::api::events::Wanted;
use crate::recent::Recent;

const MAX_READERS: usize = 8;
/// Time between two comments, which keep proxies from closing the connection.
const COMMENT_INTERVAL: Duration = Duration::from_secs(15);
/// Bytes of a piece, without its last event.
const MAX_PIECE: usize = 32 * 1024;

pub(super) struct Streams {
    permits: Arc<Semaphore>,
    signal: Arc<Signal>,
}

#[derive(Default)]
struct Signal {
    /// Notified when there is an event, and at the end.
    changed: Notify,
    ended: AtomicBool,
}

impl Streams {
    pub(super) fn of(recent: &Recent) -> Streams {
        let signal = Arc::<Signal>::default();
        let of_events = signal.clone();
        recent.set_on_event(move || of_events.changed.notify_waiters());
        Streams { permits: Arc::new(Semaphore::new(MAX_READERS)), signal }
    }

    pub(super) fn end(&self) {
        self.signal.ended.store(true, Ordering::Release);
        self.signal.changed.notify_waiters();
    }

    pub(super) fn open(
        &self,
        recent: Arc<Recent>,
        wanted: Wanted,
        headers: &HeaderMap,
    ) -> Result<Response, Problem> {
        let permit = self.permits.clone().try_acquire_owned();
        let permit = permit.map_err(|_| Problem::busy("8 readers follow the events already"))?;
        let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
        // An id of an earlier process may be too large.
        let last = last.map(|id: u64| if id > recent.taken() { 0 } else { id });
        let last = last.unwrap_or_else(|| wanted.start(&recent));
        let (signal, comments) = (self.signal.clone(), interval(COMMENT_INTERVAL));
        let reader = Reader { recent, wanted, signal, comments, last, _permit: permit };
        let pieces = stream::unfold(reader, |mut reader| async {
            let piece = reader.next().await?;
            Some((Ok::<_, Infallible>(Bytes::from(piece)), reader))
        });
        Ok(([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(pieces)).into_response())
    }
}

struct Reader {
    recent: Arc<Recent>,
    wanted: Wanted,
    signal: Arc<Signal>,
    comments: Interval,
    /// The last id that was sent, or not wanted.
    last: u64,
    _permit: OwnedSemaphorePermit,
}

impl Reader {
    /// Waits for the next piece; `None` at the end.
    async fn next(&mut self) -> Option<String> {
        loop {
            let signal = self.signal.clone();
            // Before the window is read, so that no event is missed in between.
            let changed = signal.changed.notified();
            if signal.ended.load(Ordering::Acquire) {
                return None;
            }
            let piece = self.piece();
            if !piece.is_empty() {
                return Some(piece);
            }
            tokio::select! {
                () = changed => {}
                _ = self.comments.tick() => return Some(": \n\n".to_owned()),
            }
        }
    }

    fn piece(&mut self) -> String {
        let mut piece = String::new();
        for event in self.recent.events_after(self.last) {
            let missed = event.id - self.last - 1;
            if missed > 0 {
                piece += &format!("event: missed\ndata: {{\"count\":{missed}}}\n\n");
            }
            self.last = event.id;
            if self.wanted.matches(&event) {
                // On one line.
                let data = self.wanted.item(&event);
                piece += &format!("id: {}\nevent: report\ndata: {data}\n\n", event.id);
            }
            if piece.len() > MAX_PIECE {
                break;
            }
        }
        piece
    }
}
