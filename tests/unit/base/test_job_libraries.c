/*
 * The libraries that jobs use find what they need inside the sandbox.
 */
#include "job_test.h"

#define PCRE2_CODE_UNIT_WIDTH 8

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <git2.h>
#include <openssl/ssl.h>
#include <pcre2.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static size_t collect(char *data, size_t size, size_t count, void *buffer)
{
        buffer_add(buffer, data, size * count);
        return size * count;
}

/* By name, so that the resolver's thread runs. */
static int fetches(struct job *job, struct error *err)
{
        cleanup(buffer_release) struct buffer body = BUFFER_NULL;
        CURL *curl = curl_easy_init();
        CURLcode r;

        curl_easy_setopt(curl, CURLOPT_URL, job->input.data);
        curl_easy_setopt(curl, CURLOPT_IPRESOLVE, CURL_IPRESOLVE_V4);
        curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, collect);
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
        curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
        r = curl_easy_perform(curl);
        curl_easy_cleanup(curl);
        if (r != CURLE_OK)
                return error_set(err, ERROR_INTERNAL, "%s", curl_easy_strerror(r));
        return job_write(job, buffer_view(&body), err);
}

static int loads_certificates(struct job *job, struct error *err)
{
        SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
        int loaded = tls ? SSL_CTX_load_verify_file(tls, "/etc/ssl/certs/ca-certificates.crt") : 0;

        (void)job;
        SSL_CTX_free(tls);
        return loaded == 1 ? 0 : error_set(err, ERROR_INTERNAL, "no certificates");
}

static int git_failed(struct error *err, const char *what)
{
        const git_error *last = git_error_last();

        return error_set(err, ERROR_INTERNAL, "%s: %s", what, last ? last->message : "?");
}

/* A repository, a commit with an executable and a link, and a checkout of it, all below the directory that was granted. */
static int uses_git(struct job *job, struct error *err)
{
        git_repository *repository = NULL;
        git_treebuilder *builder = NULL;
        git_signature *author = NULL;
        git_tree *tree = NULL;
        git_oid blob, tree_id, commit;
        git_checkout_options checkout = GIT_CHECKOUT_OPTIONS_INIT;

        git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, GIT_CONFIG_LEVEL_GLOBAL, "");
        git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, GIT_CONFIG_LEVEL_XDG, "");
        git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, GIT_CONFIG_LEVEL_SYSTEM, "");
        git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, GIT_CONFIG_LEVEL_PROGRAMDATA, "");
        git_libgit2_opts(GIT_OPT_SET_OWNER_VALIDATION, 0);
        if (git_repository_init(&repository, job->input.data, 0) < 0)
                return git_failed(err, "init");
        if (git_blob_create_from_buffer(&blob, repository, "a: 1\n", 5) < 0 ||
            git_treebuilder_new(&builder, repository, NULL) < 0 ||
            git_treebuilder_insert(NULL, builder, "app.yaml", &blob, GIT_FILEMODE_BLOB) < 0 ||
            git_treebuilder_insert(NULL, builder, "run.sh", &blob, GIT_FILEMODE_BLOB_EXECUTABLE) < 0 ||
            git_treebuilder_insert(NULL, builder, "link", &blob, GIT_FILEMODE_LINK) < 0 ||
            git_treebuilder_write(&tree_id, builder) < 0)
                return git_failed(err, "tree");
        if (git_signature_new(&author, "a", "a@b", 1700000000, 0) < 0 || git_tree_lookup(&tree, repository, &tree_id) < 0 ||
            git_commit_create_v(&commit, repository, "HEAD", author, author, NULL, "first", tree, 0) < 0)
                return git_failed(err, "commit");
        checkout.checkout_strategy = GIT_CHECKOUT_FORCE;
        if (git_checkout_tree(repository, (git_object *)tree, &checkout) < 0)
                return git_failed(err, "checkout");
        return 0;
}

static int matches(struct job *job, struct error *err)
{
        int number;
        PCRE2_SIZE offset;
        pcre2_code *code = pcre2_compile((PCRE2_SPTR) "^a+b$", PCRE2_ZERO_TERMINATED, 0, &number, &offset, NULL);
        pcre2_match_data *match = pcre2_match_data_create_from_pattern(code, NULL);

        (void)job;
        pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
        if (pcre2_match(code, (PCRE2_SPTR) "aaab", 4, 0, 0, match, NULL) != 1)
                return error_set(err, ERROR_INTERNAL, "no match");
        return 0;
}

