#include "net/git_private.h"

#include "base/cleanup.h"
#include "base/folder.h"
#include "base/memory.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include "../test.h"

static git_repository *repository;
static git_odb *odb;

struct entry {
        const char *mode, *name;
        const char *content; /* of a file; NULL: `oid` is */
        const git_oid *oid;
};

static git_oid write_object(const void *data, size_t length, git_object_t type)
{
        git_oid oid;

        assert_int_equal(git_odb_write(&oid, odb, data, length, type), 0);
        return oid;
}

/* As bytes: what libgit2 would refuse to build is what these tests are about. */
static git_oid write_tree(const struct entry *entries, size_t count)
{
        cleanup(buffer_release) struct buffer tree = BUFFER_NULL;

        for (size_t i = 0; i < count; i++) {
                git_oid oid = entries[i].oid ? *entries[i].oid
                                             : write_object(entries[i].content, strlen(entries[i].content), GIT_OBJECT_BLOB);

                buffer_printf(&tree, "%s %s", entries[i].mode, entries[i].name);
                buffer_add_char(&tree, '\0');
                buffer_add(&tree, oid.id, sizeof(oid.id));
        }
        return write_object(tree.data ? tree.data : "", tree.length, GIT_OBJECT_TREE);
}

#define TREE(...)                                                                                                                  \
        write_tree((const struct entry[]){ __VA_ARGS__ }, sizeof((const struct entry[]){ __VA_ARGS__ }) / sizeof(struct entry))

/* The names in the archive, each with a blank behind it; directories end in a slash, executables in a star. */
static void list_names(int fd, struct buffer *names)
{
        gzFile file = gzdopen(dup(fd), "rb");
        unsigned char block[512];

        lseek(fd, 0, SEEK_SET);
        while (gzread(file, block, sizeof(block)) == (int)sizeof(block) && block[0]) {
                long size = strtol((const char *)block + 124, NULL, 8);

                buffer_add_string(names, (const char *)block);
                buffer_add_string(names, block[156] == '5' ? "/ " : (block[103] & 1) || block[104] == '7' ? "* " : " ");
                for (long skip = (size + 511) / 512; skip > 0; skip--)
                        gzread(file, block, sizeof(block));
        }
        gzclose(file);
}

static int archive(const git_oid *tree, const char *ignore, struct git_result *result, struct buffer *names, struct error *err)
{
        cleanup(close_descriptor) int output = memfd_create("archive", MFD_CLOEXEC);
        struct git_request request = { .ignore = view_of(ignore) };

        *result = (struct git_result){ .size = 0 };
        TRY(git_archive(repository, tree, &request, output, result, err));
        list_names(output, names);
        return 0;
}

static void trees_become_archives(void **state)
{
        git_oid inner = TREE({ "100644", "x", "1", NULL }, { "100755", "y", "2", NULL });
        git_oid module = { .id = { 1 } };
        /* Git's order: a directory sorts as if its name ended in a slash. */
        git_oid tree = TREE({ "100644", ".gitmodules", "", NULL }, { "100644", "a.txt", "", NULL }, { "40000", "a", NULL, &inner },
                            { "100644", "a0", "", NULL }, { "120000", "link", "/etc/passwd", NULL },
                            { "160000", "module", NULL, &module }, { "100644", "photo.jpg", "", NULL });
        cleanup(error_release) struct error err = ERROR_NULL;
        cleanup(buffer_release) struct buffer names = BUFFER_NULL;
        struct git_result result;

        (void)state;
        assert_int_equal(archive(&tree, NULL, &result, &names, &err), 0);
        assert_string_equal(buffer_string(&names), "./ a/ a/x a/y* a.txt a0 module/ ");
        assert_int_equal(result.links_dropped, 1);
        assert_true(view_starts(view_of(result.digest), VIEW("sha256:")));
        assert_true(result.size > 0);
}

static void ignore_rules_are_read_from_the_tree(void **state)
{
        git_oid inner = TREE({ "100644", ".sourceignore", "/x\n", NULL }, { "100644", "x", "", NULL }, { "100644", "y", "", NULL });
        git_oid tree = TREE({ "100644", ".sourceignore", "*.md\n", NULL }, { "40000", "d", NULL, &inner },
                            { "100644", "n.md", "", NULL }, { "100644", "photo.jpg", "", NULL }, { "100644", "x", "", NULL });
        git_oid linked =
                TREE({ "120000", ".sourceignore", "x\n", NULL }, { "100644", "photo.jpg", "", NULL }, { "100644", "x", "", NULL });
        const struct {
                const git_oid *tree;
                const char *ignore, *names;
        } cases[] = {
                { &tree, NULL, "./ .sourceignore d/ d/.sourceignore d/y photo.jpg x " },
                { &tree, "!n.md\nd\n", "./ .sourceignore n.md photo.jpg x " },
                { &linked, NULL, "./ x " }, /* a link holds no rules: the defaults count */
                { &linked, "", "./ x " },
                { &linked, "x\n", "./ photo.jpg " },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(error_release) struct error err = ERROR_NULL;
                cleanup(buffer_release) struct buffer names = BUFFER_NULL;
                struct git_result result;

                assert_int_equal(archive(cases[i].tree, cases[i].ignore, &result, &names, &err), 0);
                assert_string_equal(buffer_string(&names), cases[i].names);
        }
}

