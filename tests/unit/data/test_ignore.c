#include "../test.h"

#include "base/cleanup.h"
#include "data/ignore.h"

enum { NO, YES };

static void one_pattern(void **state)
{
        static const struct {
                const char *pattern;
                const char *scope;
                const char *path;
                bool directory;
                int match;
        } cases[] = {
                /* A name matches any component. */
                { "value", "", "value/tail", false, YES },
                { "value", "", "head/value/tail", false, YES },
                { "value", "", "head/value", false, YES },
                { "value/", "", "value/tail", false, YES },
                { "value/", "", "head/value/tail", false, YES },
                { "value/", "", "head/value", true, YES },
                { "value/", "", "head/value", false, NO },
                { "value", "", "head/val/tail", false, NO },
                { "val", "", "head/value/tail", false, NO },
                { "v*o", "", "value/vulkano/tail", false, YES },
                { "vul?ano", "", "value/vulkano/tail", false, YES },
                { "v[ou]l[kc]ano", "", "value/volcano", false, YES },
                { "v[ou]l[", "", "value/vol[", false, NO },
                /* The scope. */
                { "value", "head/middle/tail", "head/middle", false, NO },
                { "value", "head/middle/tail", "head/middle/tail", false, NO },
                { "value", "head/middle/tail", "head/middle/_tail_/value", false, NO },
                { "value", "head/middle/tail", "head/middle/tail/value", false, YES },
                { "middle/", "value/volcano", "value/volcano/middle/tail", false, YES },
                { "volcano/", "value/volcano", "value/volcano/tail", true, NO },
                { "middle/tail/", "value/volcano", "value/volcano/middle/tail", true, YES },
                { "volcano/tail", "value/volcano", "value/volcano/tail", false, NO },
                /* With a '/' it is a prefix from the scope on. */
                { "/value/vul?ano", "", "value/vulkano/tail", false, YES },
                { "value/vul?ano", "", "value/vulkano/tail", false, YES },
                { "value/vulkano", "", "value/volcano", false, NO },
                { "value/vul?ano", "", "value", false, NO },
                { "/value/volcano", "", "value/value/volcano", false, NO },
                { "/a/b", "", "a/b/c/d", false, YES },
                { "**/*lue/vol?ano", "", "value/volcano/tail", false, YES },
                { "**/*lue/vol?ano", "", "head/value/volcano/tail", false, YES },
                { "**/*lue/vol?ano", "", "head/value/Volcano/tail", false, NO },
                { "**/*lue/vol?ano/", "", "head/value/volcano/tail", false, YES },
                { "**/*lue/vol?ano/", "", "head/value/volcano", true, YES },
                { "**/*lue/vol?ano/", "", "head/value/Colcano", true, NO },
                { "**/*lue/vol?ano/", "", "head/value/volcano", false, NO },
                { "/*lue/vol?ano/**", "", "value/volcano/tail/moretail", false, YES },
                { "/*lue/vol?ano/**", "", "value/volcano", false, YES },
                { "/*lue/**/vol?ano", "", "value/volcano", false, YES },
                { "/*lue/**/vol?ano", "", "value/middle/volcano", false, YES },
                { "/*lue/**/vol?ano", "", "value/middle1/middle2/volcano", false, YES },
                { "/*lue/**/vol?ano/", "", "value/middle1/middle2/volcano", true, YES },
                { "/*lue/**/vol?ano/", "", "value/middle1/middle2/volcano", false, NO },
                { "/*lue/**/vol?ano/", "", "value/middle1/middle2/volcano/tail", false, YES },
                { "/*lue/**foo/vol?ano", "", "value/foo/volcano/tail", false, NO },
                { "**/head/v[ou]l[kc]ano", "", "value/head/volcano", false, YES },
                { "**/head/v[ou]l[", "", "value/head/vol[", false, NO },
                { "/value/**/v[ou]l[", "", "value/head/vol[", false, NO },
                { "**/android/**/Registrant.java", "", "packages/lib/src/android/gradle.dart", false, NO },
                { "a/**/b", "", "a/x/b", false, YES },
                /* `**` takes the first that fits and does not try another. */
                { "**/a/b", "", "a/x/a/b", false, NO },
                { "**/x", "", "x", false, YES },
                { "**", "", "x", false, YES },
                /* Components. */
                { "[^a]x", "", "bx", false, YES },
                { "[^a]x", "", "ax", false, NO },
                { "[!a]x", "", "!x", false, YES },
                { "[!a]x", "", "bx", false, NO },
                { "[a-c]", "", "b", false, YES },
                { "[]a]", "", "a", false, NO },
                { "[a-]", "", "a", false, NO },
                { "\\#file", "", "#file", false, YES },
                { "\\!file", "", "!file", false, YES },
                { "\\*", "", "*", false, YES },
                { "\\*", "", "a", false, NO },
                { "a\\", "", "a", false, NO },
                { "?", "", "\xc3\xbc", false, YES },
                { "[\xc3\xa4-\xc3\xbc]", "", "\xc3\xb6", false, YES },
                { "*a*b*c", "", "xxaxxbxxbcxc", false, YES },
                { "*a*b*c", "", "xxaxxbxxbcxd", false, NO },
                { "FOO", "", "foo", false, NO },
                { "foo  ", "", "foo", false, YES },
                { "foo\\ ", "", "foo ", false, YES },
                { "foo\r", "", "foo", false, YES },
                { "# foo", "", "# foo", false, NO },
                { " # foo", "", " # foo", false, YES },
                { "   ", "", "   ", false, NO },
                { "/", "", "a", true, NO },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(ignore_free) struct ignore *ignore = ignore_new();

                ignore_add(ignore, view_of(cases[i].pattern), cases[i].scope);
                if (ignore_match(ignore, cases[i].path, cases[i].directory) != (cases[i].match == YES))
                        fail_msg("'%s' in '%s': '%s'%s", cases[i].pattern, cases[i].scope, cases[i].path,
                                 cases[i].directory ? " (directory)" : "");
        }
}