static void *serve(void *data)
{
        static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
        char request[4096];
        int fd = accept4(*(int *)data, NULL, NULL, SOCK_CLOEXEC);

        if (fd >= 0 && read(fd, request, sizeof(request)) > 0 && write(fd, answer, sizeof(answer) - 1) < 0)
                perror("write");
        close(fd);
        return NULL;
}

static void curl_fetches_by_name(void **state)
{
        cleanup(job_result_release) struct job_result result = JOB_RESULT_NULL;
        cleanup(error_release) struct error err = ERROR_NULL;
        cleanup(close_descriptor) int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
        socklen_t length = sizeof(address);
        pthread_t thread;
        char url[64];
        struct context ctx;

        (void)state;
        assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
        assert_int_equal(listen(listener, 1), 0);
        assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &length), 0);
        assert_int_equal(pthread_create(&thread, NULL, serve, &listener), 0);
        snprintf(url, sizeof(url), "http://localhost:%u/", ntohs(address.sin_port));
        context_open(&ctx, NULL, clock_now_ms() + 20000);
        /* With its terminator, as curl wants a C string. */
        if (job_run(&ctx, fetches, (struct view){ url, strlen(url) + 1 }, NULL, &(struct job_grant){ .network = true }, &result,
                    &err) != 0)
                fail_msg("%s", error_message(&err));
        context_close(&ctx);
        pthread_join(thread, NULL);
        assert_true(view_is(result.output, "hello"));
}

static void tls_loads_certificates(void **state)
{
        cleanup(job_result_release) struct job_result result = JOB_RESULT_NULL;
        cleanup(error_release) struct error err = ERROR_NULL;

        (void)state;
        if (access("/etc/ssl/certs/ca-certificates.crt", R_OK) != 0)
                skip();
        if (run(loads_certificates, NULL, NULL, &(struct job_grant){ .network = true }, &result, &err) != 0)
                fail_msg("%s", error_message(&err));
        assert_int_equal(run(loads_certificates, NULL, NULL, NULL, &result, &err), -1);
}

static void libgit2_works_in_its_directory(void **state)
{
        char scratch[] = "/tmp/weir-job-git-XXXXXX", command[64], path[64];
        cleanup(job_result_release) struct job_result result = JOB_RESULT_NULL;
        cleanup(error_release) struct error err = ERROR_NULL;
        struct job_path granted = { scratch, JOB_WRITE };
        struct context ctx;

        (void)state;
        assert_non_null(mkdtemp(scratch));
        context_open(&ctx, NULL, clock_now_ms() + 20000);
        if (job_run(&ctx, uses_git, (struct view){ scratch, sizeof(scratch) }, NULL,
                    &(struct job_grant){ .paths = &granted, .path_count = 1 }, &result, &err) != 0)
                fail_msg("%s", error_message(&err));
        context_close(&ctx);
        snprintf(path, sizeof(path), "%s/run.sh", scratch);
        assert_int_equal(access(path, X_OK), 0);
        snprintf(command, sizeof(command), "rm -rf %s", scratch);
        assert_int_equal(system(command), 0);
}

static void pcre2_compiles(void **state)
{
        cleanup(job_result_release) struct job_result result = JOB_RESULT_NULL;
        cleanup(error_release) struct error err = ERROR_NULL;

        (void)state;
        if (run(matches, NULL, NULL, NULL, &result, &err) != 0)
                fail_msg("%s", error_message(&err));
}

/* What every child would otherwise do again. */
static void prepare(void)
{
        curl_global_init(CURL_GLOBAL_DEFAULT);
        git_libgit2_init();
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(curl_fetches_by_name),
                cmocka_unit_test(tls_loads_certificates),
                cmocka_unit_test(libgit2_works_in_its_directory),
                cmocka_unit_test(pcre2_compiles),
        };
        cleanup(error_release) struct error err = ERROR_NULL;
        int r;

        if (!kernel_has_filters())
                return 0;
        if (job_server_start(prepare, &err) < 0) {
                fprintf(stderr, "%s\n", error_message(&err));
                return 1;
        }
        r = cmocka_run_group_tests(tests, NULL, NULL);
        job_server_stop();
        return r;
}
