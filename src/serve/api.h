/* SPDX-License-Identifier: Apache-2.0
 * api.h: what the server answers under /api/, in JSON; doc/SERVE.md has it for users.
 *
 *     GET info                      what is served: model, weights, ranks, what can be asked for
 *     GET tree?node=&first=&count=  children of a node (serve/tree.h), a part at a time, and what is above it
 *     GET search?q=&first=&count=   nodes whose names fit (serve/find.h)
 *     POST draw {...}               orders pictures (serve/order.h)
 *     POST cancel {"order":1}
 *     GET orders                    all that are known, the newest first
 *     GET order?order=              one with its pictures, and the command that draws the same
 *     GET picture?order=&picture=   a PNG file
 *     GET preview?order=&picture=   how it looks after the step at hand; 204 when there is nothing to see
 *     GET sheet?order=&page=        a contact sheet
 *     GET real?node=&picture=       a real picture of a class, as PNG
 *     GET runs                      the runs that are watched, and the steps of their previews
 *     GET log?run=&from=            lines of a run's log.jsonl from a byte on, as they stand
 *     GET run-preview?run=&step=    one of its previews
 *     GET events                    server-sent events: orders as they change
 *
 * A node is a number out of an earlier answer; no name of a file comes from a client. */
#ifndef FDIT_SERVE_API_H
#define FDIT_SERVE_API_H

#include "serve/http.h"
#include "serve/numbers.h"
#include "serve/real.h"
#include "serve/studio.h"

enum { FDIT_API_MOST_NODES = 1000 /* of one answer */ };

struct fdit_api;

/* What is shown besides; nothing of it has to be there. */
struct fdit_api_shown {
    const struct fdit_real *real;
    const struct fdit_numbers *numbers;
    const char *const *runs; /* folders */
    int n_runs;
};

/* All that it is given must outlive it. Free with fdit_api_free, after the server has stopped. */
enum fdit_status fdit_api_new(fdit_context *ctx, struct fdit_studio *studio,
                              const struct fdit_api_shown *shown, struct fdit_api **out);
void fdit_api_free(struct fdit_api *api); /* NULL is allowed */
/* A fdit_http_fn; user: struct fdit_api. */
enum fdit_status fdit_api_answer(fdit_context *ctx, void *user, const struct fdit_http_request *request,
                                 struct fdit_http_reply *reply);

#endif
