/*
 * vcpu.h - sandboxes of native code for C and C++ programs.
 *
 * A sandbox is made of an image, and the functions that the image exports can be called. Whatever they do, this
 * program goes on. Made by cbindgen of the crate `vcpu-capi`, whose documentation says more; do not change it by hand.
 *
 * Every function that can fail gives an enum vcpu_status, and vcpu_error() has the sentence. A null
 * pointer is an error, VCPU_STATUS_INVALID, unless a function says otherwise. What a function gives it writes only if it
 * is done. Any thread may use any object: images and snapshots several at once, other objects one at a time. Texts end
 * with a zero byte and are UTF-8, except paths; those that a function takes stay the caller's.
 */

#ifndef VCPU_EMBED_H
#define VCPU_EMBED_H



#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// How a function has ended.
enum vcpu_status {
  // Well.
  VCPU_STATUS_OK = 0,
  // The call has ended the guest: it has panicked, faulted, taken too long, or the like.
  VCPU_STATUS_ENDED = 1,
  // The guest has no function of this name.
  VCPU_STATUS_NO_SUCH_FUNCTION = 2,
  // The argument is not what the function takes.
  VCPU_STATUS_BAD_ARGUMENT = 3,
  // The argument has more bytes than a request may have.
  VCPU_STATUS_TOO_LONG = 4,
  // The function could not do it.
  VCPU_STATUS_FAILED = 5,
  // The guest's reply is none.
  VCPU_STATUS_BAD_REPLY = 6,
  // An earlier call has ended the guest.
  VCPU_STATUS_DEAD = 7,
  // The image cannot be run, or the system has refused something.
  VCPU_STATUS_SYSTEM = 8,
  // A slice does not lie in the guest's memory, or is shorter.
  VCPU_STATUS_NOT_IN_MEMORY = 9,
  // There is no such value: the next one is none of this type, or there is none.
  VCPU_STATUS_NO_VALUE = 10,
  // A null pointer, a text that is not UTF-8, a number out of its range, or an object that is in use.
  VCPU_STATUS_INVALID = 11,
  // A bug of this library.
  VCPU_STATUS_BUG = 12,
};

// A way to supply a virtual CPU.
enum vcpu_backend {
  // The fastest that works here.
  VCPU_BACKEND_AUTO = 0,
  // ptrace: the reference.
  VCPU_BACKEND_PTRACE = 1,
  // A filter of system calls and shared memory: fast.
  VCPU_BACKEND_SECCOMP = 2,
};

// How a guest's clock passes.
enum vcpu_clock {
  // As the world's does.
  VCPU_CLOCK_REAL = 0,
  // Only while the guest waits: then at once to the next timer or deadline. The same program sees the same times
  // in every run.
  VCPU_CLOCK_VIRTUAL = 1,
};

// What a new sandbox is given. It may be used by one thread at a time.
struct vcpu_builder;

// An image. It may be used by several threads at once.
struct vcpu_image;

// A guest whose functions are called. It may be used by one thread at a time, any; a second one is refused, and so is
// a function of the host's that the guest has called.
struct vcpu_sandbox;

// The state of a guest, with which others begin. It may be used by several threads at once.
struct vcpu_snapshot;

// Values, and how many bytes of them were read. They may be used by one thread at a time.
struct vcpu_values;

// A range of the guest's memory.
struct vcpu_slice {
  // Where it begins, as the guest sees it.
  uint64_t address;
  // How many bytes it has.
  uint64_t length;
};

// A function of the host's, which the guest calls. It reads its argument, which holds anything, and adds its
// result. If it gives false, what it has added is bytes that hold a sentence, or nothing, and the guest gets an
// error with that sentence. It is called on the thread that the guest runs on, which need not be the caller's, and
// the guest's time passes meanwhile. Both values are the library's and are there until it returns. The sandbox is
// refused to it (`VCPU_STATUS_INVALID`); it must not free it, not use the values of the call that it is called in, and
// not unwind.
typedef bool (*vcpu_function)(void *context, struct vcpu_values *argument, struct vcpu_values *result);

