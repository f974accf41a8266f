/*
 * curl_memory: libcurl with memory that is overwritten before it is given back. Answers with Secrets and headers with tokens pass through its buffers, and
 * what it frees may lie for as long as the process lives.
 */
#pragma once

/* Sets libcurl up. Once for a process, before anything else of libcurl is used; later calls change nothing. */
void curl_memory_init(void);
