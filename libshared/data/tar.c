#include "data/tar.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Where the fields of a USTAR header are. */
enum {
        NAME = 0,
        MODE = 100,
        UID = 108,
        GID = 116,
        SIZE = 124,
        MTIME = 136,
        CHECKSUM = 148,
        FLAG = 156,
        MAGIC = 257,
        DEVICE_MAJOR = 329,
        DEVICE_MINOR = 337,
        PREFIX = 345,
};

#define NAME_SIZE   100
#define PREFIX_SIZE 155
#define OCTAL_LIMIT (1ull << 33) /* what 11 octal digits cannot hold: 8 GiB */
/* Records are names and numbers; more is not meant well. */
#define RECORD_LIMIT (1024u * 1024u)

static bool is_ascii(const char *text)
{
        for (; *text; text++)
                if ((unsigned char)*text >= 0x80)
                        return false;
        return true;
}

/* Position of the '/' between prefix and name, as Go chooses it; 0 if the name fits without, -1 if it does not fit at all. */
static ptrdiff_t split_at(const char *name)
{
        size_t length = strlen(name), end = length > PREFIX_SIZE + 1 ? PREFIX_SIZE + 1 : length;

        if (!is_ascii(name))
                return -1;
        if (length <= NAME_SIZE)
                return 0;
        while (end > 0 && name[end - 1] != '/')
                end--;
        if (end <= 1 || length - end > NAME_SIZE || length == end)
                return -1;
        return (ptrdiff_t)end - 1;
}

static void octal(char *field, size_t size, uint64_t value)
{
        char text[24];

        snprintf(text, sizeof(text), "%0*" PRIo64, (int)size - 1, value);
        memcpy(field, text, size - 1);
}

static void add_block(struct buffer *out, char block[TAR_BLOCK])
{
        uint32_t sum = 0;

        memcpy(block + MAGIC,
               "ustar\0"
               "00",
               8);
        memset(block + CHECKSUM, ' ', 8);
        for (int i = 0; i < TAR_BLOCK; i++)
                sum += (unsigned char)block[i];
        octal(block + CHECKSUM, 7, sum);
        block[CHECKSUM + 6] = '\0';
        buffer_add(out, block, TAR_BLOCK);
}

static void add_zeros(struct buffer *out, size_t count)
{
        static const char zeros[2 * TAR_BLOCK];

        buffer_add(out, zeros, count);
}

size_t tar_padding(uint64_t size)
{
        return (size_t)(-size & (TAR_BLOCK - 1));
}

void tar_add_end(struct buffer *out)
{
        add_zeros(out, 2 * TAR_BLOCK);
}

/* What a reader without PAX is left with: the name without the characters that are not ASCII, cut. */
static void ascii_name(const char *name, char field[NAME_SIZE])
{
        size_t length = 0;

        for (; *name && length < NAME_SIZE; name++)
                if ((unsigned char)*name < 0x80)
                        field[length++] = *name;
        /* A cut name must not end like a directory's. */
        if (*name && length == NAME_SIZE)
                while (length > 0 && field[length - 1] == '/')
                        field[--length] = '\0';
}

/* "<length> <key>=<value>\n", where the length counts its own digits. */
static void add_record(struct buffer *records, const char *key, const char *value)
{
        size_t rest = strlen(key) + strlen(value) + 3, length = rest + 1;
        char digits[24];

        while ((size_t)snprintf(digits, sizeof(digits), "%zu", length) + rest != length)
                length = strlen(digits) + rest;
        buffer_printf(records, "%zu %s=%s\n", length, key, value);
}

