#include "../net/http_test.h"

#include "../../../source-controller/storage.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "data/archive.h"
#include "net/server.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

static const struct storage_object app = { "gitrepository", "flux-system", "app" },
                                   other = { "gitrepository", "flux-system", "other" };

struct fixture {
        char path[32];
        struct storage *storage;
        struct context ctx;
};

static void fixture_open(struct fixture *fixture)
{
        cleanup(error_release) struct error err = ERROR_NULL;

        strcpy(fixture->path, "/tmp/weir-storage-XXXXXX");
        assert_non_null(mkdtemp(fixture->path));
        context_open(&fixture->ctx, NULL, clock_now_ms() + 60000);
        assert_int_equal(
                storage_open(&(struct storage_options){ .path = fixture->path,
                                                        .listen_address = ":9090",
                                                        .advertised_address = "source-controller.flux-system.svc.cluster.local.",
                                                        .retention_ttl_ms = 60000,
                                                        .retention_records = 2 },
                             &fixture->storage, &err),
                0);
}

static void fixture_close(struct fixture *fixture)
{
        char command[64];

        storage_close(&fixture->storage);
        context_close(&fixture->ctx);
        snprintf(command, sizeof(command), "rm -rf %s", fixture->path);
        assert_int_equal(system(command), 0);
}

static int store(struct fixture *fixture, const struct storage_object *object, const char *file, const char *content,
                 char digest[DIGEST_TEXT], struct error *err)
{
        cleanup(storage_abort) struct storage_write write_ = STORAGE_WRITE_NULL;
        size_t length = strlen(content);

        TRY(storage_begin(&fixture->ctx, fixture->storage, object, file, &write_, err));
        if (write(write_.fd, content, length) != (ssize_t)length)
                return error_set_errno(err, errno, "write");
        return storage_commit(fixture->storage, &write_, digest_of(DIGEST_SHA256, view_of(content), digest), length, err);
}

/* Names in the object's directory, in order. */
static void list(const struct fixture *fixture, const char *directory, struct buffer *names)
{
        char command[128], chunk[4096];
        FILE *pipe;
        size_t n;

        buffer_clear(names);
        snprintf(command, sizeof(command), "ls -A %s/%s 2>/dev/null | tr '\\n' ' '", fixture->path, directory);
        pipe = popen(command, "re");
        while ((n = fread(chunk, 1, sizeof(chunk), pipe)) > 0)
                buffer_add(names, chunk, n);
        pclose(pipe);
}

static void set_age(const struct fixture *fixture, const char *path, int seconds)
{
        const struct timespec at = { .tv_sec = time(NULL) - seconds };

        assert_int_equal(utimensat(storage_root(fixture->storage), path, (struct timespec[]){ at, at }, 0), 0);
}

static void addresses_follow_the_options(void **state)
{
        static const struct {
                const char *advertised;
                const char *listen;
                const char *url;
        } cases[] = {
                { "source-controller.flux-system.svc.cluster.local.", ":9090",
                  "http://source-controller.flux-system.svc.cluster.local./gitrepository/flux-system/app/a.tar.gz" },
                { "https://proxy.example/x", ":9090", "https://proxy.example/x/gitrepository/flux-system/app/a.tar.gz" },
                { "http://h:1", ":9090", "http://h:1/gitrepository/flux-system/app/a.tar.gz" },
                { "", ":9090", "http://localhost:9090/gitrepository/flux-system/app/a.tar.gz" },
                { NULL, "0.0.0.0:9090", "http://pod-7:9090/gitrepository/flux-system/app/a.tar.gz" },
                { NULL, "10.0.0.1:80", "http://10.0.0.1:80/gitrepository/flux-system/app/a.tar.gz" },
        };
        char path[STORAGE_PATH];

        (void)state;
        setenv("HOSTNAME", "pod-7", 1);
        assert_string_equal(storage_path(&app, "a.tar.gz", path), "gitrepository/flux-system/app/a.tar.gz");
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(storage_close) struct storage *storage = NULL;
                cleanup(error_release) struct error err = ERROR_NULL;
                cleanup(buffer_release) struct buffer url = BUFFER_NULL;

                assert_int_equal(storage_open(&(struct storage_options){ .path = "/tmp",
                                                                         .listen_address = cases[i].listen,
                                                                         .advertised_address = cases[i].advertised },
                                              &storage, &err),
                                 0);
                storage_url(storage, path, &url);
                assert_string_equal(buffer_string(&url), cases[i].url);
        }
        {
                struct storage *storage = NULL;
                cleanup(error_release) struct error err = ERROR_NULL;

                assert_int_equal(
                        storage_open(&(struct storage_options){ .path = "/no/such", .listen_address = ":1" }, &storage, &err), -1);
                assert_string_equal(err.message, "invalid dir path: /no/such");
        }
}

