#include "build.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/pack.h"
#include "data/digest.h"
#include "data/sha256.h"
#include "engine/kustomize/kustomize.h"
#include "generate.h"
#include "normalize.h"
#include "unpacked.h"

#include <pthread.h>
#include <string.h>

#define MEMORY_LIMIT   (1024ull * 1024 * 1024)
#define OUTPUT_LIMIT   (256ull * 1024 * 1024)
#define OBJECT_LIMIT   100000
#define OUTPUT_SHARE   4 /* of what a build may take a quarter is for its output, which is memory too */
#define ALONE_MS       60000
#define ALONE_PAUSE_MS 20

#define REASON_ARTIFACT "ArtifactFailed"
#define REASON_BUILD    "BuildFailed"

#define DISABLED_KEY "kustomize.toolkit.fluxcd.io/substitute"

enum request_flags {
        FLAG_SUBSTITUTE = 1 << 0,
        FLAG_ALWAYS = 1 << 1,
        FLAG_STRICT = 1 << 2,
};

/* ---- in the child ---- */

struct work {
        struct job *job;
        struct arena *arena;
        int root;
        struct view root_path, name, namespace, unreadable;
        struct node *spec;
        uint64_t flags;
        struct variables variables;
        const char *refused;
};

static int unpack_variables(struct work *work, struct view *rest)
{
        struct variable *items;
        uint64_t count;

        if (unpack_number(rest, &count) < 0 || count > rest->length)
                return -1;
        items = arena_array(work->arena, count, sizeof(*items));
        for (uint64_t i = 0; i < count; i++)
                if (unpack_view(rest, &items[i].name) < 0 || unpack_view(rest, &items[i].value) < 0)
                        return -1;
        work->variables = (struct variables){ items, count, work->flags & FLAG_STRICT };
        return 0;
}

static int unpack_request(struct work *work, struct error *error)
{
        struct reader reader = { .arena = work->arena };
        struct view rest = work->job->input, spec;

        if (unpack_number(&rest, &work->flags) < 0 || unpack_view(&rest, &work->root_path) < 0 ||
            unpack_view(&rest, &work->name) < 0 || unpack_view(&rest, &work->namespace) < 0 || unpack_view(&rest, &spec) < 0 ||
            unpack_view(&rest, &work->unreadable) < 0 || unpack_variables(work, &rest) < 0)
                return error_set(error, ERROR_INTERNAL, "the request of a build is cut short");
        return reader_json(&reader, spec, &work->spec, error);
}

static bool substitution_disabled(const struct node *object)
{
        return view_is(node_label(object, DISABLED_KEY), "disabled") || view_is(node_annotation(object, DISABLED_KEY), "disabled");
}

/* "Deployment.v1.apps/name", "Service.v1.[noGrp]/name": how kustomize prints an object. */
static const char *printed_id(struct arena *arena, const struct node *object)
{
        struct view api_version = node_get_text(object, "apiVersion"), kind = node_get_text(object, "kind");
        struct view name = node_get_text(node_get_of(object, "metadata"), "name");
        ptrdiff_t slash = view_find(api_version, '/', 0);
        struct view group = slash < 0 ? VIEW("[noGrp]") : view_slice(api_version, 0, (size_t)slash);
        struct view version = slash < 0 ? api_version : view_slice(api_version, (size_t)slash + 1, SIZE_MAX);

        return arena_printf(arena, "%.*s.%.*s.%.*s/%.*s", VIEW_ARGS(kind), VIEW_ARGS(version), VIEW_ARGS(group), VIEW_ARGS(name));
}

static int check_names(const struct variables *variables, struct error *error)
{
        for (size_t i = 0; i < variables->count; i++)
                if (!substitute_name_valid(variables->items[i].name))
                        return error_set(error, ERROR_INVALID,
                                         "'%.*s' var name is invalid, must match '^[_[:alpha:]][_[:alpha:][:digit:]]*$'",
                                         VIEW_ARGS(variables->items[i].name));
        return 0;
}

/* Without a dollar the object stays as it is. */
static int substitute_text(struct work *work, struct view text, struct node **object, struct error *error)
{
        cleanup(buffer_release) struct buffer result = BUFFER_NULL;
        cleanup(buffer_release) struct buffer json = BUFFER_NULL;
        struct reader reader = { .arena = work->arena };

        TRY(check_names(&work->variables, error));
        if (view_find(text, '$', 0) < 0)
                return 0;
        if (substitute(&work->variables, text, &result, error) < 0)
                return error_wrap(error, "variable substitution failed");
        if (reader_document(&reader, SCALAR_CONFIGURATION, arena_view(work->arena, buffer_view(&result)), object, error) < 0)
                return error_wrap(error, "YAMLToJSON");
        if (!node_is_map(*object))
                return error_set(error, ERROR_INVALID, "YAMLToJSON: the result is not an object");
        /* What JSON cannot say, an infinite number, is no fault of the object that it came from. */
        if (emit_json(&json, work->arena, *object, 0, error) < 0)
                return error_wrap(error, "YAMLToJSON");
        return 0;
}