static void add_pax_header(struct buffer *out, const char *name, struct view records)
{
        const char *slash = strrchr(name, '/');
        char block[TAR_BLOCK] = { 0 }, whole[TAR_NAME_LIMIT + 16];
        size_t length;

        snprintf(whole, sizeof(whole), "%.*sPaxHeaders.0/%s", slash ? (int)(slash - name + 1) : 0, name, slash ? slash + 1 : name);
        ascii_name(whole, block + NAME);
        length = strnlen(block + NAME, NAME_SIZE);
        while (length > 0 && block[NAME + length - 1] == '/')
                block[NAME + --length] = '\0';
        octal(block + MODE, 8, 0);
        octal(block + UID, 8, 0);
        octal(block + GID, 8, 0);
        octal(block + SIZE, 12, records.length);
        octal(block + MTIME, 12, 0);
        block[FLAG] = 'x';
        add_block(out, block);
        buffer_add_view(out, records);
        add_zeros(out, tar_padding(records.length));
}

void tar_add_header(struct buffer *out, const struct tar_entry *entry)
{
        char block[TAR_BLOCK] = { 0 };
        struct buffer records = BUFFER_NULL;
        ptrdiff_t split = split_at(entry->name);
        bool large = entry->size >= OCTAL_LIMIT;

        /* With records every name that is too long for its field is one of them, also one that could have been split. */
        if (split < 0 || (large && strlen(entry->name) > NAME_SIZE))
                add_record(&records, "path", entry->name);
        if (large) {
                char size[24];

                snprintf(size, sizeof(size), "%" PRIu64, entry->size);
                add_record(&records, "size", size);
        }
        if (records.length) {
                add_pax_header(out, entry->name, buffer_view(&records));
                ascii_name(entry->name, block + NAME);
        } else if (split > 0) {
                memcpy(block + PREFIX, entry->name, (size_t)split);
                memcpy(block + NAME, entry->name + split + 1, strlen(entry->name) - (size_t)split - 1);
        } else {
                memcpy(block + NAME, entry->name, strlen(entry->name));
        }
        buffer_release(&records);
        octal(block + MODE, 8, entry->mode & 07777);
        octal(block + UID, 8, 0);
        octal(block + GID, 8, 0);
        octal(block + SIZE, 12, large ? 0 : entry->size);
        octal(block + MTIME, 12, 0);
        block[FLAG] = entry->type == TAR_DIRECTORY ? '5' : '0';
        octal(block + DEVICE_MAJOR, 8, 0);
        octal(block + DEVICE_MINOR, 8, 0);
        add_block(out, block);
}

enum state {
        HEADER,
        BYTES,
        RECORD,
        PADDING,
        END,
};

void tar_reader_begin(struct tar_reader *reader, const struct tar_sink *sink)
{
        *reader = (struct tar_reader){ .sink = *sink, .record = BUFFER_LIMIT(RECORD_LIMIT) };
}

void tar_reader_release(struct tar_reader *reader)
{
        buffer_release(&reader->record);
}

bool tar_reader_ended(const struct tar_reader *reader)
{
        return reader->state == END;
}

bool tar_reader_complete(const struct tar_reader *reader)
{
        return tar_reader_ended(reader) ||
               (reader->state == HEADER && reader->filled == 0 && !reader->has_name && !reader->has_size);
}

static int bad_header(struct error *err)
{
        return error_set(err, ERROR_INVALID, "archive/tar: invalid tar header");
}

/* Octal with blanks around it, or base 256 if the first bit is set. */
static int number(const char *field, size_t size, uint64_t *ret_value)
{
        uint64_t value = 0;
        size_t i = 0;

        if ((unsigned char)field[0] & 0x80) {
                if (field[0] & 0x40) /* negative */
                        return -1;
                for (i = 0; i < size; i++) {
                        if (value >> 55)
                                return -1;
                        value = value << 8 | (i == 0 ? (unsigned char)field[0] & 0x3f : (unsigned char)field[i]);
                }
                *ret_value = value;
                return 0;
        }
        while (i < size && (field[i] == ' ' || field[i] == '\0'))
                i++;
        for (; i < size && field[i] >= '0' && field[i] <= '7'; i++)
                value = value << 3 | (uint64_t)(field[i] - '0');
        for (; i < size; i++)
                if (field[i] != ' ' && field[i] != '\0')
                        return -1;
        *ret_value = value;
        return 0;
}

