/*
 * The table of what a server serves: for each group its versions in order of preference, for each version its resources as packed text
 *
 *   kind NUL plural NUL scope ('N' or 'C')
 *
 * some tens of bytes each, read through on every question. What is asked for is interned once for the process.
 */
#include "base/cleanup.h"
#include "base/hash.h"
#include "base/memory.h"
#include "data/json.h"
#include "data/scan.h"
#include "kube/client_private.h"

#include <stdlib.h>
#include <string.h>

#define AGGREGATED                                                                                                                 \
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"                                                    \
        "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
#define WAIT_MS        5
#define DISCOVERY_MS   32000
#define PACKED_LIMIT   ((size_t)4 << 20)
#define GROUPS_LIMIT   4096
#define VERSIONS_LIMIT 64
/* Of a question whose group others forgot under it. */
#define FORGOTTEN_TRIES 10

struct version {
        struct version *next;
        char *name;
        bool loaded; /* `packed` is what the server said; else ask it */
        struct buffer packed;
};

struct kube_group {
        struct kube_group *next;
        char *name;
        struct version *versions; /* preferred first */
};

/* ---- interned resources ---- */

struct interned {
        struct interned *next;
        struct kube_resource resource;
        char text[];
};

static pthread_mutex_t intern_lock = PTHREAD_MUTEX_INITIALIZER;
static struct interned *interned[256];

static unsigned bucket_of(const char *group, const char *kind)
{
        return (unsigned)(hash_add(hash_add(HASH_EMPTY, view_of(group)), view_of(kind)) % (sizeof(interned) / sizeof(interned[0])));
}

static char *put(char **at, const char *text)
{
        char *start = *at;

        *at = stpcpy(start, text) + 1;
        return start;
}

static struct interned *intern_new(const char *group, const char *version, const char *kind, const char *plural, bool namespaced)
{
        size_t length = 2 * strlen(group) + 2 * strlen(version) + strlen(kind) + strlen(plural) + 7;
        struct interned *entry = memory_zero(1, sizeof(*entry) + length);
        char *at = entry->text;

        entry->resource.group = put(&at, group);
        entry->resource.version = put(&at, version);
        entry->resource.kind = put(&at, kind);
        entry->resource.plural = put(&at, plural);
        entry->resource.namespaced = namespaced;
        entry->resource.api_version = at;
        if (*group)
                at = stpcpy(stpcpy(at, group), "/");
        put(&at, version);
        return entry;
}

const struct kube_resource *kube_resource_intern(const char *group, const char *version, const char *kind, const char *plural,
                                                 bool namespaced)
{
        struct interned **bucket = &interned[bucket_of(group, kind)], *entry;

        pthread_mutex_lock(&intern_lock);
        for (entry = *bucket; entry; entry = entry->next) {
                const struct kube_resource *r = &entry->resource;

                if (r->namespaced == namespaced && strcmp(r->kind, kind) == 0 && strcmp(r->group, group) == 0 &&
                    strcmp(r->version, version) == 0 && strcmp(r->plural, plural) == 0)
                        break;
        }
        if (!entry) {
                entry = intern_new(group, version, kind, plural, namespaced);
                entry->next = *bucket;
                *bucket = entry;
        }
        pthread_mutex_unlock(&intern_lock);
        return &entry->resource;
}

/* ---- the table; under discovery_lock ---- */

static void versions_free(struct version **versions)
{
        while (*versions) {
                struct version *version = *versions;

                *versions = version->next;
                buffer_release(&version->packed);
                free(version->name);
                free(version);
        }
}

static void group_free(struct kube_group *group)
{
        versions_free(&group->versions);
        free(group->name);
        free(group);
}

void kube_discovery_end(struct kube_server *server)
{
        while (server->groups) {
                struct kube_group *group = server->groups;

                server->groups = group->next;
                group_free(group);
        }
}

static struct kube_group *group_at(struct kube_server *server, struct view name, bool make)
{
        struct kube_group **link = &server->groups;
        size_t count = 0;

        for (; *link; link = &(*link)->next, count++)
                if (view_is(name, (*link)->name))
                        return *link;
        if (!make || count >= GROUPS_LIMIT)
                return NULL;
        *link = memory_zero(1, sizeof(**link));
        (*link)->name = memory_string_n(name.length ? name.data : "", name.length);
        return *link;
}

