/* The engine's command line alone: what kustomize-controller's subcommand `build` runs, without the sandbox. */
#include "engine/kustomize/kustomize.h"

int main(int argc, char **argv)
{
        return kustomize_command(argc - 1, argv + 1);
}
