/* A host program in C: what sandboxes are given. Its arguments are the images of the packages `guest-snapshot`,
 * `guest-embed` and `guest-wants`, the number of a backend, and a directory with `one/text`, `two/text` and `disk`. */

#define _POSIX_C_SOURCE 200809L

#include "check.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

static uint32_t backend;
static const char *folder;

/* A path in the folder; it is there until the next call. */
static const char *path(const char *name)
{
    static char text[4096];
    snprintf(text, sizeof text, "%s/%s", folder, name);
    return text;
}

static struct vcpu_image *open_image(const char *path)
{
    struct vcpu_image *image;
    DONE(vcpu_image_open(path, &image));
    return image;
}

static struct vcpu_builder *begin(const struct vcpu_image *image)
{
    struct vcpu_builder *builder = vcpu_builder_new(image);
    MUST(builder != NULL);
    DONE(vcpu_builder_backend(builder, backend));
    DONE(vcpu_builder_call_deadline(builder, 60000));
    DONE(vcpu_builder_start_deadline(builder, 60000));
    return builder;
}

static struct vcpu_sandbox *build(struct vcpu_builder *builder)
{
    struct vcpu_sandbox *sandbox;
    DONE(vcpu_builder_build(builder, &sandbox));
    vcpu_builder_free(builder);
    return sandbox;
}

/* Calls a function with a text and looks how that ends. */
static enum vcpu_status call_with(struct vcpu_sandbox *sandbox, const char *name, const char *text)
{
    struct vcpu_values *values = vcpu_values_new();
    put_text(values, text);
    enum vcpu_status status = vcpu_sandbox_call(sandbox, name, values, NULL);
    vcpu_values_free(values);
    return status;
}

static bool is_listed(const struct vcpu_image *image, const char *(*list)(const struct vcpu_image *, size_t),
                      const char *text)
{
    for (size_t index = 0; list(image, index) != NULL; index++) {
        if (strcmp(list(image, index), text) == 0) {
            return true;
        }
    }
    return false;
}

static void grant_all(struct vcpu_builder *builder, const char *directory)
{
    DONE(vcpu_builder_directory(builder, "files", path(directory), false));
    DONE(vcpu_builder_block(builder, "disk", path("disk"), true));
    DONE(vcpu_builder_entropy(builder));
}

/* The devices of a guest are those that it was granted. */
static void look(struct vcpu_sandbox *sandbox, const char *text, uint8_t random[16])
{
    struct vcpu_values *out = vcpu_values_new();
    const uint8_t *data;
    size_t length;
    DONE(vcpu_sandbox_call(sandbox, "read_file", NULL, out));
    MUST(is_text(out, text));
    DONE(vcpu_sandbox_call(sandbox, "read_disk", NULL, out));
    DONE(vcpu_get_bytes(out, &data, &length));
    MUST(length == 512 && data[0] == 'd' && data[511] == 'd');
    DONE(vcpu_sandbox_call(sandbox, "random", NULL, out));
    for (int index = 0; index < 16; index++) {
        DONE(vcpu_get_byte(out, &random[index]));
    }
    vcpu_values_free(out);
}

static uint64_t count(struct vcpu_sandbox *sandbox)
{
    struct vcpu_values *out = vcpu_values_new();
    uint64_t number;
    DONE(vcpu_sandbox_call(sandbox, "count", NULL, out));
    DONE(vcpu_get_unsigned(out, &number));
    vcpu_values_free(out);
    return number;
}