// What was counted of a sandbox since it was built.
struct vcpu_metrics {
  // Calls of the guest's functions, buffers made and freed included.
  uint64_t calls;
  // Calls without a result.
  uint64_t failed;
  // Calls that have ended the guest; they are among those without a result.
  uint64_t ended;
  // Bytes of requests, to the guest.
  uint64_t bytes_in;
  // Bytes of replies, from the guest.
  uint64_t bytes_out;
  // Calls of the host's functions by the guest.
  uint64_t host_calls;
  // Calls of functions that the guest was not granted; they are among those of the host's functions.
  uint64_t refused;
  // How often it was reset.
  uint64_t resets;
};

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The sentence of the last function that has failed in this thread; empty if none has. It is the library's, and is
// there until another one fails in this thread, or the thread ends.
const char *vcpu_error(void);

// No values yet. To be freed by `vcpu_values_free`.
struct vcpu_values *vcpu_values_new(void);

// Frees values; a null pointer does nothing.
//
// # Safety
//
// They come from `vcpu_values_new` and are not used any more.
void vcpu_values_free(struct vcpu_values *values);

// Forgets all values.
//
// # Safety
//
// The values exist.
enum vcpu_status vcpu_values_clear(struct vcpu_values *values);

// How many bytes of values were not read yet.
//
// # Safety
//
// The values exist.
size_t vcpu_values_left(struct vcpu_values *values);

// Adds an unsigned number, of 16 to 64 bits in the guest.
//
// # Safety
//
// The values exist.
enum vcpu_status vcpu_put_unsigned(struct vcpu_values *values, uint64_t value);

// Adds a signed number, of 16 to 64 bits in the guest.
//
// # Safety
//
// The values exist.
enum vcpu_status vcpu_put_signed(struct vcpu_values *values, int64_t value);

// Adds a number of 8 bits, or whether something is so (0 or 1).
//
// # Safety
//
// The values exist.
enum vcpu_status vcpu_put_byte(struct vcpu_values *values, uint8_t value);

// Adds a number with a point, of 32 bits.
//
// # Safety
//
// The values exist.
enum vcpu_status vcpu_put_float(struct vcpu_values *values, float value);

// Adds a number with a point, of 64 bits.
//
// # Safety
//
// The values exist.
enum vcpu_status vcpu_put_double(struct vcpu_values *values, double value);

// Adds bytes, or the bytes of a text without its zero byte.
//
// # Safety
//
// The values exist, and so many bytes.
enum vcpu_status vcpu_put_bytes(struct vcpu_values *values, const uint8_t *data, size_t length);

// Adds a slice.
//
// # Safety
//
// The values exist.
enum vcpu_status vcpu_put_slice(struct vcpu_values *values, struct vcpu_slice value);

// Reads an unsigned number, of 16 to 64 bits in the guest.
//
// # Safety
//
// The values exist, and the place for the number.
enum vcpu_status vcpu_get_unsigned(struct vcpu_values *values, uint64_t *value);

// Reads a signed number, of 16 to 64 bits in the guest.
//
// # Safety
//
// The values exist, and the place for the number.
enum vcpu_status vcpu_get_signed(struct vcpu_values *values, int64_t *value);

// Reads a number of 8 bits, or whether something is so (0 or 1).
//
// # Safety
//
// The values exist, and the place for the number.
enum vcpu_status vcpu_get_byte(struct vcpu_values *values, uint8_t *value);

// Reads a number with a point, of 32 bits.
//
// # Safety
//
// The values exist, and the place for the number.
enum vcpu_status vcpu_get_float(struct vcpu_values *values, float *value);

// Reads a number with a point, of 64 bits.
//
// # Safety
//
// The values exist, and the place for the number.
enum vcpu_status vcpu_get_double(struct vcpu_values *values, double *value);

// Reads bytes, or a text, which has no zero byte at its end. They are there until the values are changed, used in
// a call or freed.
//
// # Safety
//
// The values exist, and the places for pointer and length.
enum vcpu_status vcpu_get_bytes(struct vcpu_values *values,
                                const uint8_t **data,
                                size_t *length);

// Reads a slice.
//
// # Safety
//
// The values exist, and the place for the slice.
enum vcpu_status vcpu_get_slice(struct vcpu_values *values, struct vcpu_slice *value);

// Opens and validates an image. To be freed by `vcpu_image_free`; the path stays the caller's.
//
// # Safety
//
// The path exists, and the place for the image.
enum vcpu_status vcpu_image_open(const char *path, struct vcpu_image **opened);

