/*
 * What a source published, on its way into a folder: no archive takes more memory than its job has, and what all jobs have fits beside the builds.
 */
#include "../test.h"

#include "../fake_server.h"
#include "fake_reconcile.h"

#include "../../../kustomize-controller/artifact.h"
#include "base/clock.h"
#include "base/job_private.h"
#include "data/tar.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <zlib.h>

#define MIB      (1ull << 20)
#define ENTRIES  40
#define LONGEST  (MIB - 64) /* of a record; above 1 MiB it is refused */
#define FOLDERS  15
#define TAR_FLAG 156
#define TAR_SUM  148

struct packer {
        z_stream stream;
        struct buffer packed;
};

static void pack_bytes(struct packer *packer, struct view bytes, int flush)
{
        char space[16384];

        packer->stream.next_in = (unsigned char *)(uintptr_t)bytes.data;
        packer->stream.avail_in = (unsigned)bytes.length;
        do {
                packer->stream.next_out = (unsigned char *)space;
                packer->stream.avail_out = sizeof(space);
                deflate(&packer->stream, flush);
                buffer_add(&packer->packed, space, sizeof(space) - packer->stream.avail_out);
        } while (packer->stream.avail_out == 0);
}

/* An entry of another type than those that are written otherwise. */
static void add_special(struct buffer *out, char flag, struct view bytes)
{
        const struct tar_entry entry = { .name = "x", .type = TAR_FILE, .size = bytes.length };
        size_t start = out->length;
        unsigned sum = 0;
        char *header;

        tar_add_header(out, &entry);
        header = out->data + start;
        header[TAR_FLAG] = flag;
        memset(header + TAR_SUM, ' ', 8);
        for (size_t i = 0; i < TAR_BLOCK; i++)
                sum += (unsigned char)header[i];
        snprintf(header + TAR_SUM, 8, "%06o", sum);
        buffer_add_view(out, bytes);
        for (size_t i = tar_padding(bytes.length); i > 0; i--)
                buffer_add_char(out, '\0');
}

/* "<length> <key>=<value>\n", whose length counts itself. */
static void add_record(struct buffer *records, const char *key, struct view value)
{
        size_t rest = strlen(key) + value.length + 3, length = rest + 1;

        while (length != rest + (size_t)snprintf(NULL, 0, "%zu", length))
                length = rest + (size_t)snprintf(NULL, 0, "%zu", length);
        buffer_printf(records, "%zu %s=", length, key);
        buffer_add_view(records, value);
        buffer_add_char(records, '\n');
}

/* As deep as a path may be, and another folder for each number. */
static void add_path(struct buffer *path, int number)
{
        buffer_printf(path, "%d", number);
        for (int i = 0; i < FOLDERS; i++)
                buffer_printf(path, "/%0250d", i);
}