/* Grants, and guests that begin with a snapshot. */
static void snapshots(const char *name)
{
    struct vcpu_image *image = open_image(name);
    struct vcpu_builder *builder = begin(image);
    struct vcpu_snapshot *snapshot, *none = NULL;
    struct vcpu_metrics metrics;
    uint8_t random[3][16];
    int32_t first, second;
    enum vcpu_backend runs;

    MUST(is_listed(image, vcpu_image_export, "read_file") && !is_listed(image, vcpu_image_export, "twice"));
    MUST(vcpu_image_export(image, SIZE_MAX) == NULL && vcpu_image_want(image, 0) == NULL);
    vcpu_image_free(image);
    grant_all(builder, "one");
    struct vcpu_sandbox *sandbox = build(builder);
    DONE(vcpu_sandbox_backend(sandbox, &runs));
    MUST((uint32_t)runs == backend);
    DONE(vcpu_sandbox_snapshot(sandbox, &snapshot));
    MUST(vcpu_snapshot_touched(snapshot) > 0 && vcpu_snapshot_ready(snapshot) == 0);
    DONE(vcpu_snapshot_wait_until_ready(snapshot));
    REFUSED(vcpu_snapshot_keep_ready(snapshot, SIZE_MAX), "keep at most 1024");
    DONE(vcpu_snapshot_keep_ready(snapshot, 2));
    DONE(vcpu_snapshot_wait_until_ready(snapshot));
    MUST(vcpu_snapshot_ready(snapshot) == 2);

    /* A reset begins anew, in a process of its own, with what the sandbox was given. */
    MUST(count(sandbox) == 100 && count(sandbox) == 101);
    look(sandbox, "one", random[0]);
    DONE(vcpu_sandbox_pid(sandbox, &first));
    MUST(vcpu_sandbox_call(sandbox, "fault", NULL, NULL) == VCPU_STATUS_ENDED);
    MUST(vcpu_sandbox_pid(sandbox, &second) == VCPU_STATUS_DEAD);
    MUST(vcpu_sandbox_snapshot(sandbox, &none) == VCPU_STATUS_DEAD && none == NULL);
    DONE(vcpu_sandbox_reset(sandbox, snapshot));
    DONE(vcpu_sandbox_pid(sandbox, &second));
    MUST(first > 0 && second > 0 && first != second);
    MUST(count(sandbox) == 100);
    look(sandbox, "one", random[1]);

    /* Another sandbox has grants of its own. */
    builder = vcpu_builder_of_snapshot(snapshot);
    MUST(builder != NULL);
    grant_all(builder, "two");
    struct vcpu_sandbox *another = build(builder);
    MUST(count(another) == 100);
    look(another, "two", random[2]);
    MUST(memcmp(random[0], random[1], 16) != 0 && memcmp(random[1], random[2], 16) != 0);
    DONE(vcpu_sandbox_metrics(sandbox, &metrics));
    MUST(metrics.resets == 1 && metrics.ended == 1);
    DONE(vcpu_sandbox_metrics(another, &metrics));
    MUST(metrics.resets == 0 && metrics.ended == 0 && metrics.calls == 4);

    /* Its grants must be those of the snapshot. */
    struct vcpu_sandbox *nobody = NULL;
    builder = vcpu_builder_of_snapshot(snapshot);
    MUST(vcpu_builder_build(builder, &nobody) == VCPU_STATUS_SYSTEM && nobody == NULL);
    MUST(strstr(vcpu_error(), "grants are not those") != NULL);
    REFUSED(vcpu_builder_entropy(builder), "the builder was used already");
    vcpu_builder_free(builder);

    /* A sandbox outlives the snapshot that it begins with. */
    vcpu_snapshot_free(snapshot);
    MUST(count(another) == 101);
    vcpu_sandbox_free(another);
    vcpu_sandbox_free(sandbox);
}

/* What was written into a pipe whose other end nobody has open any more. */
static bool was_written(int descriptor, const char *text)
{
    char bytes[256];
    size_t length = 0;
    ssize_t more;
    while ((more = read(descriptor, bytes + length, sizeof bytes - length)) > 0) {
        length += (size_t)more;
    }
    close(descriptor);
    return more == 0 && length == strlen(text) && memcmp(bytes, text, length) == 0;
}

