#include "base/cleanup.h"
#include "base/flags.h"
#include "base/job.h"
#include "base/memory.h"
#include "engine/kustomize/build.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define USAGE                                                                                                                      \
        "usage: build [DIR] [-o FILE|DIR] [--reorder legacy|none] [--load-restrictor LoadRestrictionsRootOnly|"                    \
        "LoadRestrictionsNone] [--enable-managedby-label] [--compat 5.8.1|next]\n"

struct command {
        const char *directory;
        const char *output;
        const char *reorder, *restrictor, *compat; /* as given; NULL: not at all */
        bool managed_by_label;
        bool help;
};

enum option_kind { OPTION_TEXT, OPTION_BOOL, OPTION_HELP, OPTION_REFUSED };

static const struct option {
        const char *name;
        enum option_kind kind;
        size_t member;          /* of struct command */
        const char *deprecated; /* what the reference says about it */
} known[] = {
        { "output", OPTION_TEXT, offsetof(struct command, output), NULL },
        { "reorder", OPTION_TEXT, offsetof(struct command, reorder),
          "use the new 'sortOptions' field in kustomization.yaml instead." },
        { "load-restrictor", OPTION_TEXT, offsetof(struct command, restrictor), NULL },
        { "compat", OPTION_TEXT, offsetof(struct command, compat), NULL },
        { "enable-managedby-label", OPTION_BOOL, offsetof(struct command, managed_by_label),
          "The flag `enable-managedby-label` has been deprecated. Use the `managedByLabel` option in the `buildMetadata` field "
          "instead." },
        { "help", OPTION_HELP, offsetof(struct command, help), NULL },
        { "enable-helm", OPTION_REFUSED, 0, NULL },
        { "enable-alpha-plugins", OPTION_REFUSED, 0, NULL },
        { "enable-exec", OPTION_REFUSED, 0, NULL },
        { "network", OPTION_REFUSED, 0, NULL },
};

struct words {
        char **items;
        int count;
        int at;
};

static void print_warning(void *user, const char *line)
{
        dprintf(*(const int *)user, "%s\n", line);
}

static const struct option *find_option(const char *name, size_t length)
{
        for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
                if (strlen(known[i].name) == length && memcmp(known[i].name, name, length) == 0)
                        return &known[i];
        return NULL;
}

static int set_option(const struct option *option, const char *value, struct command *command, struct error *error)
{
        char *member = (char *)command + option->member;

        if (option->kind == OPTION_TEXT)
                memcpy(member, &value, sizeof(value));
        else if (flag_bool_parse(value, (bool *)member) < 0)
                return error_set(error, ERROR_INVALID,
                                 "invalid argument \"%s\" for \"--%s\" flag: strconv.ParseBool: parsing \"%s\": invalid syntax",
                                 value, option->name, value);
        if (option->deprecated)
                fprintf(stderr, "Flag --%s has been deprecated, %s\n", option->name, option->deprecated);
        return 0;
}

/* `--name value`, `--name=value`, and `--name` of a bool. */
static int parse_long(struct words *words, const char *text, struct command *command, struct error *error)
{
        size_t length = strcspn(text, "=");
        const struct option *option = find_option(text, length);
        const char *value = text[length] ? text + length + 1 : NULL;

        if (length == 0 || *text == '-')
                return error_set(error, ERROR_INVALID, "bad flag syntax: --%s", text);
        if (!option)
                return error_set(error, ERROR_INVALID, "unknown flag: --%.*s", (int)length, text);
        if (option->kind == OPTION_REFUSED)
                return error_set(error, ERROR_UNSUPPORTED, "unknown flag: --%s: a build starts no programs and has no network",
                                 option->name);
        if (!value && option->kind == OPTION_TEXT) {
                if (words->at == words->count)
                        return error_set(error, ERROR_INVALID, "flag needs an argument: --%s", option->name);
                value = words->items[words->at++];
        }
        return set_option(option, value ? value : "true", command, error);
}

/* `-o value`, `-ovalue`, `-o=value`, `-h`. */
static int parse_short(struct words *words, const char *text, struct command *command, struct error *error)
{
        const char *value = text + 1;

        if (*text == 'h') {
                command->help = true;
                return 0;
        }
        if (*text != 'o')
                return error_set(error, ERROR_INVALID, "unknown shorthand flag: '%c' in -%s", *text, text);
        if (!*value) {
                if (words->at == words->count)
                        return error_set(error, ERROR_INVALID, "flag needs an argument: 'o' in -o");
                value = words->items[words->at++];
        } else if (*value == '=' && value[1]) {
                value++;
        }
        return set_option(find_option("output", strlen("output")), value, command, error);
}

static int one_of(const char *option, const char *value, const char *first, const char *second, struct error *error)
{
        if (!value || strcmp(value, first) == 0 || strcmp(value, second) == 0)
                return 0;
        return error_set(error, ERROR_INVALID, "illegal flag value --%s %s; legal values: [%s %s]", option, value, first, second);
}

