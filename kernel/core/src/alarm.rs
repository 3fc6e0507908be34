//! The alarm: the one timer of the machine behind time slices and deadlines.
//!
//! Setting it is a vCPU call, a hundred times dearer than a switch, and slices begin with every switch.
//! So the alarm is left alone when it is set too early: it then fires once for nothing, and is set anew
//! from there. Only a deadline earlier than what it is set to must reach the machine at once, so a
//! thousand switches within a slice set it once. When nobody runs it is set exactly, since a guest that
//! sleeps should not be woken for nothing.

/// What to do with the machine's timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "without it the timer never fires"]
pub enum Alarm {
    /// Leave it as it is.
    Keep,
    /// Let it fire at this time (ns), instead of whenever it was to fire. The time may be past.
    Set(u64),
    /// Let it not fire.
    Clear,
}

/// A time that does not come, in 584 years.
pub(crate) const NEVER: u64 = u64::MAX;

/// What the machine's timer is set to, as far as the guest knows.
#[derive(Debug)]
pub(crate) struct AlarmState {
    set_to: u64,
}

impl AlarmState {
    /// It is set to nothing.
    pub(crate) const fn new() -> AlarmState {
        AlarmState { set_to: NEVER }
    }

    /// It fired, so it is set to nothing.
    pub(crate) const fn fired(&mut self) {
        self.set_to = NEVER;
    }

    /// What to do so that it fires at or before `wanted`; exactly then if the guest is idle.
    #[inline]
    pub(crate) const fn want(&mut self, wanted: u64, is_idle: bool) -> Alarm {
        let is_right = if is_idle { self.set_to == wanted } else { self.set_to <= wanted };
        if is_right {
            return Alarm::Keep;
        }
        self.set_to = wanted;
        if wanted == NEVER { Alarm::Clear } else { Alarm::Set(wanted) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_earlier_time_reaches_the_machine() {
        let mut alarm = AlarmState::new();
        assert_eq!(alarm.want(100, false), Alarm::Set(100));
        assert_eq!(alarm.want(100, false), Alarm::Keep);
        assert_eq!(alarm.want(150, false), Alarm::Keep, "fires at 100 for nothing");
        assert_eq!(alarm.want(90, false), Alarm::Set(90));
        assert_eq!(alarm.want(NEVER, false), Alarm::Keep);
        alarm.fired();
        assert_eq!(alarm.want(150, false), Alarm::Set(150));
    }

    #[test]
    fn an_idle_guest_is_not_woken_for_nothing() {
        let mut alarm = AlarmState::new();
        assert_eq!(alarm.want(100, false), Alarm::Set(100));
        assert_eq!(alarm.want(150, true), Alarm::Set(150));
        assert_eq!(alarm.want(NEVER, true), Alarm::Clear);
        assert_eq!(alarm.want(NEVER, true), Alarm::Keep);
    }
}
