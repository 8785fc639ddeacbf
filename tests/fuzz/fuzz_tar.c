/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz.h"

#include "core/mem.h"
#include "format/tar.h"

#include <string.h>

enum { LIMIT = 1 << 20 };

static void check_name(const char *name)
{
    FUZZ_CHECK(*name && *name != '/');
    for (;;) {
        size_t n = strcspn(name, "/");
        FUZZ_CHECK(n > 0 && !(n == 1 && name[0] == '.') && !(n == 2 && name[0] == '.' && name[1] == '.'));
        if (!name[n])
            return;
        name += n + 1;
    }
}

/* Member by member, the contents in odd pieces: as many as the index has. */
static void check_stream(fdit_context *ctx, const uint8_t *bytes, size_t n, const struct fdit_tar *t)
{
    struct fdit_tar_stream *s = NULL;
    struct fdit_tar_member m;
    uint8_t piece[977];
    bool found = true;
    size_t count = 0, got;
    FUZZ_CHECK(fdit_tar_stream_open_memory(ctx, "input", bytes, n, &s) == FDIT_OK);
    while (fdit_tar_stream_next(ctx, s, &m, &found) == FDIT_OK && found) {
        check_name(m.name);
        uint64_t at = 0;
        enum fdit_status status;
        do {
            status = fdit_tar_stream_read(ctx, s, piece, sizeof piece, &got);
            if (t && status == FDIT_OK)
                FUZZ_CHECK(memcmp(piece, fdit_tar_data(t, count) + at, got) == 0);
            at += got;
        } while (status == FDIT_OK && got && at < LIMIT);
        FUZZ_CHECK(!t || at == fdit_tar_at(t, count)->size);
        if (status != FDIT_OK || at >= LIMIT)
            break;
        count++;
    }
    FUZZ_CHECK(!t || (count == fdit_tar_count(t) && !found));
    fdit_tar_stream_close(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    fdit_context *ctx = fdit_context_new();
    struct fdit_tar *t = NULL;
    size_t live = fdit_mem_stats().count, found;
    enum fdit_status status = fdit_tar_open_memory(ctx, "input", bytes, n, LIMIT / 2, &t);
    FUZZ_CHECK((status == FDIT_OK) == (t != NULL));
    FUZZ_CHECK(status == FDIT_OK || *fdit_context_message(ctx));
    FUZZ_CHECK(!t || fdit_tar_memory(t) <= LIMIT / 2);
    for (size_t i = 0; t && i < fdit_tar_count(t); i++) {
        const struct fdit_tar_member *m = fdit_tar_at(t, i);
        FUZZ_CHECK(fdit_tar_find(t, m->name, &found) && found >= i);
        uint32_t sum = 0; /* touches every byte */
        for (uint64_t k = 0; k < m->size; k++)
            sum += fdit_tar_data(t, i)[k];
        FUZZ_CHECK(sum <= m->size * 255);
    }
    check_stream(ctx, bytes, n, n < LIMIT ? t : NULL);
    fdit_tar_close(t);
    FUZZ_CHECK(fdit_mem_stats().count == live);
    fdit_context_free(ctx);
    return 0;
}
