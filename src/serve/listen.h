/* SPDX-License-Identifier: Apache-2.0
 * listen.h: a socket that waits for connections, at exactly one address. */
#ifndef FDIT_SERVE_LISTEN_H
#define FDIT_SERVE_LISTEN_H

#include "core/status.h"

enum { FDIT_LISTEN_BYTES = 64 };

struct fdit_listen {
    char address[FDIT_LISTEN_BYTES]; /* numeric */
    int port;
    bool six, loopback;
};

/* FDIT_ERROR_ARGUMENT unless `address` is one of IP, 4 or 6, in numbers. */
enum fdit_status fdit_listen_parse(fdit_context *ctx, const char *address, int port, struct fdit_listen *out);
/* Binds and listens; l->port 0 becomes the one that was free. FDIT_ERROR_IO with the remedy. */
enum fdit_status fdit_listen_open(fdit_context *ctx, struct fdit_listen *l, int *out);

#endif
