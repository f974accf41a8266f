#include "kube/frame.h"

void frames_init(struct frames *frames, size_t limit)
{
        *frames = (struct frames){ .limit = limit ? limit : FRAME_LIMIT };
}

void frames_release(struct frames *frames)
{
        buffer_release(&frames->rest);
}

void frames_reset(struct frames *frames)
{
        buffer_release(&frames->rest);
        frames_init(frames, frames->limit);
}

/* The end of the value in `bytes` from `at` on, or their end; *ret_ended says which. */
static size_t walk(struct frames *frames, struct view bytes, size_t at, bool *ret_ended)
{
        for (; at < bytes.length; at++) {
                char c = bytes.data[at];

                if (frames->string) {
                        if (frames->escape)
                                frames->escape = false;
                        else if (c == '\\')
                                frames->escape = true;
                        else if (c == '"')
                                frames->string = false;
                } else if (c == '"') {
                        frames->string = true;
                } else if (c == '{' || c == '[') {
                        frames->depth++;
                } else if ((c == '}' || c == ']') && --frames->depth == 0) {
                        *ret_ended = true;
                        return at + 1;
                }
        }
        *ret_ended = false;
        return at;
}

int frames_feed(struct frames *frames, struct view bytes, int (*each)(void *data, struct view value), void *data)
{
        size_t at = 0;

        while (at < bytes.length) {
                char c = bytes.data[at];
                struct view piece;
                size_t end;
                bool ended;
                int r;

                if (!frames->inside) {
                        if (c == ' ' || c == '\n' || c == '\r' || c == '\t') {
                                at++;
                                continue;
                        }
                        if (c != '{' && c != '[')
                                return FRAME_BROKEN;
                        frames->inside = true;
                }
                end = walk(frames, bytes, at, &ended);
                piece = view_slice(bytes, at, end - at);
                if (frames->rest.length + piece.length > frames->limit)
                        return FRAME_TOO_LONG;
                at = end;
                if (!ended) {
                        buffer_add_view(&frames->rest, piece);
                        break;
                }
                frames->inside = false;
                if (frames->rest.length) {
                        buffer_add_view(&frames->rest, piece);
                        piece = buffer_view(&frames->rest);
                }
                r = each(data, piece);
                if (frames->rest.length)
                        buffer_release(&frames->rest);
                if (r != 0)
                        return FRAME_STOP;
        }
        return 0;
}
