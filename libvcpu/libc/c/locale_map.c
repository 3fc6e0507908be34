/* Which locales there are: C, which is also POSIX, and C.UTF-8, which differs from it by its character set.
   The standard says that an unknown one is refused; musl's own file would take any name for C.UTF-8. */

#include "locale_impl.h"
#include <locale.h>
#include <stdlib.h>
#include <string.h>

static const char variables[][12] = {
    "LC_CTYPE", "LC_NUMERIC", "LC_TIME", "LC_COLLATE", "LC_MONETARY", "LC_MESSAGES",
};

volatile int __locale_lock[1];

/* There are no translations. */
const char *__lctrans_impl(const char *message, const struct __locale_map *locale)
{
    return message;
}

/* The locale of this name for a category; if the name is empty, of the one that the environment has. */
const struct __locale_map *__get_locale(int category, const char *name)
{
    if (!*name) {
        const char *sources[] = {"LC_ALL", variables[category], "LANG"};
        for (int i = 0; i < 3 && !*name; i++) {
            const char *value = getenv(sources[i]);
            if (value) name = value;
        }
        if (!*name) name = "C.UTF-8";
    }
    if (!strcmp(name, "C") || !strcmp(name, "POSIX")) return 0;
    if (strcmp(name, "C.UTF-8")) return LOC_MAP_FAILED;
    return category == LC_CTYPE ? &__c_dot_utf8 : 0;
}
