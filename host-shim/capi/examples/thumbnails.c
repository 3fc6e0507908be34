/*
 * Small pictures of JPEG files, whose decoder is sandboxed: the image of the package `thumbnail`. Each file gets a
 * fresh guest; one that is damaged is an error of its own, whatever it does to the decoder.
 *
 *     cargo vcpu build -p thumbnail
 *     cargo build --release -p vcpu-capi
 *     cc -o thumbnails -I host-shim/capi/include host-shim/capi/examples/thumbnails.c \
 *         target/release/libvcpu_capi.a -lpthread -ldl -lm
 *     ./thumbnails IMAGE hills.jpg grey.jpg      makes hills.jpg.png and grey.jpg.png
 */

#include "vcpu.h"

#include <stdio.h>
#include <stdlib.h>

#define WIDTH 100

/* Ends this program with a sentence, if something it cannot do without has failed. */
static void need(enum vcpu_status status)
{
    if (status != VCPU_STATUS_OK) {
        fprintf(stderr, "thumbnails: %s\n", vcpu_error());
        exit(1);
    }
}

/* The bytes of a file, to be freed; null if it cannot be read. */
static uint8_t *read_file(const char *path, size_t *length)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return NULL;
    }
    long end = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    rewind(file);
    uint8_t *bytes = end < 0 ? NULL : malloc((size_t)end + 1);
    if (bytes != NULL) {
        *length = fread(bytes, 1, (size_t)end, file);
    }
    fclose(file);
    return bytes;
}

/* Makes one picture. */
static bool convert(struct vcpu_sandbox *sandbox, const char *path)
{
    char name[4096];
    size_t length;
    const uint8_t *png;
    uint64_t width, height;
    uint8_t *jpeg = read_file(path, &length);
    if (jpeg == NULL || snprintf(name, sizeof name, "%s.png", path) >= (int)sizeof name) {
        fprintf(stderr, "%s cannot be read\n", path);
        free(jpeg);
        return false;
    }

    /* The function takes a width and a file, and gives width, height and a file. */
    struct vcpu_values *in = vcpu_values_new(), *out = vcpu_values_new();
    need(vcpu_put_unsigned(in, WIDTH));
    need(vcpu_put_bytes(in, jpeg, length));
    free(jpeg);
    bool made = vcpu_sandbox_call(sandbox, "thumbnail", in, out) == VCPU_STATUS_OK
                && vcpu_get_unsigned(out, &width) == VCPU_STATUS_OK
                && vcpu_get_unsigned(out, &height) == VCPU_STATUS_OK
                && vcpu_get_bytes(out, &png, &length) == VCPU_STATUS_OK;
    if (!made) {
        fprintf(stderr, "%s: %s\n", path, vcpu_error());
    } else {
        FILE *file = fopen(name, "wb");
        made = file != NULL && fwrite(png, 1, length, file) == length;
        made = file != NULL && fclose(file) == 0 && made;
        if (made) {
            printf("%s: %u x %u pixels\n", path, (unsigned)width, (unsigned)height);
        } else {
            fprintf(stderr, "%s cannot be written\n", name);
        }
    }
    vcpu_values_free(in);
    vcpu_values_free(out);
    return made;
}

int main(int count, char **arguments)
{
    struct vcpu_image *image;
    struct vcpu_sandbox *sandbox;
    struct vcpu_snapshot *snapshot;
    int failed = 0;

    if (count < 3) {
        fprintf(stderr, "usage: thumbnails IMAGE FILE...\n");
        return 2;
    }
    need(vcpu_image_open(arguments[1], &image));
    struct vcpu_builder *builder = vcpu_builder_new(image);
    need(vcpu_builder_memory(builder, 64 << 20));
    need(vcpu_builder_call_deadline(builder, 10000));
    need(vcpu_builder_build(builder, &sandbox));
    vcpu_builder_free(builder);
    vcpu_image_free(image);
    need(vcpu_sandbox_snapshot(sandbox, &snapshot));
    need(vcpu_snapshot_keep_ready(snapshot, 2));

    for (int index = 2; index < count; index++) {
        failed += !convert(sandbox, arguments[index]);
        need(vcpu_sandbox_reset(sandbox, snapshot));
    }
    vcpu_snapshot_free(snapshot);
    vcpu_sandbox_free(sandbox);
    return failed != 0;
}