/* With spec.postBuild an object is printed for the substitution first, whether it wants any or not. */
static int print_object(struct work *work, const struct node *object, struct buffer *text, struct error *error)
{
        if (!(work->flags & FLAG_SUBSTITUTE))
                return kustomize_emit_object(text, work->arena, object, error) < 0 ? error_wrap(error, "kustomize build failed")
                                                                                   : 0;
        if (emit_yaml(text, work->arena, object, 0, error) < 0)
                return error_wrap(error, "post build failed for '%s'", printed_id(work->arena, object));
        return 0;
}

/* Names the object as it is before anything is substituted in it. */
static int substitute_object(struct work *work, struct node **object, struct error *error)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;
        const struct node *before = *object;
        int r;

        if (!(work->flags & FLAG_SUBSTITUTE) || substitution_disabled(before))
                return 0;
        if (!work->unreadable.length && !work->variables.count && !(work->flags & FLAG_ALWAYS))
                return 0;
        r = emit_yaml(&text, work->arena, before, EMIT_UNFOLDED, error);
        if (r == 0 && work->unreadable.length)
                r = error_set(error, ERROR_INVALID, "%.*s", VIEW_ARGS(work->unreadable));
        else if (r == 0 && substitute_text(work, buffer_view(&text), object, error) < 0)
                r = error_wrap(error, "envsubst error");
        if (r == 0)
                return 0;
        return error_wrap(error, "post build failed for '%s'", printed_id(work->arena, before));
}

static int check_identity(struct work *work, const struct node *object, struct error *error)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL;

        if (node_get_text(object, "apiVersion").length && node_get_text(object, "kind").length &&
            node_get_text(node_get_of(object, "metadata"), "name").length)
                return 0;
        TRY(emit_json(&text, work->arena, object, 0, error));
        return error_set(error, ERROR_INVALID, "failed to decode Kubernetes apiVersion, kind and name from: %s",
                         buffer_string(&text));
}

/* As it is before it is normalized, which drops what a Secret does not know. */
static bool is_encrypted(const struct node *object)
{
        return view_is(node_get_text(object, "kind"), "Secret") && view_is(node_get_text(object, "apiVersion"), "v1") &&
               !node_is_null(node_get_of(object, "sops"));
}

/* A Secret that is still encrypted would be applied as nonsense; unless it says that it is to be, itself or by spec.commonMetadata. */
static void refuse_encrypted(struct work *work, const struct node *object)
{
        const struct node *metadata = node_get_of(object, "metadata");
        struct view namespace = node_get_text(metadata, "namespace"), name = node_get_text(metadata, "name");
        struct view decrypt = node_annotation(object, "kustomize.toolkit.fluxcd.io/decrypt");

        if (work->refused || (decrypt.length == strlen("disabled") && strncasecmp(decrypt.data, "disabled", decrypt.length) == 0))
                return;
        work->refused = arena_printf(
                work->arena,
                "Secret/%.*s%s%.*s is SOPS encrypted, configuring decryption is required for this secret to be reconciled",
                VIEW_ARGS(namespace), namespace.length ? "/" : "", VIEW_ARGS(name));
}

static int write_object(struct work *work, const struct node *object, struct buffer *output, struct error *error)
{
        cleanup(buffer_release) struct buffer payload = BUFFER_NULL;
        const struct node *metadata = node_get_of(object, "metadata");

        TRY(emit_json(&payload, work->arena, object, 0, error));
        pack_view(output, node_get_text(object, "apiVersion"));
        pack_view(output, node_get_text(object, "kind"));
        pack_view(output, node_get_text(metadata, "name"));
        pack_view(output, node_get_text(metadata, "namespace"));
        pack_view(output, buffer_view(&payload));
        return 0;
}

static int write_normalized(struct work *work, struct node *object, struct buffer *output, uint64_t *count, struct error *error)
{
        struct normalize_owner owner = { work->name, work->namespace, node_get_of(work->spec, "commonMetadata") };
        bool encrypted = is_encrypted(object);

        if (!normalize_wanted(object))
                return 0;
        TRY(normalize_object(work->arena, &owner, object, error));
        if (encrypted)
                refuse_encrypted(work, object);
        ++*count;
        return write_object(work, object, output, error);
}

