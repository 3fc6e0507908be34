//! What is refused to a guest while it runs, in the host's log: what it tried, and the grant that would allow it.

use super::{Grant, Want};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Most refusals of a grant that are logged: a guest can go on trying for ever.
const LOGGED_MAX: u32 = 16;

/// Refusals because a grant is read-only.
#[derive(Debug)]
pub(crate) struct Refusals {
    granted: Want,
    /// What would grant more.
    option: Option<String>,
    count: AtomicU32,
}

impl Refusals {
    /// Those of a grant.
    pub(crate) fn of(grant: &Grant) -> Refusals {
        let granted = grant.as_want();
        let option = granted.writable().option();
        Refusals { granted, option, count: AtomicU32::new(0) }
    }

    /// Says in the log that the guest was not allowed to do this, as in "may not write", unless that was said
    /// often.
    pub(crate) fn log(&self, doing: &str) {
        let before = self.count.load(Relaxed);
        if before == LOGGED_MAX {
            return;
        }
        self.count.store(before + 1, Relaxed);
        let last = if before + 1 == LOGGED_MAX { "; what more it is refused is not said" } else { "" };
        let granted = &self.granted;
        match &self.option {
            Some(option) => {
                tracing::warn!("the guest may not {doing} {granted}; {option} would grant it{last}")
            }
            None => tracing::warn!("the guest may not {doing} {granted}{last}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt;
    use std::sync::{Arc, Mutex};
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    /// Keeps what is logged.
    struct Log(Arc<Mutex<Vec<String>>>);

    impl Visit for Log {
        fn record_debug(&mut self, _: &Field, value: &dyn fmt::Debug) {
            self.0.lock().unwrap().push(format!("{value:?}"));
        }
    }

    impl Subscriber for Log {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, event: &Event<'_>) {
            event.record(&mut Log(self.0.clone()));
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn a_refusal_is_logged_with_the_grant_that_would_allow_it_and_not_for_ever() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        tracing::subscriber::with_default(Log(lines.clone()), || {
            let refusals = Refusals::of(&Grant::directory("media", "/", false).unwrap());
            (0..100).for_each(|_| refusals.log("write to"));
        });
        let lines = lines.lock().unwrap();
        assert_eq!(lines[0], "the guest may not write to dir media:ro; --dir media=PATH:rw would grant it");
        assert_eq!(lines.len(), 16);
        assert!(lines[15].ends_with("; what more it is refused is not said"), "{lines:?}");
    }
}