// Frees an image, which builders, sandboxes and snapshots do not need any more; a null pointer does nothing.
//
// # Safety
//
// It comes from `vcpu_image_open` and is not used any more, by any thread.
void vcpu_image_free(struct vcpu_image *image);

// The name of a function that the image says it exports; `index` counts from 0. Null behind the last, and if the
// image is null. The text is the image's and is there until the image is freed.
//
// # Safety
//
// The image exists.
const char *vcpu_image_export(const struct vcpu_image *image,
                              size_t index);

// Something that the image wants to be granted, such as `dir media:ro`, `block disk:rw`, `console log`, `entropy` or
// `function log`; `index` counts from 0. Null behind the last, and if the image is null. The text is the image's and is
// there until the image is freed.
//
// # Safety
//
// The image exists.
const char *vcpu_image_want(const struct vcpu_image *image,
                            size_t index);

// What a new sandbox of this image is given: nothing yet but its memory and the clock. Null if the image is. To be
// freed by `vcpu_builder_free`; the image may be freed before it.
//
// # Safety
//
// The image exists.
struct vcpu_builder *vcpu_builder_new(const struct vcpu_image *image);

// What a new sandbox that begins with a snapshot is given: streams, grants, functions and limits. Its grants must have
// the names and kinds of those of the guest that the snapshot was taken of; memory, arguments, environment, clock and
// backend are that guest's, whatever is said here. Null if the snapshot is. To be freed by `vcpu_builder_free`; the
// snapshot may be freed before it.
//
// # Safety
//
// The snapshot exists.
struct vcpu_builder *vcpu_builder_of_snapshot(const struct vcpu_snapshot *snapshot);

// Frees a builder; a null pointer does nothing.
//
// # Safety
//
// It comes from `vcpu_builder_new` or `vcpu_builder_of_snapshot` and is not used any more.
void vcpu_builder_free(struct vcpu_builder *builder);

// Memory of the guest in bytes; without this, what the image wants.
//
// # Safety
//
// The builder exists.
enum vcpu_status vcpu_builder_memory(struct vcpu_builder *builder, uint64_t bytes);

// How long a call may take, in ms; 0 is without end, and so is a builder without this. Who exceeds it is ended.
//
// # Safety
//
// The builder exists.
enum vcpu_status vcpu_builder_call_deadline(struct vcpu_builder *builder,
                                            uint64_t milliseconds);

// How long the guest may take until it waits for its first call, in ms; 0 is without end. Without this, 10 s.
//
// # Safety
//
// The builder exists.
enum vcpu_status vcpu_builder_start_deadline(struct vcpu_builder *builder, uint64_t milliseconds);

// Most bytes of a reply; without this, 16 MiB.
//
// # Safety
//
// The builder exists.
enum vcpu_status vcpu_builder_reply_limit(struct vcpu_builder *builder, uint64_t bytes);

// Which backend runs it: one of `enum vcpu_backend`.
//
// # Safety
//
// The builder exists.
enum vcpu_status vcpu_builder_backend(struct vcpu_builder *builder, uint32_t backend);

// How its clock passes: one of `enum vcpu_clock`; without this, as the world's.
//
// # Safety
//
// The builder exists.
enum vcpu_status vcpu_builder_clock(struct vcpu_builder *builder, uint32_t clock);

// Adds an argument of the program; the first is the program's own name. The text is copied.
//
// # Safety
//
// The builder and the text exist.
enum vcpu_status vcpu_builder_argument(struct vcpu_builder *builder, const char *argument);

// Adds a variable to the program's environment. The texts are copied.
//
// # Safety
//
// The builder and the texts exist.
enum vcpu_status vcpu_builder_env(struct vcpu_builder *builder, const char *name, const char *value);

// Grants the guest a function of the host's, instead of one of the same name. The context is given to it with each
// call and stays the caller's; the name is copied.
//
// # Safety
//
// The builder and the text exist. For as long as the sandbox lives, the function may be called with this context, by
// any thread that uses the sandbox.
enum vcpu_status vcpu_builder_function(struct vcpu_builder *builder,
                                       const char *name,
                                       vcpu_function function,
                                       void *context);