static void files_appear_whole_or_not_at_all(void **state)
{
        struct fixture fixture;
        cleanup(error_release) struct error err = ERROR_NULL;
        cleanup(buffer_release) struct buffer names = BUFFER_NULL;
        char digest[DIGEST_TEXT];
        struct stat status;

        (void)state;
        fixture_open(&fixture);
        assert_int_equal(store(&fixture, &app, "a.tar.gz", "content", digest, &err), 0);
        list(&fixture, "gitrepository/flux-system/app", &names);
        assert_string_equal(buffer_string(&names), "a.tar.gz a.tar.gz.lock ");
        assert_int_equal(fstatat(storage_root(fixture.storage), "gitrepository/flux-system/app/a.tar.gz", &status, 0), 0);
        assert_int_equal(status.st_mode & 07777, 0600);
        assert_int_equal(fstatat(storage_root(fixture.storage), "gitrepository/flux-system/app", &status, 0), 0);
        assert_int_equal(status.st_mode & 07777, 0700);
        {
                /* Begun and given up: nothing stays. */
                cleanup(storage_abort) struct storage_write write_ = STORAGE_WRITE_NULL;

                assert_int_equal(storage_begin(&fixture.ctx, fixture.storage, &app, "b.tar.gz", &write_, &err), 0);
                assert_int_equal(write(write_.fd, "x", 1), 1);
                assert_true(storage_hidden(write_.temporary));
        }
        {
                /* Another size than the writer counted. */
                cleanup(storage_abort) struct storage_write write_ = STORAGE_WRITE_NULL;

                assert_int_equal(storage_begin(&fixture.ctx, fixture.storage, &app, "b.tar.gz", &write_, &err), 0);
                assert_int_equal(write(write_.fd, "x", 1), 1);
                assert_int_equal(storage_commit(fixture.storage, &write_, digest, 2, &err), -1);
        }
        list(&fixture, "gitrepository/flux-system/app", &names);
        assert_string_equal(buffer_string(&names), "a.tar.gz a.tar.gz.lock ");
        fixture_close(&fixture);
}

static void a_file_may_be_named_when_it_is_written(void **state)
{
        struct fixture fixture;
        cleanup(error_release) struct error err = ERROR_NULL;
        cleanup(buffer_release) struct buffer names = BUFFER_NULL;
        cleanup(storage_abort) struct storage_write write_ = STORAGE_WRITE_NULL;
        char digest[DIGEST_TEXT];

        (void)state;
        fixture_open(&fixture);
        /* Given up before it had one: nothing. */
        assert_int_equal(storage_begin(&fixture.ctx, fixture.storage, &app, NULL, &write_, &err), 0);
        storage_abort(&write_);
        list(&fixture, "gitrepository/flux-system/app", &names);
        assert_string_equal(buffer_string(&names), "");

        assert_int_equal(storage_begin(&fixture.ctx, fixture.storage, &app, NULL, &write_, &err), 0);
        assert_true(storage_hidden(write_.temporary));
        assert_int_equal(write(write_.fd, "content", 7), 7);
        assert_int_equal(storage_name(&fixture.ctx, &write_, &app, "../a", &err), -1);
        assert_int_equal(storage_name(&fixture.ctx, &write_, &app, "a.tar.gz", &err), 0);
        assert_int_equal(storage_commit(fixture.storage, &write_, digest_of(DIGEST_SHA256, VIEW("content"), digest), 7, &err), 0);
        list(&fixture, "gitrepository/flux-system/app", &names);
        assert_string_equal(buffer_string(&names), "a.tar.gz a.tar.gz.lock ");
        assert_int_equal(storage_verify(&fixture.ctx, fixture.storage, "gitrepository/flux-system/app/a.tar.gz", digest, &err), 0);
        fixture_close(&fixture);
}

