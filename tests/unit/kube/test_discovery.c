#include "api_server.h"

#include "kube/client_private.h"

/* An API server that can say what it serves in each of the three ways. */
enum way {
        V2,
        V2BETA1,
        LEGACY,
};

static struct {
        enum way way;
        _Atomic bool has_new; /* a CRD came: kind New in x.io/v1, nothing else says so */
        const char *plural;   /* of it */
        const char *refusal;  /* of a plural that is not served */
        const char *cut;      /* in place of what /apis/x.io/v1 answers; NULL: nothing */
        const char *absent;   /* 404 for every path that begins like this; NULL: none */
} api;

#define RESOURCE(kind, plural, scope)                                                                                              \
        "{\"resource\":\"" plural "\",\"responseKind\":{\"group\":\"\",\"version\":\"\",\"kind\":\"" kind "\"},\"scope\":\"" scope \
        "\","                                                                                                                      \
        "\"singularResource\":\"x\",\"verbs\":[\"get\"],\"subresources\":[{\"subresource\":\"status\",\"responseKind\":{\"kind\":" \
        "\"Wrong\"}}]}"

#define VERSION(name, resources) "{\"version\":\"" name "\",\"freshness\":\"Current\",\"resources\":[" resources "]}"
#define GROUP(name, versions)    "{\"metadata\":{" name "},\"versions\":[" versions "]}"
#define GROUPS(items)            "{\"kind\":\"APIGroupDiscoveryList\",\"items\":[" items "]}"

#define CONFIG_MAP RESOURCE("ConfigMap", "configmaps", "Namespaced")
#define NODE       RESOURCE("Node", "nodes", "Cluster")
#define DEPLOYMENT RESOURCE("Deployment", "deployments", "Namespaced")
#define OLD        RESOURCE("Old", "olds", "Cluster")
#define THING      RESOURCE("Thing", "things", "Namespaced")

#define APPS    GROUP("\"name\":\"apps\"", VERSION("v1", DEPLOYMENT) "," VERSION("v1beta1", DEPLOYMENT "," OLD))
#define METRICS GROUP("\"name\":\"metrics.k8s.io\"", "{\"version\":\"v1\",\"freshness\":\"Stale\"}")
#define X_IO    GROUP("\"name\":\"x.io\"", VERSION("v1", THING))

static const char core_aggregated[] = GROUPS(GROUP("", VERSION("v1", CONFIG_MAP "," NODE ",{\"resource\":\"odd\"}")));
static const char groups_aggregated[] = GROUPS(APPS "," METRICS "," X_IO);

static const struct {
        const char *path, *body;
} legacy[] = {
        { "/api", "{\"kind\":\"APIVersions\",\"versions\":[\"v1\"]}" },
        { "/api/v1", "{\"resources\":[{\"name\":\"configmaps\",\"namespaced\":true,\"kind\":\"ConfigMap\"},{\"name\":\"nodes\","
                     "\"namespaced\":false,\"kind\":"
                     "\"Node\"},{\"name\":\"nodes/status\",\"namespaced\":false,\"kind\":\"Wrong\"}]}" },
        { "/apis", "{\"kind\":\"APIGroupList\",\"groups\":["
                   "{\"name\":\"apps\",\"versions\":[{\"version\":\"v1beta1\"},{\"version\":\"v1\"}],\"preferredVersion\":{"
                   "\"version\":\"v1\"}},"
                   "{\"name\":\"metrics.k8s.io\",\"versions\":[{\"version\":\"v1\"}]},{\"name\":\"x.io\",\"versions\":[{"
                   "\"version\":\"v1\"}]}]}" },
        { "/apis/apps/v1", "{\"resources\":[{\"name\":\"deployments\",\"namespaced\":true,\"kind\":\"Deployment\"}]}" },
        { "/apis/apps/v1beta1", "{\"resources\":[{\"name\":\"deployments\",\"namespaced\":true,\"kind\":\"Deployment\"},{\"name\":"
                                "\"olds\",\"namespaced\":"
                                "false,\"kind\":\"Old\"}]}" },
        { "/apis/apps", "{\"name\":\"apps\",\"versions\":[{\"version\":\"v1\"},{\"version\":\"v1beta1\"}],\"preferredVersion\":{"
                        "\"version\":\"v1\"}}" },
        { "/apis/x.io", "{\"name\":\"x.io\",\"versions\":[{\"version\":\"v1\"}],\"preferredVersion\":{\"version\":\"v1\"}}" },
};

