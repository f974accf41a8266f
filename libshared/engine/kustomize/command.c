#include "base/cleanup.h"
#include "base/job.h"
#include "base/memory.h"
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
        dprintf(*(const int *)user, "%s\n", line);
}

static int usage(const char *problem, const char *word, const char *hint)
{
        fprintf(stderr,
                "Error: %s%s%s\n"
                "usage: build [DIR] [-o FILE|DIR] [--reorder legacy|none] "
                "[--load-restrictor LoadRestrictionsRootOnly|LoadRestrictionsNone] [--enable-managedby-label] "
                "[--compat 5.8.1|next]\n",
                problem, word, hint);
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
                                return usage("illegal flag value --reorder ", value, "; legal values: [legacy none]");
                        fprintf(stderr, "Flag --reorder has been deprecated, use the new 'sortOptions' field in "
                                        "kustomization.yaml instead.\n");
                        command->options.order = *value == 'l' ? KUSTOMIZE_ORDER_LEGACY : KUSTOMIZE_ORDER_FIFO;
                } else if ((value = option_value("--load-restrictor", arguments, count, &i))) {
                        if (strcmp(value, "LoadRestrictionsRootOnly") != 0 && strcmp(value, "LoadRestrictionsNone") != 0)
                                return usage("illegal flag value --load-restrictor ", value,
                                             "; legal values: [LoadRestrictionsRootOnly LoadRestrictionsNone]");
                        command->options.restriction =
                                strcmp(value, "LoadRestrictionsNone") == 0 ? KUSTOMIZE_NONE : KUSTOMIZE_ROOT_ONLY;
                } else if ((value = option_value("-o", arguments, count, &i)) ||
                           (value = option_value("--output", arguments, count, &i))) {
                        command->output = value;
                } else if ((value = option_value("--compat", arguments, count, &i))) {
                        if (strcmp(value, "5.8.1") != 0 && strcmp(value, "next") != 0)
                                return usage("illegal flag value --compat ", value, "; legal values: [5.8.1 next]");
                        command->options.compat = *value == 'n' ? KUSTOMIZE_COMPAT_NEXT : KUSTOMIZE_COMPAT_5_8_1;
                } else if (strcmp(arguments[i], "--enable-managedby-label") == 0) {
                        fprintf(stderr,
                                "Flag --enable-managedby-label has been deprecated, The flag `enable-managedby-label` has been "
                                "deprecated. Use the `managedByLabel` option in the `buildMetadata` field instead.\n");
                        command->options.managed_by_label = true;
                } else if (arguments[i][0] == '-') {
                        return usage("unknown flag: ", arguments[i], "");
                } else if (command->directory) {
                        return usage("specify one path to ", "kustomization.yaml", "");
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

/* What a build is asked for; a job gets it as its input, with the directory behind it. */
struct request {
        enum kustomize_order order;
        enum kustomize_restriction restriction;
        enum kustomize_compat compat;
        bool managed_by_label;
        bool files; /* a text for each resource, else one of all */
};

/* The answer is a row of records: a name ("" for the one text) and a text, each with its length before it. */
static void add_record_head(struct buffer *records, struct view name, size_t text_length)
{
        uint64_t lengths[2] = { name.length, text_length };

        buffer_add(records, lengths, sizeof(lengths));
        buffer_add_view(records, name);
}

static bool next_record(struct view *records, struct view *ret_name, struct view *ret_text)
{
        uint64_t lengths[2];

        if (records->length < sizeof(lengths))
                return false;
        memcpy(lengths, records->data, sizeof(lengths));
        *records = view_slice(*records, sizeof(lengths), SIZE_MAX);
        *ret_name = view_slice(*records, 0, lengths[0]);
        *ret_text = view_slice(*records, lengths[0], lengths[1]);
        *records = view_slice(*records, lengths[0] + lengths[1], SIZE_MAX);
        return true;
}

/* One file each, named after the resource; the namespace only where several occur. */
static int add_files(struct buffer *records, struct arena *arena, const struct kustomize_output *output, struct error *error)
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
                buffer_add_string(&name, ".yaml");
                TRY(kustomize_emit_object(&text, arena, resource->node, error));
                add_record_head(records, buffer_view(&name), text.length);
                buffer_add_view(records, buffer_view(&text));
        }
        return 0;
}

