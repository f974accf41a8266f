#include "base/cleanup.h"
#include "engine/kustomize/kustomize.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct command {
        const char *directory;
        const char *output;
        struct kustomize_options options;
};

static void print_warning(void *user, const char *line)
{
        (void)user;
        fprintf(stderr, "%s\n", line);
}

static int usage(const char *problem, const char *word)
{
        fprintf(stderr,
                "Error: %s: %s\n"
                "usage: build [DIR] [-o FILE|DIR] [--reorder legacy|none] "
                "[--load-restrictor LoadRestrictionsRootOnly|LoadRestrictionsNone] [--enable-managedby-label]\n",
                problem, word);
        return -1;
}

/* The value of `--name value` or `--name=value`; NULL if the argument is another one. */
static const char *option_value(const char *name, char **arguments, int count, int *at)
{
        size_t length = strlen(name);

        if (strncmp(arguments[*at], name, length) != 0)
                return NULL;
        if (arguments[*at][length] == '=')
                return arguments[*at] + length + 1;
        if (arguments[*at][length] != '\0')
                return NULL;
        return *at + 1 < count ? arguments[++*at] : "";
}

static int parse(int count, char **arguments, struct command *command)
{
        for (int i = 0; i < count; i++) {
                const char *value;

                if ((value = option_value("--reorder", arguments, count, &i))) {
                        if (strcmp(value, "legacy") != 0 && strcmp(value, "none") != 0)
                                return usage("illegal flag value --reorder", value);
                        print_warning(NULL, "Flag --reorder has been deprecated, use the new 'sortOptions' field in "
                                            "kustomization.yaml instead.");
                        command->options.order = *value == 'l' ? KUSTOMIZE_ORDER_LEGACY : KUSTOMIZE_ORDER_FIFO;
                } else if ((value = option_value("--load-restrictor", arguments, count, &i))) {
                        if (strcmp(value, "LoadRestrictionsRootOnly") != 0 && strcmp(value, "LoadRestrictionsNone") != 0)
                                return usage("illegal flag value --load-restrictor", value);
                        command->options.restriction =
                                strcmp(value, "LoadRestrictionsNone") == 0 ? KUSTOMIZE_NONE : KUSTOMIZE_ROOT_ONLY;
                } else if ((value = option_value("-o", arguments, count, &i)) ||
                           (value = option_value("--output", arguments, count, &i))) {
                        command->output = value;
                } else if (strcmp(arguments[i], "--enable-managedby-label") == 0) {
                        command->options.managed_by_label = true;
                } else if (arguments[i][0] == '-') {
                        return usage("unknown flag", arguments[i]);
                } else if (command->directory) {
                        return usage("specify one path to a directory", arguments[i]);
                } else {
                        command->directory = arguments[i];
                }
        }
        return 0;
}

static int write_all(const char *path, struct view text)
{
        FILE *file = path ? fopen(path, "we") : stdout;
        int r = 0;

        if (!file || fwrite(text.data ? text.data : "", 1, text.length, file) != text.length)
                r = -1;
        if (file && (path ? fclose(file) : fflush(file)) != 0)
                r = -1;
        if (r < 0)
                fprintf(stderr, "Error: %s: %s\n", path ? path : "standard output", strerror(errno));
        return r;
}

static void add_part(struct buffer *name, struct view part)
{
        if (part.length == 0)
                return;
        if (name->length)
                buffer_add_char(name, '_');
        for (size_t i = 0; i < part.length; i++)
                buffer_add_char(name, part.data[i] == '/' ? '_' : (char)tolower((unsigned char)part.data[i]));
}

/* One file each, named after the resource; the namespace only where several occur. */
static int write_files(const char *directory, struct arena *arena, const struct kustomize_output *output, struct error *error)
{
        struct view first = VIEW_NULL;
        bool namespaces = false;

        for (size_t i = 0; i < output->count; i++) {
                struct view namespace = output->resources[i].effective_namespace;

                if (first.length == 0)
                        first = namespace;
                namespaces |= namespace.length && !view_equal(namespace, first);
        }
        for (size_t i = 0; i < output->count; i++) {
                const struct kustomize_resource *resource = &output->resources[i];
                cleanup(buffer_release) struct buffer name = BUFFER_NULL;
                cleanup(buffer_release) struct buffer text = BUFFER_NULL;

                if (namespaces)
                        add_part(&name, resource->effective_namespace);
                add_part(&name, resource->api_version);
                add_part(&name, resource->kind);
                add_part(&name, resource->name);
                TRY(emit_yaml(&text, arena, resource->node, 0, error));
                if (write_all(arena_printf(arena, "%s/%s.yaml", directory, buffer_string(&name)), buffer_view(&text)) < 0)
                        return error_set(error, ERROR_INTERNAL, "the output could not be written");
        }
        return 0;
}

static int run(const struct command *command, struct arena *arena, struct error *error)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        cleanup(close_descriptor) int root = -1;
        struct kustomize_tree tree = { .root_path = "" };
        struct kustomize_output output;
        char directory[PATH_MAX];
        struct stat status;

        if (!realpath(command->directory, directory))
                return error_set(error, ERROR_NOT_FOUND,
                                 "must build at directory: not a valid directory: evalsymlink failure on '%s' : %s",
                                 command->directory, strerror(errno));
        root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (root < 0)
                return error_set_errno(error, errno, "open /");
        tree.root = root;
        TRY(kustomize_build(arena, &tree, directory[1] ? directory + 1 : ".", &command->options, &output, error));
        if (command->output && stat(command->output, &status) == 0 && S_ISDIR(status.st_mode))
                return write_files(command->output, arena, &output, error);
        TRY(kustomize_emit(&text, arena, &output, error));
        if (write_all(command->output, buffer_view(&text)) < 0)
                return error_set(error, ERROR_INTERNAL, "the output could not be written");
        return 0;
}

int kustomize_command(int argument_count, char **arguments)
{
        const char *label = getenv("KUSTOMIZE_ENABLE_MANAGEDBY_LABEL");
        struct command command = { .options = { .warn = print_warning } };
        cleanup(error_release) struct error error = ERROR_NULL;
        cleanup(arena_free) struct arena *arena = NULL;

        command.options.managed_by_label = label && strcmp(label, "on") == 0;
        if (parse(argument_count, arguments, &command) < 0)
                return 1;
        if (!command.directory)
                command.directory = ".";
        arena = arena_new();
        if (run(&command, arena, &error) == 0)
                return 0;
        fprintf(stderr, "Error: %s\n", error_message(&error));
        return 1;
}
