/*
 * vcpu.h - the contract between a guest and the machine that runs it, for C and C++.
 *
 * This is the C view of the crate `vcpu-abi`, which is the reference: addresses, page layouts, calls
 * and their errors. A test (abi/tests/header.rs) keeps the two equal. Nothing here needs a C library.
 *
 * Where things lie in the guest's address space:
 *
 *   0x00000000  page zero, never mapped
 *   0x00010000  vCPU page            read, write   struct vcpu_page, shared with the host
 *   0x00012000  gate                 execute       one page of host-supplied code: vcpu_call()
 *   0x00014000  trap page            never mapped
 *   0x00020000  information page     read          struct vcpu_info_page; arguments, environment
 *   0x00200000  RAM                  as the image's segments say, free RAM read and write
 */

#ifndef VCPU_H
#define VCPU_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of this contract. A host runs an image only if it was built for exactly this version. */
#define VCPU_INTERFACE_VERSION 2

/* ---- Address space ---------------------------------------------------------------------------- */

/* Size of a page in bytes; every mapping and every access right has this granularity. */
#define VCPU_PAGE_SIZE UINT64_C(4096)

/* Address of the vCPU page, a struct vcpu_page. */
#define VCPU_PAGE UINT64_C(0x10000)

/* Address of the gate: calling it as a function of the type vcpu_gate is a vCPU call. */
#define VCPU_GATE UINT64_C(0x12000)

/* Address of the trap page. Storing to its first word with VCPU_TRAP_INSTRUCTION is a vCPU call; any
   other access is a page fault. */
#define VCPU_TRAP_PAGE UINT64_C(0x14000)

/* The one instruction encoding (7 bytes) that makes a call by the trap page: `mov [VCPU_TRAP_PAGE], edi`
   with a 32-bit absolute address. The registers are those of the gate; all but `rax` are preserved. */
#define VCPU_TRAP_INSTRUCTION "\x89\x3c\x25\x00\x40\x01\x00"

/* Address of the information page, a struct vcpu_info_page. */
#define VCPU_INFO_PAGE UINT64_C(0x20000)

/* Most bytes that the information page and the argument block behind it can take. */
#define VCPU_INFO_SIZE_MAX UINT64_C(0x100000)

/* Lowest address of RAM, where the image begins. */
#define VCPU_RAM_BASE UINT64_C(0x200000)

/* Most bytes of RAM that a guest can have (64 GiB). */
#define VCPU_RAM_SIZE_MAX UINT64_C(0x1000000000)

/* All of an image's segments end at or below this address (2 GiB). */
#define VCPU_IMAGE_END_MAX UINT64_C(0x80000000)

/* ---- vCPU page -------------------------------------------------------------------------------- */

/* The state indicator (vcpu_page.state): set by the guest, obeyed by the machine. */
#define VCPU_STATE_IRQ UINT32_C(1)        /* The virtual interrupt flag: events may interrupt. */
#define VCPU_STATE_EXCEPTIONS UINT32_C(2) /* The guest takes its exceptions; else: a double fault. */

/* Sticky flags (vcpu_page.sticky): an event came while VCPU_STATE_IRQ was clear. The machine clears it
   when it performs the upcall of an event; the guest when it takes the events without an upcall. */
#define VCPU_STICKY_EVENT_PENDING UINT32_C(1)

/* Number of event lines; a line is a bit in vcpu_page.pending. */
#define VCPU_EVENT_LINES UINT32_C(64)

/* The event line that the machine raises when a standard stream that answered VCPU_ERROR_AGAIN is worth
   another try. */
#define VCPU_CONSOLE_LINE UINT32_C(0)

/* Number of registers in vcpu_state_save_area.general, and the place of each. */
#define VCPU_GENERAL_REGISTERS 15
#define VCPU_REGISTER_R15 0
#define VCPU_REGISTER_R14 1
#define VCPU_REGISTER_R13 2
#define VCPU_REGISTER_R12 3
#define VCPU_REGISTER_R11 4
#define VCPU_REGISTER_R10 5
#define VCPU_REGISTER_R9 6
#define VCPU_REGISTER_R8 7
#define VCPU_REGISTER_RBP 8
#define VCPU_REGISTER_RDI 9
#define VCPU_REGISTER_RSI 10
#define VCPU_REGISTER_RDX 11
#define VCPU_REGISTER_RCX 12
#define VCPU_REGISTER_RBX 13
#define VCPU_REGISTER_RAX 14