static int build(struct job *job, struct error *error)
{
        const struct kustomize_tree tree = { .root = job->descriptors[0], .root_path = "" };
        int warnings = job->descriptors[1];
        struct kustomize_options options = { .warn = print_warning, .user = &warnings };
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        cleanup(buffer_release) struct buffer records = BUFFER_NULL;
        struct arena *arena = arena_new(); /* ends with the job */
        struct kustomize_output output;
        struct request request;
        const char *directory;

        memcpy(&request, job->input.data, sizeof(request));
        directory = arena_string_n(arena, job->input.data + sizeof(request), job->input.length - sizeof(request));
        options.order = request.order;
        options.restriction = request.restriction;
        options.compat = request.compat;
        options.managed_by_label = request.managed_by_label;
        TRY(kustomize_build(arena, &tree, directory[1] ? directory + 1 : ".", &options, &output, error));
        if (request.files) {
                TRY(add_files(&records, arena, &output, error));
                return job_write(job, buffer_view(&records), error);
        }
        TRY(kustomize_emit(&text, arena, &output, error));
        add_record_head(&records, VIEW_NULL, text.length);
        TRY(job_write(job, buffer_view(&records), error));
        return job_write(job, buffer_view(&text), error);
}

static int write_records(const char *output, bool files, struct view records, struct error *error)
{
        struct view name, text;

        while (next_record(&records, &name, &text)) {
                cleanup(free_string) char *path = files ? memory_printf("%s/%.*s", output, VIEW_ARGS(name)) : NULL;

                if (write_all(files ? path : output, text) < 0)
                        return error_set_errno(error, errno, "write %s", files ? path : output ? output : "standard output");
        }
        return 0;
}

/* In the sandbox that the controller builds in: nothing but reading, no network, bounded memory. */
static int run_job(const struct request *request, const char *directory, const char *output, struct error *error)
{
        cleanup(close_descriptor) int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        const struct job_limits limits = { .deadline_ms = 600000,
                                           .memory_bytes = (uint64_t)4 << 30,
                                           .output_bytes = (uint64_t)1 << 30 };
        const struct job_descriptor descriptors[] = { { root, JOB_READ }, { STDERR_FILENO, JOB_HANDLE } };
        const struct job_grant grant = { .descriptors = descriptors, .descriptor_count = 2 };
        cleanup(job_result_release) struct job_result result = JOB_RESULT_NULL;
        cleanup(buffer_release) struct buffer input = BUFFER_NULL;

        if (root < 0)
                return error_set_errno(error, errno, "open /");
        buffer_add(&input, request, sizeof(*request));
        buffer_add_string(&input, directory);
        if (job_run_once(build, buffer_view(&input), &limits, &grant, &result, error) != 0)
                return -1;
        return write_records(output, request->files, result.output, error);
}

static int run(const struct command *command, struct error *error)
{
        struct request request = {
                .order = command->options.order,
                .restriction = command->options.restriction,
                .compat = command->options.compat,
                .managed_by_label = command->options.managed_by_label,
        };
        char directory[PATH_MAX];
        struct stat status;

        if (!realpath(command->directory, directory)) {
                int number = errno;
                bool absolute = command->directory[0] == '/' || !getcwd(directory, sizeof(directory));

                return error_set(error, ERROR_NOT_FOUND,
                                 "must build at directory: not a valid directory: evalsymlink failure on '%s' : lstat %s%s%s: %s",
                                 command->directory, absolute ? "" : directory, absolute ? "" : "/", command->directory,
                                 number == ENOENT ? "no such file or directory" : strerror(number));
        }
        request.files = command->output && stat(command->output, &status) == 0 && S_ISDIR(status.st_mode);
        return run_job(&request, directory, command->output, error);
}

int kustomize_command(int argument_count, char **arguments)
{
        const char *label = getenv("KUSTOMIZE_ENABLE_MANAGEDBY_LABEL");
        cleanup(error_release) struct error error = ERROR_NULL;
        struct command command = { .directory = NULL };

        command.options.managed_by_label = label && strcmp(label, "on") == 0;
        if (parse(argument_count, arguments, &command) < 0)
                return 1;
        if (!command.directory)
                command.directory = ".";
        if (run(&command, &error) == 0)
                return 0;
        fprintf(stderr, "Error: %s\n", error_message(&error));
        return 1;
}