/* Streams and consoles are duplicates of this program's file descriptors. */
static void streams(const struct vcpu_image *image)
{
    int output[2], console[2];
    MUST(pipe(output) == 0 && pipe(console) == 0);
    struct vcpu_builder *builder = begin(image);
    DONE(vcpu_builder_streams(builder, -1, output[1], output[1]));
    DONE(vcpu_builder_console(builder, "log", -1, console[1]));
    MUST(fcntl(output[1], F_GETFD) == 0 && fcntl(console[1], F_GETFD) == 0);
    close(output[1]);
    close(console[1]);
    struct vcpu_sandbox *sandbox = build(builder);
    DONE(call_with(sandbox, "print", "hello"));
    vcpu_sandbox_free(sandbox);
    MUST(was_written(output[0], "hello\n") && was_written(console[0], ""));
}

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void limits(const struct vcpu_image *image)
{
    struct vcpu_values *in = vcpu_values_new();
    int output[2];

    /* Bytes: the first line is all that may be written. */
    MUST(pipe(output) == 0);
    struct vcpu_builder *builder = begin(image);
    DONE(vcpu_builder_streams(builder, -1, output[1], -1));
    DONE(vcpu_builder_output_limit(builder, 4));
    close(output[1]);
    struct vcpu_sandbox *sandbox = build(builder);
    DONE(call_with(sandbox, "print", "one"));
    MUST(call_with(sandbox, "print", "two") == VCPU_STATUS_ENDED);
    vcpu_sandbox_free(sandbox);
    MUST(was_written(output[0], "one\n"));

    /* Time: `End::Spin` is variant 5. */
    DONE(vcpu_put_unsigned(in, 5));
    builder = begin(image);
    DONE(vcpu_builder_cpu_time(builder, 50 * 1000000));
    sandbox = build(builder);
    MUST(vcpu_sandbox_call(sandbox, "end", in, NULL) == VCPU_STATUS_ENDED);
    vcpu_sandbox_free(sandbox);
    builder = begin(image);
    DONE(vcpu_builder_call_deadline(builder, 50));
    sandbox = build(builder);
    MUST(vcpu_sandbox_call(sandbox, "end", in, NULL) == VCPU_STATUS_ENDED);
    vcpu_sandbox_free(sandbox);

    /* Calls: a hundred at once, and the others take a hundredth of a second each. */
    builder = begin(image);
    DONE(vcpu_builder_calls_per_second(builder, 100));
    sandbox = build(builder);
    uint64_t start = now();
    for (int line = 0; line < 120; line++) {
        DONE(call_with(sandbox, "print", "line"));
    }
    MUST(now() - start >= 150 * 1000000);
    vcpu_sandbox_free(sandbox);

    /* The greatest numbers are no limits. */
    builder = begin(image);
    DONE(vcpu_builder_call_deadline(builder, UINT64_MAX));
    DONE(vcpu_builder_start_deadline(builder, UINT64_MAX));
    DONE(vcpu_builder_reply_limit(builder, UINT64_MAX));
    DONE(vcpu_builder_cpu_time(builder, UINT64_MAX));
    DONE(vcpu_builder_output_limit(builder, UINT64_MAX));
    DONE(vcpu_builder_calls_per_second(builder, UINT32_MAX));
    DONE(vcpu_builder_clock(builder, VCPU_CLOCK_VIRTUAL));
    sandbox = build(builder);
    DONE(call_with(sandbox, "print", "line"));
    vcpu_sandbox_free(sandbox);
    vcpu_values_free(in);
}