/* Bit of vcpu_state_save_area.error_code that says the backend could know the error code. */
#define VCPU_ERROR_CODE_KNOWN UINT32_C(0x80000000)

/* The registers of the interrupted code, and why it was interrupted. Written by the machine at an
   upcall. */
struct vcpu_state_save_area {
    volatile uint64_t general[VCPU_GENERAL_REGISTERS]; /* In the order of VCPU_REGISTER_*. */
    volatile uint64_t rip;           /* Where the interrupted code continues. */
    volatile uint64_t rflags;        /* Flags of the interrupted code. */
    volatile uint64_t rsp;           /* Stack pointer of the interrupted code. */
    volatile uint32_t cause;         /* Why the upcall happened: VCPU_CAUSE_*. */
    volatile uint32_t error_code;    /* As on hardware, if VCPU_ERROR_CODE_KNOWN is set; otherwise 0. */
    volatile uint64_t fault_address; /* What could not be accessed; valid for page faults only. */
};

/* The page through which guest and machine share a virtual CPU. Both may write at any moment; take
   `pending` with an atomic exchange. All unused bytes are zero, but for the last 256 of the page, which a
   backend may use for itself. */
struct vcpu_page {
    volatile uint32_t state;       /* VCPU_STATE_*, written by the guest. The machine clears it at an upcall. */
    volatile uint32_t saved_state; /* The state at the moment of the last upcall, written by the machine. */
    volatile uint32_t sticky;      /* VCPU_STICKY_*, written only on the vCPU's own thread. */
    uint32_t reserved0;
    volatile uint64_t entry_ip; /* Address at which an upcall begins. */
    volatile uint64_t entry_sp; /* Stack pointer with which an upcall begins. */
    uint64_t reserved1[4];
    volatile uint64_t pending;  /* Events that came and were not taken yet, a bit a line. */
    volatile uint32_t doorbell; /* Counts the machine's additions to `pending`, wrapping. */
    uint32_t reserved2[13];
    struct vcpu_state_save_area ssa; /* The state save area. */
} __attribute__((aligned(64)));

/* ---- Causes of upcalls ------------------------------------------------------------------------ */

/* Numbers below 32 are the processor's own exception vectors; the rest are the machine's. */
#define VCPU_CAUSE_DIVIDE_ERROR UINT32_C(0)   /* Division by zero, or a quotient that does not fit. */
#define VCPU_CAUSE_DEBUG UINT32_C(1)          /* Single step by the trap flag, or `int1`. */
#define VCPU_CAUSE_BREAKPOINT UINT32_C(3)     /* `int3`; `rip` points behind the instruction. */
#define VCPU_CAUSE_INVALID_OPCODE UINT32_C(6) /* An instruction that does not exist or is not allowed. */
#define VCPU_CAUSE_STACK_FAULT UINT32_C(12)   /* A stack access with a non-canonical address. */
#define VCPU_CAUSE_GENERAL_PROTECTION UINT32_C(13) /* Privileged instruction, non-canonical address. */
#define VCPU_CAUSE_PAGE_FAULT UINT32_C(14)    /* An access that the page's rights forbid, or no page. */
#define VCPU_CAUSE_X87 UINT32_C(16)           /* An unmasked x87 exception. */
#define VCPU_CAUSE_ALIGNMENT_CHECK UINT32_C(17) /* A misaligned access with the AC flag set. */
#define VCPU_CAUSE_SIMD UINT32_C(19)          /* An unmasked SSE or AVX exception. */
#define VCPU_CAUSE_EVENT UINT32_C(64)         /* One or more events are pending. */
#define VCPU_CAUSE_OUTSIDE_CALL UINT32_C(65)  /* An attempted system call of the world outside. */
#define VCPU_CAUSE_LEFT_64_BIT UINT32_C(66)   /* Execution had left 64-bit mode; it cannot be resumed. */

/* ---- Calls ------------------------------------------------------------------------------------ */

/* Does nothing and answers 0. */
#define VCPU_CALL_NULL UINT32_C(0)
/* (status). Ends the guest with the low eight bits of `status`; does not return. */
#define VCPU_CALL_EXIT UINT32_C(1)
/* (address, length). Ends the guest after a panic, with a report that holds the message. */
#define VCPU_CALL_PANIC UINT32_C(2)
/* (address, length). Ends the guest because of the exception in the state save area that nobody
   handles; the message may be empty. */
