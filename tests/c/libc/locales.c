/* Which locales there are, and that an unknown one is refused and changes nothing. */
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <wchar.h>

static void set(int category, const char *name)
{
    const char *found = setlocale(category, name);
    printf("%d %s: %s\n", category, name ? name : "asked", found ? found : "refused");
}

int main(void)
{
    setenv("LANG", "xx_YY.unknown", 1);
    set(LC_ALL, NULL);
    set(LC_ALL, "pt_BR.iso88591");
    set(LC_CTYPE, "ISO-8859-1");
    set(LC_COLLATE, "no/such");
    set(LC_ALL, "");
    set(LC_ALL, NULL);
    set(LC_ALL, "POSIX");
    printf("%zu bytes in a character at most\n", MB_CUR_MAX);
    set(LC_CTYPE, "C.UTF-8");
    wchar_t wide = 0;
    int length = mbtowc(&wide, "\xc3\xa4", 2);
    printf("%d bytes are U+%04X\n", length, (unsigned)wide);
    set(LC_CTYPE, "");
    set(LC_CTYPE, NULL);
    setenv("LC_ALL", "C", 1);
    set(LC_CTYPE, "");

    locale_t unknown = newlocale(LC_ALL_MASK, "pt_BR.iso88591", NULL);
    printf("newlocale: %s\n", unknown ? "there" : "refused");
    locale_t known = newlocale(LC_CTYPE_MASK, "C.UTF-8", NULL);
    printf("newlocale: %s\n", known ? "there" : "refused");
    freelocale(known);
    return 0;
}