// Starts the guest, and lets it run until it waits for its first call. The builder is used up, also by an error, and
// has only to be freed. The sandbox is to be freed by `vcpu_sandbox_free`.
//
// # Safety
//
// The builder exists, and the place for the sandbox.
enum vcpu_status vcpu_builder_build(struct vcpu_builder *builder,
                                    struct vcpu_sandbox **built);

// The guest's standard streams, as file descriptors of this process; -1 is none. They are duplicated: the caller
// keeps and closes its own, and their flags stay as they are. Without this, the guest has no input, and what it
// writes goes nowhere. A full pipe makes the guest wait, never the host.
//
// # Safety
//
// The builder exists.
enum vcpu_status vcpu_builder_streams(struct vcpu_builder *builder,
                                      int input,
                                      int output,
                                      int errors);

// Grants the guest a directory and all below it, under this name; it cannot leave it. Name and path are copied.
//
// # Safety
//
// The builder and the texts exist.
enum vcpu_status vcpu_builder_directory(struct vcpu_builder *builder,
                                        const char *name,
                                        const char *path,
                                        bool writable);

// As vcpu_builder_directory, a directory in which nobody else changes anything as long as the guest runs. The guest
// keeps what it has read, which is far faster; what others change nevertheless, it may never see. No second guest
// can have the same directory so.
//
// # Safety
//
// The builder and the texts exist.
enum vcpu_status vcpu_builder_exclusive_directory(struct vcpu_builder *builder,
                                                  const char *name,
                                                  const char *path,
                                                  bool writable);

// Grants the guest an image of a disk, a regular file or a block device, under this name. The file is opened here;
// name and path are copied.
//
// # Safety
//
// The builder and the texts exist.
enum vcpu_status vcpu_builder_block(struct vcpu_builder *builder,
                                    const char *name,
                                    const char *path,
                                    bool writable);

// Grants the guest a console under this name: a stream of bytes in each direction, besides the standard streams. The
// file descriptors are duplicated, and -1 is none, as for `vcpu_builder_streams`; the name is copied.
//
// # Safety
//
// The builder and the text exist.
enum vcpu_status vcpu_builder_console(struct vcpu_builder *builder,
                                      const char *name,
                                      int input,
                                      int output);

// Grants the guest random bytes, under the name `entropy`.
//
// # Safety
//
// The builder exists.
enum vcpu_status vcpu_builder_entropy(struct vcpu_builder *builder);

// The processor's time that the guest's process may use until it is reset, in ns, at least 1; then the guest is
// ended. Without this there is no limit.
//
// # Safety
//
// The builder exists.
enum vcpu_status vcpu_builder_cpu_time(struct vcpu_builder *builder,
                                       uint64_t nanoseconds);

// Bytes that the guest may write to its standard streams together, until it is reset; then its writes fail. Without
// this there is no limit.
//
// # Safety
//
// The builder exists.
enum vcpu_status vcpu_builder_output_limit(struct vcpu_builder *builder,
                                           uint64_t bytes);

// Calls of the machine that are served in a second, at least 1: so many may come at once, and those that come sooner
// are answered later. Without this there is no limit.
//
// # Safety
//
// The builder exists.
enum vcpu_status vcpu_builder_calls_per_second(struct vcpu_builder *builder,
                                               uint32_t calls);

// Ends a guest and frees its sandbox; a null pointer does nothing.
//
// # Safety
//
// It comes from `vcpu_builder_build` and is not used any more, by any thread or call.
void vcpu_sandbox_free(struct vcpu_sandbox *sandbox);

// Whether the guest's functions can be called now: no call has ended it, and the sandbox is not in use. False if the
// sandbox is null.
//
// # Safety
//
// The sandbox exists.
bool vcpu_sandbox_is_alive(const struct vcpu_sandbox *sandbox);

// Gives the identifier of the guest's process, a child of this one that is the library's to wait for. A reset
// changes it. The dead have none: `VCPU_STATUS_DEAD`.
//
// # Safety
//
// The sandbox exists, and the place for the identifier.
enum vcpu_status vcpu_sandbox_pid(const struct vcpu_sandbox *sandbox, int32_t *pid);

// Gives the backend that runs it, which is not `VCPU_BACKEND_AUTO`.
//
// # Safety
//
// The sandbox exists, and the place for the backend.
enum vcpu_status vcpu_sandbox_backend(const struct vcpu_sandbox *sandbox, enum vcpu_backend *backend);