static void names_cannot_lead_outside(void **state)
{
        static const struct {
                struct storage_object object;
                const char *file;
        } cases[] = {
                { { "gitrepository", "..", "x" }, "a" },     { { "gitrepository", "ns", ".." }, "a" },
                { { "gitrepository", "ns", "a/b" }, "a" },   { { "gitrepository", "", "x" }, "a" },
                { { "gitrepository", "ns", "x" }, "../a" },  { { "gitrepository", "ns", "x" }, ".." },
                { { "gitrepository", "linked", "x" }, "a" },
        };
        static const char *const paths[] = {
                "../../../etc/passwd",   "/etc/passwd",           "x", "", "a/b", "gitrepository/ns/x/..",
                "gitrepository/ns/../a", "gitrepository/ns/x/a/b"
        };
        struct fixture fixture;
        char digest[DIGEST_TEXT];

        (void)state;
        fixture_open(&fixture);
        assert_int_equal(mkdirat(storage_root(fixture.storage), "gitrepository", 0700), 0);
        assert_int_equal(symlinkat("/tmp", storage_root(fixture.storage), "gitrepository/linked"), 0);
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(error_release) struct error err = ERROR_NULL;

                assert_int_equal(store(&fixture, &cases[i].object, cases[i].file, "x", digest, &err), -1);
        }
        for (size_t i = 0; i < COUNT(paths); i++) {
                cleanup(error_release) struct error err = ERROR_NULL;
                unsigned removed;

                assert_int_equal(storage_verify(&fixture.ctx, fixture.storage, paths[i], digest, &err), STORAGE_MISSING);
                assert_int_equal(storage_collect(&fixture.ctx, fixture.storage, paths[i], &removed, &err), -1);
        }
        fixture_close(&fixture);
}

static void verification_finds_what_changed(void **state)
{
        struct fixture fixture;
        cleanup(error_release) struct error err = ERROR_NULL;
        cleanup(buffer_release) struct buffer message = BUFFER_NULL;
        char digest[DIGEST_TEXT], known[DIGEST_TEXT], path[STORAGE_PATH];
        int fd;

        (void)state;
        fixture_open(&fixture);
        storage_path(&app, "a.tar.gz", path);
        assert_int_equal(store(&fixture, &app, "a.tar.gz", "content", digest, &err), 0);
        assert_int_equal(storage_verify(&fixture.ctx, fixture.storage, path, digest, &err), 0);
        fd = openat(storage_root(fixture.storage), path, O_RDWR | O_CLOEXEC);
        assert_true(storage_digest(fixture.storage, path, fd, known));
        assert_string_equal(known, digest);

        /* A flipped byte, even with the times put back: ctime tells. */
        {
                struct stat before;
                struct timespec now;

                /* File times have the grain of the kernel's tick: the next one has to come for a write to show. */
                fstat(fd, &before);
                do
                        clock_gettime(CLOCK_REALTIME_COARSE, &now);
                while (now.tv_sec == before.st_ctim.tv_sec && now.tv_nsec <= before.st_ctim.tv_nsec);
                assert_int_equal(pwrite(fd, "C", 1, 0), 1);
                futimens(fd, (struct timespec[]){ before.st_atim, before.st_mtim });
        }
        assert_false(storage_digest(fixture.storage, path, fd, known));
        close(fd);
        assert_int_equal(storage_verify(&fixture.ctx, fixture.storage, path, digest, &err), STORAGE_CORRUPT);
        buffer_printf(&message, "failed to verify integrity of artifact: computed digest doesn't match '%s'", digest);
        assert_string_equal(err.message, buffer_string(&message));
        assert_int_equal(storage_verify(&fixture.ctx, fixture.storage, path, digest, &err), STORAGE_MISSING);

        assert_int_equal(store(&fixture, &app, "a.tar.gz", "content", digest, &err), 0);
        assert_int_equal(storage_verify(&fixture.ctx, fixture.storage, path, "", &err), STORAGE_CORRUPT);
        assert_string_equal(err.message, "failed to verify integrity of artifact: artifact has no digest");
        assert_int_equal(store(&fixture, &app, "a.tar.gz", "content", digest, &err), 0);
        assert_int_equal(storage_verify(&fixture.ctx, fixture.storage, path, "md5:00", &err), STORAGE_CORRUPT);
        fixture_close(&fixture);
}

