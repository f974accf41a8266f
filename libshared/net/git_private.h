/*
 * git_private: what the parts of the git room share. Everything here runs in the job.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "net/git.h"

#include <git2.h>
#include <git2/sys/transport.h>

struct git_url {
        const char *scheme;
        const char *host; /* without brackets */
        unsigned port;
        bool default_port;
        const char *path;  /* with the leading slash, decoded for ssh */
        const char *query; /* NULL: none */
        const char *user;  /* decoded; NULL: none */
        const char *password;
};

/* ERROR_INVALID with the parser's reason. Strings live in the arena. */
int git_url_parse(struct arena *arena, struct view text, struct git_url *ret_url, struct error *err);
/* scheme://host[:port]path without user information. */
void git_url_print(const struct git_url *url, struct buffer *text);
/*
 * Where a redirect of info/refs leads: http and https only, never from https to http, a path that still ends in /info/refs. *ret_url is the
 * new base; *ret_other is true if host or port changed, so that credentials must stay behind.
 */
int git_url_redirect(struct arena *arena, const struct git_url *base, struct view location, struct git_url *ret_url,
                     bool *ret_other, struct error *err);

/* Listens to what a server sends, for its reason to give up. A zeroed one is ready. */
struct git_packets {
        const char *said; /* that reason; NULL: none so far */
        /* private */
        bool inside; /* a packet; else its length is being read */
        bool over;
        size_t left;   /* of the packet */
        size_t length; /* of what is in text */
        char text[1024];
};

/* The next bytes of an answer; a new answer begins after git_packets_restart. */
void git_packets_hear(struct git_packets *packets, struct arena *arena, struct view bytes);
void git_packets_restart(struct git_packets *packets);

/* One conversation with a server. */
struct git_session {
        const struct git_request *request;
        struct arena *arena;
        struct git_url url; /* a redirect moves it */
        int64_t deadline_ms;
        bool without_credentials; /* a redirect led to another host */
        struct git_packets packets;
        int alert;            /* the TLS alert with which a server refused us; 0: none */
        bool asked;           /* it wants a client certificate, and there is none */
        void *identity;       /* for ssh: git_ssh_prepare's */
        struct error failure; /* the transport's; libgit2 only knows that it failed */
};

/* Milliseconds that are left; -1 with "context deadline exceeded" if none. */
int git_remaining(const struct git_session *session, int64_t *ret_ms, struct error *err);
int git_deadline_exceeded(struct error *err);

/* The transports, as git_smart_subtransport_cb; the parameter is the session. */
int git_http_subtransport(git_smart_subtransport **out, git_transport *owner, void *session);
int git_ssh_subtransport(git_smart_subtransport **out, git_transport *owner, void *session);
/* Reads the private key before anybody is called. ERROR_FORBIDDEN: it cannot be read. The key lives as long as the job. */
int git_ssh_prepare(struct git_session *session, struct error *err);

/* libcurl's proxy options for the request; both transports connect through it. */
typedef void CURL;
int git_curl_connection(CURL *curl, struct git_session *session, struct error *err);
/*
 * Why a transfer failed, in the words of Go's net and crypto/tls where they have some for it, with the address where nobody answered: `problem`
 * is its error buffer, `code` its CURLcode.
 */
const char *git_curl_problem(CURL *curl, int code, const char *problem, const struct git_session *session);
/* libgit2's last error, as ERROR_INVALID. */
int git_library_error(struct error *err);
/* Remembers in the session the alert that the server sends. `tls` is the SSL_CTX of the connection to come. */
void git_trouble_listen(void *tls, struct git_session *session);

/* What an ls-remote answered, in the server's order. Peeled tags are entries "refs/tags/v1^{}". */
struct git_advertised {
        const char *name;
        git_oid oid;
};

struct git_candidate {
        const char *name; /* to fetch; NULL: the commit itself by its id */
        git_oid oid;      /* of the commit (a tag is peeled where the server says so) */
};

struct git_selection {
        const char *reference;            /* full name, NULL if only a commit was asked for */
        bool full_name;                   /* the revision shows the reference's full name */
        struct git_candidate *candidates; /* more than one: the newest commit counts (equal versions) */
        size_t count;
};

/* Outcome of git_select besides 0: GIT_EMPTY. */
int git_select(struct arena *arena, const struct git_request *request, const struct git_advertised *heads, size_t count,
               struct git_selection *ret_selection, struct error *err);
/* "<short or full name>@sha1:<hex>" */
const char *git_revision(struct arena *arena, const struct git_selection *selection, const char *reference, const git_oid *commit);

/* The tree of a commit as tar.gz. */
int git_archive(git_repository *repository, const git_oid *tree, const struct git_request *request, int output,
                struct git_result *result, struct error *err);

/* The request and the result on their way into the job and back. */
void git_request_encode(const struct git_request *request, struct buffer *bytes);
int git_request_decode(struct view bytes, struct git_request *ret_request, struct error *err);
void git_result_encode(int outcome, const struct git_result *result, struct buffer *bytes);
int git_result_decode(struct arena *arena, struct view bytes, int *ret_outcome, struct git_result *ret_result, struct error *err);