/* As the reference reads its words: all options first, then what they say, one complaint at most. */
static int parse(int count, char **items, struct command *command, struct error *error)
{
        struct words words = { items, count, 0 };
        bool options_end = false;
        int directories = 0;

        while (words.at < count && !command->help) {
                const char *word = words.items[words.at++];

                if (options_end || *word != '-' || !word[1]) {
                        command->directory = directories++ ? command->directory : word;
                } else if (strcmp(word, "--") == 0) {
                        options_end = true;
                } else {
                        TRY(word[1] == '-' ? parse_long(&words, word + 2, command, error)
                                           : parse_short(&words, word + 1, command, error));
                }
        }
        if (command->help)
                return 0;
        if (directories > 1)
                return error_set(error, ERROR_INVALID, "specify one path to kustomization.yaml");
        if (!directories)
                command->directory = ".";
        if (!command->restrictor || !*command->restrictor)
                command->restrictor = "LoadRestrictionsRootOnly";
        TRY(one_of("load-restrictor", command->restrictor, "LoadRestrictionsRootOnly", "LoadRestrictionsNone", error));
        TRY(one_of("reorder", command->reorder, "legacy", "none", error));
        return one_of("compat", command->compat, "5.8.1", "next", error);
}

static int write_all(const char *path, struct view text, struct error *error)
{
        const char *operation = path ? "open" : "write";
        FILE *file = path ? fopen(path, "we") : stdout;
        bool done = file;

        if (file) {
                operation = "write";
                done = fwrite(text.data ? text.data : "", 1, text.length, file) == text.length;
                done = (path ? fclose(file) : fflush(file)) == 0 && done;
        }
        return done ? 0 : error_set_errno(error, errno, "%s %s", operation, path ? path : "standard output");
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

/* What a build is asked for; a job gets it as its input, with the directory behind it, as a path and as it was called. */
struct request {
        enum kustomize_order order;
        enum kustomize_restriction restriction;
        enum kustomize_compat compat;
        bool order_given;
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
        options.called = directory + strlen(directory) + 1;
        options.order = request.order;
        options.order_given = request.order_given;
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

                /* The names come out of a sandbox. */
                if (view_find(name, '/', 0) >= 0)
                        return error_set(error, ERROR_INTERNAL, "a file name '%.*s' was made", VIEW_ARGS(name));
                TRY(write_all(files ? path : output, text, error));
        }
        return 0;
}

/* In the sandbox that the controller builds in: nothing but reading, no network, bounded memory. */
static int run_job(const struct command *command, const struct request *request, const char *directory, struct error *error)
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
        buffer_add(&input, directory, strlen(directory) + 1);
        buffer_add_string(&input, command->directory);
        if (job_run_once(build, buffer_view(&input), &limits, &grant, &result, error) != 0)
                return -1;
        return write_records(command->output, request->files, result.output, error);
}

static int run(const struct command *command, struct error *error)
{
        const char *label = getenv("KUSTOMIZE_ENABLE_MANAGEDBY_LABEL");
        const char *output = command->output;
        cleanup(free_string) char *directory = NULL;
        char current[PATH_MAX];
        struct stat status;
        struct request request = {
                .order = command->reorder && *command->reorder == 'n' ? KUSTOMIZE_ORDER_FIFO : KUSTOMIZE_ORDER_LEGACY,
                .order_given = command->reorder,
                .restriction = strcmp(command->restrictor, "LoadRestrictionsNone") == 0 ? KUSTOMIZE_NONE : KUSTOMIZE_ROOT_ONLY,
                .compat = command->compat && *command->compat == 'n' ? KUSTOMIZE_COMPAT_NEXT : KUSTOMIZE_COMPAT_5_8_1,
                .managed_by_label = command->managed_by_label || (label && strcmp(label, "on") == 0),
                .files = output && stat(output, &status) == 0 && S_ISDIR(status.st_mode),
        };

        if (!*command->directory)
                return error_set(error, ERROR_INVALID, "must build at directory: directory path cannot be empty");
        if (tree_is_remote(command->directory))
                return error_set(error, ERROR_UNSUPPORTED, "'%s' is remote: a build reads only local files", command->directory);
        if (*command->directory != '/' && !getcwd(current, sizeof(current)))
                return error_set_errno(error, errno, "getwd");
        directory = *command->directory == '/' ? memory_string(command->directory)
                                               : memory_printf("%s/%s", current, command->directory);
        return run_job(command, &request, directory, error);
}

int kustomize_command(int argument_count, char **arguments)
{
        cleanup(error_release) struct error error = ERROR_NULL;
        struct command command = { .directory = NULL };

        if (parse(argument_count, arguments, &command, &error) == 0) {
                if (command.help)
                        return fputs(USAGE, stdout) < 0;
                if (command.output && !*command.output)
                        command.output = NULL;
                if (run(&command, &error) == 0)
                        return 0;
        }
        fprintf(stderr, "Error: %s\n", error_message(&error));
        return 1;
}
