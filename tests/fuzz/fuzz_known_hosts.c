/* known_hosts files: the first line of the input is the host, the rest the file. */
#include "net/known_hosts.h"

#include "base/cleanup.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct view text = { (const char *)data, size }, host;
        cleanup(buffer_release) struct buffer name = BUFFER_NULL, algorithms = BUFFER_NULL;
        char fingerprint[KNOWN_HOSTS_FINGERPRINT];

        if (size == 0 || !view_split(&text, '\n', &host))
                return 0;
        buffer_add_view(&name, host);
        known_hosts_algorithms(text, buffer_string(&name), 22, &algorithms);
        if (known_hosts_check(text, buffer_string(&name), 2222, VIEW("\0\0\0\1k")) == KNOWN_HOST_MATCH && text.length == 0)
                abort();
        known_hosts_key_type(text);
        known_hosts_fingerprint(text, fingerprint);
        return 0;
}
