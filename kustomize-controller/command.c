/*
 * kustomize-controller: the command `build`; without a command, the controller.
 *
 * Loading the controller's forty libraries takes ten times as long as a small build. So this program holds the engine alone, and for anything
 * else becomes kustomize-controller-manager, which lies beside it: the same process and arguments.
 */
#include "engine/kustomize/kustomize.h"
#include "tunables.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SUFFIX "-manager"

static int become_manager(char **argv)
{
        char path[PATH_MAX + sizeof(SUFFIX)];
        ssize_t length = readlink("/proc/self/exe", path, PATH_MAX);

        if (length < 0) {
                fprintf(stderr, "kustomize-controller: find the controller: /proc/self/exe: %s\n", strerror(errno));
                return 1;
        }
        memcpy(path + length, SUFFIX, sizeof(SUFFIX));
        setenv(TUNABLES_VARIABLE, TUNABLES, 0);
        execv(path, argv);
        fprintf(stderr, "kustomize-controller: start the controller: %s: %s\n", path, strerror(errno));
        return 1;
}

int main(int argc, char **argv)
{
        if (argc < 2 || argv[1][0] == '-')
                return become_manager(argv);
        if (strcmp(argv[1], "build") == 0)
                return kustomize_command(argc - 2, argv + 2);
        fprintf(stderr, "Error: unknown command \"%s\": there is build\n", argv[1]);
        return 2;
}