static struct version *version_at(struct kube_group *group, struct view name, bool make)
{
        struct version **link = &group->versions;
        size_t count = 0;

        for (; *link; link = &(*link)->next, count++)
                if (view_is(name, (*link)->name))
                        return *link;
        if (!make || count >= VERSIONS_LIMIT)
                return NULL;
        *link = memory_zero(1, sizeof(**link));
        (*link)->name = memory_string_n(name.data, name.length);
        (*link)->packed.limit = PACKED_LIMIT;
        return *link;
}

/* All of it or nothing: lookup walks from one NUL to the next. */
static void pack(struct version *version, struct view kind, struct view plural, bool namespaced)
{
        size_t before = version->packed.length;

        if (!kind.length || !plural.length || view_find(kind, '\0', 0) >= 0 || view_find(plural, '\0', 0) >= 0)
                return;
        buffer_add_view(&version->packed, kind);
        buffer_add_char(&version->packed, '\0');
        buffer_add_view(&version->packed, plural);
        buffer_add_char(&version->packed, '\0');
        buffer_add_char(&version->packed, namespaced ? 'N' : 'C');
        if (version->packed.full)
                version->packed.length = before;
}

static const struct kube_resource *lookup(const struct kube_group *group, const struct version *version, const char *kind)
{
        const char *at = version->packed.data, *end = at + version->packed.length;

        while (at && at < end) {
                const char *plural = at + strlen(at) + 1;
                const char *scope = plural + strlen(plural) + 1;

                if (strcmp(at, kind) == 0)
                        return kube_resource_intern(group->name, version->name, kind, plural, *scope == 'N');
                at = scope + 1;
        }
        return NULL;
}

/* ---- what the server says ---- */

static int fetch(struct context *ctx, struct kube_client *client, const char *path, const char *accept,
                 struct http_response *ret_response, struct error *err)
{
        cleanup(kube_wire_release) struct kube_wire wire;

        kube_wire_make_path(client, path, accept, &wire);
        wire.request.compressed = !client->server->config->disable_compression;
        wire.request.timeout_ms = DISCOVERY_MS;
        return kube_send(ctx, client, NULL, &wire, ret_response, err);
}

static bool is_aggregated(const struct http_response *response)
{
        const char *type = response->content_type ? response->content_type : "";

        return strstr(type, "g=apidiscovery.k8s.io") && strstr(type, "as=APIGroupDiscoveryList") &&
               (strstr(type, "v=v2;") || strstr(type, "v=v2beta1;") || view_ends(view_of(type), VIEW("v=v2")) ||
                view_ends(view_of(type), VIEW("v=v2beta1")));
}

static void take_aggregated_version(struct kube_group *group, struct view text)
{
        struct view name = scan_string(scan_get(text, "version"));
        struct version *version = name.length ? version_at(group, name, true) : NULL;
        struct scan resources = scan_begin(scan_get(text, "resources"));

        if (!version)
                return;
        buffer_clear(&version->packed);
        /* What the aggregator could not read lately is asked for when somebody needs it. */
        version->loaded = !view_is(scan_string(scan_get(text, "freshness")), "Stale");
        while (version->loaded && scan_next(&resources))
                pack(version, scan_string(SCAN_PATH(resources.value, "responseKind", "kind")),
                     scan_string(scan_get(resources.value, "resource")),
                     view_is(scan_string(scan_get(resources.value, "scope")), "Namespaced"));
}

static void take_aggregated(struct kube_server *server, struct view body)
{
        struct scan items = scan_begin(scan_get(body, "items"));

        while (scan_next(&items)) {
                struct kube_group *group = group_at(server, scan_string(SCAN_PATH(items.value, "metadata", "name")), true);
                struct scan versions = scan_begin(scan_get(items.value, "versions"));

                while (group && scan_next(&versions))
                        take_aggregated_version(group, versions.value);
        }
}

