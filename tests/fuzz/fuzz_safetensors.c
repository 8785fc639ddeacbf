/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz.h"

#include "core/mem.h"
#include "format/safetensors.h"

#include <string.h>

enum { MOST = 256 };

/* What holds for every tensor of a file that was accepted. */
static void check_tensor(fdit_context *ctx, const struct fdit_safetensors *st, size_t i, const uint8_t *bytes,
                         size_t n)
{
    const struct fdit_st_tensor *t = fdit_safetensors_at(st, i);
    FUZZ_CHECK(fdit_safetensors_find(st, t->name) == t);
    FUZZ_CHECK(t->data >= bytes + 8 && t->data + t->bytes <= bytes + n);
    FUZZ_CHECK(t->rank >= 0 && t->rank <= FDIT_ST_MAX_RANK);
    FUZZ_CHECK(t->n * fdit_st_type_bytes(t->type) == t->bytes);
    float x[MOST];
    int64_t k[MOST];
    size_t m = t->n < MOST ? t->n : MOST;
    enum fdit_status f = fdit_safetensors_f32(ctx, st, t, t->n - m, m, x);
    enum fdit_status w = fdit_safetensors_weights(ctx, st, t, t->n - m, m, x);
    enum fdit_status c = fdit_safetensors_check_finite(ctx, st, t);
    FUZZ_CHECK(f == FDIT_OK || f == FDIT_ERROR_FORMAT);
    FUZZ_CHECK(w == f || w == FDIT_ERROR_NUMERIC);
    FUZZ_CHECK(c == FDIT_OK || c == w || c == FDIT_ERROR_NUMERIC);
    enum fdit_status is_int = fdit_safetensors_i64(ctx, st, t, 0, m, k);
    FUZZ_CHECK(is_int != FDIT_OK || f != FDIT_OK);
    FUZZ_CHECK(fdit_safetensors_check_shape(ctx, st, t, t->rank, t->shape) == FDIT_OK);
    fdit_safetensors_drop(st, t);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    fdit_context *ctx = fdit_context_new();
    struct fdit_safetensors *st = NULL;
    const char *key, *value;
    size_t live = fdit_mem_stats().count;
    enum fdit_status status = fdit_safetensors_open_memory(ctx, "input", bytes, n, &st);
    FUZZ_CHECK((status == FDIT_OK) == (st != NULL));
    FUZZ_CHECK(status == FDIT_OK || *fdit_context_message(ctx));
    for (size_t i = 0; st && i < fdit_safetensors_count(st); i++)
        check_tensor(ctx, st, i, bytes, n);
    for (size_t i = 0; st && i < fdit_safetensors_meta_count(st); i++) {
        fdit_safetensors_meta_at(st, i, &key, &value);
        FUZZ_CHECK(strcmp(fdit_safetensors_meta(st, key), value) == 0);
    }
    fdit_safetensors_close(st);
    FUZZ_CHECK(fdit_mem_stats().count == live);
    fdit_context_free(ctx);
    return 0;
}