/* Another process that opens the same storage knows nothing: it reads the bytes. */
static void verification_after_a_restart_reads(void **state)
{
        struct fixture fixture;
        cleanup(storage_close) struct storage *again = NULL;
        cleanup(error_release) struct error err = ERROR_NULL;
        char digest[DIGEST_TEXT], known[DIGEST_TEXT], path[STORAGE_PATH];
        cleanup(close_descriptor) int fd = -1;

        (void)state;
        fixture_open(&fixture);
        storage_path(&app, "a.tar.gz", path);
        assert_int_equal(store(&fixture, &app, "a.tar.gz", "content", digest, &err), 0);
        assert_int_equal(storage_open(&(struct storage_options){ .path = fixture.path, .listen_address = ":1" }, &again, &err), 0);
        fd = openat(storage_root(again), path, O_RDONLY | O_CLOEXEC);
        assert_false(storage_digest(again, path, fd, known));
        assert_int_equal(storage_verify(&fixture.ctx, again, path, digest, &err), 0);
        assert_true(storage_digest(again, path, fd, known));
        fixture_close(&fixture);
}

/* Who may not read any more still finds good what was found good and has not changed. */
static void what_did_not_change_is_not_read(void **state)
{
        struct fixture fixture;
        cleanup(storage_close) struct storage *again = NULL;
        cleanup(error_release) struct error err = ERROR_NULL;
        char digest[DIGEST_TEXT], path[STORAGE_PATH];

        (void)state;
        fixture_open(&fixture);
        storage_path(&app, "a.tar.gz", path);
        assert_int_equal(store(&fixture, &app, "a.tar.gz", "content", digest, &err), 0);
        assert_int_equal(storage_open(&(struct storage_options){ .path = fixture.path, .listen_address = ":1" }, &again, &err), 0);
        context_cancel(&fixture.ctx, CONTEXT_SHUTDOWN);
        assert_int_equal(storage_verify(&fixture.ctx, fixture.storage, path, digest, &err), 0);
        assert_int_equal(storage_verify(&fixture.ctx, again, path, digest, &err), -1);
        assert_int_equal(err.kind, ERROR_CANCELLED);
        fixture_close(&fixture);
}

static void retention_keeps_the_current_and_one_more(void **state)
{
        static const struct {
                const char *name;
                int ages[5]; /* seconds; file 0 is the current one; -1: none */
                const char *left;
                unsigned removed;
        } cases[] = {
                { "only the current", { 500, -1, -1, -1, -1 }, "f0 f0.lock ", 0 },
                { "current and previous", { 0, 10, -1, -1, -1 }, "f0 f0.lock f1 f1.lock ", 0 },
                { "previous expired", { 0, 61, -1, -1, -1 }, "f0 f0.lock ", 1 },
                { "five in ten seconds", { 0, 2, 4, 6, 8 }, "f0 f0.lock f1 f1.lock ", 3 },
                { "five, two expired", { 0, 2, 4, 100, 200 }, "f0 f0.lock f1 f1.lock ", 3 },
                { "the current is the oldest", { 300, 2, 4, 6, -1 }, "f0 f0.lock f1 f1.lock ", 2 },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                struct fixture fixture;
                cleanup(error_release) struct error err = ERROR_NULL;
                cleanup(buffer_release) struct buffer names = BUFFER_NULL;
                char digest[DIGEST_TEXT], path[STORAGE_PATH], file[16];
                unsigned removed = 99;

                fixture_open(&fixture);
                for (int f = 0; f < 5 && cases[i].ages[f] >= 0; f++) {
                        snprintf(file, sizeof(file), "f%d", f);
                        assert_int_equal(store(&fixture, &app, file, file, digest, &err), 0);
                        set_age(&fixture, storage_path(&app, file, path), cases[i].ages[f]);
                }
                assert_int_equal(storage_collect(&fixture.ctx, fixture.storage, storage_path(&app, "f0", path), &removed, &err), 0);
                list(&fixture, "gitrepository/flux-system/app", &names);
                if (removed != cases[i].removed || strcmp(buffer_string(&names), cases[i].left) != 0)
                        fail_msg("%s: %u removed, left: %s", cases[i].name, removed, buffer_string(&names));
                fixture_close(&fixture);
        }
}

