//! What is said of a guest: what its drivers did wrong, and what it says and is at its end.

use super::Machine;
use crate::registers::Registers;
use crate::report::Report;
use crate::{Error, unwind};
use vcpu_abi::call::Error as CallError;

/// Most bytes of a panic's message that are reported.
const MESSAGE_MAX: u64 = 4096;

impl Machine {
    /// What its drivers did wrong to its devices, in sentences.
    pub fn device_reports(&self) -> Vec<String> {
        self.devices.reports()
    }

    /// A message of the guest's, cut at a length that fits a report.
    pub(super) fn message(&self, address: u64, length: u64) -> Result<String, CallError> {
        let bytes = self.memory.read_cut(address, length, MESSAGE_MAX).ok_or(CallError::BadAddress)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A report of the guest as it is now.
    ///
    /// # Errors
    ///
    /// As [`run`](Machine::run).
    pub fn report(&mut self, sentence: String) -> Result<Report, Error> {
        match self.backend.registers() {
            Ok(registers) => Ok(self.report_at(sentence, registers)),
            Err(Error::Unresponsive) => Ok(Report { sentence, registers: None, backtrace: Vec::new() }),
            Err(error) => Err(error),
        }
    }

    pub(super) fn report_at(&self, sentence: String, registers: Registers) -> Report {
        let backtrace = unwind::backtrace(&self.image, &self.memory, &registers);
        Report { sentence, registers: Some(Box::new(registers)), backtrace }
    }
}
