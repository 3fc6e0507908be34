//! What the machine tells of itself by `tracing`, on standard error for `--verbose`.

use crate::output;
use std::fmt::{self, Write};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Says from now on what the machine tells, but what only its developers want to know.
pub(crate) fn show() {
    // Nobody else has set one in this program.
    let _ = tracing::subscriber::set_global_default(Log);
}

struct Log;

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= Level::INFO && metadata.target().starts_with("vcpu_host")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        output::note(&line.text());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// An event as one line: what it says, and its fields.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let written = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
        written.expect("a string takes all");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        write!(self.fields, " {}={value}", field.name()).expect("a string takes all");
    }
}

impl Line {
    /// The line. Names in it may come from a guest, which must not control the terminal or begin new lines.
    fn text(&self) -> String {
        let harmless = |shown: char| if shown.is_control() { char::REPLACEMENT_CHARACTER } else { shown };
        self.message.chars().chain(self.fields.chars()).map(harmless).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// Keeps the lines.
    struct Kept(Arc<Mutex<Vec<String>>>);

    impl Subscriber for Kept {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            Log.enabled(metadata)
        }

        fn new_span(&self, attributes: &Attributes<'_>) -> Id {
            Log.new_span(attributes)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, event: &Event<'_>) {
            let mut line = Line::default();
            event.record(&mut line);
            self.0.lock().unwrap().push(line.text());
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn an_event_is_one_line_whatever_a_guest_put_into_it() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        tracing::subscriber::with_default(Kept(lines.clone()), || {
            let name = "a\x1b[2J\nerror: forged";
            tracing::warn!(target: "vcpu_host::grant", device = 1, name, "refused to write {name}");
            tracing::warn!(target: "elsewhere", "somebody else's");
            tracing::debug!(target: "vcpu_host::grant", "for developers");
            let _span = tracing::info_span!(target: "vcpu_host", "span").entered();
        });
        let name = "a\u{fffd}[2J\u{fffd}error: forged";
        assert_eq!(*lines.lock().unwrap(), [format!("refused to write {name} device=1 name={name}")]);
    }
}
