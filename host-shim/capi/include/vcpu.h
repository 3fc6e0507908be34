/*
 * vcpu.h - sandboxes of native code for C and C++ programs.
 *
 * A sandbox is made of an image, and the functions that the image exports can be called. Whatever they do, this
 * program goes on. Made by cbindgen of the crate `vcpu-capi`, whose documentation says more; do not change it by hand.
 *
 * Every function that can fail gives an enum vcpu_status, and vcpu_error() has the sentence. No function may
 * be given a null pointer unless it says so; it then gives VCPU_STATUS_INVALID. An object may be used by one thread at a
 * time, and moved from one to another. Texts end with a zero byte and are UTF-8, except paths.
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
  // A null pointer, a text that is not UTF-8, or a number out of its range.
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

// What a new sandbox is given.
struct vcpu_builder;

// An image.
struct vcpu_image;

// A guest whose functions are called.
struct vcpu_sandbox;

// The state of a guest, with which others begin.
struct vcpu_snapshot;

// Values, and how many bytes of them were read.
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
// error with that sentence. It must not use the sandbox, and not unwind.
typedef bool (*vcpu_function)(void *context, struct vcpu_values *argument, struct vcpu_values *result);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The sentence of the last function that has failed in this thread; empty if none has. It is there until another
// one fails.
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

// Opens and validates an image. To be freed by `vcpu_image_free`.
//
// # Safety
//
// The path exists, and the place for the image.
enum vcpu_status vcpu_image_open(const char *path, struct vcpu_image **opened);

// Frees an image, which sandboxes do not need any more; a null pointer does nothing.
//
// # Safety
//
// It comes from `vcpu_image_open` and is not used any more.
void vcpu_image_free(struct vcpu_image *image);

// What a new sandbox of this image is given: nothing yet but its memory and the clock. Null if the image is. To be
// freed by `vcpu_builder_free`.
//
// # Safety
//
// The image exists.
struct vcpu_builder *vcpu_builder_new(struct vcpu_image *image);

// What a new sandbox that begins with a snapshot is given. Null if the snapshot is. To be freed by
// `vcpu_builder_free`.
//
// # Safety
//
// The snapshot exists.
struct vcpu_builder *vcpu_builder_of_snapshot(struct vcpu_snapshot *snapshot);

// Frees a builder; a null pointer does nothing.
//
// # Safety
//
// It comes from `vcpu_builder_new` or `vcpu_builder_of_snapshot` and is not used any more.
void vcpu_builder_free(struct vcpu_builder *builder);

// Memory of the guest in bytes.
//
// # Safety
//
// The builder exists.
enum vcpu_status vcpu_builder_memory(struct vcpu_builder *builder, uint64_t bytes);

// How long a call may take, in ms; 0 is without end.
//
// # Safety
//
// The builder exists.
enum vcpu_status vcpu_builder_call_deadline(struct vcpu_builder *builder, uint64_t milliseconds);

// How long the guest may take until it waits for its first call, in ms; 0 is without end.
//
// # Safety
//
// The builder exists.
enum vcpu_status vcpu_builder_start_deadline(struct vcpu_builder *builder, uint64_t milliseconds);

// Most bytes of a reply.
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

// Adds an argument of the program; the first is the program's own name.
//
// # Safety
//
// The builder and the text exist.
enum vcpu_status vcpu_builder_argument(struct vcpu_builder *builder, const char *argument);

// Adds a variable to the program's environment.
//
// # Safety
//
// The builder and the texts exist.
enum vcpu_status vcpu_builder_env(struct vcpu_builder *builder, const char *name, const char *value);

// Grants the guest a function of the host's. The context is given to it with each call.
//
// # Safety
//
// The builder and the text exist. For as long as the sandbox lives, the function may be called with this context, by
// any thread that uses the sandbox.
enum vcpu_status vcpu_builder_function(struct vcpu_builder *builder,
                                       const char *name,
                                       vcpu_function function,
                                       void *context);

// Starts the guest, and lets it run until it waits for its first call. The builder is used up, and has only to be
// freed. The sandbox is to be freed by `vcpu_sandbox_free`.
//
// # Safety
//
// The builder exists, and the place for the sandbox.
enum vcpu_status vcpu_builder_build(struct vcpu_builder *builder,
                                    struct vcpu_sandbox **built);

// Ends a guest and frees its sandbox; a null pointer does nothing.
//
// # Safety
//
// It comes from `vcpu_builder_build` and is not used any more.
void vcpu_sandbox_free(struct vcpu_sandbox *sandbox);

// Whether the guest's functions can still be called: no call has ended it.
//
// # Safety
//
// The sandbox exists.
bool vcpu_sandbox_is_alive(struct vcpu_sandbox *sandbox);

// Calls a function of the guest's. The argument may be null, for a function that takes `()`; all of its values are
// taken, whatever was read of them. The result may be null, if it is of no interest; it must not be the argument.
//
// # Safety
//
// The sandbox and the name exist, and argument and result if they are not null.
enum vcpu_status vcpu_sandbox_call(struct vcpu_sandbox *sandbox,
                                   const char *name,
                                   const struct vcpu_values *argument,
                                   struct vcpu_values *result);

// Makes a buffer of zeros in the guest's memory, of at least one byte.
//
// # Safety
//
// The sandbox exists, and the place for the slice.
enum vcpu_status vcpu_sandbox_allocate(struct vcpu_sandbox *sandbox,
                                       size_t length,
                                       struct vcpu_slice *buffer);

// Frees a buffer: one that was made, or that the guest has handed over.
//
// # Safety
//
// The sandbox exists.
enum vcpu_status vcpu_sandbox_release(struct vcpu_sandbox *sandbox, struct vcpu_slice buffer);

// Copies bytes out of a slice, from `offset` on.
//
// # Safety
//
// The sandbox exists, and room for so many bytes.
enum vcpu_status vcpu_sandbox_read(struct vcpu_sandbox *sandbox,
                                   struct vcpu_slice from,
                                   uint64_t offset,
                                   uint8_t *data,
                                   size_t length);

// Copies bytes into a slice, from `offset` on.
//
// # Safety
//
// The sandbox exists, and so many bytes.
enum vcpu_status vcpu_sandbox_write(struct vcpu_sandbox *sandbox,
                                    struct vcpu_slice to,
                                    uint64_t offset,
                                    const uint8_t *data,
                                    size_t length);

// Keeps the state of the guest. To be freed by `vcpu_snapshot_free`.
//
// # Safety
//
// The sandbox exists, and the place for the snapshot.
enum vcpu_status vcpu_sandbox_snapshot(struct vcpu_sandbox *sandbox, struct vcpu_snapshot **taken);

// Puts a new guest, which begins with the snapshot's state, in place of this one, alive or not.
//
// # Safety
//
// The sandbox and the snapshot exist.
enum vcpu_status vcpu_sandbox_reset(struct vcpu_sandbox *sandbox, struct vcpu_snapshot *snapshot);

// Keeps so many guests ready to be used.
//
// # Safety
//
// The snapshot exists.
enum vcpu_status vcpu_snapshot_keep_ready(struct vcpu_snapshot *snapshot, size_t count);

// Frees a snapshot; a null pointer does nothing.
//
// # Safety
//
// It comes from `vcpu_sandbox_snapshot` and is not used any more.
void vcpu_snapshot_free(struct vcpu_snapshot *snapshot);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* VCPU_EMBED_H */