/* A kind that ends in List and has items stands for its items. */
static int write_objects(struct work *work, struct node *object, struct buffer *output, uint64_t *count, struct error *error)
{
        struct node *items = node_get_of(object, "items");

        if (!view_ends(node_get_text(object, "kind"), VIEW("List")) || !node_is_list(items))
                return write_normalized(work, object, output, count, error);
        for (uint32_t i = 0; i < items->count; i++)
                TRY(write_normalized(work, items->items[i], output, count, error));
        return 0;
}

/* Flux decodes the file itself before it builds, so a field of a wrong type is an error in other words; not so below it. */
static int build_failed(struct error *error)
{
        static const char prefix[] = "invalid Kustomization: ";
        struct view message = view_of(error_message(error));

        if (!view_starts(message, VIEW("invalid Kustomization: json: cannot unmarshal ")))
                return error_wrap(error, "kustomize build failed");
        return error_set(error, ERROR_INVALID, "error unmarshaling JSON: while decoding JSON: %s", message.data + strlen(prefix));
}

static int build_resources(struct work *work, const char *directory, struct kustomize_output *ret_output, struct error *error)
{
        struct generate_input input = { work->root, work->root_path.data, directory, work->spec };
        struct kustomize_tree tree = { .root = work->root, .root_path = work->root_path.data, .file_count = 1 };
        struct kustomize_options options = {
                .order = KUSTOMIZE_ORDER_FIFO, .restriction = KUSTOMIZE_NONE, .lenient_root = true, .openapi_adds = true
        };
        struct kustomize_file file;

        TRY(generate_kustomization(work->arena, &input, &file.path, &file.text, error));
        tree.files = &file;
        if (kustomize_build(work->arena, &tree, directory, &options, ret_output, error) < 0)
                return build_failed(error);
        return 0;
}

static int find_directory(struct work *work, const char **ret_directory, struct error *error)
{
        const char *path =
                arena_string_n(work->arena, node_get_text(work->spec, "path").data, node_get_text(work->spec, "path").length);
        const char *directory = unpacked_normalize(work->arena, path);

        if (unpacked_type(work->root, directory) == UNPACKED_ABSENT)
                return error_set_reason(error, ERROR_NOT_FOUND, REASON_ARTIFACT,
                                        "kustomization path not found: stat %s%s%s: no such file or directory",
                                        work->root_path.data, strcmp(directory, ".") == 0 ? "" : "/",
                                        strcmp(directory, ".") == 0 ? "" : directory);
        *ret_directory = directory;
        return 0;
}

static int build_job(struct job *job, struct error *error)
{
        cleanup(buffer_release) struct buffer text = BUFFER_NULL, objects = BUFFER_LIMIT(OUTPUT_LIMIT), output = BUFFER_NULL;
        struct work work = { .job = job, .arena = arena_new(), .root = job->descriptors[0] };
        struct kustomize_output built;
        const char *directory = NULL;
        char digest[DIGEST_TEXT];
        uint8_t hash[SHA256_SIZE];
        uint64_t count = 0;

        TRY(unpack_request(&work, error));
        work.root_path = arena_view(work.arena, work.root_path);
        TRY(find_directory(&work, &directory, error));
        TRY(build_resources(&work, directory, &built, error));
        for (size_t i = 0; i < built.count; i++) {
                TRY(check_identity(&work, built.resources[i].node, error));
                TRY(substitute_object(&work, &built.resources[i].node, error));
                if (i)
                        buffer_add_string(&text, "---\n");
                TRY(print_object(&work, built.resources[i].node, &text, error));
        }
        for (size_t i = 0; i < built.count; i++)
                TRY(write_objects(&work, built.resources[i].node, &objects, &count, error));
        if (objects.full)
                return error_set(error, ERROR_TOO_LARGE, "the built manifests are larger than %llu bytes",
                                 (unsigned long long)OUTPUT_LIMIT);
        sha256_of(buffer_view(&text), hash); /* OpenSSL would have to begin anew in each child */
        pack_string(&output, digest_print(DIGEST_SHA256, hash, digest));
        pack_string(&output, work.refused ? work.refused : "");
        pack_number(&output, count);
        TRY(job_write(job, buffer_view(&output), error));
        return job_write(job, buffer_view(&objects), error);
}

/* ---- in the controller ---- */

void build_output_release(struct build_output *output)
{
        job_result_release(&output->result);
        *output = BUILD_OUTPUT_NULL;
}

