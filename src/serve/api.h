/* SPDX-License-Identifier: Apache-2.0
 * api.h: what the server answers under /api/, in JSON; doc/SERVE.md has it for users.
 *
 *     GET info                      what is served: model, weights, ranks, limits
 *     GET tree?node=&first=&count=  children of a node (serve/tree.h), a part at a time, and what is above it
 *     GET search?q=&first=&count=   nodes whose names fit (serve/find.h)
 *
 * A node is a number out of an earlier answer; no name of a file comes from a client. */
#ifndef FDIT_SERVE_API_H
#define FDIT_SERVE_API_H

#include "sample/source.h"
#include "serve/http.h"

enum { FDIT_API_MOST_NODES = 1000 /* of one answer */ };

struct fdit_api;

/* Over open weights, which must outlive it; nothing is read of them but their names. Free with
 * fdit_api_free, after the server has stopped. */
enum fdit_status fdit_api_new(fdit_context *ctx, const struct fdit_sample_options *o,
                              const struct fdit_sample_source *source, struct fdit_api **out);
void fdit_api_free(struct fdit_api *api); /* NULL is allowed */
/* A fdit_http_fn; user: struct fdit_api. */
enum fdit_status fdit_api_answer(fdit_context *ctx, void *user, const struct fdit_http_request *request,
                                 struct fdit_http_reply *reply);

#endif
