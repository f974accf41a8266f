#include "base/stack.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <string.h>

#define DEPTH      32
#define OWN_FRAMES 2 /* stack_print and its caller */

void stack_print_frame(const void *frame, struct buffer *text)
{
        const char *file;
        Dl_info info;

        /* Addresses are those behind the calls. */
        if (!dladdr((const char *)frame - 1, &info) || !info.dli_fname) {
                buffer_printf(text, "%p", frame);
                return;
        }
        file = strrchr(info.dli_fname, '/');
        if (info.dli_sname)
                buffer_add_string(text, info.dli_sname);
        else
                buffer_printf(text, "%s+0x%zx", file ? file + 1 : info.dli_fname,
                              (size_t)((const char *)frame - 1 - (const char *)info.dli_fbase));
}

void stack_print(struct buffer *text)
{
        void *frames[DEPTH];
        int depth = backtrace(frames, DEPTH);

        for (int i = OWN_FRAMES; i < depth; i++) {
                if (i > OWN_FRAMES)
                        buffer_add_char(text, '\n');
                stack_print_frame(frames[i], text);
        }
}
