/*
 * tunables: what command.c asks of glibc for the controller, in its environment. main.c takes it out again: a program that the controller starts (for
 * credentials) has its own threads and memory.
 *
 * glibc keeps for each thread some free pieces of every size, wherever they lie, and the stacks of threads that have ended. A hundred runs that wait for
 * health would keep tens of KiB each so, with the pages around them. It reads this before a program's own code runs.
 */
#pragma once

#define TUNABLES_VARIABLE "GLIBC_TUNABLES"
#define TUNABLES          "glibc.malloc.tcache_count=0:glibc.pthread.stack_cache_size=0"
