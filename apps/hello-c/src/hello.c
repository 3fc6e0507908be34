/* The C part: it speaks to the machine itself, through the gate. */

#include "vcpu.h"

#include <stddef.h>
#include <stdint.h>

/* The guest kernel has these two, as every C compiler expects. */
void *memcpy(void *to, const void *from, size_t length);
size_t strlen(const char *string);

/* Writes all bytes to standard output. The machine may take fewer than it is offered; 0, or the error
   of the call. */
static int64_t write_all(const char *bytes, size_t length)
{
    while (length > 0) {
        int64_t taken = vcpu_call(VCPU_CALL_CONSOLE_WRITE, VCPU_STREAM_OUTPUT,
                                  (uint64_t)(uintptr_t)bytes, length, 0);
        if (taken == VCPU_ERROR_AGAIN) {
            /* Events interrupt this wait, among them the one that says: try again. */
            vcpu_call(VCPU_CALL_WAIT, VCPU_NEVER, 0, 0, 0);
        } else if (taken < 0) {
            return taken;
        } else {
            bytes += taken;
            length -= (size_t)taken;
        }
    }
    return 0;
}

/* Writes a number as decimal digits to `digits`, which has room for 20; how many it wrote. */
static size_t decimal(uint64_t number, char *digits)
{
    char reversed[20];
    size_t count = 0;
    do {
        reversed[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    for (size_t i = 0; i < count; i++)
        digits[i] = reversed[count - 1 - i];
    return count;
}

/* Prints a greeting to `name`; 0, or the error of a call. */
int64_t greet(const char *name)
{
    static const char hello[] = "Hello from C, ";
    static const char sum_text[] = "! The squares of 1 to 10 add up to ";
    char line[128];
    size_t length = 0;
    size_t name_length = strlen(name);
    uint64_t sum = 0;

    for (uint64_t i = 1; i <= 10; i++)
        sum += i * i;
    if (name_length > 32)
        name_length = 32;

    memcpy(line + length, hello, sizeof hello - 1);
    length += sizeof hello - 1;
    memcpy(line + length, name, name_length);
    length += name_length;
    memcpy(line + length, sum_text, sizeof sum_text - 1);
    length += sizeof sum_text - 1;
    length += decimal(sum, line + length);
    line[length++] = '.';
    line[length++] = '\n';
    return write_all(line, length);
}
