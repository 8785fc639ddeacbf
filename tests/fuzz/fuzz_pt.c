/* SPDX-License-Identifier: Apache-2.0
 * Torch files of both layouts, and the bytes as a bare pickle. */
#include "fuzz.h"

#include "core/mem.h"
#include "format/pt.h"
#include "format/pt_pickle.h"

#include <string.h>

enum { MOST = 256 };

/* What holds for every tensor of a file that was accepted. */
static void check_tensor(fdit_context *ctx, const struct fdit_pt *pt, size_t i, const uint8_t *bytes,
                         size_t n)
{
    const struct fdit_st_tensor *t = fdit_pt_at(pt, i);
    size_t size = fdit_st_type_bytes(t->type), last = 0;
    FUZZ_CHECK(fdit_pt_find(pt, t->name) == t);
    FUZZ_CHECK(t->rank >= 0 && t->rank <= FDIT_ST_MAX_RANK && t->n * size == t->bytes);
    for (int k = 0; t->n && t->stride && k < t->rank; k++)
        last += (size_t)(t->shape[k] - 1) * (size_t)t->stride[k];
    last += t->stride || !t->n ? 0 : t->n - 1;
    FUZZ_CHECK(t->data >= bytes && t->data <= bytes + n);
    FUZZ_CHECK(t->n == 0 || (last + 1) * size <= (size_t)(bytes + n - t->data));
    float x[MOST];
    int64_t k[MOST];
    size_t m = t->n < MOST ? t->n : MOST;
    enum fdit_status f = fdit_st_f32(ctx, "input", t, t->n - m, m, x);
    enum fdit_status w = fdit_st_weights(ctx, "input", t, 0, m, x);
    FUZZ_CHECK(f == FDIT_OK || f == FDIT_ERROR_FORMAT);
    FUZZ_CHECK(w == f || w == FDIT_ERROR_NUMERIC);
    enum fdit_status is_int = fdit_st_i64(ctx, "input", t, 0, m, k);
    FUZZ_CHECK(is_int != FDIT_OK || f != FDIT_OK);
    fdit_pt_drop(pt, t);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    fdit_context *ctx = fdit_context_new();
    struct fdit_pt *pt = NULL;
    struct fdit_pt_pickle *p = NULL;
    const struct fdit_pt_value *v;
    size_t live = fdit_mem_stats().count, used = 0;
    char text[64];
    fdit_mem_reset_peak();
    size_t before = fdit_mem_stats().bytes;
    enum fdit_status status = fdit_pt_open_memory(ctx, "input", bytes, n, &pt);
    FUZZ_CHECK((status == FDIT_OK) == (pt != NULL));
    FUZZ_CHECK(status == FDIT_OK || *fdit_context_message(ctx));
    for (size_t i = 0; pt && i < fdit_pt_count(pt); i++)
        check_tensor(ctx, pt, i, bytes, n);
    if (pt)
        fdit_pt_text(pt, "args/model", text, sizeof text);
    fdit_pt_close(pt);
    if (fdit_pt_pickle_new(ctx, "input", &p) == FDIT_OK) {
        status = fdit_pt_pickle_run(ctx, p, bytes, n, &used, &v);
        FUZZ_CHECK((status == FDIT_OK) == (v != NULL) && used <= n);
    }
    fdit_pt_pickle_free(p);
    FUZZ_CHECK(fdit_mem_stats().count == live);
    /* a value takes about 100 bytes and at least one byte of the file; a message and tables beside
     */
    FUZZ_CHECK(fdit_mem_stats().peak_bytes - before < ((size_t)1 << 20) + 400 * n);
    fdit_context_free(ctx);
    return 0;
}
