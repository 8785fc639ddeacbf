/* SPDX-License-Identifier: Apache-2.0
 * attention_drive.h: the way of attention's backward pass through its tiles of keys and of queries.
 * attention_kernels.c and attention_bf16_kernels.c include it after what it calls: struct backward (with dq,
 * dk, dv as f32 rows of padded(dh)) and backward_layout; load_keys and load_queries, which bring a tile into
 * the order that products want; scores (for the gradients of keys, of queries, or both); add_to_keys and
 * add_to_queries; store_scaled_row. */

static size_t backward_floats(int rows, int head_size)
{
    struct backward f = { 0 };
    return backward_layout(rows, head_size, NULL, &f);
}

static void store_rows(float *to, size_t stride, const float *from, int n, int dh, float scale)
{
    for (int r = 0; r < n; r++)
        store_scaled_row(to + (size_t)r * stride, from + (size_t)r * (size_t)padded(dh), dh, scale);
}

static void store_keys(const struct fdit_cpu_attention_head *h, int begin, int n, const struct backward *f)
{
    store_rows(h->dk + (size_t)begin * h->stride, h->stride, f->dk, n, h->head_size, 1.0f);
    store_rows(h->dv + (size_t)begin * h->stride, h->stride, f->dv, n, h->head_size, 1.0f);
}

static void backward_head(const struct fdit_cpu_attention_head *h, float *scratch)
{
    const int dh = h->head_size;
    const size_t width = (size_t)padded(dh);
    struct backward f;
    backward_layout(h->rows, dh, scratch, &f);
    for (int key = 0; key < h->rows; key += BK_TILE) {
        const int keys = min_int(BK_TILE, h->rows - key);
        load_keys(h, key, keys, &f);
        for (int query = 0; query < h->rows; query += BQ_TILE) {
            const int n = min_int(BQ_TILE, h->rows - query);
            load_queries(h, query, n, &f);
            scores(&f, n, keys, dh, true, true);
            add_to_keys(&f, n, keys, dh, query > 0);
            add_to_queries(&f, f.dq + (size_t)query * width, n, keys, dh, key > 0);
        }
        store_keys(h, key, keys, &f);
    }
    store_rows(h->dq, h->stride, f.dq, h->rows, dh, score_scale(dh));
}

static void backward_keys(const struct fdit_cpu_attention_head *h, int key_tile, float *scratch)
{
    const int dh = h->head_size, key = key_tile * BK_TILE, keys = min_int(BK_TILE, h->rows - key);
    struct backward f;
    backward_layout(h->rows, dh, scratch, &f);
    load_keys(h, key, keys, &f);
    for (int query = 0; query < h->rows; query += BQ_TILE) {
        const int n = min_int(BQ_TILE, h->rows - query);
        load_queries(h, query, n, &f);
        scores(&f, n, keys, dh, true, false);
        add_to_keys(&f, n, keys, dh, query > 0);
    }
    store_keys(h, key, keys, &f);
}

static void backward_queries(const struct fdit_cpu_attention_head *h, int query_tile, float *scratch)
{
    const int dh = h->head_size, query = query_tile * BQ_TILE, n = min_int(BQ_TILE, h->rows - query);
    struct backward f;
    backward_layout(h->rows, dh, scratch, &f);
    load_queries(h, query, n, &f);
    for (int key = 0; key < h->rows; key += BK_TILE) {
        const int keys = min_int(BK_TILE, h->rows - key);
        load_keys(h, key, keys, &f);
        scores(&f, n, keys, dh, false, true);
        add_to_queries(&f, f.dq, n, keys, dh, key > 0);
    }
    store_rows(h->dq + (size_t)query * h->stride, h->stride, f.dq, n, dh, score_scale(dh));
}