/* Files in different folders, each named by a record of a PAX header with a comment, or by GNU's header, as long as they may be. */
static void make_archive(bool pax, struct packer *packer)
{
        static const struct tar_entry file = { .name = "file", .type = TAR_FILE, .mode = 0644 };

        assert_int_equal(deflateInit2(&packer->stream, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
        for (int i = 0; i < ENTRIES; i++) {
                cleanup(buffer_release) struct buffer path = BUFFER_NULL, filler = BUFFER_NULL, records = BUFFER_NULL,
                                                      out = BUFFER_NULL;

                add_path(&path, i);
                while (filler.length < LONGEST - 2 * path.length)
                        buffer_add_char(&filler, pax ? 'c' : '\0');
                if (pax) {
                        add_record(&records, "comment", buffer_view(&filler));
                        add_record(&records, "path", buffer_view(&path));
                } else {
                        buffer_add_view(&records, buffer_view(&path));
                        buffer_add_view(&records, buffer_view(&filler));
                }
                add_special(&out, pax ? 'x' : 'L', buffer_view(&records));
                tar_add_header(&out, &file);
                pack_bytes(packer, buffer_view(&out), Z_NO_FLUSH);
        }
        cleanup(buffer_release) struct buffer end = BUFFER_NULL;
        tar_add_end(&end);
        pack_bytes(packer, buffer_view(&end), Z_FINISH);
        deflateEnd(&packer->stream);
}

static enum fake_next send_archive(void *data, struct fake_connection *connection, const struct fake_request *request)
{
        const struct packer *packer = data;
        cleanup(buffer_release) struct buffer head = BUFFER_NULL;

        (void)request;
        buffer_printf(&head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", packer->packed.length);
        fake_write(connection, buffer_view(&head));
        fake_write(connection, buffer_view(&packer->packed));
        return FAKE_CLOSE;
}

static void archives_that_want_memory(void **state)
{
        static const bool forms[] = { true, false };
        const struct artifact_options options = { .retries = 0 };
        cleanup(io_stop) struct io *io = NULL;
        cleanup(error_release) struct error err = ERROR_NULL;
        cleanup(artifact_cache_free) struct artifact_cache *cache = NULL;
        cleanup(context_close) struct context ctx;

        (void)state;
        assert_int_equal(io_start(&io, &err), 0);
        cache = artifact_cache_new(io, &options);
        context_open(&ctx, NULL, CLOCK_NEVER);
        for (size_t i = 0; i < COUNT(forms); i++) {
                struct packer packer = { .packed = BUFFER_NULL };
                struct fake_server *server;
                cleanup(free_string) char *url = NULL;
                cleanup(buffer_release) struct buffer path = BUFFER_NULL;
                struct artifact *artifact = NULL;
                const struct artifact_patience patience = { &ctx, &ctx, NULL };
                char digest[DIGEST_TEXT];
                struct stat status;

                make_archive(forms[i], &packer);
                digest_of(DIGEST_SHA256, buffer_view(&packer.packed), digest);
                server = fake_start(NULL, NULL, send_archive, &packer);
                url = memory_printf("http://127.0.0.1:%d/a.tar.gz", server->port);
                if (artifact_acquire(&patience, cache, url, digest, packer.packed.length, &artifact, &err) != 0)
                        fail_msg("%s: %.300s", forms[i] ? "PAX" : "GNU", error_message(&err));
                add_path(&path, ENTRIES - 1);
                assert_int_equal(fstatat(artifact_root(artifact), buffer_string(&path), &status, 0), 0);
                artifact_release(&artifact);
                fake_stop(&server);
                buffer_release(&packer.packed);
        }
}

/* One download and one tree for all who build from it at a time, wherever they say that it is. */
static void what_is_in_use_is_shared(void **state)
{
        const struct artifact_options options = { .retries = 0 };
        struct packer packer = { .packed = BUFFER_NULL };
        cleanup(io_stop) struct io *io = NULL;
        cleanup(error_release) struct error err = ERROR_NULL;
        cleanup(artifact_cache_free) struct artifact_cache *cache = NULL;
        cleanup(context_close) struct context ctx;
        const struct artifact_patience patience = { &ctx, &ctx, NULL };
        struct artifact *artifacts[3] = { NULL };
        cleanup(free_string) char *url = NULL;
        struct fake_server *server;
        char digest[DIGEST_TEXT];

        (void)state;
        assert_int_equal(io_start(&io, &err), 0);
        cache = artifact_cache_new(io, &options);
        context_open(&ctx, NULL, CLOCK_NEVER);
        make_archive(true, &packer);
        digest_of(DIGEST_SHA256, buffer_view(&packer.packed), digest);
        server = fake_start(NULL, NULL, send_archive, &packer);
        url = memory_printf("http://127.0.0.1:%d/a.tar.gz", server->port);
        for (size_t i = 0; i < COUNT(artifacts); i++) {
                assert_int_equal(artifact_acquire(&patience, cache, url, digest, packer.packed.length, &artifacts[i], &err), 0);
                assert_string_equal(artifact_path(artifacts[i]), artifact_path(artifacts[0]));
        }
        assert_int_equal(server->accepted, 1);
        /* It stays while anybody has it. */
        artifact_release(&artifacts[0]);
        artifact_release(&artifacts[1]);
        assert_int_equal(access(artifact_path(artifacts[2]), F_OK), 0);
        artifact_release(&artifacts[2]);
        fake_stop(&server);
        buffer_release(&packer.packed);
}

static enum fake_next be_down(void *data, struct fake_connection *connection, const struct fake_request *request)
{
        (void)data, (void)request;
        return fake_answer(connection, "503 Service Unavailable", "", "");
}

struct telling {
        struct context *ctx;
        struct buffer told;
};

/* Told once: then there is something newer to do. */
static void tell(void *data, const struct error *why)
{
        struct telling *telling = data;

        buffer_printf(&telling->told, "%s\n", error_message(why));
        context_cancel(telling->ctx, CONTEXT_SUPERSEDED);
}

/* Attempts may go on for minutes, in which nobody should see nothing. */
static void who_waits_for_another_attempt_says_so(void **state)
{
        const struct artifact_options options = { .retries = 9 };
        cleanup(io_stop) struct io *io = NULL;
        cleanup(error_release) struct error err = ERROR_NULL;
        cleanup(artifact_cache_free) struct artifact_cache *cache = NULL;
        cleanup(context_close) struct context work, ctx;
        cleanup(free_string) char *url = NULL, *expected = NULL;
        struct telling telling = { .ctx = &ctx };
        const struct artifact_patience patience = { .ctx = &ctx, .work = &work, .slow = tell, .data = &telling };
        struct artifact *artifact = NULL;
        struct fake_server *server;
        char digest[DIGEST_TEXT];

        (void)state;
        assert_int_equal(io_start(&io, &err), 0);
        cache = artifact_cache_new(io, &options);
        context_open(&work, NULL, CLOCK_NEVER);
        context_open(&ctx, &work, CLOCK_NEVER);
        server = fake_start(NULL, NULL, be_down, NULL);
        url = memory_printf("http://127.0.0.1:%d/a.tar.gz", server->port);
        expected = memory_printf("failed to download archive from %s (status: 503 Service Unavailable)\n", url);
        assert_int_equal(artifact_acquire(&patience, cache, url, digest_of(DIGEST_SHA256, VIEW("x"), digest), 1, &artifact, &err),
                         -1);
        assert_string_equal(buffer_string(&telling.told), expected);
        assert_int_equal(server->requests, 1);
        buffer_release(&telling.told);
        fake_stop(&server);
}

/* A run unpacks before it builds: what it takes for that is no more than what a build has, however small the container is. */
static void unpacking_fits_where_builds_do(void **state)
{
        (void)state;
        assert_true(ARTIFACT_UNPACK_MEMORY <= job_budget_of(256 * MIB) / 2 / 8);
        assert_true(ARTIFACT_UNPACK_MEMORY <= job_budget_of(128 * MIB) / 2 / 8);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(archives_that_want_memory),
                cmocka_unit_test(what_is_in_use_is_shared),
                cmocka_unit_test(who_waits_for_another_attempt_says_so),
                cmocka_unit_test(unpacking_fits_where_builds_do),
        };
        struct error err = ERROR_NULL;

        if (!kernel_has_filters())
                return 0;
        if (job_server_start(NULL, &err) < 0) {
                fprintf(stderr, "%s\n", error_message(&err));
                return 1;
        }
        return cmocka_run_group_tests(tests, NULL, NULL);
}