static void nothing_to_collect(void **state)
{
        struct fixture fixture;
        cleanup(error_release) struct error err = ERROR_NULL;
        unsigned removed = 99;

        (void)state;
        fixture_open(&fixture);
        assert_int_equal(storage_collect(&fixture.ctx, fixture.storage, "gitrepository/ns/gone/f", &removed, &err), 0);
        assert_int_equal(removed, 0);
        fixture_close(&fixture);
}

static void removal_ends_at_the_object(void **state)
{
        struct fixture fixture;
        cleanup(error_release) struct error err = ERROR_NULL;
        cleanup(buffer_release) struct buffer names = BUFFER_NULL;
        char digest[DIGEST_TEXT];
        bool removed = false;

        (void)state;
        fixture_open(&fixture);
        assert_int_equal(store(&fixture, &app, "a", "x", digest, &err), 0);
        assert_int_equal(store(&fixture, &other, "a", "x", digest, &err), 0);
        assert_int_equal(symlinkat("../other", storage_root(fixture.storage), "gitrepository/flux-system/app/link"), 0);
        assert_int_equal(storage_remove(fixture.storage, &app, &removed, &err), 0);
        assert_true(removed);
        list(&fixture, "gitrepository/flux-system", &names);
        assert_string_equal(buffer_string(&names), "other ");
        assert_int_equal(storage_verify(&fixture.ctx, fixture.storage, "gitrepository/flux-system/other/a", digest, &err), 0);
        assert_int_equal(storage_remove(fixture.storage, &app, &removed, &err), 0);
        assert_false(removed);
        assert_int_equal(storage_remove(fixture.storage, &(struct storage_object){ "gitrepository", "..", "x" }, &removed, &err),
                         -1);
        fixture_close(&fixture);
}

static bool only_app(void *data, const struct storage_object *object)
{
        (void)data;
        return strcmp(object->kind, "gitrepository") != 0 || strcmp(object->name, "app") == 0;
}

static void the_start_sweeps(void **state)
{
        const struct storage_object foreign = { "lost+found", "a", "b" };
        struct fixture fixture;
        cleanup(error_release) struct error err = ERROR_NULL;
        cleanup(buffer_release) struct buffer names = BUFFER_NULL;
        char digest[DIGEST_TEXT];
        unsigned removed;
        int fd;

        (void)state;
        fixture_open(&fixture);
        assert_int_equal(store(&fixture, &app, "a", "x", digest, &err), 0);
        assert_int_equal(store(&fixture, &other, "a", "x", digest, &err), 0);
        assert_int_equal(store(&fixture, &foreign, "a", "x", digest, &err), 0);
        fd = openat(storage_root(fixture.storage), "gitrepository/flux-system/app/a.12345678.tmp", O_CREAT | O_WRONLY | O_CLOEXEC,
                    0600);
        close(fd);
        assert_int_equal(storage_sweep(&fixture.ctx, fixture.storage, only_app, NULL, &removed, &err), 0);
        assert_int_equal(removed, 2);
        list(&fixture, "gitrepository/flux-system", &names);
        assert_string_equal(buffer_string(&names), "app ");
        list(&fixture, "gitrepository/flux-system/app", &names);
        assert_string_equal(buffer_string(&names), "a a.lock ");
        list(&fixture, "lost+found/a/b", &names);
        assert_string_equal(buffer_string(&names), "a a.lock ");
        fixture_close(&fixture);
}