static enum fake_next serve_new(struct fake_connection *connection)
{
        cleanup(free_string) char *body =
                memory_printf("{\"resources\":[{\"name\":\"things\",\"namespaced\":true,\"kind\":\"Thing\"}%s%s%s]}",
                              api.has_new ? ",{\"name\":\"" : "", api.has_new ? api.plural : "",
                              api.has_new ? "\",\"namespaced\":true,\"kind\":\"New\"}" : "");

        return fake_json(connection, "200 OK", body);
}

static enum fake_next serve(void *data, struct fake_connection *connection, const struct fake_request *request)
{
        cleanup(free_string) char *accept = fake_header(request, "Accept");
        const char *path = request->target;
        bool root = strcmp(path, "/api") == 0 || strcmp(path, "/apis") == 0;

        (void)data;
        if (api.absent && view_starts(view_of(path), view_of(api.absent)))
                return fake_answer(connection, "404 Not Found", "", "404 page not found\n");
        if (strcmp(path, "/apis/x.io/v1") == 0)
                return api.cut ? fake_json(connection, "200 OK", api.cut) : serve_new(connection);
        if (strcmp(path, "/apis/late.io/v1") == 0)
                return fake_json(connection, "200 OK",
                                 "{\"resources\":[{\"name\":\"lates\",\"namespaced\":true,\"kind\":\"Late\"}]}");
        if (strcmp(path, "/apis/metrics.k8s.io/v1") == 0)
                return fake_answer(connection, "503 Service Unavailable", "", "down");
        if (strncmp(path, "/apis/x.io/v1/namespaces/ns/", 28) == 0)
                return strncmp(path + 28, api.plural, strlen(api.plural)) == 0
                               ? fake_json(connection, "200 OK", ANSWER)
                               : fake_answer(connection, api.refusal, "", "404 page not found\n");
        if (root && api.way != LEGACY && strstr(accept, api.way == V2 ? "v=v2;" : "v=v2beta1;"))
                return fake_answer(
                        connection, "200 OK",
                        api.way == V2
                                ? "Content-Type: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList\r\n"
                                : "Content-Type: application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList\r\n",
                        strcmp(path, "/api") == 0 ? core_aggregated : groups_aggregated);
        for (size_t i = 0; i < COUNT(legacy); i++)
                if (strcmp(path, legacy[i].path) == 0)
                        return fake_json(connection, "200 OK", legacy[i].body);
        return fake_answer(connection, "404 Not Found", "", "404 page not found\n");
}

static void api_open(struct fixture *f, enum way way)
{
        api.way = way;
        api.has_new = false;
        api.plural = "news";
        api.refusal = "404 Not Found";
        api.cut = api.absent = NULL;
        fixture_open(f, serve, "token: t");
}

static void three_ways_give_one_mapping(void **state)
{
        static const struct {
                const char *group, *version, *kind;
                int result;
                const char *found; /* api version and plural, or the error */
                bool namespaced;
        } cases[] = {
                { "", "v1", "ConfigMap", 0, "v1 configmaps", true },
                { "", NULL, "Node", 0, "v1 nodes", false },
                { "apps", NULL, "Deployment", 0, "apps/v1 deployments", true },
                { "apps", "v1beta1", "Deployment", 0, "apps/v1beta1 deployments", true },
                { "apps", "", "Old", 0, "apps/v1beta1 olds", false },
                { "x.io", NULL, "Thing", 0, "x.io/v1 things", true },
                { "", "v1", "Wrong", KUBE_NO_MATCH, "no matches for kind \"Wrong\" in version \"v1\"", false },
                { "apps", "v2", "Deployment", KUBE_NO_MATCH, "no matches for kind \"Deployment\" in version \"apps/v2\"", false },
                { "none.io", "v1", "Thing", KUBE_NO_MATCH, "no matches for kind \"Thing\" in version \"none.io/v1\"", false },
                { "none.io", NULL, "Thing", KUBE_NO_MATCH, "no matches for kind \"Thing\" in group \"none.io\"", false },
                { "metrics.k8s.io", "v1", "NodeMetrics", -1,
                  "discover metrics.k8s.io/v1: the server is currently unable to handle the request", false },
        };

        (void)state;
        for (int way = V2; way <= LEGACY; way++) {
                cleanup(fixture_close) struct fixture f;

                api_open(&f, (enum way)way);
                for (size_t i = 0; i < COUNT(cases); i++) {
                        const struct kube_resource *resource = NULL;
                        int r = kube_resource_find(&f.ctx, f.client, cases[i].group, cases[i].version, cases[i].kind, &resource,
                                                   &f.err);

                        if (r != cases[i].result)
                                fail_msg("way %d, %s: %d %s", way, cases[i].kind, r, error_message(&f.err));
                        if (r == 0) {
                                cleanup(free_string) char *text = memory_printf("%s %s", resource->api_version, resource->plural);

                                assert_string_equal(text, cases[i].found);
                                assert_int_equal(resource->namespaced, cases[i].namespaced);
                        } else {
                                assert_string_equal(error_message(&f.err), cases[i].found);
                                error_release(&f.err);
                        }
                }
        }
}

