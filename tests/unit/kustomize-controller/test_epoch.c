#include "../test.h"

#include "../../../kustomize-controller/epoch.h"
#include "kube/client.h"

static struct cache_object object(int64_t generation)
{
        return (struct cache_object){ .generation = generation, .namespace = "", .name = "widgets.example.com" };
}

static void admission_counts_but_for_its_status(void **state)
{
        const struct cache_object one = object(1), again = object(1), two = object(2);

        (void)state;
        assert_true(epoch_admission_changed(&(struct cache_event){ .new = &one }));
        assert_true(epoch_admission_changed(&(struct cache_event){ .new = &one, .initial = true }));
        assert_true(epoch_admission_changed(&(struct cache_event){ .old = &one }));
        assert_true(epoch_admission_changed(&(struct cache_event){ .old = &one, .new = &two }));
        assert_false(epoch_admission_changed(&(struct cache_event){ .old = &one, .new = &again }));
}

static void a_definition_counts_once_it_has_objects(void **state)
{
        const struct cache_object one = object(1), again = object(1), two = object(2);

        (void)state;
        assert_false(epoch_definition_changed(&(struct cache_event){ .new = &one }));
        assert_false(epoch_definition_changed(&(struct cache_event){ .old = &one }));
        assert_false(epoch_definition_changed(&(struct cache_event){ .old = &one, .new = &again }));
        assert_true(epoch_definition_changed(&(struct cache_event){ .old = &one, .new = &two }));
}

static void a_definition_is_of_one_kind(void **state)
{
        const struct kube_resource *widgets = kube_resource_intern("example.com", "v1", "Widget", "widgets", true),
                                   *pods = kube_resource_intern("", "v1", "Pod", "pods", true);

        (void)state;
        assert_true(epoch_defines("widgets.example.com", widgets));
        assert_false(epoch_defines("widgets.example.co", widgets));
        assert_false(epoch_defines("widget.example.com", widgets));
        assert_false(epoch_defines("bigwidgets.example.com", widgets));
        assert_false(epoch_defines("pods.", pods));
}

static void a_version_changes_from_one_to_another(void **state)
{
        struct epoch_version version = { "" };

        (void)state;
        assert_false(epoch_version_changed(&version, view_of("{\"gitVersion\":\"v1.35.1\"}")));
        assert_false(epoch_version_changed(&version, view_of("{\"gitVersion\":\"v1.35.1\"}")));
        assert_false(epoch_version_changed(&version, view_of("{}")));
        assert_true(epoch_version_changed(&version, view_of("{\"gitVersion\":\"v1.36.0\"}")));
        assert_false(epoch_version_changed(&version, view_of("{\"gitVersion\":\"v1.36.0\"}")));
}

int main(void)
{
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(admission_counts_but_for_its_status),
                cmocka_unit_test(a_definition_counts_once_it_has_objects),
                cmocka_unit_test(a_definition_is_of_one_kind),
                cmocka_unit_test(a_version_changes_from_one_to_another),
        };

        return cmocka_run_group_tests_name("epoch", tests, NULL, NULL);
}