/* A writer that is killed at any moment leaves a whole file or none, and what else it leaves is swept. */
static void test_writer_killed_at_random_points(void **state)
{
        struct fixture fixture;
        cleanup(buffer_release) struct buffer names = BUFFER_NULL;

        (void)state;
        fixture_open(&fixture);
        for (int round = 0; round < 30; round++) {
                cleanup(error_release) struct error err = ERROR_NULL;
                char digest[DIGEST_TEXT], path[STORAGE_PATH];
                unsigned removed;
                pid_t pid = fork();
                int r;

                if (pid == 0)
                        for (;;)
                                store(&fixture, &app, "a", "the content of every version", digest, &err);
                usleep((useconds_t)(clock_random() * 3000));
                kill(pid, SIGKILL);
                waitpid(pid, NULL, 0);
                assert_int_equal(storage_sweep(&fixture.ctx, fixture.storage, only_app, NULL, &removed, &err), 0);
                list(&fixture, "gitrepository/flux-system/app", &names);
                assert_int_equal(view_search(buffer_view(&names), VIEW(".tmp"), 0), -1);
                /* No lock without its file. */
                assert_true(view_search(buffer_view(&names), VIEW("a.lock"), 0) < 0 ||
                            view_starts(buffer_view(&names), VIEW("a a.lock")));
                r = storage_verify(&fixture.ctx, fixture.storage, storage_path(&app, "a", path),
                                   digest_of(DIGEST_SHA256, VIEW("the content of every version"), digest), &err);
                assert_true(r == 0 || r == STORAGE_MISSING);
                /* The lock of the dead is free. */
                assert_int_equal(store(&fixture, &app, "b", "x", digest, &err), 0);
        }
        fixture_close(&fixture);
}

