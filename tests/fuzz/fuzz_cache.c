/* SPDX-License-Identifier: Apache-2.0
 * The index of a cache and the header of a shard. A checksum that is wrong is put right first, or
 * no change would come past it. */
#include "fuzz.h"

#include "core/mem.h"
#include "format/cache_layout.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    fdit_context *ctx = fdit_context_new();
    struct fdit_cache *c = NULL;
    uint8_t *copy = NULL;
    size_t live = fdit_mem_stats().count;
    if (fdit_alloc(NULL, n ? n : 1, 1, &copy) == FDIT_OK) {
        memcpy(copy, bytes, n);
        if (n >= 4)
            fdit_put32(copy + n - 4, fdit_cache_crc(0, copy, n - 4));
        enum fdit_status status = fdit_cache_parse(ctx, "input", copy, n, &c);
        FUZZ_CHECK((status == FDIT_OK) == (c != NULL));
        FUZZ_CHECK(status == FDIT_OK || *fdit_context_message(ctx));
        if (c) {
            const struct fdit_cache_info *info = fdit_cache_info_of(c);
            FUZZ_CHECK(info->n >= 1 && info->n <= n / 8 && info->size >= 1 && info->channels >= 1);
            FUZZ_CHECK(info->taxonomy && info->fit && info->vae);
            for (size_t i = 0; i < info->n; i++)
                FUZZ_CHECK(fdit_cache_label(c, i) >= 0);
            for (size_t shard = 0; shard < 3; shard++)
                FUZZ_CHECK(fdit_cache_check_shard(ctx, c, "shard", shard, bytes, n) != FDIT_OK || n > 64);
        }
        fdit_cache_close(c);
    }
    fdit_free(copy);
    FUZZ_CHECK(fdit_mem_stats().count <= live + 1); /* the message */
    fdit_context_free(ctx);
    return 0;
}