/* An APIGroup: its versions, whose resources are asked for when somebody needs them. */
static void take_group(struct kube_server *server, struct view text)
{
        struct kube_group *group = group_at(server, scan_string(scan_get(text, "name")), true);
        struct view preferred = scan_string(SCAN_PATH(text, "preferredVersion", "version"));
        struct scan versions = scan_begin(scan_get(text, "versions"));

        if (group && preferred.length)
                version_at(group, preferred, true);
        while (group && scan_next(&versions)) {
                struct view name = scan_string(scan_get(versions.value, "version"));

                if (name.length)
                        version_at(group, name, true);
        }
}

static void take_legacy(struct kube_server *server, struct view body, bool core)
{
        struct scan items = scan_begin(scan_get(body, core ? "versions" : "groups"));

        while (scan_next(&items)) {
                if (!core)
                        take_group(server, items.value);
                else if (scan_string(items.value).length)
                        version_at(group_at(server, VIEW_NULL, true), scan_string(items.value), true);
        }
}

/* A whole APIResourceList. What it does not name is taken for not served, and its objects for gone: half an answer, or a page of a proxy, is none. */
static bool is_resource_list(struct view body)
{
        struct view list = scan_get(body, "resources");
        struct scan resources = scan_begin(list);

        while (scan_next(&resources))
                ;
        return scan_value_end(body, 0) && (scan_complete(&resources) || view_is(list, "null"));
}

/* An APIResourceList. */
static void take_resources(struct version *version, struct view body)
{
        struct scan resources = scan_begin(scan_get(body, "resources"));

        buffer_clear(&version->packed);
        version->loaded = true;
        while (scan_next(&resources)) {
                struct view name = scan_string(scan_get(resources.value, "name"));

                if (view_find(name, '/', 0) < 0)
                        pack(version, scan_string(scan_get(resources.value, "kind")), name,
                             scan_is_true(scan_get(resources.value, "namespaced")));
        }
}

static int fetch_root(struct context *ctx, struct kube_client *client, const char *path, struct error *err)
{
        cleanup(http_response_release) struct http_response response = HTTP_RESPONSE_NULL;
        struct kube_server *server = client->server;

        if (fetch(ctx, client, path, AGGREGATED, &response, err) < 0)
                return error_wrap(err, "discover the API of the server");
        pthread_mutex_lock(&server->discovery_lock);
        if (is_aggregated(&response))
                take_aggregated(server, buffer_view(&response.body));
        else
                take_legacy(server, buffer_view(&response.body), strcmp(path, "/api") == 0);
        pthread_mutex_unlock(&server->discovery_lock);
        return 0;
}

static char *version_path(const char *group, const char *version)
{
        return memory_printf(*group ? "/apis/%s/%s" : "/api%s/%s", group, version);
}

static void version_drop(struct kube_group *group, struct version *gone)
{
        struct version **link = &group->versions;

        while (*link != gone)
                link = &(*link)->next;
        *link = gone->next;
        gone->next = NULL;
        versions_free(&gone);
}

/* One group version anew; a 404 drops it. */
static int fetch_version(struct context *ctx, struct kube_client *client, const char *group_name, const char *version_name,
                         struct error *err)
{
        cleanup(http_response_release) struct http_response response = HTTP_RESPONSE_NULL;
        cleanup(free_string) char *path = version_path(group_name, version_name);
        struct kube_server *server = client->server;
        struct kube_group *group;
        struct version *version;
        int r = fetch(ctx, client, path, "application/json", &response, err);

        if (r == 0 && !is_resource_list(buffer_view(&response.body)))
                r = error_set(err, ERROR_UNAVAILABLE, "the answer is no list of resources, or a part of one");
        if (r < 0 && response.status != 404)
                return error_wrap(err, "discover %s%s%s", group_name, *group_name ? "/" : "", version_name);
        pthread_mutex_lock(&server->discovery_lock);
        group = group_at(server, view_of(group_name), r == 0);
        version = group ? version_at(group, view_of(version_name), r == 0) : NULL;
        if (r == 0 && version)
                take_resources(version, buffer_view(&response.body));
        else if (version)
                version_drop(group, version);
        pthread_mutex_unlock(&server->discovery_lock);
        if (r < 0)
                error_release(err);
        return 0;
}

