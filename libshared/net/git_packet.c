/*
 * What a Git server says when it gives up: a packet that begins with "ERR ", or one of side band 3. libgit2 passes on few of them.
 */
#include "net/git_private.h"

#include <string.h>

#define LENGTH_DIGITS 4
#define BAND_ERROR    3

static int digit_of(char c)
{
        return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* After the packet's length. What is no length is the end of the packets: a pack without side bands. */
static void start_packet(struct git_packets *packets)
{
        size_t length = 0;

        for (int i = 0; i < LENGTH_DIGITS; i++) {
                int digit = digit_of(packets->text[i]);

                packets->over = packets->over || digit < 0;
                length = length * 16 + (size_t)digit;
        }
        packets->left = !packets->over && length > LENGTH_DIGITS ? length - LENGTH_DIGITS : 0;
        packets->inside = packets->left > 0;
        packets->length = 0;
}

static void end_packet(struct git_packets *packets, struct arena *arena)
{
        struct view text = { packets->text, packets->length };

        packets->inside = false;
        packets->length = 0;
        if (view_starts(text, VIEW("ERR ")))
                text = view_slice(text, 4, text.length);
        else if (text.length > 0 && text.data[0] == BAND_ERROR)
                text = view_slice(text, 1, text.length);
        else
                return;
        packets->said = arena_view(arena, view_trim(text)).data;
}

void git_packets_hear(struct git_packets *packets, struct arena *arena, struct view bytes)
{
        while (bytes.length > 0 && !packets->over) {
                size_t room = (packets->inside ? sizeof(packets->text) : LENGTH_DIGITS) - packets->length;
                size_t wanted = packets->inside ? packets->left : room;
                size_t count = wanted < bytes.length ? wanted : bytes.length;

                memcpy(packets->text + packets->length, bytes.data, count < room ? count : room);
                packets->length += count < room ? count : room;
                bytes = view_slice(bytes, count, bytes.length);
                if (packets->inside) {
                        packets->left -= count;
                        if (packets->left == 0)
                                end_packet(packets, arena);
                } else if (packets->length == LENGTH_DIGITS) {
                        start_packet(packets);
                }
        }
}

void git_packets_restart(struct git_packets *packets)
{
        packets->inside = packets->over = false;
        packets->length = packets->left = 0;
}
