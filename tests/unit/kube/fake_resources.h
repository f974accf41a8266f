/*
 * fake_resources: what the API server of a test serves, in place of kube/discovery.c at link time. The group "broken.example.org" cannot be discovered, and
 * "silent.example.org" is listed and not answered for.
 */
#pragma once

#include "../test.h"

#include "kube/client.h"

#include <string.h>

static const struct kube_resource fake_resources[] = {
        { "", "v1", "ConfigMap", "configmaps", "v1", true },
        { "", "v1", "Namespace", "namespaces", "v1", false },
        { "apps", "v1", "Deployment", "deployments", "apps/v1", true },
        { "batch", "v1", "Job", "jobs", "batch/v1", true },
        { "", "v1", "Event", "events", "v1", true },
        { "events.k8s.io", "v1", "Event", "events", "events.k8s.io/v1", true },
        { "rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", "rbac.authorization.k8s.io/v1", false },
        { "storage.k8s.io", "v1", "StorageClass", "storageclasses", "storage.k8s.io/v1", false },
        { "authorization.k8s.io", "v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews", "authorization.k8s.io/v1", false },
        { "example.org", "v2", "Tenant", "tenants", "example.org/v2", true },
        { "kustomize.toolkit.fluxcd.io", "v1", "Kustomization", "kustomizations", "kustomize.toolkit.fluxcd.io/v1", true },
        { "source.toolkit.fluxcd.io", "v1", "GitRepository", "gitrepositories", "source.toolkit.fluxcd.io/v1", true },
        { "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", "apiextensions.k8s.io/v1", false },
};

int kube_resource_find(struct context *context, struct kube_client *client, const char *group, const char *version,
                       const char *kind, const struct kube_resource **ret_resource, struct error *error)
{
        (void)context, (void)client;
        for (size_t i = 0; i < COUNT(fake_resources); i++)
                if (!strcmp(fake_resources[i].kind, kind) && !strcmp(fake_resources[i].group, group) &&
                    (!version || !*version || !strcmp(fake_resources[i].version, version))) {
                        *ret_resource = &fake_resources[i];
                        return 0;
                }
        if (!strcmp(group, "broken.example.org"))
                return error_set(error, ERROR_UNAVAILABLE, "the server is currently unable to handle the request");
        error_set_reason(error, ERROR_NOT_FOUND, "NoKindMatch", "no matches for kind \"%s\" in version \"%s/%s\"", kind, group,
                         version ? version : "");
        return KUBE_NO_MATCH;
}

static char fake_forgotten[64]; /* the last group that was to be discovered anew */

int kube_group_check(struct context *context, struct kube_client *client, const char *group, struct error *error)
{
        (void)context, (void)client;
        if (!strcmp(group, "silent.example.org"))
                return error_set(error, ERROR_UNAVAILABLE, "the server lists %s/v1, but does not say what is in it", group);
        return 0;
}

void kube_resource_forget(struct kube_client *client, const char *group)
{
        (void)client;
        snprintf(fake_forgotten, sizeof(fake_forgotten), "%s", group);
}

const struct kube_resource *kube_resource_intern(const char *group, const char *version, const char *kind, const char *plural,
                                                 bool namespaced)
{
        (void)version, (void)plural, (void)namespaced;
        for (size_t i = 0; i < COUNT(fake_resources); i++)
                if (!strcmp(fake_resources[i].kind, kind) && !strcmp(fake_resources[i].group, group))
                        return &fake_resources[i];
        return &fake_resources[0];
}