static bool checksum_holds(const char block[TAR_BLOCK])
{
        uint64_t stored;
        int64_t of_unsigned = 0, of_signed = 0;

        if (number(block + CHECKSUM, 8, &stored) < 0)
                return false;
        for (int i = 0; i < TAR_BLOCK; i++) {
                bool blank = i >= CHECKSUM && i < CHECKSUM + 8;

                of_unsigned += blank ? ' ' : (unsigned char)block[i];
                of_signed += blank ? ' ' : (signed char)block[i];
        }
        return (int64_t)stored == of_unsigned || (int64_t)stored == of_signed;
}

static void header_name(struct tar_reader *reader)
{
        const char *block = reader->block;
        size_t length = strnlen(block + NAME, NAME_SIZE), prefix = 0;

        if (memcmp(block + MAGIC, "ustar\0", 6) == 0)
                prefix = strnlen(block + PREFIX, PREFIX_SIZE);
        memcpy(reader->name, block + PREFIX, prefix);
        if (prefix)
                reader->name[prefix++] = '/';
        memcpy(reader->name + prefix, block + NAME, length);
        reader->name[prefix + length] = '\0';
}

static enum tar_type type_of(const struct tar_reader *reader, char flag)
{
        size_t length = strlen(reader->name);

        if (reader->sparse)
                return TAR_OTHER;
        switch (flag) {
        case '\0':
        case '0':
        case '7':
                return length && reader->name[length - 1] == '/' ? TAR_DIRECTORY : TAR_FILE;
        case '5':
                return TAR_DIRECTORY;
        case '2':
                return TAR_SYMLINK;
        case '1':
                return TAR_HARDLINK;
        default:
                return TAR_OTHER;
        }
}

static void expect(struct tar_reader *reader, enum state state)
{
        reader->state = (int)state;
        if (reader->state == BYTES && reader->left == 0)
                reader->state = PADDING;
        if (reader->state == PADDING && reader->padding == 0)
                reader->state = HEADER;
}

static int header_record(struct tar_reader *reader, char flag, uint64_t size, struct error *err)
{
        if (size > RECORD_LIMIT)
                return bad_header(err);
        buffer_clear(&reader->record);
        reader->record_flag = flag;
        reader->left = size;
        reader->padding = tar_padding(size);
        reader->state = RECORD;
        return 0;
}

static int header_entry(struct tar_reader *reader, char flag, uint64_t size, struct error *err)
{
        struct tar_entry entry = { .name = reader->name, .flag = flag };
        uint64_t mode;
        int r;

        if (!reader->has_name)
                header_name(reader);
        if (number(reader->block + MODE, 8, &mode) < 0)
                return bad_header(err);
        entry.type = type_of(reader, flag);
        entry.mode = (uint32_t)(mode & 07777);
        if (reader->has_size)
                size = reader->size;
        /* Links, devices and directories have no bytes, whatever the header says; what is not known may have. */
        if (flag >= '1' && flag <= '6')
                size = 0;
        entry.size = size;
        reader->left = size;
        reader->padding = tar_padding(size);
        reader->has_name = reader->has_size = reader->sparse = false;
        r = reader->sink.entry(reader->sink.data, &entry, err);
        if (r == 0 && size == 0)
                r = reader->sink.end(reader->sink.data, err);
        expect(reader, BYTES);
        return r;
}

static int header(struct tar_reader *reader, struct error *err)
{
        static const char zeros[TAR_BLOCK];
        char flag = reader->block[FLAG];
        uint64_t size;

        if (memcmp(reader->block, zeros, TAR_BLOCK) == 0) {
                if (++reader->zero_blocks == 2)
                        reader->state = END;
                return 0;
        }
        if (reader->zero_blocks || !checksum_holds(reader->block) || number(reader->block + SIZE, 12, &size) < 0 ||
            size > INT64_MAX / 2)
                return bad_header(err);
        if (flag == 'x' || flag == 'g' || flag == 'L' || flag == 'K')
                return header_record(reader, flag, size, err);
        return header_entry(reader, flag, size, err);
}