static void a_crd_that_comes_later_costs_one_request(void **state)
{
        (void)state;
        for (int way = V2; way <= LEGACY; way++) {
                cleanup(fixture_close) struct fixture f;
                const struct kube_resource *resource = NULL, *again = NULL;
                int before;

                api_open(&f, (enum way)way);
                assert_int_equal(kube_resource_find(&f.ctx, f.client, "x.io", "v1", "New", &resource, &f.err), KUBE_NO_MATCH);
                api.has_new = true;
                before = f.script.count;
                assert_int_equal(kube_resource_find(&f.ctx, f.client, "x.io", "v1", "New", &resource, &f.err), 0);
                assert_int_equal(f.script.count - before, 1);
                assert_int_equal(kube_resource_find(&f.ctx, f.client, "x.io", "v1", "New", &again, &f.err), 0);
                assert_int_equal(f.script.count - before, 1);
                assert_ptr_equal(resource, again);
        }
}

static void find_renamed(const char *refusal)
{
        cleanup(fixture_close) struct fixture f;
        const struct kube_resource *resource = NULL;
        struct kube_request request = { .verb = KUBE_APPLY, .namespace = "ns", .name = "n", .body = VIEW("{}") };

        api_open(&f, V2);
        api.refusal = refusal;
        assert_int_equal(kube_resource_find(&f.ctx, f.client, "x.io", "v1", "New", &resource, &f.err), KUBE_NO_MATCH);
        api.has_new = true;
        assert_int_equal(kube_resource_find(&f.ctx, f.client, "x.io", "v1", "New", &resource, &f.err), 0);
        request.resource = resource;
        assert_int_equal(kube_call(&f.ctx, f.client, &request, NULL, &f.err), 0);
        api.plural = "newer";
        buffer_clear(&f.script.log);
        assert_int_equal(kube_call(&f.ctx, f.client, &request, NULL, &f.err), 0);
        assert_string_equal(f.script.log.data,
                            "PATCH /apis/x.io/v1/namespaces/ns/news/n?fieldManager=test-controller&fieldValidation=Ignore {}\n"
                            "GET /apis/x.io/v1 \n"
                            "PATCH /apis/x.io/v1/namespaces/ns/newer/n?fieldManager=test-controller&fieldValidation=Ignore {}\n");
        assert_int_equal(kube_resource_find(&f.ctx, f.client, "x.io", "v1", "New", &resource, &f.err), 0);
        assert_string_equal(resource->plural, "newer");
}

static void a_renamed_plural_is_found_on_the_way(void **state)
{
        (void)state;
        find_renamed("404 Not Found");
        find_renamed("405 Method Not Allowed");
}

static void a_forgotten_group_is_read_again(void **state)
{
        cleanup(fixture_close) struct fixture f;
        const struct kube_resource *resource = NULL;

        (void)state;
        api_open(&f, V2);
        assert_int_equal(kube_resource_find(&f.ctx, f.client, "x.io", NULL, "Thing", &resource, &f.err), 0);
        kube_resource_forget(f.client, "x.io");
        api.has_new = true;
        assert_int_equal(kube_resource_find(&f.ctx, f.client, "x.io", NULL, "New", &resource, &f.err), 0);
        assert_string_equal(resource->plural, "news");
        assert_int_equal(kube_resource_find(&f.ctx, f.client, "apps", NULL, "Deployment", &resource, &f.err), 0);
}