static void hostile_trees_are_refused(void **state)
{
        git_oid empty = write_tree(NULL, 0);
        git_oid deep = TREE({ "100644", "f", "", NULL });
        git_oid missing = { .id = { 9 } };
        cleanup(free_string) char *name = memory_zero(1, 5001);
        git_oid trees[11];
        static const char *const messages[] = {
                "the repository holds the invalid path '..'",
                "the repository holds the invalid path '.git'",
                "the repository holds the invalid path 'd/.GIT'",
                "the repository holds the invalid path 'a/b'",
                "the repository's directories are nested deeper than 512",
                "the repository has a path of more than 4096 bytes",
                "the directory './d': object not found - no match for id (0900000000000000000000000000000000000000)",
                "the repository holds the path 'd' twice",
                "the repository holds the path 'd/x' twice",
                "the file 'x' is a tree",
                "the file 'x': object not found - cannot read header for (0900000000000000000000000000000000000000)",
        };
        git_oid twice = TREE({ "100644", "x", "1", NULL }, { "100644", "x", "2", NULL });
        git_oid upper = TREE({ "100644", ".GIT", "", NULL });

        (void)state;
        for (int i = 0; i < 520; i++)
                deep = TREE({ "40000", "d", NULL, &deep });
        memset(name, 'n', 5000);
        trees[0] = TREE({ "40000", "..", NULL, &empty });
        trees[1] = TREE({ "100644", ".git", "gitdir: /etc\n", NULL });
        trees[2] = TREE({ "40000", "d", NULL, &upper });
        trees[3] = TREE({ "100644", "a/b", "", NULL });
        trees[4] = deep;
        trees[5] = TREE({ "100644", name, "", NULL });
        trees[6] = TREE({ "40000", "d", NULL, &missing });
        trees[7] = TREE({ "100644", "d", "", NULL }, { "100644", "d.x", "", NULL }, { "40000", "d", NULL, &empty });
        trees[8] = TREE({ "40000", "d", NULL, &twice });
        trees[9] = TREE({ "100644", "x", NULL, &empty });
        trees[10] = TREE({ "100644", "x", NULL, &missing });
        for (size_t i = 0; i < COUNT(trees); i++) {
                cleanup(error_release) struct error err = ERROR_NULL;
                cleanup(buffer_release) struct buffer names = BUFFER_NULL;
                struct git_result result;

                assert_int_equal(archive(&trees[i], NULL, &result, &names, &err), -1);
                assert_string_equal(error_message(&err), messages[i]);
        }
}

/* Ten directories that are one and the same, nine levels deep: a small pack, and a billion files. */
static void a_tree_bomb_ends(void **state)
{
        git_oid tree = TREE({ "100644", "f", "", NULL });
        cleanup(error_release) struct error err = ERROR_NULL;
        cleanup(buffer_release) struct buffer names = BUFFER_NULL;
        struct git_result result;

        (void)state;
        for (int i = 0; i < 9; i++)
                tree = TREE({ "40000", "0", NULL, &tree }, { "40000", "1", NULL, &tree }, { "40000", "2", NULL, &tree },
                            { "40000", "3", NULL, &tree }, { "40000", "4", NULL, &tree }, { "40000", "5", NULL, &tree },
                            { "40000", "6", NULL, &tree }, { "40000", "7", NULL, &tree }, { "40000", "8", NULL, &tree },
                            { "40000", "9", NULL, &tree });
        assert_int_equal(archive(&tree, NULL, &result, &names, &err), -1);
        assert_int_equal(err.kind, ERROR_TOO_LARGE);
        assert_string_equal(error_message(&err), "the repository has more than 1000000 files");
}

static void a_file_that_does_not_fit_is_named(void **state)
{
        size_t size = (128u << 20) + 1;
        void *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        git_oid large = write_object(bytes, size, GIT_OBJECT_BLOB);
        git_oid tree = TREE({ "100644", "large", NULL, &large });
        cleanup(error_release) struct error err = ERROR_NULL;
        cleanup(buffer_release) struct buffer names = BUFFER_NULL;
        struct git_result result;

        (void)state;
        munmap(bytes, size);
        assert_int_equal(archive(&tree, NULL, &result, &names, &err), -1);
        assert_int_equal(err.kind, ERROR_TOO_LARGE);
        assert_string_equal(error_message(&err), "the file 'large' has 134217729 bytes, the limit is 134217728");
        assert_int_equal(archive(&tree, "large\n", &result, &names, &err), 0); /* who leaves it out can have the rest */
        assert_string_equal(buffer_string(&names), "./ ");
}

static void a_full_disk_is_the_output_s_trouble(void **state)
{
        cleanup(close_descriptor) int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
        git_oid tree = TREE({ "100644", "f", "1", NULL });
        cleanup(error_release) struct error err = ERROR_NULL;
        struct git_request request = { .always = true };
        struct git_result result;

        (void)state;
        assert_int_equal(git_archive(repository, &tree, &request, full, &result, &err), -1);
        assert_string_equal(err.reason, GIT_OUTPUT_FAILED);
}

int main(void)
{
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(trees_become_archives),
                cmocka_unit_test(ignore_rules_are_read_from_the_tree),
                cmocka_unit_test(hostile_trees_are_refused),
                cmocka_unit_test(a_tree_bomb_ends),
                cmocka_unit_test(a_file_that_does_not_fit_is_named),
                cmocka_unit_test(a_full_disk_is_the_output_s_trouble),
        };
        cleanup(error_release) struct error err = ERROR_NULL;
        cleanup(free_string) char *directory = NULL;
        int failed;

        git_prepare();
        if (folder_temporary("weir-git-archive-", &directory, NULL, &err) < 0 ||
            git_repository_init(&repository, directory, true) < 0 || git_repository_odb(&odb, repository) < 0)
                return 1;
        failed = cmocka_run_group_tests(tests, NULL, NULL);
        git_odb_free(odb);
        git_repository_free(repository);
        folder_remove(AT_FDCWD, directory, &err);
        return failed;
}
