//! The heap, used rightly and wrongly from inside (tests/guests/heap).

use vcpu_host::Outcome;
use vcpu_tests::{BackendKind, Ended, Guest, on_every_backend};

const CLEAN: &str = "leaked 0 bytes, 0 blocks\n";

fn guest(arguments: &[&str], backend: BackendKind) -> Guest {
    Guest::new("guest-heap", backend).arguments(arguments)
}

/// Runs with the debug option.
fn debugged(arguments: &[&str], backend: BackendKind) -> Ended {
    let variable = (b"VCPU_HEAP_DEBUG".to_vec(), b"1".to_vec());
    guest(arguments, backend).with(|config| config.environment = vec![variable]).run()
}

fn blocks_of_all_sizes_and_alignments_keep_their_content(backend: BackendKind) {
    guest(&["layouts"], backend).run().assert_output(CLEAN);
}

fn random_operations_lose_no_content_and_no_memory(backend: BackendKind) {
    guest(&["soak", "200000"], backend).run().assert_output(CLEAN);
}

fn a_block_stays_in_its_place_while_its_class_does_not_change(backend: BackendKind) {
    guest(&["realloc"], backend).run().assert_output(CLEAN);
}

fn out_of_memory_is_an_error_after_which_the_heap_goes_on(backend: BackendKind) {
    guest(&["exhaust"], backend).run().assert_output(CLEAN);
}

fn fragmentation_is_an_error_that_the_figures_explain(backend: BackendKind) {
    let expected = "half is free: true, in pieces: true, more is refused: true\n";
    guest(&["fragments"], backend).run().assert_output(&format!("{expected}{CLEAN}"));
}

fn empty_slabs_go_back(backend: BackendKind) {
    let expected = "many slabs: true\nfew are kept: true\nthe rest goes back: true\n";
    guest(&["slabs"], backend).run().assert_output(expected);
}

fn every_figure_is_counted(backend: BackendKind) {
    guest(&["statistics"], backend).run().assert_output(CLEAN);
}

fn an_event_handler_can_use_the_heap_while_the_program_does(backend: BackendKind) {
    guest(&["handler"], backend).run().assert_output(&format!("{CLEAN}all in one piece: true\n"));
}

fn threads_can_use_the_heap_at_the_same_time(backend: BackendKind) {
    guest(&["threads"], backend).run().assert_output(CLEAN);
}

fn a_thread_that_dies_outside_of_the_heap_does_not_lock_it(backend: BackendKind) {
    guest(&["death"], backend).run().assert_output("died alone: true\n");
}

fn a_thread_that_dies_in_the_middle_of_the_heap_ends_the_guest(backend: BackendKind) {
    let ended = guest(&["damage"], backend).run();
    let Outcome::Faulted(report) = &ended.outcome else { panic!("{ended}") };
    assert!(report.sentence.contains("page fault at address 0x1"), "{ended}");
    assert_eq!(ended.output_text(), "");
}

fn a_stack_that_overflows_in_the_heap_leaves_it_whole(backend: BackendKind) {
    let expected = format!("every operation overflowed at many depths: true\n{CLEAN}");
    guest(&["overflow"], backend).run().assert_output(&expected);
}

fn the_debug_option_finds_wrong_use_and_names_the_block(backend: BackendKind) {
    for size in ["24", "3000"] {
        let block = format!("the block of {size} bytes at ");
        for (bug, sentence) in [
            ("double-free", " was freed twice"),
            ("late-double-free", " was freed twice"),
            ("wild-free", " was freed, but no block was allocated there"),
            ("wilder-free", "0x1 was freed, but no block was allocated there"),
            ("overrun", " was written beyond its end"),
            (
                "underrun",
                " was freed, but no block was allocated there, or the bytes before it were overwritten",
            ),
            ("write-after-free", " was written after it was freed"),
        ] {
            let ended = debugged(&["bug", bug, size], backend);
            let Outcome::Panicked(report) = &ended.outcome else { panic!("{bug}: {ended}") };
            let expected = match bug {
                "wild-free" | "wilder-free" => sentence.to_owned(),
                "underrun" => format!("{}{sentence}", ended.output_text().trim_end()),
                _ => format!("{block}{}{sentence}", ended.output_text().trim_end()),
            };
            assert!(report.sentence.contains(&expected), "{bug}: {ended}");
        }
    }
}

fn right_use_passes_with_the_debug_option(backend: BackendKind) {
    for size in ["24", "3000", "100000"] {
        let ended = debugged(&["bug", "none", size], backend);
        assert!(ended.output_text().ends_with("nothing was noticed\n"), "{ended}");
    }
    for scenario in [&["layouts"][..], &["soak", "50000"], &["handler"]] {
        assert_eq!(debugged(scenario, backend).status(), 0);
    }
}

fn without_the_debug_option_an_overrun_goes_unnoticed(backend: BackendKind) {
    // One byte behind 24 lies in the rest of the 32 that the block really has.
    let ended = guest(&["bug", "overrun", "24"], backend).run();
    assert!(ended.output_text().ends_with("nothing was noticed\n"), "{ended}");
}

on_every_backend!(
    blocks_of_all_sizes_and_alignments_keep_their_content,
    random_operations_lose_no_content_and_no_memory,
    a_block_stays_in_its_place_while_its_class_does_not_change,
    out_of_memory_is_an_error_after_which_the_heap_goes_on,
    fragmentation_is_an_error_that_the_figures_explain,
    empty_slabs_go_back,
    every_figure_is_counted,
    an_event_handler_can_use_the_heap_while_the_program_does,
    threads_can_use_the_heap_at_the_same_time,
    a_thread_that_dies_outside_of_the_heap_does_not_lock_it,
    a_thread_that_dies_in_the_middle_of_the_heap_ends_the_guest,
    a_stack_that_overflows_in_the_heap_leaves_it_whole,
    the_debug_option_finds_wrong_use_and_names_the_block,
    right_use_passes_with_the_debug_option,
    without_the_debug_option_an_overrun_goes_unnoticed,
);