/* What is not found counts as gone: so it must be asked for by its own path, and the answer be whole. */
static void what_is_not_served_is_so_by_its_own_path(void **state)
{
        static const char *const cut[] = {
                "{\"resources\":[{\"name\":\"things\",\"namespaced\":true,\"kind\":\"Thing\"}",
                "{\"resources\":[{\"name\":\"things\",\"namespaced\":true,\"kind\":\"Thing\"}]",
                "{\"kind\":\"APIResourceList\",",
                "<html>please log in</html>",
                "",
        };
        const struct kube_resource *resource = NULL;

        (void)state;
        for (int way = V2; way <= LEGACY; way++) {
                cleanup(fixture_close) struct fixture f;

                api_open(&f, (enum way)way);
                /* The first question of all: the list of groups is of this moment, and lacks one. */
                assert_int_equal(kube_resource_find(&f.ctx, f.client, "late.io", "v1", "Late", &resource, &f.err), 0);
                for (size_t i = 0; i < COUNT(cut); i++) {
                        api.cut = cut[i];
                        kube_discovery_forget_version(f.client->server, "x.io", "v1");
                        assert_int_equal(kube_resource_find(&f.ctx, f.client, "x.io", "v1", "New", &resource, &f.err), -1);
                        assert_int_equal(f.err.kind, ERROR_UNAVAILABLE);
                        error_release(&f.err);
                }
                api.cut = "{\"resources\":null}";
                assert_int_equal(kube_resource_find(&f.ctx, f.client, "x.io", "v1", "New", &resource, &f.err), KUBE_NO_MATCH);
                error_release(&f.err);
        }
}

/* Who answers for a group may be away while somebody else lists it, and a proxy says 404 to everything: neither says that a kind is gone. */
static void what_is_listed_and_not_answered_for_is_not_gone(void **state)
{
        static const struct {
                const char *name, *absent, *group;
                int result;
                const char *part;
        } cases[] = {
                { "all is there", "nothing", "x.io", 0, NULL },
                { "all is there", "nothing", "", 0, NULL },
                { "a group that is not listed", "nothing", "none.io", 0, NULL },
                { "nobody answers for it", "/apis/x.io/v1", "x.io", -1,
                  "the server lists x.io/v1, but does not say what is in it" },
                { "a version that fails", "nothing", "metrics.k8s.io", -1, "discover metrics.k8s.io/v1" },
                { "nobody answers at all", "/api", "x.io", -1, "discover the API of the server" },
                { "nobody answers at all", "/api", "none.io", -1, "discover the API of the server" },
                { "nobody answers at all", "/api", "", -1, "discover the API of the server" },
        };
        const struct kube_resource *resource = NULL;

        (void)state;
        for (int way = V2; way <= LEGACY; way++)
                for (size_t i = 0; i < COUNT(cases); i++) {
                        cleanup(fixture_close) struct fixture f;

                        api_open(&f, (enum way)way);
                        assert_int_equal(kube_resource_find(&f.ctx, f.client, "x.io", NULL, "Thing", &resource, &f.err), 0);
                        api.absent = cases[i].absent;
                        kube_discovery_forget_version(f.client->server, "x.io", "v1");
                        if (kube_group_check(&f.ctx, f.client, cases[i].group, &f.err) != cases[i].result)
                                fail_msg("%s: %s", cases[i].name, error_message(&f.err));
                        if (cases[i].part)
                                assert_non_null(strstr(error_message(&f.err), cases[i].part));
                }
}

static void *find_all(void *argument)
{
        struct fixture *f = argument;
        cleanup(error_release) struct error err = ERROR_NULL;
        const struct kube_resource *resource = NULL;

        for (int i = 0; i < 50; i++) {
                if (kube_resource_find(&f->ctx, f->client, "apps", NULL, "Deployment", &resource, &err) != 0)
                        return f;
                if (i % 10 == 5)
                        kube_resource_forget(f->client, "apps");
        }
        return NULL;
}

static void threads_find_at_once(void **state)
{
        cleanup(fixture_close) struct fixture f;

        (void)state;
        api_open(&f, LEGACY);
        on_threads(find_all, &f);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(three_ways_give_one_mapping),
                cmocka_unit_test(a_crd_that_comes_later_costs_one_request),
                cmocka_unit_test(a_renamed_plural_is_found_on_the_way),
                cmocka_unit_test(a_forgotten_group_is_read_again),
                cmocka_unit_test(what_is_not_served_is_so_by_its_own_path),
                cmocka_unit_test(what_is_listed_and_not_answered_for_is_not_gone),
                cmocka_unit_test(threads_find_at_once),
        };

        return cmocka_run_group_tests(tests, api_prepare, api_clean);
}