static void pack_request(struct buffer *input, const struct build_request *request)
{
        cleanup(buffer_release) struct buffer spec = BUFFER_NULL;

        json_print(request->spec, &spec);
        pack_number(input, (request->substitute ? FLAG_SUBSTITUTE : 0u) | (request->substitute_always ? FLAG_ALWAYS : 0u) |
                                   (request->variables.strict ? FLAG_STRICT : 0u));
        pack_string(input, request->root_path);
        pack_view(input, request->name);
        pack_view(input, request->namespace);
        pack_view(input, buffer_view(&spec));
        pack_string(input, request->unreadable ? request->unreadable : "");
        pack_number(input, request->variables.count);
        for (size_t i = 0; i < request->variables.count; i++) {
                pack_view(input, request->variables.items[i].name);
                pack_view(input, request->variables.items[i].value);
        }
}

static int unpack_output(struct arena *arena, struct view rest, struct build_output *output, struct error *error)
{
        uint64_t count;

        if (unpack_view(&rest, &output->digest) < 0 || unpack_view(&rest, &output->refused) < 0 ||
            unpack_number(&rest, &count) < 0 || count > OBJECT_LIMIT)
                return error_set_reason(error, ERROR_INTERNAL, REASON_BUILD,
                                        "the build returned nothing that can be read, or more than %d objects", OBJECT_LIMIT);
        output->objects = arena_array(arena, count, sizeof(*output->objects));
        for (uint64_t i = 0; i < count; i++) {
                struct build_object *object = &output->objects[i];

                if (unpack_view(&rest, &object->api_version) < 0 || unpack_view(&rest, &object->kind) < 0 ||
                    unpack_view(&rest, &object->name) < 0 || unpack_view(&rest, &object->namespace) < 0 ||
                    unpack_view(&rest, &object->payload) < 0)
                        return error_set_reason(error, ERROR_INTERNAL, REASON_BUILD,
                                                "the build returned objects that are cut short");
        }
        output->count = count;
        return 0;
}

static struct job_limits limits_of(uint64_t room, int64_t deadline_ms)
{
        uint64_t output = room / OUTPUT_SHARE, memory = room - output;

        return (struct job_limits){ .deadline_ms = deadline_ms,
                                    .memory_bytes = memory < MEMORY_LIMIT ? memory : MEMORY_LIMIT,
                                    .output_bytes = output < OUTPUT_LIMIT ? output : OUTPUT_LIMIT };
}

/* One at a time, and not for long: whoever needs much must not keep others waiting that do. */
static int run_alone(struct context *ctx, struct view input, const struct build_request *request, const struct job_grant *grant,
                     struct job_result *ret_result, struct error *error)
{
        static pthread_mutex_t alone = PTHREAD_MUTEX_INITIALIZER;
        const struct job_limits limits =
                limits_of(job_memory_budget() / 2, request->deadline_ms < ALONE_MS ? request->deadline_ms : ALONE_MS);
        int r;

        while (pthread_mutex_trylock(&alone) != 0)
                TRY(context_sleep(ctx, ALONE_PAUSE_MS, error));
        r = job_run(ctx, build_job, input, &limits, grant, ret_result, error);
        pthread_mutex_unlock(&alone);
        return r;
}

/*
 * Where the jobs share a memory limit with the controller, all that may run at a time fit into half of it: each builds thousands of objects there. What needs
 * more is built again, alone in the other half.
 */
static int run(struct context *ctx, struct view input, const struct build_request *request, const struct job_grant *grant,
               struct job_result *ret_result, struct error *error)
{
        const struct job_limits limits =
                limits_of(job_memory_budget() / 2 / (request->jobs ? request->jobs : 1), request->deadline_ms);
        int r = job_run(ctx, build_job, input, &limits, grant, ret_result, error);

        if (r == 0 || error->kind != ERROR_TOO_LARGE ||
            (limits.memory_bytes == MEMORY_LIMIT && limits.output_bytes == OUTPUT_LIMIT))
                return r;
        error_release(error);
        return run_alone(ctx, input, request, grant, ret_result, error);
}

int build_run(struct context *ctx, struct arena *arena, const struct build_request *request, struct build_output *ret_output,
              struct error *error)
{
        cleanup(build_output_release) struct build_output output = BUILD_OUTPUT_NULL;
        cleanup(buffer_release) struct buffer input = BUFFER_SECRET;
        const struct job_descriptor root = { request->root, JOB_READ };
        const struct job_grant grant = { .descriptors = &root, .descriptor_count = 1 };
        int r;

        pack_request(&input, request);
        r = run(ctx, buffer_view(&input), request, &grant, &output.result, error);
        if (r != 0) {
                if (r > 0)
                        error_wrap(error, "kustomize build failed");
                if (!error->reason[0] && error->kind != ERROR_CANCELLED)
                        error_reason(error, REASON_BUILD);
                return -1;
        }
        TRY(unpack_output(arena, output.result.output, &output, error));
        *ret_output = output;
        output = BUILD_OUTPUT_NULL;
        return 0;
}