static bool put_text(const char *path, const char *text)
{
        cleanup(close_descriptor) int fd = open(path, O_WRONLY | O_CLOEXEC);

        return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

/* Mounts of our own; who is not root becomes it in a namespace, where files must have an owner to be made. False: the system allows neither. */
static bool mounts_of_our_own(void)
{
        char user[32], group[32];

        if (unshare(CLONE_NEWNS) == 0)
                return true;
        snprintf(user, sizeof(user), "0 %u 1", getuid());
        snprintf(group, sizeof(group), "0 %u 1", getgid());
        return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 && put_text("/proc/self/setgroups", "deny") &&
               put_text("/proc/self/uid_map", user) && put_text("/proc/self/gid_map", group);
}

/* On a file system of 64 KiB of its own, where this is allowed. */
static int on_a_small_disk(const char *where)
{
        struct fixture fixture;
        cleanup(error_release) struct error err = ERROR_NULL;
        cleanup(buffer_release) struct buffer names = BUFFER_NULL;
        cleanup(storage_abort) struct storage_write write_ = STORAGE_WRITE_NULL;
        cleanup(close_descriptor) int tree = open(where, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        struct archive_summary summary;
        char disk[64], command[256], digest[DIGEST_TEXT];

        if (!mounts_of_our_own())
                return 77;
        snprintf(disk, sizeof(disk), "%s/disk", where);
        if (mkdir(disk, 0700) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("tmpfs", disk, "tmpfs", 0, "size=64k") < 0)
                return 77;
        snprintf(command, sizeof(command), "head -c 300000 /dev/urandom >%s/large", where);
        if (system(command) != 0)
                return 1;
        strcpy(fixture.path, disk);
        context_open(&fixture.ctx, NULL, CLOCK_NEVER);
        if (storage_open(&(struct storage_options){ .path = disk, .listen_address = ":1" }, &fixture.storage, &err) < 0 ||
            store(&fixture, &app, "old", "small", digest, &err) < 0 ||
            storage_begin(&fixture.ctx, fixture.storage, &app, "new", &write_, &err) < 0)
                return 2;
        if (archive_write(NULL, tree, NULL, NULL, DIGEST_SHA256, NULL, write_.fd, &summary, &err) != -1 ||
            strcmp(error_message(&err), "write archive: no space left on device") != 0)
                return 3;
        storage_abort(&write_);
        list(&fixture, "gitrepository/flux-system/app", &names);
        if (strcmp(buffer_string(&names), "old old.lock ") != 0)
                return 4;
        /* There is room again, and what was there is served as before. */
        if (store(&fixture, &app, "new", "small", digest, &err) != 0 ||
            storage_verify(&fixture.ctx, fixture.storage, "gitrepository/flux-system/app/old", digest, &err) != 0)
                return 5;
        storage_close(&fixture.storage);
        return 0;
}

static void test_disk_full_while_an_artifact_is_written(void **state)
{
        char where[] = "/tmp/weir-disk-XXXXXX", command[64];
        int status;
        pid_t pid;

        (void)state;
        assert_non_null(mkdtemp(where));
        pid = fork();
        if (pid == 0)
                _exit(on_a_small_disk(where));
        waitpid(pid, &status, 0);
        snprintf(command, sizeof(command), "rm -rf %s", where);
        assert_int_equal(system(command), 0);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
                skip();
        assert_int_equal(status, 0);
}

struct downloads {
        uint16_t port;
        char digests[2][DIGEST_TEXT];
        int wrong;
};

static void *download(void *data)
{
        struct downloads *downloads = data;
        cleanup(buffer_release) struct buffer answer = BUFFER_NULL;

        for (int i = 0; i < 20; i++) {
                char digest[DIGEST_TEXT], tag[DIGEST_TEXT + 2];

                http_call(downloads->port, "GET /gitrepository/flux-system/app/a", "", "", &answer);
                digest_of(DIGEST_SHA256, http_body(&answer), digest);
                snprintf(tag, sizeof(tag), "\"%s\"", digest);
                downloads->wrong += strcmp(digest, downloads->digests[0]) != 0 && strcmp(digest, downloads->digests[1]) != 0;
                /* The tag, where it is a digest, is that of these bytes. */
                if (view_starts(http_header(&answer, "ETag"), VIEW("\"sha256:")))
                        downloads->wrong += !view_is(http_header(&answer, "ETag"), tag);
        }
        return NULL;
}

static void downloads_during_a_rewrite_are_whole(void **state)
{
        struct fixture fixture;
        cleanup(error_release) struct error err = ERROR_NULL;
        char *content[2];
        struct downloads downloads[10];
        pthread_t threads[10];
        struct server_files files;
        const struct server_route route = { "/", server_files_handle, &files };
        struct server *server = NULL;
        char digest[DIGEST_TEXT];

        (void)state;
        fixture_open(&fixture);
        files = (struct server_files){
                .root = storage_root(fixture.storage), .hidden = storage_hidden, .tag = storage_tag, .data = fixture.storage
        };
        assert_int_equal(
                server_start(&(struct server_options){ .address = ":0", .routes = &route, .route_count = 1 }, &server, &err), 0);
        for (int i = 0; i < 2; i++) {
                size_t length = i ? 300000 : 200000;

                content[i] = memory_zero(length + 1, 1);
                memset(content[i], i ? 'b' : 'a', length);
        }
        assert_int_equal(store(&fixture, &app, "a", content[0], digest, &err), 0);
        for (int i = 0; i < 10; i++) {
                downloads[i] = (struct downloads){ .port = server_port(server) };
                for (int k = 0; k < 2; k++)
                        digest_of(DIGEST_SHA256, view_of(content[k]), downloads[i].digests[k]);
                assert_int_equal(pthread_create(&threads[i], NULL, download, &downloads[i]), 0);
        }
        for (int i = 0; i < 100; i++)
                assert_int_equal(store(&fixture, &app, "a", content[(i + 1) % 2], digest, &err), 0);
        for (int i = 0; i < 10; i++) {
                pthread_join(threads[i], NULL);
                assert_int_equal(downloads[i].wrong, 0);
        }
        server_free(&server);
        free(content[0]);
        free(content[1]);
        fixture_close(&fixture);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(addresses_follow_the_options),
                cmocka_unit_test(files_appear_whole_or_not_at_all),
                cmocka_unit_test(a_file_may_be_named_when_it_is_written),
                cmocka_unit_test(names_cannot_lead_outside),
                cmocka_unit_test(verification_finds_what_changed),
                cmocka_unit_test(verification_after_a_restart_reads),
                cmocka_unit_test(what_did_not_change_is_not_read),
                cmocka_unit_test(retention_keeps_the_current_and_one_more),
                cmocka_unit_test(nothing_to_collect),
                cmocka_unit_test(removal_ends_at_the_object),
                cmocka_unit_test(the_start_sweeps),
                cmocka_unit_test(test_writer_killed_at_random_points),
                cmocka_unit_test(test_disk_full_while_an_artifact_is_written),
                cmocka_unit_test(downloads_during_a_rewrite_are_whole),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