static void the_last_match_decides(void **state)
{
        static const struct {
                const char *patterns;
                const char *path;
                int match;
        } cases[] = {
                { "ignore-dir/*\n!ignore-dir/include\n", "ignore-dir/file.yaml", YES },
                { "ignore-dir/*\n!ignore-dir/include\n", "ignore-dir/include", NO },
                { "ignore-dir/*\n!ignore-dir/include\n", "file.yaml", NO },
                { "ignore-dir/*\n# !ignore-dir/include", "ignore-dir/include", YES },
                { "**/middle/v[uo]l?ano\n!volcano", "head/middle/vulkano", YES },
                { "**/middle/v[uo]l?ano\n!volcano", "head/middle/volcano", NO },
                { "/*\n!/deploy", "deploy/a/b.yaml", NO },
                { "/*\n!/deploy", "src/a.go", YES },
                { "dir/\n!dir/keep.yaml", "dir/keep.yaml", NO },
                { "dir/\n!dir/keep.yaml", "dir/other.yaml", YES },
                { "!a", "a", NO },
                { "!*", ".git/config", YES }, /* whatever is said */
                { "!*", "sub/.git/HEAD", YES },
                { "a\r\nb\r\n", "b", YES },
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                cleanup(ignore_free) struct ignore *ignore = ignore_new();

                ignore_add(ignore, view_of(cases[i].patterns), "");
                if (ignore_match(ignore, cases[i].path, false) != (cases[i].match == YES))
                        fail_msg("row %zu: '%s'", i, cases[i].path);
        }
}

static void defaults_and_vcs(void **state)
{
        static const struct {
                const char *path;
                int match;
        } cases[] = {
                { ".git/config", YES },
                { ".gitignore", YES },
                { "sub/.gitmodules", YES },
                { ".gitattributes", YES },
                { "image.jpg", YES },
                { "a/b/archive.tar.gz", YES },
                { "a.zip", YES },
                { ".github/workflows/workflow.yaml", YES },
                { "subdir/.flux.yaml", YES },
                { "subdir2/.sops.yaml", YES },
                { ".goreleaser.yml", YES },
                { "workload.yaml", NO },
                { "workload.yml", NO },
                { "simple.txt", NO },
                { "a/.travis.yml", YES },
                { "appveyor.yml", YES },
                { "codeship-steps.yml", YES },
                { ".sourceignore", NO },
                { "x.webp", NO },
        };
        cleanup(ignore_free) struct ignore *ignore = ignore_new();

        (void)state;
        ignore_add_vcs(ignore);
        ignore_add_defaults(ignore);
        for (size_t i = 0; i < COUNT(cases); i++)
                if (ignore_match(ignore, cases[i].path, false) != (cases[i].match == YES))
                        fail_msg("'%s'", cases[i].path);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(one_pattern),
                cmocka_unit_test(the_last_match_decides),
                cmocka_unit_test(defaults_and_vcs),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
