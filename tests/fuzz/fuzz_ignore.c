/* A path on the first line, patterns on the others. Excluding all of it again excludes it; including it includes it, but for Git's own. */
#include "base/cleanup.h"
#include "base/memory.h"
#include "data/ignore.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct view rest = { (const char *)data, size }, first;
        cleanup(ignore_free) struct ignore *ignore = ignore_new();
        cleanup(free_string) char *path = NULL;

        if (!view_split(&rest, '\n', &first) || first.length == 0 || memchr(first.data, '\0', first.length))
                return 0;
        path = memory_string_n(first.data, first.length);
        ignore_add(ignore, rest, "");
        ignore_match(ignore, path, true);
        ignore_match(ignore, path, false);
        ignore_add(ignore, VIEW("*"), "");
        if (!ignore_match(ignore, path, true))
                abort();
        ignore_add(ignore, VIEW("!*"), "");
        if (ignore_match(ignore, path, true) && !strstr(path, ".git"))
                abort();
        return 0;
}
