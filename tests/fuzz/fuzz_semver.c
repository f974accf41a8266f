/* A range and a version on two lines. A version equals itself, and is in no range that both allows and forbids it. */
#include "base/cleanup.h"
#include "data/semver.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct view rest = { (const char *)data, size }, first, second;
        cleanup(semver_range_free) struct semver_range *range = NULL, *exact = NULL;
        cleanup(error_release) struct error error = ERROR_NULL;
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        struct semver version;

        if (!view_split(&rest, '\n', &first) || !view_split(&rest, '\n', &second))
                return 0;
        if (semver_range_parse(first, &range, &error) < 0 || semver_parse(second, &version, &error) < 0)
                return 0;
        semver_range_contains(range, &version);
        if (semver_compare(&version, &version) != 0)
                abort();

        buffer_printf(&text, "=%llu.%llu.%llu%s%.*s", (unsigned long long)version.major, (unsigned long long)version.minor,
                      (unsigned long long)version.patch, version.pre.length ? "-" : "", (int)version.pre.length,
                      version.pre.length ? version.pre.data : "");
        if (semver_range_parse(buffer_view(&text), &exact, &error) < 0 || !semver_range_contains(exact, &version))
                abort();
        return 0;
}
