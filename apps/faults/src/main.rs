//! Every way to misbehave, one a run: what the machine and the kernel make of it.
//!
//! `faults CASE` does it and lets the machine end the guest with a report; `faults CASE --handled`
//! catches the exception, says what it was and ends with status 0. Without arguments it lists the cases.
//!
//! | module | its subject |
//! |---|---|
//! | [`mod@attempt`] | catching an exception and continuing behind it, for every case in the same way |
//! | [`cases`] | code that faults, a function a case |
//! | [`far_jump`] | the case that leaves 64-bit mode |
//! | [`mod@bad_calls`] | calls with wrong arguments, which are no faults: the machine answers |

#![no_std]
#![no_main]

mod attempt;
mod bad_calls;
mod cases;
mod far_jump;

use attempt::attempt;
use libvcpu::prelude::*;

entry!(main);

/// One way to misbehave.
struct Case {
    name: &'static str,
    summary: &'static str,
    run: extern "C" fn(),
    /// Whether it raises one exception, which a handler can take.
    catchable: bool,
}

const fn fault(name: &'static str, run: extern "C" fn(), summary: &'static str) -> Case {
    Case { name, summary, run, catchable: true }
}

const fn special(name: &'static str, run: extern "C" fn(), summary: &'static str) -> Case {
    Case { name, summary, run, catchable: false }
}

const CASES: [Case; 21] = [
    fault("null", cases::null, "read through a null pointer"),
    fault("write-text", cases::write_text, "write to the program's own code"),
    fault("execute-data", cases::execute_data, "call a function that lies in writable memory"),
    fault("divide", cases::divide, "divide by zero"),
    fault("invalid-opcode", cases::invalid_opcode, "execute `ud2`"),
    fault("breakpoint", cases::breakpoint, "execute `int3`"),
    fault("misaligned", cases::misaligned, "read a misaligned word with the alignment-check flag set"),
    fault("non-canonical", cases::non_canonical, "read at an address that no processor can have"),
    fault("stack-overflow", cases::stack_overflow, "recurse without end"),
    fault("syscall", cases::syscall, "try a system call of the host by `syscall`"),
    fault("int80", cases::int80, "try a system call of the host by `int 0x80`"),
    fault("sysenter", cases::sysenter, "try a system call of the host by `sysenter`"),
    fault("vsyscall", cases::vsyscall, "call the host's vsyscall page"),
    fault("far-jump-32", far_jump::far_jump_32, "leave 64-bit mode and try a system call there"),
    fault("trap-page-read", cases::trap_page_read, "read the trap page instead of writing it"),
    fault("trap-page-wrong", cases::trap_page_wrong, "store to the trap page by another instruction"),
    special("fault-in-handler", cases::fault_in_handler, "fault in the handler of a fault"),
    special("loop-events-off", cases::loop_events_off, "turn events off and loop for ever"),
    special("bad-calls", bad_calls::bad_calls, "make calls with wrong arguments, and print the answers"),
    special("panic", cases::panic, "index an array out of its bounds"),
    special("out-of-memory", cases::out_of_memory, "allocate until there is no memory"),
];

fn main() -> u8 {
    let arguments: Vec<String> = libvcpu::env::args().skip(1).collect();
    let (name, handled) = match &arguments[..] {
        [] => {
            for case in &CASES {
                println!("{:16}  {}", case.name, case.summary);
            }
            return 0;
        }
        [name] => (name, false),
        [name, option] if option == "--handled" => (name, true),
        _ => {
            eprintln!("faults: expected [CASE [--handled]]");
            return 2;
        }
    };
    let Some(case) = CASES.iter().find(|case| case.name == name) else {
        eprintln!("faults: there is no case `{name}`; `faults` lists them");
        return 2;
    };
    if handled && !case.catchable {
        eprintln!("faults: `--handled` makes no sense for the case `{name}`");
        return 2;
    }

    if !handled {
        (case.run)();
        if case.catchable {
            println!("nothing happened");
            return 1;
        }
        return 0;
    }
    match attempt(case.run) {
        Some(caught) => {
            println!("handled: {caught}");
            0
        }
        None => {
            println!("nothing happened");
            1
        }
    }
}