static int take_name(struct tar_reader *reader, struct view name, struct error *err)
{
        if (name.length >= sizeof(reader->name) || memchr(name.data, '\0', name.length))
                return bad_header(err);
        memcpy(reader->name, name.data, name.length);
        reader->name[name.length] = '\0';
        reader->has_name = true;
        return 0;
}

static int pax_records(struct tar_reader *reader, struct view rest, struct error *err)
{
        while (rest.length) {
                ptrdiff_t blank = view_find(rest, ' ', 0), equals;
                struct view line, key, value;
                uint64_t length;

                if (blank <= 0 || view_to_uint64(view_slice(rest, 0, (size_t)blank), &length) < 0 ||
                    length <= (uint64_t)blank + 1 || length > rest.length || rest.data[length - 1] != '\n')
                        return bad_header(err);
                line = view_slice(rest, (size_t)blank + 1, length - (size_t)blank - 2);
                equals = view_find(line, '=', 0);
                if (equals <= 0)
                        return bad_header(err);
                key = view_slice(line, 0, (size_t)equals);
                value = view_slice(line, (size_t)equals + 1, line.length);
                rest = view_slice(rest, length, rest.length);
                if (view_is(key, "path") && value.length && take_name(reader, value, err) < 0)
                        return -1;
                if (view_is(key, "size")) {
                        if (view_to_uint64(value, &reader->size) < 0 || reader->size > INT64_MAX / 2)
                                return bad_header(err);
                        reader->has_size = true;
                }
                if (view_starts(key, VIEW("GNU.sparse.")))
                        reader->sparse = true;
        }
        return 0;
}

static int record(struct tar_reader *reader, struct error *err)
{
        struct view text = buffer_view(&reader->record);

        expect(reader, PADDING);
        switch (reader->record_flag) {
        case 'x':
                return pax_records(reader, text, err);
        case 'L': /* ends with NUL */
                while (text.length && text.data[text.length - 1] == '\0')
                        text.length--;
                return take_name(reader, text, err);
        default: /* for all entries, or the name that a link points to: nothing that is used here */
                return 0;
        }
}

/* Takes from the front of *bytes what the state needs. */
static int step(struct tar_reader *reader, struct view *bytes, struct error *err)
{
        size_t take = bytes->length;
        struct view piece;
        int r = 0;

        switch ((enum state)reader->state) {
        case HEADER:
                if (take > TAR_BLOCK - reader->filled)
                        take = TAR_BLOCK - reader->filled;
                memcpy(reader->block + reader->filled, bytes->data, take);
                reader->filled += take;
                if (reader->filled == TAR_BLOCK) {
                        reader->filled = 0;
                        r = header(reader, err);
                }
                break;
        case BYTES:
        case RECORD:
                if (take > reader->left)
                        take = (size_t)reader->left;
                piece = view_slice(*bytes, 0, take);
                reader->left -= take;
                if (reader->state == RECORD) {
                        buffer_add_view(&reader->record, piece);
                        r = reader->left == 0 ? record(reader, err) : 0;
                        break;
                }
                r = reader->sink.bytes(reader->sink.data, piece, err);
                if (r == 0 && reader->left == 0)
                        r = reader->sink.end(reader->sink.data, err);
                expect(reader, BYTES);
                break;
        case PADDING:
                if (take > reader->padding)
                        take = reader->padding;
                reader->padding -= take;
                expect(reader, PADDING);
                break;
        case END:
                break;
        }
        *bytes = view_slice(*bytes, take, bytes->length);
        return r;
}

int tar_reader_add(struct tar_reader *reader, struct view bytes, struct error *err)
{
        while (bytes.length) {
                int r = step(reader, &bytes, err);

                if (r != 0)
                        return r;
        }
        return 0;
}