#define VCPU_CALL_FAULT UINT32_C(3)
/* (stream, address, length). Writes bytes to stream 1 (output) or 2 (errors), and answers how many were
   taken. VCPU_ERROR_AGAIN if none can be taken now: VCPU_CONSOLE_LINE is raised when it is worth another
   try. VCPU_ERROR_CLOSED if nobody reads the stream any more. */
#define VCPU_CALL_CONSOLE_WRITE UINT32_C(4)
/* (stream, address, length). Reads bytes of stream 0 (input), and answers how many; 0 is the end of the
   stream (or a length of 0). VCPU_ERROR_AGAIN if there is nothing yet, as for writing. */
#define VCPU_CALL_CONSOLE_READ UINT32_C(5)
/* (deadline). Sets VCPU_STATE_IRQ and sleeps until an event is pending or the clock has reached the
   deadline, in ns or VCPU_NEVER. Answers 0 after an event, whose upcall comes first, and
   VCPU_ERROR_TIMED_OUT otherwise. */
#define VCPU_CALL_WAIT UINT32_C(6)
/* (line, deadline). The machine raises `line` once the clock has reached the deadline, in ns; VCPU_NEVER
   disarms. There is one timer a line; setting it replaces the one before. */
#define VCPU_CALL_TIMER_SET UINT32_C(7)
/* (address, length, access). Changes the access (VCPU_ACCESS_*) of pages of the guest's own RAM. Address
   and length are multiples of the page size. VCPU_ERROR_DENIED for the sealed text of the image. */
#define VCPU_CALL_PROTECT UINT32_C(8)
/* Answers the clock in ns; for machines whose information page has no VCPU_FEATURE_TSC_CLOCK. */
#define VCPU_CALL_CLOCK UINT32_C(9)
/* (device, register). Answers what a register (VCPU_DEVICE_*) of a device holds. VCPU_ERROR_BAD_ARGUMENT if
   there is no such device, or nothing to be read there. */
#define VCPU_CALL_DEVICE_READ UINT32_C(10)
/* (device, register, value). Writes a register of a device. VCPU_ERROR_BAD_ARGUMENT as for reading. */
#define VCPU_CALL_DEVICE_WRITE UINT32_C(11)
/* (device, queue). Tells a device that there are new buffers in a queue. It may have used them when this
   answers 0; if it uses some later, it raises its line, vcpu_device_line(device). */
#define VCPU_CALL_DEVICE_NOTIFY UINT32_C(12)
/* (reply address, reply length, mailbox address, mailbox length). Gives the reply to the last request of the
   host's (none the first time), and waits for the next, which the host writes to the mailbox; no event comes
   meanwhile. Answers the request's length; if that is more than the mailbox's, nothing was written, and the
   guest calls again with a larger mailbox and without a reply. VCPU_ERROR_DENIED where nobody makes
   requests. */
#define VCPU_CALL_SERVE UINT32_C(13)
/* (request address, request length, reply address, reply room). Calls a function of the host's and answers
   the reply's length. If that is more than the room, nothing was written, and VCPU_CALL_HOST_REPLY fetches
   it. VCPU_ERROR_DENIED where the host has no functions. */
#define VCPU_CALL_HOST_CALL UINT32_C(14)
/* (address, length). Writes the last reply that VCPU_CALL_HOST_CALL had no room for, and answers its length.
   VCPU_ERROR_BAD_ARGUMENT if there is none, or it does not fit. */
#define VCPU_CALL_HOST_REPLY UINT32_C(15)

/* A deadline that never comes. */
#define VCPU_NEVER UINT64_MAX

/* Standard streams. */
#define VCPU_STREAM_INPUT UINT64_C(0)
#define VCPU_STREAM_OUTPUT UINT64_C(1)
#define VCPU_STREAM_ERRORS UINT64_C(2)

/* Access rights of a page: none (0), read, read and write, or read and execute. */
#define VCPU_ACCESS_READ UINT64_C(1)
#define VCPU_ACCESS_WRITE UINT64_C(2)
#define VCPU_ACCESS_EXECUTE UINT64_C(4)