/* The versions of one group anew. */
static int fetch_group(struct context *ctx, struct kube_client *client, const char *group_name, struct error *err)
{
        cleanup(http_response_release) struct http_response response = HTTP_RESPONSE_NULL;
        cleanup(free_string) char *path = memory_printf("/apis/%s", group_name);
        struct kube_group *group;
        int r = fetch(ctx, client, path, "application/json", &response, err);

        if (r < 0 && response.status == 404) {
                error_release(err);
                return 0;
        }
        if (r < 0)
                return error_wrap(err, "discover %s", group_name);
        pthread_mutex_lock(&client->server->discovery_lock);
        group = group_at(client->server, view_of(group_name), false);
        for (struct version *version = group ? group->versions : NULL; version; version = version->next)
                version->loaded = false; /* one that is gone is dropped when it is asked for */
        take_group(client->server, buffer_view(&response.body));
        pthread_mutex_unlock(&client->server->discovery_lock);
        return 0;
}

void kube_discovery_forget_version(struct kube_server *server, const char *group_name, const char *version_name)
{
        struct kube_group *group;
        struct version *version;

        pthread_mutex_lock(&server->discovery_lock);
        group = group_at(server, view_of(group_name), false);
        version = group ? version_at(group, view_of(version_name), false) : NULL;
        if (version)
                version->loaded = false; /* its place in the order of preference stays */
        pthread_mutex_unlock(&server->discovery_lock);
}

void kube_resource_forget(struct kube_client *client, const char *name)
{
        struct kube_server *server = client->server;

        pthread_mutex_lock(&server->discovery_lock);
        for (struct kube_group **link = &server->groups; *link; link = &(*link)->next) {
                struct kube_group *gone = *link;

                if (strcmp(gone->name, name) != 0)
                        continue;
                *link = gone->next;
                group_free(gone);
                server->forgotten++;
                break;
        }
        pthread_mutex_unlock(&server->discovery_lock);
}

/* ---- questions ---- */

struct question {
        const char *group, *version, *kind;
        const struct kube_resource *answer;
        char *unread; /* a version that has to be read before there can be an answer */
};

/* From the table alone, versions in order of preference. */
static void consult(struct kube_server *server, struct question *q)
{
        const struct kube_group *group;

        free(q->unread);
        *q = (struct question){ .group = q->group, .version = q->version, .kind = q->kind };
        pthread_mutex_lock(&server->discovery_lock);
        group = group_at(server, view_of(q->group), false);
        for (const struct version *v = group ? group->versions : NULL; v && !q->answer && !q->unread; v = v->next) {
                if (q->version && strcmp(v->name, q->version) != 0)
                        continue;
                if (!v->loaded)
                        q->unread = memory_string(v->name);
                else
                        q->answer = lookup(group, v, q->kind);
        }
        pthread_mutex_unlock(&server->discovery_lock);
}

/* One thread reads all, the others wait for it. */
static int discover(struct context *ctx, struct kube_client *client, struct error *err)
{
        struct kube_server *server = client->server;
        int r;

        for (;;) {
                bool wait;

                pthread_mutex_lock(&server->discovery_lock);
                wait = server->discovering;
                if (server->discovered || wait) {
                        pthread_mutex_unlock(&server->discovery_lock);
                        if (!wait)
                                return 0;
                        TRY(context_sleep(ctx, WAIT_MS, err));
                        continue;
                }
                server->discovering = true;
                pthread_mutex_unlock(&server->discovery_lock);
                break;
        }
        r = fetch_root(ctx, client, "/api", err);
        if (r == 0)
                r = fetch_root(ctx, client, "/apis", err);
        pthread_mutex_lock(&server->discovery_lock);
        server->discovering = false;
        server->discovered = r == 0;
        pthread_mutex_unlock(&server->discovery_lock);
        return r;
}

static int no_match(const struct question *q, struct error *err)
{
        if (q->version && *q->version)
                error_set_reason(err, ERROR_NOT_FOUND, "NoKindMatch", "no matches for kind \"%s\" in version \"%s%s%s\"", q->kind,
                                 q->group, *q->group ? "/" : "", q->version);
        else
                error_set_reason(err, ERROR_NOT_FOUND, "NoKindMatch", "no matches for kind \"%s\" in group \"%s\"", q->kind,
                                 q->group);
        return KUBE_NO_MATCH;
}

