/* What the host programs in C check with. */

#ifndef CHECK_H
#define CHECK_H

#include "vcpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* What must be so. */
#define MUST(condition)                                                                                              \
    do {                                                                                                             \
        if (!(condition)) {                                                                                          \
            fprintf(stderr, "line %d: not so: %s (%s)\n", __LINE__, #condition, vcpu_error());                       \
            exit(1);                                                                                                 \
        }                                                                                                            \
    } while (0)

#define DONE(call) MUST((call) == VCPU_STATUS_OK)

/* A mistake of this program's, with a sentence that has these words. */
#define REFUSED(call, words) MUST((call) == VCPU_STATUS_INVALID && strstr(vcpu_error(), words) != NULL)

static inline void put_text(struct vcpu_values *values, const char *text)
{
    DONE(vcpu_put_bytes(values, (const uint8_t *)text, strlen(text)));
}

static inline bool is_text(struct vcpu_values *values, const char *text)
{
    const uint8_t *data;
    size_t length;
    DONE(vcpu_get_bytes(values, &data, &length));
    return length == strlen(text) && memcmp(data, text, length) == 0;
}

#endif