/* Why a call failed: the negative numbers that a call answers. A call that fails has changed nothing. */
#define VCPU_ERROR_NO_SUCH_CALL (-1) /* There is no call with this number. */
#define VCPU_ERROR_BAD_ADDRESS (-2)  /* The range is not wholly in RAM, or its pages lack the access. */
#define VCPU_ERROR_BAD_ARGUMENT (-3) /* Another argument is out of its range. */
#define VCPU_ERROR_AGAIN (-4)        /* Nothing can be transferred now; VCPU_CONSOLE_LINE will be raised. */
#define VCPU_ERROR_CLOSED (-5)       /* The other end of the stream is gone. */
#define VCPU_ERROR_TIMED_OUT (-6)    /* The deadline passed without an event. */
#define VCPU_ERROR_DENIED (-7)       /* The machine does not permit it. */
#define VCPU_ERROR_IO (-8)           /* The host's own input or output failed. */

/* The gate as a function. */
typedef int64_t (*vcpu_gate)(uint32_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d);

/* Makes a call (VCPU_CALL_*) through the gate; arguments that it does not have are 0. Zero or more is an
   answer, a negative number an error (VCPU_ERROR_*). */
static inline int64_t vcpu_call(uint32_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    return ((vcpu_gate)VCPU_GATE)(number, a, b, c, d);
}

/* ---- Devices ---------------------------------------------------------------------------------- */

/* A device is a virtio device (OASIS virtio 1.2) behind calls. Queues (split, VIRTIO_F_VERSION_1) and buffers
   lie in RAM, by guest addresses, outside the image's text. Devices are numbered from 0 in the order of the
   names in vcpu_info_page.devices. */

/* Most devices that a guest can have. */
#define VCPU_DEVICES_MAX UINT32_C(16)

/* The event line of device 0; those of the others lie below it, in their order. */
#define VCPU_FIRST_DEVICE_LINE UINT32_C(62)

/* Most entries of a queue. */
#define VCPU_QUEUE_SIZE_MAX UINT32_C(256)

/* Most bytes of all buffers of one request together. Descriptors that are indirect are not offered. */
#define VCPU_REQUEST_MAX UINT32_C(0x400000)

/* The event line that a device raises when it has used buffers, or when its configuration or its status has
   changed. */
static inline uint32_t vcpu_device_line(uint32_t device)
{
    return VCPU_FIRST_DEVICE_LINE - device;
}

/* Registers of a device. All hold 64 bits, of which the uppermost is 0. */
#define VCPU_DEVICE_KIND UINT64_C(0)              /* Read: the virtio device type, VCPU_KIND_*. */
#define VCPU_DEVICE_FEATURES UINT64_C(1)          /* Read: the features that the device offers. */
#define VCPU_DEVICE_DRIVER_FEATURES UINT64_C(2)   /* Write: those that the driver takes. */
#define VCPU_DEVICE_STATUS UINT64_C(3)            /* Read, write: the device status; 0 resets. */
#define VCPU_DEVICE_QUEUE_SELECT UINT64_C(4)      /* Write: the queue that those below are about. */
#define VCPU_DEVICE_QUEUE_SIZE_MAX UINT64_C(5)    /* Read: most entries; 0 if there is no such queue. */
#define VCPU_DEVICE_QUEUE_SIZE UINT64_C(6)        /* Write: entries, a power of two. */
#define VCPU_DEVICE_QUEUE_DESCRIPTORS UINT64_C(7) /* Write: address of the descriptor table. */
#define VCPU_DEVICE_QUEUE_DRIVER UINT64_C(8)      /* Write: address of the driver area. */
#define VCPU_DEVICE_QUEUE_DEVICE UINT64_C(9)      /* Write: address of the device area. */
#define VCPU_DEVICE_QUEUE_READY UINT64_C(10)      /* Read, write: 1 when it is in use. */
#define VCPU_DEVICE_CONFIG_GENERATION UINT64_C(11) /* Read: counts changes of the configuration. */

/* The number of the register that holds the first four bytes of a device's configuration; the others follow,
   one number a byte, four bytes each time it is read, little-endian, zero behind the end. Read only. */
#define VCPU_CONFIG UINT64_C(0x100)

/* Most bytes of a device's configuration. */
#define VCPU_CONFIG_SIZE_MAX UINT64_C(0x100)

/* Where the configuration of a console says, in four bytes behind what virtio defines, which of its streams
   are closed. A change raises the device's line. */
#define VCPU_CONSOLE_CLOSED UINT64_C(12)
#define VCPU_CONSOLE_INPUT_ENDED UINT32_C(1)
#define VCPU_CONSOLE_OUTPUT_CLOSED UINT32_C(2)

