/* SPDX-License-Identifier: Apache-2.0
 * guard.h: which requests the server answers. The threats are other web pages in the user's browser (requests
 * across origins, names that were rebound to this address) and other programs of the machine: a request has
 * to name one of the server's hosts exactly, must not come from another origin, and, but for the page
 * itself, has to bring the token that is made anew at each start. The token travels in a header alone: a
 * cookie would go to every server of the same host, whatever its port, and be sent by requests that another
 * page makes. */
#ifndef FDIT_SERVE_GUARD_H
#define FDIT_SERVE_GUARD_H

#include "core/status.h"

enum { FDIT_GUARD_TOKEN = 43, FDIT_GUARD_MOST_HOSTS = 16, FDIT_GUARD_HOST_BYTES = 272 };

struct fdit_guard {
    char token[FDIT_GUARD_TOKEN + 1];                         /* 256 bits in base64url */
    char hosts[FDIT_GUARD_MOST_HOSTS][FDIT_GUARD_HOST_BYTES]; /* "127.0.0.1:8080", as a Host header has it */
    int n_hosts;
};

/* A new token. FDIT_ERROR_IO when the system has no random numbers. */
enum fdit_status fdit_guard_init(fdit_context *ctx, struct fdit_guard *g);
/* Adds NAME:PORT, and for port 80 NAME alone. `name`: a host's name or address, of 6 in brackets; behind it
 * may stand another port, where a tunnel ends: "localhost:9000". FDIT_ERROR_ARGUMENT for what is none, or
 * too many. */
enum fdit_status fdit_guard_add_host(fdit_context *ctx, struct fdit_guard *g, const char *name, int port);

/* The headers of a request that decide; NULL: not there. */
struct fdit_guard_request {
    const char *method;
    const char *host;
    int hosts; /* how many Host headers there are */
    const char *origin;
    const char *site; /* Sec-Fetch-Site */
    const char *authorization;
    const char *type; /* Content-Type */
    bool open;        /* the page and its files: no token is asked for */
};
/* NULL: answer it. Else the reason in a sentence for people, and the HTTP status in *code. */
const char *fdit_guard_refuses(const struct fdit_guard *g, const struct fdit_guard_request *r, int *code);

#endif
