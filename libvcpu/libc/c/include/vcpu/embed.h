/*
 * Being a library of a host program that embeds this image.
 *
 *     static const char *add(struct vcpu_reader *argument, struct vcpu_writer *result)
 *     {
 *         uint64_t a = vcpu_take(argument), b = vcpu_take(argument);
 *         if (!argument->is_bad)
 *             vcpu_put(result, a + b);
 *         return NULL;
 *     }
 *     VCPU_EXPORT(add)
 *
 *     int main(void)
 *     {
 *         static const struct vcpu_export exports[] = { { "add", add } };
 *         vcpu_serve(exports, 1);
 *     }
 *
 * The host calls one function at a time; it runs in the main thread. Other threads run only while a call is under way.
 *
 * Values are encoded as the Rust crate postcard 1.x does, and as Sandbox::call expects them. What is of several parts
 * is its parts, one behind the other; a list begins with the number of its elements, what may be absent with 0 or 1, an
 * enumeration with the number of its variant.
 *
 * The memory of the guest is the host's to see: vcpu_put_memory says where to look, and nothing is copied.
 */
#ifndef VCPU_EMBED_H
#define VCPU_EMBED_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A value that is read from its beginning to its end. */
struct vcpu_reader {
    const unsigned char *at;
    size_t left;
    /* Whether something was read that is not there; what is read then is 0. */
    int is_bad;
};

/* A value that is written. */
struct vcpu_writer;

/* A function that the host can call: NULL, or why it could not do it, in a sentence that lasts until the next call.
 * If it has not read its argument to the end, or farther, the host gets an error in place of the result. */
typedef const char *vcpu_function(struct vcpu_reader *argument, struct vcpu_writer *result);

struct vcpu_export {
    const char *name;
    vcpu_function *function;
};

/* Carries out the host's calls of these functions, until the host ends the guest. Where nobody calls, as in
 * `vcpu run`, it says so and ends the program with status 1. It is for the main thread. */
_Noreturn void vcpu_serve(const struct vcpu_export *exports, size_t count);

/* Names a function in a note of the image, so that a host knows what there is (`vcpu info`). For C alone. */
#define VCPU_EXPORT(name) \
    static const struct { \
        uint32_t owner_size, text_size, kind; \
        char owner[8], text[sizeof #name - 1]; \
    } vcpu_export_##name __attribute__((section(".note.vcpu"), used, aligned(4))) = \
        { 8, sizeof #name - 1, 3, "libvcpu", #name };

/* Reads an unsigned number, or a truth value. */
uint64_t vcpu_take(struct vcpu_reader *from);

/* Reads a signed number. */
int64_t vcpu_take_signed(struct vcpu_reader *from);

/* Reads bytes, or a text; they lie where the value lies, as long as that is there. */
const void *vcpu_take_bytes(struct vcpu_reader *from, size_t *size);

/* Writes an unsigned number (of 16 bits or more; the same encoding has one of 8 bits below 128), or a truth value. */
void vcpu_put(struct vcpu_writer *to, uint64_t number);

/* Writes a signed number. */
void vcpu_put_signed(struct vcpu_writer *to, int64_t number);

/* Writes bytes, or a text. */
void vcpu_put_bytes(struct vcpu_writer *to, const void *bytes, size_t size);

/* Writes where bytes lie, for the host to see in place: its type is Slice. They must stay there, and as they are,
 * until the host has done with them; when that is, host and guest agree upon. */
void vcpu_put_memory(struct vcpu_writer *to, const void *bytes, size_t size);

/* A new value to be written, which vcpu_delete frees. */
struct vcpu_writer *vcpu_new(void);
void vcpu_delete(struct vcpu_writer *writer);

/* Calls a function that the host has granted, in any thread; the guest stands still meanwhile, all its threads. The
 * argument is what was written, and the writer is empty then. The result lies in the writer until it is used for a call
 * again. NULL, or why there is no result: a sentence that lies there, too. */
const char *vcpu_call(const char *name, struct vcpu_writer *argument, struct vcpu_reader *result);

#ifdef __cplusplus
}
#endif

#endif
