//! What the kernel offers to a program, tried from inside (tests/guests/kernel).

use vcpu_host::Outcome;
use vcpu_tests::{BackendKind, Guest, on_every_backend};

fn memory_functions_agree_with_byte_by_byte_models(backend: BackendKind) {
    let ended = Guest::new("guest-kernel", backend).arguments(["memory"]).run();
    assert_eq!(ended.output_text(), "all memory functions agree with their models\n", "{ended}");
}

fn blocks_keep_their_content_running_out_is_an_error_and_nothing_leaks(backend: BackendKind) {
    let ended = Guest::new("guest-kernel", backend).arguments(["heap"]).run();
    // Of 4 MiB a little is the image.
    let output = ended.output_text();
    let blocks: usize = output.split(' ').next().and_then(|word| word.parse().ok()).expect("a number");
    assert!((30..=42).contains(&blocks), "{ended}");
    assert!(output.ends_with("; leaked 0\n"), "{ended}");
}

fn a_handler_that_waits_is_a_panic_and_not_a_broken_stack(backend: BackendKind) {
    let ended = Guest::new("guest-kernel", backend).arguments(["wait-in-handler"]).run();
    let Outcome::Panicked(report) = &ended.outcome else { panic!("{ended}") };
    assert!(report.sentence.contains("a handler, or a section without events, tried to wait"), "{ended}");
}

fn a_damaged_heap_ends_in_a_report_even_if_the_handler_allocates(backend: BackendKind) {
    let ended = Guest::new("guest-kernel", backend).arguments(["broken-heap"]).run();
    // Small blocks are still to be had.
    let lines: Vec<&str> = ended.output_text().lines().collect();
    assert!(matches!(lines[..], [_, seen] if seen.starts_with("page fault at 0x1")), "{ended}");
    let Outcome::Faulted(report) = &ended.outcome else { panic!("{ended}") };
    assert!(report.sentence.contains("page fault"), "{ended}");
}

fn a_thread_on_memory_that_was_used_before_can_be_interrupted(backend: BackendKind) {
    Guest::new("guest-kernel", backend).arguments(["stale-extended"]).run().assert_output("died: false\n");
}

fn constructors_run_before_main(backend: BackendKind) {
    let ended = Guest::new("guest-kernel", backend).arguments(["constructors"]).run();
    assert_eq!(ended.output_text(), "1 before main\n", "{ended}");
}

on_every_backend!(
    a_damaged_heap_ends_in_a_report_even_if_the_handler_allocates,
    a_thread_on_memory_that_was_used_before_can_be_interrupted,
    constructors_run_before_main,
    memory_functions_agree_with_byte_by_byte_models,
    blocks_keep_their_content_running_out_is_an_error_and_nothing_leaks,
    a_handler_that_waits_is_a_panic_and_not_a_broken_stack,
);