/* What a device is, by its virtio device type. */
#define VCPU_KIND_BLOCK UINT32_C(2)
#define VCPU_KIND_CONSOLE UINT32_C(3)
#define VCPU_KIND_ENTROPY UINT32_C(4)
#define VCPU_KIND_FILE_SYSTEM UINT32_C(26)

/* ---- Functions -------------------------------------------------------------------------------- */

/* A request is a function's name and its argument, as postcard 1.x encodes a string and then a value. A reply
   is one byte, VCPU_REPLY_*, and behind it the result, or in all other cases a sentence in UTF-8. */

/* Most bytes of a request or a reply. */
#define VCPU_MESSAGE_MAX UINT64_C(0x1000000)

/* How a call of a function ended. */
#define VCPU_REPLY_DONE 0             /* With a result. */
#define VCPU_REPLY_NO_SUCH_FUNCTION 1 /* There is no function of this name. */
#define VCPU_REPLY_BAD_ARGUMENT 2     /* The argument is not what the function takes. */
#define VCPU_REPLY_FAILED 3           /* The function could not do it. */

/* ---- Information page ------------------------------------------------------------------------- */

/* What the machine offers (vcpu_info_page.features). */
#define VCPU_FEATURE_TSC_CLOCK UINT32_C(1) /* The clock is the time-stamp counter. */
#define VCPU_FEATURE_FSGSBASE UINT32_C(2)  /* The guest may use `rdfsbase` and its kin. */

/* How the time-stamp counter becomes nanoseconds:
   ((counter - counter_base) * multiplier) >> shift, in 128-bit arithmetic. */
struct vcpu_clock_parameters {
    uint64_t counter_base; /* The counter when the clock stood at zero. */
    uint64_t multiplier;   /* Nanoseconds a tick, times two to the power of `shift`. */
    uint32_t shift;        /* Bits to shift right, below 64. */
    uint32_t reserved;     /* Zero. */
};

/* A list of byte strings behind the information page. Each ends with a zero byte. */
struct vcpu_string_list {
    uint32_t offset; /* Bytes from the beginning of the information page to the first string. */
    uint32_t length; /* Bytes of all strings, their zero bytes included. */
};

/* The page's content, which never changes while the guest runs. */
struct vcpu_info_page {
    uint32_t version;                   /* VCPU_INTERFACE_VERSION of the host. */
    uint32_t features;                  /* VCPU_FEATURE_*. */
    uint64_t ram_size;                  /* Bytes of RAM from VCPU_RAM_BASE on, in whole pages. */
    struct vcpu_clock_parameters clock; /* The monotonic clock, zero at the guest's start. */
    uint64_t wall_clock_base;           /* ns since 1970 (UTC) when the monotonic clock stood at zero. */
    struct vcpu_string_list arguments;  /* The program's arguments, its own name first. */
    struct vcpu_string_list environment; /* Strings of the form NAME=value. */
    struct vcpu_string_list devices;    /* Names of the devices, in the order of their numbers. */
};

/* ---- The image's note ------------------------------------------------------------------------- */

/* Section, owner name (8 bytes with its zero) and type of the ELF note by which an image says what it
   was built for. */
#define VCPU_NOTE_SECTION ".note.vcpu"
#define VCPU_NOTE_NAME "libvcpu"
#define VCPU_NOTE_TYPE 1

/* Types of notes that say what the image wants (a line of text, like `dir media:ro`), and that name a
   function that it exports. Their description is that text. There may be many of each. */
#define VCPU_NOTE_WANT 2
#define VCPU_NOTE_EXPORT 3

/* How the image was built (vcpu_note.flags): for the custom target. */
#define VCPU_BUILD_CUSTOM_TARGET UINT32_C(1)

/* The note as it lies in the image. The four words from `version` on are its description. */
struct vcpu_note {
    uint32_t name_size;        /* 8. */
    uint32_t description_size; /* 16. */
    uint32_t type;             /* VCPU_NOTE_TYPE. */
    char name[8];              /* VCPU_NOTE_NAME. */
    uint32_t version;          /* VCPU_INTERFACE_VERSION that the image was built for. */
    uint32_t flags;            /* VCPU_BUILD_*. */
    uint32_t memory_low;       /* RAM in bytes that the image wants: the lower half ... */
    uint32_t memory_high;      /* ... and the upper half. */
};

#ifdef __cplusplus
}
#endif

#endif