// Gives what was counted of it, alive or not, over all its resets.
//
// # Safety
//
// The sandbox exists, and the place for the counts.
enum vcpu_status vcpu_sandbox_metrics(const struct vcpu_sandbox *sandbox, struct vcpu_metrics *metrics);

// Calls a function of the guest's. The argument may be null, for a function that takes `()`; all of its values are
// taken, whatever was read of them. The result may be null, if it is of no interest; it cannot be the
// argument, and is left as it was if the call fails. Whoever calls waits for the guest, at most as long as
// `vcpu_builder_call_deadline` says.
//
// # Safety
//
// The sandbox and the name exist, and argument and result if they are not null.
enum vcpu_status vcpu_sandbox_call(const struct vcpu_sandbox *sandbox,
                                   const char *name,
                                   const struct vcpu_values *argument,
                                   struct vcpu_values *result);

// Makes a buffer of zeros in the guest's memory, of `length` bytes, at least one. It is there until
// `vcpu_sandbox_release` frees it, or the guest ends.
//
// # Safety
//
// The sandbox exists, and the place for the slice.
enum vcpu_status vcpu_sandbox_allocate(const struct vcpu_sandbox *sandbox,
                                       size_t length,
                                       struct vcpu_slice *buffer);

// Frees a buffer: one that was made, or that the guest has handed over.
//
// # Safety
//
// The sandbox exists.
enum vcpu_status vcpu_sandbox_release(const struct vcpu_sandbox *sandbox, struct vcpu_slice buffer);

// Copies bytes out of a slice, from `offset` on.
//
// # Safety
//
// The sandbox exists, and room for so many bytes.
enum vcpu_status vcpu_sandbox_read(const struct vcpu_sandbox *sandbox,
                                   struct vcpu_slice from,
                                   uint64_t offset,
                                   uint8_t *data,
                                   size_t length);

// Copies bytes into a slice, from `offset` on.
//
// # Safety
//
// The sandbox exists, and so many bytes.
enum vcpu_status vcpu_sandbox_write(const struct vcpu_sandbox *sandbox,
                                    struct vcpu_slice to,
                                    uint64_t offset,
                                    const uint8_t *data,
                                    size_t length);

// Keeps the state of the guest, which goes on. To be freed by `vcpu_snapshot_free`, before or after the sandbox.
//
// # Safety
//
// The sandbox exists, and the place for the snapshot.
enum vcpu_status vcpu_sandbox_snapshot(const struct vcpu_sandbox *sandbox,
                                       struct vcpu_snapshot **taken);

// Puts a new guest, which begins with the snapshot's state, in place of this one, alive or not. Streams, grants,
// functions and limits stay those of this sandbox; limits begin anew. Buffers of the old guest are gone.
//
// # Safety
//
// The sandbox and the snapshot exist.
enum vcpu_status vcpu_sandbox_reset(const struct vcpu_sandbox *sandbox,
                                    const struct vcpu_snapshot *snapshot);

// Keeps so many guests ready to be used, at most 1024; 0, which is so at first, ends those that are. A thread of the
// library makes them, each with a process and as much memory as `vcpu_snapshot_touched` says.
//
// # Safety
//
// The snapshot exists.
enum vcpu_status vcpu_snapshot_keep_ready(const struct vcpu_snapshot *snapshot,
                                          size_t count);

// Waits until as many guests are ready as are to be kept.
//
// # Safety
//
// The snapshot exists.
enum vcpu_status vcpu_snapshot_wait_until_ready(const struct vcpu_snapshot *snapshot);

// How many guests are ready; 0 if the snapshot is null.
//
// # Safety
//
// The snapshot exists.
size_t vcpu_snapshot_ready(const struct vcpu_snapshot *snapshot);

// Bytes of memory that the guest had touched, of which every guest that begins here has a copy; 0 if the snapshot is
// null.
//
// # Safety
//
// The snapshot exists.
uint64_t vcpu_snapshot_touched(const struct vcpu_snapshot *snapshot);

// Frees a snapshot, which builders and sandboxes do not need any more, and ends the guests that it keeps ready; a null
// pointer does nothing.
//
// # Safety
//
// It comes from `vcpu_sandbox_snapshot` and is not used any more, by any thread.
void vcpu_snapshot_free(struct vcpu_snapshot *snapshot);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* VCPU_EMBED_H */
