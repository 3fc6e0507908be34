/* A host program in C: makes a sandbox of the image of the package `guest-embed` and calls its functions. */

#include "check.h"

/* What `twice` has of this program. */
struct context {
    int calls;
    struct vcpu_sandbox *sandbox;
};

/* Doubles a number, and counts how often. */
static bool twice(void *context, struct vcpu_values *argument, struct vcpu_values *result)
{
    struct context *mine = context;
    struct vcpu_metrics metrics;
    uint64_t value;
    mine->calls += 1;
    /* The sandbox is in use. */
    REFUSED(vcpu_sandbox_call(mine->sandbox, "null", NULL, NULL), "the sandbox is in use");
    REFUSED(vcpu_sandbox_metrics(mine->sandbox, &metrics), "the sandbox is in use");
    MUST(!vcpu_sandbox_is_alive(mine->sandbox));
    if (vcpu_get_unsigned(argument, &value) != VCPU_STATUS_OK) {
        return false;
    }
    if (value > 1000) {
        put_text(result, "this is too much");
        return false;
    }
    return vcpu_put_unsigned(result, 2 * value) == VCPU_STATUS_OK;
}

static void numbers(void)
{
    static const int64_t integers[] = {0, 1, -1, 63, -64, 64, -65, INT32_MIN, INT64_MAX, INT64_MIN};
    struct vcpu_values *values = vcpu_values_new();
    int64_t integer;
    uint64_t natural;
    uint8_t byte;
    float single;
    double number;

    for (size_t index = 0; index < COUNT(integers); index++) {
        DONE(vcpu_put_signed(values, integers[index]));
        DONE(vcpu_put_unsigned(values, (uint64_t)integers[index]));
    }
    DONE(vcpu_put_byte(values, 200));
    DONE(vcpu_put_float(values, 1.5f));
    DONE(vcpu_put_double(values, -0.25));
    for (size_t index = 0; index < COUNT(integers); index++) {
        DONE(vcpu_get_signed(values, &integer));
        DONE(vcpu_get_unsigned(values, &natural));
        MUST(integer == integers[index] && natural == (uint64_t)integers[index]);
    }
    DONE(vcpu_get_byte(values, &byte));
    DONE(vcpu_get_float(values, &single));
    DONE(vcpu_get_double(values, &number));
    MUST(byte == 200 && single == 1.5f && number == -0.25 && vcpu_values_left(values) == 0);
    MUST(vcpu_get_unsigned(values, &natural) == VCPU_STATUS_NO_VALUE);

    /* More bytes than there are: nothing is read. */
    DONE(vcpu_values_clear(values));
    DONE(vcpu_put_unsigned(values, UINT64_MAX));
    const uint8_t *data;
    size_t length;
    MUST(vcpu_get_bytes(values, &data, &length) == VCPU_STATUS_NO_VALUE);
    DONE(vcpu_get_unsigned(values, &natural));
    MUST(natural == UINT64_MAX);
    vcpu_values_free(values);
}

static void mistakes(void)
{
    struct vcpu_image *image = NULL;
    MUST(vcpu_image_open("/nowhere", &image) == VCPU_STATUS_SYSTEM && image == NULL);
    MUST(strstr(vcpu_error(), "there is no such file") != NULL);
    MUST(vcpu_image_open(NULL, &image) == VCPU_STATUS_INVALID);
    MUST(vcpu_put_byte(NULL, 1) == VCPU_STATUS_INVALID);
    MUST(vcpu_builder_new(NULL) == NULL);
    MUST(vcpu_sandbox_call(NULL, "null", NULL, NULL) == VCPU_STATUS_INVALID);
    MUST(!vcpu_sandbox_is_alive(NULL));
    MUST(vcpu_image_export(NULL, 0) == NULL && vcpu_image_want(NULL, 0) == NULL);
    MUST(vcpu_builder_of_snapshot(NULL) == NULL);
    MUST(vcpu_snapshot_ready(NULL) == 0 && vcpu_snapshot_touched(NULL) == 0);
    REFUSED(vcpu_builder_streams(NULL, -1, -1, -1), "a pointer is null");
    REFUSED(vcpu_builder_directory(NULL, "files", "/", false), "a pointer is null");
    REFUSED(vcpu_builder_block(NULL, "disk", "/", false), "a pointer is null");
    REFUSED(vcpu_builder_console(NULL, "log", -1, -1), "a pointer is null");
    REFUSED(vcpu_builder_entropy(NULL), "a pointer is null");
    REFUSED(vcpu_builder_cpu_time(NULL, 1), "a pointer is null");
    REFUSED(vcpu_builder_output_limit(NULL, 1), "a pointer is null");
    REFUSED(vcpu_builder_calls_per_second(NULL, 1), "a pointer is null");
    REFUSED(vcpu_builder_clock(NULL, VCPU_CLOCK_VIRTUAL), "a pointer is null");
    REFUSED(vcpu_builder_build(NULL, NULL), "a pointer is null");
    REFUSED(vcpu_sandbox_pid(NULL, NULL), "a pointer is null");
    REFUSED(vcpu_sandbox_backend(NULL, NULL), "a pointer is null");
    REFUSED(vcpu_sandbox_metrics(NULL, NULL), "a pointer is null");
    REFUSED(vcpu_sandbox_snapshot(NULL, NULL), "a pointer is null");
    REFUSED(vcpu_sandbox_reset(NULL, NULL), "a pointer is null");
    REFUSED(vcpu_snapshot_keep_ready(NULL, 1), "a pointer is null");
    REFUSED(vcpu_snapshot_wait_until_ready(NULL), "a pointer is null");
    vcpu_image_free(NULL);
    vcpu_builder_free(NULL);
    vcpu_sandbox_free(NULL);
    vcpu_snapshot_free(NULL);
    vcpu_values_free(NULL);
}

