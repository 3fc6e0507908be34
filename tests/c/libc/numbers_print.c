/* printf and strtod over many numbers: a hash of every thousand texts, and texts that are read back. */

#include <float.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state = 88172645463325252;

static uint64_t random_bits(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

/* Any double: by its bits, so that every exponent is as likely as any other; now and then a round one. */
static double random_double(void)
{
    uint64_t bits = random_bits();
    double number;
    switch (random_bits() % 4) {
    case 0:
        return (double)(int64_t)(bits % 2000001 - 1000000) / 8;
    case 1:
        return (double)(bits % 100000) / 1000;
    default:
        memcpy(&number, &bits, sizeof number);
        return number;
    }
}

static uint64_t hash(uint64_t sum, const char *text)
{
    while (*text)
        sum = (sum ^ (unsigned char)*text++) * 0x100000001b3;
    return sum;
}

int main(void)
{
    static const char flags[] = "-+ #0";
    static const char kinds[] = "eEfFgGaA";
    static char text[8192];

    for (int batch = 0; batch < 300; batch++) {
        uint64_t sum = 0xcbf29ce484222325;
        for (int i = 0; i < 1000; i++) {
            char format[32];
            int at = 0;
            format[at++] = '%';
            for (int flag = 0; flag < 5; flag++)
                if (random_bits() % 4 == 0)
                    format[at++] = flags[flag];
            if (random_bits() % 2)
                at += sprintf(format + at, "%d", (int)(random_bits() % 40));
            int kind = kinds[random_bits() % 8];
            if (kind != 'a' && kind != 'A' && random_bits() % 2)
                at += sprintf(format + at, ".%d", (int)(random_bits() % 60));
            double number = random_double();
            /* The sign of a NaN is not printed alike. */
            if (number != number)
                continue;
            format[at++] = kind;
            format[at] = 0;
            snprintf(text, sizeof text, format, number);
            /* The first digit of %a may be any; the number is the same. Some releases of glibc lose the zero of
               %#.2g that rounds up to a power of ten, as 99.566 does. */
            if ((kind == 'g' || kind == 'G') && strchr(format, '#'))
                continue;
            if (kind != 'a' && kind != 'A')
                sum = hash(sum, text);
            else if (strtod(text, NULL) != number)
                printf("%s of %.17g is %s\n", format, number, text);
        }
        printf("double %d %016llx\n", batch, (unsigned long long)sum);
    }
    /* Long doubles, with all their digits. */
    for (int batch = 0; batch < 100; batch++) {
        uint64_t sum = 0xcbf29ce484222325;
        for (int i = 0; i < 1000; i++) {
            long double number = (long double)random_bits() / (long double)(random_bits() | 1);
            for (int power = random_bits() % 60; power > 0; power--)
                number = random_bits() % 2 ? number * 65537 : number / 65539;
            snprintf(text, sizeof text, "%.*Lg", (int)(random_bits() % 40), number);
            sum = hash(sum, text);
            snprintf(text, sizeof text, "%La", number);
            if (strtold(text, NULL) != number)
                printf("%%La of %.21Lg is %s\n", number, text);
            snprintf(text, sizeof text, "%.20Le", number);
            if (strtold(text, NULL) != number)
                printf("%%Le of %La is %s\n", number, text);
        }
        printf("long double %d %016llx\n", batch, (unsigned long long)sum);
    }
    /* Texts of any length become the nearest double. */
    for (int batch = 0; batch < 300; batch++) {
        uint64_t sum = 0xcbf29ce484222325;
        for (int i = 0; i < 1000; i++) {
            int digits = 1 + random_bits() % 40, point = random_bits() % 40, at = 0;
            for (int digit = 0; digit < digits; digit++) {
                if (digit == point)
                    text[at++] = '.';
                text[at++] = '0' + random_bits() % 10;
            }
            if (random_bits() % 2)
                at += sprintf(text + at, "e%d", (int)(random_bits() % 640) - 330);
            text[at] = 0;
            char *end;
            double number = strtod(text, &end);
            float small = strtof(text, NULL);
            char bits[64];
            uint64_t image;
            uint32_t small_image;
            memcpy(&image, &number, sizeof image);
            memcpy(&small_image, &small, sizeof small_image);
            sprintf(bits, "%llx %x %d", (unsigned long long)image, small_image, (int)(end - text));
            sum = hash(sum, bits);
        }
        printf("read %d %016llx\n", batch, (unsigned long long)sum);
    }
    /* Halfway between two doubles, and a hair beside it. */
    for (int i = 0; i < 20000; i++) {
        double low = random_double();
        if (!(low > DBL_MIN && low < 1e300))
            continue;
        uint64_t bits;
        memcpy(&bits, &low, sizeof bits);
        bits++;
        double high;
        memcpy(&high, &bits, sizeof high);
        long double middle = ((long double)low + (long double)high) / 2;
        int length = snprintf(text, sizeof text, "%.1100Lf", middle);
        double even = strtod(text, NULL);
        memcpy(text + length, "1", 2);
        double above = strtod(text, NULL);
        memcpy(&bits, &even, sizeof bits);
        if (bits & 1 || above != high)
            printf("halfway after %a: %a, above it %a\n", low, even, above);
    }
    return 0;
}
