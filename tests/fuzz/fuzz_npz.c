/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz.h"

#include "core/mem.h"
#include "format/npz.h"

enum { MOST = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    fdit_context *ctx = fdit_context_new();
    struct fdit_npz *z = NULL;
    size_t live = fdit_mem_stats().count;
    enum fdit_status status = fdit_npz_open_memory(ctx, "input", bytes, n, &z);
    FUZZ_CHECK((status == FDIT_OK) == (z != NULL));
    FUZZ_CHECK(status == FDIT_OK || *fdit_context_message(ctx));
    for (size_t i = 0; z && i < fdit_npz_count(z); i++) {
        const struct fdit_st_tensor *t = fdit_npz_at(z, i);
        float x[MOST];
        double d[MOST];
        int64_t k[MOST];
        FUZZ_CHECK(fdit_npz_find(z, t->name) != NULL);
        FUZZ_CHECK(t->rank >= 0 && t->rank <= FDIT_ST_MAX_RANK);
        FUZZ_CHECK(t->n * fdit_st_type_bytes(t->type) == t->bytes);
        if (t->n > MOST)
            continue;
        enum fdit_status f = fdit_npz_f32(ctx, z, t, x), w = fdit_npz_f64(ctx, z, t, d);
        enum fdit_status whole = fdit_npz_i64(ctx, z, t, k);
        FUZZ_CHECK(f == FDIT_OK || f == FDIT_ERROR_FORMAT);
        FUZZ_CHECK(w == FDIT_OK || w == FDIT_ERROR_FORMAT);
        FUZZ_CHECK(whole != FDIT_OK || f != FDIT_OK);
    }
    fdit_npz_close(z);
    FUZZ_CHECK(fdit_mem_stats().count == live);
    fdit_context_free(ctx);
    return 0;
}
