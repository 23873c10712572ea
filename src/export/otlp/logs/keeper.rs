//! The keeper of the spool: moves to disk what has waited too long, or what memory gets short of room
//! for, and at the end all that is left. So no event is older than a few seconds and in memory only.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::export::otlp::outbox::Outbox;
use crate::export::otlp::parcel::Parcel;
use crate::export::otlp::spool::Spool;

/// How often it looks for what has waited too long.
const LOOK: Duration = Duration::from_millis(250);
/// How long it leaves a disk alone that refused, or that is full.
const DISK_PAUSE: Duration = Duration::from_secs(1);

/// Keeps the spool until nothing is sent any more (`finish`), then saves what is left, and ends.
pub(super) async fn keep(outbox: Arc<Outbox>, spool: Arc<Spool>, mut finish: watch::Receiver<bool>) {
    while !*finish.borrow_and_update() {
        let saved = match outbox.queue().take_overdue(Instant::now()) {
            Some(parcel) => match save(&outbox, &spool, parcel).await {
                None => true,
                Some(parcel) => {
                    outbox.queue().put_back(parcel);
                    false
                }
            },
            None => false,
        };
        if !saved {
            spool.remove_leftovers().await;
            pause(&outbox, &spool, &mut finish).await;
        }
    }
    // What does not fit keeps nothing smaller behind it out; it is dropped at the end of all.
    let mut unsaved = Vec::new();
    while let Some(parcel) = outbox.queue().take_any() {
        unsaved.extend(save(&outbox, &spool, parcel).await);
    }
}

/// Until there is something to do.
async fn pause(outbox: &Outbox, spool: &Spool, finish: &mut watch::Receiver<bool>) {
    let refused = spool.refuses();
    let pause = tokio::time::sleep(if refused { DISK_PAUSE } else { LOOK });
    tokio::select! {
        () = pause => {}
        () = outbox.queue().until_short(), if !refused => {}
        _ = finish.changed() => {}
    }
}

/// Moves a parcel to disk; gives it back if that takes it not.
async fn save(outbox: &Outbox, spool: &Arc<Spool>, parcel: Parcel) -> Option<Parcel> {
    let (mut parcel, request) = outbox.load(parcel).await?;
    parcel.oversized = !spool.could_hold(&request);
    match spool.save(&parcel, request).await {
        Ok(Some(file)) => {
            parcel.is_saved(Some(file));
            spool.shelve(parcel);
            None
        }
        _ => Some(parcel),
    }
}