/* No mistake does more than to give an error, and the builder can be used after it. */
static void mistakes(const struct vcpu_image *image)
{
    struct vcpu_builder *builder = begin(image);
    struct vcpu_sandbox *sandbox = NULL;
    int ends[2];
    MUST(pipe(ends) == 0);

    REFUSED(vcpu_builder_streams(builder, 12345, -1, -1), "file descriptor 12345 cannot be used");
    REFUSED(vcpu_builder_streams(builder, -2, -1, -1), "file descriptor -2 cannot be used");
    REFUSED(vcpu_builder_streams(builder, ends[1], -1, -1), "open for reading");
    REFUSED(vcpu_builder_streams(builder, -1, ends[0], -1), "open for writing");
    REFUSED(vcpu_builder_streams(builder, -1, -1, ends[0]), "open for writing");
    REFUSED(vcpu_builder_console(builder, "log", -1, 12345), "file descriptor 12345 cannot be used");
    REFUSED(vcpu_builder_console(builder, "../log", -1, -1), "cannot be the name of a grant");
    REFUSED(vcpu_builder_directory(builder, "", folder, false), "cannot be the name of a grant");
    REFUSED(vcpu_builder_directory(builder, "\xff", folder, false), "a text is not UTF-8");
    REFUSED(vcpu_builder_directory(builder, NULL, folder, false), "a text is a null pointer");
    REFUSED(vcpu_builder_directory(builder, "files", NULL, false), "the path is a null pointer");
    REFUSED(vcpu_builder_exclusive_directory(builder, "files", NULL, false), "the path is a null pointer");
    REFUSED(vcpu_builder_block(builder, "disk", NULL, false), "the path is a null pointer");
    MUST(vcpu_builder_directory(builder, "files", path("no"), false) == VCPU_STATUS_SYSTEM);
    MUST(strstr(vcpu_error(), "does not exist") != NULL);
    MUST(vcpu_builder_block(builder, "disk", folder, false) == VCPU_STATUS_SYSTEM);
    REFUSED(vcpu_builder_cpu_time(builder, 0), "0 ns");
    REFUSED(vcpu_builder_calls_per_second(builder, 0), "0 calls per second");
    REFUSED(vcpu_builder_clock(builder, 2), "there is no clock 2");
    REFUSED(vcpu_builder_argument(builder, NULL), "a text is a null pointer");
    REFUSED(vcpu_builder_build(builder, NULL), "a pointer is null");
    sandbox = build(builder);
    REFUSED(vcpu_sandbox_pid(sandbox, NULL), "a pointer is null");
    REFUSED(vcpu_sandbox_reset(sandbox, NULL), "a pointer is null");
    DONE(vcpu_sandbox_call(sandbox, "null", NULL, NULL));
    vcpu_sandbox_free(sandbox);
    sandbox = NULL;

    /* What only the start can find. */
    builder = begin(image);
    DONE(vcpu_builder_memory(builder, UINT64_MAX));
    MUST(vcpu_builder_build(builder, &sandbox) == VCPU_STATUS_SYSTEM && sandbox == NULL);
    vcpu_builder_free(builder);
    builder = begin(image);
    for (int number = 0; number < 2; number++) {
        DONE(vcpu_builder_directory(builder, "files", folder, true));
    }
    MUST(vcpu_builder_build(builder, &sandbox) == VCPU_STATUS_SYSTEM && sandbox == NULL);
    MUST(strstr(vcpu_error(), "files is granted twice") != NULL);
    vcpu_builder_free(builder);
    builder = begin(image);
    DONE(vcpu_builder_exclusive_directory(builder, "files", folder, true));
    DONE(vcpu_builder_exclusive_directory(builder, "more", folder, true));
    MUST(vcpu_builder_build(builder, &sandbox) == VCPU_STATUS_SYSTEM && sandbox == NULL);
    MUST(strstr(vcpu_error(), "\"more\" cannot be used: somebody else has it exclusively") != NULL);
    vcpu_builder_free(builder);
    close(ends[0]);
    close(ends[1]);
}

static void wants(const char *name)
{
    struct vcpu_image *image = open_image(name);
    struct vcpu_builder *builder = begin(image);
    struct vcpu_sandbox *sandbox = NULL;
    MUST(is_listed(image, vcpu_image_want, "block disk:ro") && is_listed(image, vcpu_image_want, "dir media:ro"));
    MUST(is_listed(image, vcpu_image_want, "entropy") && vcpu_image_want(image, 3) == NULL);
    MUST(vcpu_builder_build(builder, &sandbox) == VCPU_STATUS_SYSTEM && sandbox == NULL);
    MUST(strstr(vcpu_error(), "the image wants ") != NULL && strstr(vcpu_error(), "block disk:ro") != NULL);
    vcpu_builder_free(builder);
    vcpu_image_free(image);
}

int main(int number, char **arguments)
{
    MUST(number == 6);
    backend = (uint32_t)atoi(arguments[4]);
    folder = arguments[5];
    snapshots(arguments[1]);
    struct vcpu_image *image = open_image(arguments[2]);
    streams(image);
    limits(image);
    mistakes(image);
    vcpu_image_free(image);
    wants(arguments[3]);
    puts("all is well");
    return 0;
}