/* Reads versions that are known but not read; their number bounds it. */
static int consult_reading(struct context *ctx, struct kube_client *client, struct question *q, bool *ret_read, struct error *err)
{
        consult(client->server, q);
        for (unsigned i = 0; q->unread && i <= VERSIONS_LIMIT; i++) {
                *ret_read = true;
                TRY(fetch_version(ctx, client, q->group, q->unread, err));
                consult(client->server, q);
        }
        return 0;
}

static unsigned forgotten(struct kube_server *server)
{
        unsigned count;

        pthread_mutex_lock(&server->discovery_lock);
        count = server->forgotten;
        pthread_mutex_unlock(&server->discovery_lock);
        return count;
}

static int ask(struct context *ctx, struct kube_client *client, struct question *q, struct error *err)
{
        bool read = false;

        TRY(discover(ctx, client, err));
        TRY(consult_reading(ctx, client, q, &read, err));
        if (q->answer || read)
                return 0;
        /* It may have come since the table was read; and a server that starts names its groups before it has found all. */
        if (q->version || !*q->group) {
                TRY(fetch_version(ctx, client, q->group, q->version ? q->version : "v1", err));
        } else {
                TRY(fetch_group(ctx, client, q->group, err));
        }
        return consult_reading(ctx, client, q, &read, err);
}

static bool is_loaded(struct kube_server *server, const char *group_name, const char *version_name)
{
        const struct kube_group *group;
        const struct version *version;
        bool loaded;

        pthread_mutex_lock(&server->discovery_lock);
        group = group_at(server, view_of(group_name), false);
        version = group ? group->versions : NULL;
        while (version && strcmp(version->name, version_name) != 0)
                version = version->next;
        loaded = version && version->loaded;
        pthread_mutex_unlock(&server->discovery_lock);
        return loaded;
}

/* `list` is the array of a group's versions: objects with a `version`, or texts. */
static int check_versions(struct context *ctx, struct kube_client *client, const char *group, struct view list, struct error *err)
{
        struct scan versions = scan_begin(list);

        while (scan_next(&versions)) {
                struct view name = scan_string(*group ? scan_get(versions.value, "version") : versions.value);
                cleanup(free_string) char *version = memory_string_n(name.length ? name.data : "", name.length);

                if (is_loaded(client->server, group, version))
                        continue;
                TRY(fetch_version(ctx, client, group, version, err));
                if (!is_loaded(client->server, group, version))
                        return error_set(err, ERROR_UNAVAILABLE, "the server lists %s%s%s, but does not say what is in it", group,
                                         *group ? "/" : "", version);
        }
        return 0;
}

int kube_group_check(struct context *ctx, struct kube_client *client, const char *group, struct error *err)
{
        cleanup(http_response_release) struct http_response response = HTTP_RESPONSE_NULL;
        const char *path = *group ? "/apis" : "/api";
        struct scan items;
        struct view list;

        if (fetch(ctx, client, path, "application/json", &response, err) < 0)
                return error_wrap(err, "discover the API of the server");
        list = scan_get(buffer_view(&response.body), *group ? "groups" : "versions");
        if (!*group)
                return list.length ? check_versions(ctx, client, group, list, err)
                                   : error_set(err, ERROR_UNAVAILABLE, "the answer to %s is no list of versions", path);
        items = scan_begin(list);
        while (scan_next(&items))
                if (view_is(scan_string(scan_get(items.value, "name")), group))
                        return check_versions(ctx, client, group, scan_get(items.value, "versions"), err);
        if (!scan_complete(&items))
                return error_set(err, ERROR_UNAVAILABLE, "the answer to %s is no list of groups, or a part of one", path);
        return 0;
}

int kube_resource_find(struct context *ctx, struct kube_client *client, const char *group, const char *version, const char *kind,
                       const struct kube_resource **ret_resource, struct error *err)
{
        struct question q = { .group = group, .version = version && *version ? version : NULL, .kind = kind };
        unsigned before, tries = 0;
        int r;

        do {
                /* What another thread forgot meanwhile was missing from the table, not from the server. */
                before = forgotten(client->server);
                r = ask(ctx, client, &q, err);
        } while (r == 0 && !q.answer && before != forgotten(client->server) && ++tries < FORGOTTEN_TRIES);
        free(q.unread);
        if (r < 0)
                return -1;
        if (!q.answer)
                return no_match(&q, err);
        *ret_resource = q.answer;
        return 0;
}