int main(int count, char **arguments)
{
    struct vcpu_image *image;
    struct vcpu_sandbox *sandbox;
    struct vcpu_snapshot *snapshot;
    struct vcpu_values *in = vcpu_values_new(), *out = vcpu_values_new();
    uint64_t number;
    struct context context = {0, NULL};

    MUST(count == 3);
    numbers();
    mistakes();

    DONE(vcpu_image_open(arguments[1], &image));
    struct vcpu_builder *builder = vcpu_builder_new(image);
    DONE(vcpu_builder_memory(builder, 64 << 20));
    DONE(vcpu_builder_call_deadline(builder, 60000));
    DONE(vcpu_builder_start_deadline(builder, 60000));
    DONE(vcpu_builder_reply_limit(builder, 1 << 20));
    DONE(vcpu_builder_backend(builder, (uint32_t)atoi(arguments[2])));
    MUST(vcpu_builder_backend(builder, 9) == VCPU_STATUS_INVALID);
    DONE(vcpu_builder_argument(builder, "guest-embed"));
    DONE(vcpu_builder_env(builder, "COLOUR", "blue"));
    DONE(vcpu_builder_function(builder, "twice", twice, &context));
    MUST(vcpu_builder_function(builder, "none", NULL, NULL) == VCPU_STATUS_INVALID);
    DONE(vcpu_builder_build(builder, &sandbox));
    MUST(vcpu_builder_build(builder, &sandbox) == VCPU_STATUS_INVALID);
    context.sandbox = sandbox;
    vcpu_builder_free(builder);
    vcpu_image_free(image);
    DONE(vcpu_sandbox_snapshot(sandbox, &snapshot));
    DONE(vcpu_snapshot_keep_ready(snapshot, 1));

    /* Values go back and forth. */
    DONE(vcpu_sandbox_call(sandbox, "null", NULL, NULL));
    DONE(vcpu_put_unsigned(in, 12));
    DONE(vcpu_put_unsigned(in, 3));
    DONE(vcpu_sandbox_call(sandbox, "divide", in, out));
    DONE(vcpu_get_unsigned(out, &number));
    MUST(number == 4 && vcpu_values_left(out) == 0);
    DONE(vcpu_values_clear(in));
    put_text(in, "hello");
    DONE(vcpu_sandbox_call(sandbox, "upper", in, out));
    MUST(is_text(out, "HELLO"));
    REFUSED(vcpu_sandbox_call(sandbox, "upper", in, in), "the result cannot be the argument");
    DONE(vcpu_values_clear(in));
    put_text(in, "COLOUR");
    DONE(vcpu_sandbox_call(sandbox, "environment", in, out));
    uint8_t some;
    DONE(vcpu_get_byte(out, &some));
    MUST(some == 1 && is_text(out, "blue"));

    /* Errors have a sentence. */
    DONE(vcpu_values_clear(in));
    DONE(vcpu_put_unsigned(in, 1));
    DONE(vcpu_put_unsigned(in, 0));
    MUST(vcpu_sandbox_call(sandbox, "divide", in, out) == VCPU_STATUS_FAILED);
    MUST(strcmp(vcpu_error(), "nothing can be divided by zero") == 0);
    MUST(vcpu_sandbox_call(sandbox, "nothing", in, out) == VCPU_STATUS_NO_SUCH_FUNCTION);
    MUST(vcpu_sandbox_call(sandbox, "upper", NULL, out) == VCPU_STATUS_BAD_ARGUMENT);

    /* The guest calls back. */
    DONE(vcpu_values_clear(in));
    put_text(in, "twice");
    DONE(vcpu_put_unsigned(in, 21));
    DONE(vcpu_sandbox_call(sandbox, "ask", in, out));
    MUST(is_text(out, "42") && context.calls == 1);
    DONE(vcpu_values_clear(in));
    put_text(in, "twice");
    DONE(vcpu_put_unsigned(in, 2100));
    DONE(vcpu_sandbox_call(sandbox, "ask", in, out));
    MUST(is_text(out, "this is too much") && context.calls == 2);

    /* Both see the bytes of a buffer. */
    struct vcpu_slice buffer;
    uint8_t bytes[5] = "abcd";
    DONE(vcpu_sandbox_allocate(sandbox, 1 << 20, &buffer));
    MUST(buffer.length == 1 << 20);
    DONE(vcpu_sandbox_write(sandbox, buffer, 7, bytes, 4));
    DONE(vcpu_values_clear(in));
    DONE(vcpu_put_slice(in, buffer));
    DONE(vcpu_sandbox_call(sandbox, "invert", in, NULL));
    DONE(vcpu_sandbox_read(sandbox, buffer, 7, bytes, 5));
    MUST(bytes[0] == (uint8_t)~'a' && bytes[3] == (uint8_t)~'d' && bytes[4] == 0xff);
    MUST(vcpu_sandbox_read(sandbox, buffer, buffer.length, bytes, 1) == VCPU_STATUS_NOT_IN_MEMORY);
    DONE(vcpu_sandbox_release(sandbox, buffer));
    MUST(vcpu_sandbox_release(sandbox, buffer) == VCPU_STATUS_FAILED);

    /* Buffers that nobody has room for, and slices that are none. */
    struct vcpu_slice none = {UINT64_MAX - 1, UINT64_MAX};
    MUST(vcpu_sandbox_allocate(sandbox, SIZE_MAX, &buffer) == VCPU_STATUS_FAILED);
    MUST(vcpu_sandbox_read(sandbox, none, UINT64_MAX, bytes, 5) == VCPU_STATUS_NOT_IN_MEMORY);
    MUST(vcpu_sandbox_write(sandbox, none, 0, bytes, 5) == VCPU_STATUS_NOT_IN_MEMORY);
    MUST(vcpu_sandbox_write(sandbox, buffer, 0, bytes, SIZE_MAX) == VCPU_STATUS_INVALID);
    MUST(vcpu_sandbox_read(sandbox, buffer, 0, NULL, 1) == VCPU_STATUS_INVALID);
    MUST(vcpu_sandbox_release(sandbox, none) == VCPU_STATUS_FAILED);

    /* What ends the guest is an error, and the guest can be replaced. `End::Panic` is variant 0. */
    DONE(vcpu_values_clear(in));
    DONE(vcpu_put_unsigned(in, 0));
    MUST(vcpu_sandbox_call(sandbox, "end", in, out) == VCPU_STATUS_ENDED);
    MUST(strstr(vcpu_error(), "the function has panicked") != NULL && !vcpu_sandbox_is_alive(sandbox));
    MUST(vcpu_sandbox_call(sandbox, "null", NULL, NULL) == VCPU_STATUS_DEAD);
    DONE(vcpu_sandbox_reset(sandbox, snapshot));
    DONE(vcpu_sandbox_call(sandbox, "count", NULL, out));
    DONE(vcpu_get_unsigned(out, &number));
    MUST(number == 100 && vcpu_sandbox_is_alive(sandbox));

    struct vcpu_metrics metrics;
    DONE(vcpu_sandbox_metrics(sandbox, &metrics));
    MUST(metrics.resets == 1 && metrics.ended == 1 && metrics.failed > metrics.ended);
    MUST(metrics.calls > metrics.failed && metrics.host_calls == 2 && metrics.refused == 0);
    MUST(metrics.bytes_in > 0 && metrics.bytes_out > 0);

    vcpu_snapshot_free(snapshot);
    vcpu_sandbox_free(sandbox);
    vcpu_values_free(in);
    vcpu_values_free(out);
    puts("all is well");
    return 0;
}
