/* SPDX-License-Identifier: Apache-2.0
 * http.h: a small server for one user's browser and scripts, by libmicrohttpd, which is loaded when it is
 * needed: no other command pays for it. Each connection has a thread of its own, so that a function that
 * answers may take its time; everything is bounded: connections, headers, bodies, the time of a request.
 *
 *     struct fdit_http *h = NULL;
 *     TRY(fdit_http_open(ctx, &options, &h)); // the port
 *     ... what takes its time before requests can be answered
 *     TRY(fdit_http_start(ctx, h, user));
 *     ... fdit_http_address(h), fdit_http_token(h) ...
 *     if (!fdit_http_stop(h, 1)) // a function still answers
 *         _exit(code); */
#ifndef FDIT_SERVE_HTTP_H
#define FDIT_SERVE_HTTP_H

#include "core/status.h"

#include <sys/types.h>

enum {
    FDIT_HTTP_MOST_CONNECTIONS = 64,
    FDIT_HTTP_MOST_STREAMS = 16,
    FDIT_HTTP_HEADER_BYTES = 32 << 10, /* of a request, its line included */
    FDIT_HTTP_BODY_BYTES = 64 << 10,
    FDIT_HTTP_DROPPED_BYTES =
        16 << 20,                   /* of a body that is too large and did not say so; then it is cut off */
    FDIT_HTTP_REQUEST_SECONDS = 10, /* from its first byte to its last */
    FDIT_HTTP_IDLE_SECONDS = 15,    /* a connection on which nothing moves */
    FDIT_HTTP_REPLY_SECONDS = 120,  /* to a client that reads slowly; streams have no end */
};

struct fdit_http;

/* A file of the page: given to everybody who asks for its path. */
struct fdit_http_file {
    const char *path, *type; /* "/page.js", "text/javascript; charset=utf-8" */
    const unsigned char *bytes;
    size_t n;
};

struct fdit_http_request {
    bool post;
    const char *path; /* behind "/api/" */
    const char *body; /* of n bytes, with a zero byte behind them */
    size_t n;
    const void *connection;
};
/* The argument `name` of the address, in UTF-8 (others are refused before); NULL: it is not there. */
const char *fdit_http_argument(const struct fdit_http_request *r, const char *name);

struct fdit_http_reply {
    int code;         /* 0: 200, or 400, 500 and 503 by the status that is returned */
    const char *type; /* NULL: JSON */
    char *bytes;      /* from fdit_alloc; taken */
    size_t n;
    /* Instead of bytes, where they are many and the client may be slow: n bytes of an open file, which is
     * taken. */
    bool from_file;
    int file;
    char download[96]; /* a file's name for the user's disk: letters, digits, dots and dashes; "": none */
    /* Instead of bytes: events as long as there are some. Writes at most n bytes and returns how many; -1:
     * the end. It may wait, but a second at a time (0: nothing yet), and has to end when the server stops.
     * stream_end is called in any case. */
    ssize_t (*stream)(void *user, char *out, size_t n);
    void (*stream_end)(void *user);
    void *stream_user;
};

/* Called by several threads at a time, each with a context of its own. A failure becomes the JSON
 * {"error": message}. */
typedef enum fdit_status (*fdit_http_fn)(fdit_context *ctx, void *user,
                                         const struct fdit_http_request *request,
                                         struct fdit_http_reply *reply);

struct fdit_http_options {
    const char *listen;       /* numeric address */
    int port;                 /* 0: a free one */
    const char *const *hosts; /* names under which others reach it; they have to be there for an address that
                               * is not of loopback */
    int n_hosts;
    int request_seconds;                /* 0: FDIT_HTTP_REQUEST_SECONDS */
    const struct fdit_http_file *files; /* the end has path NULL; "/" is the page */
    fdit_http_fn answer;
};

/* Whether this program can serve at all; else the reason, and the remedy, into why. */
bool fdit_http_available(char *why, size_t bytes);
/* FDIT_ERROR_UNSUPPORTED without libmicrohttpd, FDIT_ERROR_ARGUMENT for an address that is not one or that
 * others can reach without names for it, FDIT_ERROR_IO for a port that is taken. Whoever comes before
 * fdit_http_start waits. ctx must outlive it. Free with fdit_http_stop. */
enum fdit_status fdit_http_open(fdit_context *ctx, const struct fdit_http_options *options,
                                struct fdit_http **out);
/* Answers, with `user` for options->answer. After a failure it can only be stopped. */
enum fdit_status fdit_http_start(fdit_context *ctx, struct fdit_http *h, void *user);
/* Refuses what is new, ends what is open, and waits so many seconds for functions that answer. False: one
 * still does; then nothing that it uses may be freed, and a later call goes on waiting. NULL is allowed. */
bool fdit_http_stop(struct fdit_http *h, double seconds);
bool fdit_http_stopping(const struct fdit_http *h);       /* for those that wait in a stream */
const char *fdit_http_address(const struct fdit_http *h); /* "http://127.0.0.1:8080/" */
const char *fdit_http_token(const struct fdit_http *h);

#endif
