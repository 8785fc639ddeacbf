/* SPDX-License-Identifier: Apache-2.0
 * mpi_pieces.c: messages of processes under mpirun that are larger than one may be, and go in pieces.
 *
 *     mpirun -n 3 tests/mpi_pieces [MOST [BYTES]...]
 *
 * MOST (1000): bytes of one message, 0: what the transport can; BYTES: of each block, a few around MOST.
 * Every byte that arrives is looked at. Exit status 1, and what is wrong on stderr, when one is another. */
#include "core/mem.h"
#include "ranks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static fdit_context *ctx;
static struct fdit_ranks *ranks;

/* Byte i of what `from` sends to `to`; another in each place. */
static unsigned char byte_of(int from, int to, size_t i)
{
    return (unsigned char)(31 * from + 7 * to + 1 + i % 251 + i / 251 % 253);
}

static unsigned char *room(size_t n)
{
    unsigned char *bytes = NULL;
    if (fdit_alloc(ctx, n ? n : 1, 1, &bytes) != FDIT_OK)
        fdit_ranks_abort(ranks, 1);
    return bytes;
}

static void fill(unsigned char *out, size_t n, int from, int to)
{
    for (size_t i = 0; i < n; i++)
        out[i] = byte_of(from, to, i);
}

static void check(const char *what, enum fdit_status status, const unsigned char *got, size_t n, int from,
                  int to)
{
    size_t i = 0;
    while (status == FDIT_OK && i < n && got[i] == byte_of(from, to, i))
        i++;
    if (status == FDIT_OK && i == n)
        return;
    fprintf(stderr, "%s of %zu bytes, rank %d to rank %d: %s at byte %zu\n", what, n, from, to,
            status == FDIT_OK ? "another" : fdit_context_message(ctx), i);
    fdit_ranks_abort(ranks, 1);
}

static void exchange(size_t n)
{
    const int own = ranks->rank, size = ranks->size;
    size_t sizes[64], sum = 0, at = 0;
    for (int q = 0; q < size; q++)
        sum += sizes[q] = q == 1 ? n / 2 : n; /* of different sizes */
    unsigned char *send = room(n * (size_t)size), *receive = room(n * (size_t)size), *all = room(sum);
    for (int q = 0; q < size; q++)
        fill(send + (size_t)q * n, n, own, q);
    enum fdit_status status = ranks->all_to_all(ctx, ranks, send, receive, n);
    for (int q = 0; q < size; q++)
        check("all_to_all", status, receive + (size_t)q * n, n, q, own);
    fill(send, n, own, size);
    memset(receive, 0, n * (size_t)size);
    status = ranks->collect(ctx, ranks, send, receive, n);
    for (int q = 0; q < size; q++)
        check("collect", status, receive + (size_t)q * n, own ? 0 : n, q, size);
    status = ranks->all_gather(ctx, ranks, send, all, sizes);
    for (int q = 0; q < size; at += sizes[q++])
        check("all_gather", status, all + at, sizes[q], q, size);
    status = ranks->broadcast(ctx, ranks, send, n);
    check("broadcast", status, send, n, 0, size);
    fdit_free(send);
    fdit_free(receive);
    fdit_free(all);
}

int main(int argc, char **argv)
{
    static const size_t usual[] = { 0, 1, 499, 999, 1000, 1001, 2000, 2001, 54321 };
    const char *rank = getenv("OMPI_COMM_WORLD_RANK") ? getenv("OMPI_COMM_WORLD_RANK") : getenv("PMI_RANK");
    const size_t most = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000;
    ctx = fdit_context_new();
    if (!ctx || fdit_ranks_open(ctx, "mpi_pieces", rank ? atoi(rank) : 0, 120, &ranks) != FDIT_OK) {
        fprintf(stderr, "%s\n", ctx ? fdit_context_message(ctx) : "out of memory");
        return 1;
    }
    if (most)
        ranks->most = most;
    for (size_t i = 0; argc < 3 && i < sizeof usual / sizeof *usual; i++)
        exchange(usual[i]);
    for (int i = 2; i < argc; i++)
        exchange(strtoull(argv[i], NULL, 10));
    if (!ranks->rank)
        printf("%d processes, messages of %zu bytes at the most: all arrived\n", ranks->size, ranks->most);
    fdit_ranks_close(ranks);
    fdit_context_free(ctx);
    return 0;
}
