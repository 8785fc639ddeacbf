/* SPDX-License-Identifier: Apache-2.0 */
#include "core/ranks.h"

#include "core/mem.h"

#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------ one process */

static enum fdit_status to_itself(fdit_context *ctx, struct fdit_ranks *r, const void *send, void *receive,
                                  size_t n)
{
    (void)ctx, (void)r;
    memcpy(receive, send, n);
    return FDIT_OK;
}

static enum fdit_status gather_itself(fdit_context *ctx, struct fdit_ranks *r, const void *send,
                                      void *receive, const size_t *sizes)
{
    return to_itself(ctx, r, send, receive, sizes[0]);
}

static enum fdit_status stays(fdit_context *ctx, struct fdit_ranks *r, void *bytes, size_t n)
{
    (void)ctx, (void)r, (void)bytes, (void)n;
    return FDIT_OK;
}

struct fdit_ranks fdit_ranks_alone(void)
{
    return (struct fdit_ranks){ .size = 1,
                                .local_size = 1,
                                .host = "here",
                                .all_to_all = to_itself,
                                .collect = to_itself,
                                .all_gather = gather_itself,
                                .broadcast = stays };
}

/* ------------------------------------------------------------------ how all fared */

enum { MESSAGE = 1000 }; /* bytes of a message that the others are told */

struct word {
    int32_t status;
    char host[64], message[MESSAGE];
};

/* What may happen on one host and not on another. */
static bool is_of_host(int32_t status)
{
    return status == FDIT_ERROR_MEMORY || status == FDIT_ERROR_IO || status == FDIT_ERROR_DEVICE ||
           status == FDIT_ERROR_NUMERIC;
}

static bool one_is_well(const struct word *words, int n)
{
    for (int q = 0; q < n; q++)
        if (words[q].status == FDIT_OK)
            return true;
    return false;
}

enum fdit_status fdit_ranks_settle(fdit_context *ctx, struct fdit_ranks *r, enum fdit_status own)
{
    enum fdit_status status = FDIT_OK;
    struct word *words = NULL, said = { .status = (int32_t)own }, first = { .status = FDIT_OK };
    int q = 0;
    snprintf(said.host, sizeof said.host, "%s", r->host);
    if (own != FDIT_OK)
        snprintf(said.message, MESSAGE, "%s",
                 *fdit_context_message(ctx) ? fdit_context_message(ctx) : fdit_status_text(own));
    TRY(fdit_alloc(ctx, (size_t)r->size, sizeof *words, &words));
    TRY(r->collect(ctx, r, &said, words, sizeof said));
    while (!r->rank && q < r->size && words[q].status == FDIT_OK)
        q++;
    if (!r->rank && q < r->size)
        first = words[q];
    /* what rank 0 alone met is of its host, too; what all met alike, and options, are not */
    if (!r->rank && q < r->size && (q > 0 || (is_of_host(first.status) && one_is_well(words, r->size))))
        snprintf(first.message, MESSAGE, "rank %d (%s): %.800s", q, words[q].host, words[q].message);
    TRY(r->broadcast(ctx, r, &first, sizeof first));
    r->together = first.status != FDIT_OK;
    if (r->together)
        FAIL(ctx, (enum fdit_status)first.status, "%s", first.message);
out:
    fdit_free(words);
    return status;
}
