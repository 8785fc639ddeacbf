/* SPDX-License-Identifier: Apache-2.0
 * The two layouts, and from the pickle's values to tensors. */
#include "format/pt.h"

#include "core/file.h"
#include "core/mem.h"
#include "core/text.h"
#include "format/pt_pickle.h"
#include "format/zip.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { MOST_NAME = 512, MOST_DEPTH = 64, MOST_TENSORS = 1 << 18 };
#define MOST_PICKLE ((size_t)1 << 28)

/* The first pickle of the older layout is this number (torch/serialization.py: MAGIC_NUMBER). */
static const uint8_t magic[] = { 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19 };

/* The numbers of one storage. */
struct record {
    const char *key; /* of the older layout */
    size_t n_key;
    const uint8_t *data;
    size_t bytes;
    struct fdit_st_sum *sum; /* NULL: none */
};

struct fdit_pt {
    char *path;
    struct fdit_file_map map; /* all zero for memory that is not ours */
    const uint8_t *bytes;
    size_t n_bytes;
    struct fdit_zip *zip; /* NULL: older layout */
    char *prefix;         /* "archive/" of the zip's members */
    struct fdit_pt_pickle *pickle;
    const struct fdit_pt_value *root;
    struct fdit_st_sum *sums; /* of the zip's members */
    struct record *records;   /* of the older layout, sorted by key */
    size_t n_records;
    struct fdit_st_tensor *tensors; /* order of the pickle; own name and stride */
    size_t n, capacity;
    const struct fdit_st_tensor **by_name;
    size_t visits; /* values seen on the way through the pickle */
};

/* A value can be held by many others, each of them by many: visits would grow without end. */
static size_t most_visits(const struct fdit_pt *pt)
{
    return 4 * fdit_pt_pickle_values(pt->pickle) + 1000;
}

/* ------------------------------------------------------------------ storages */

static enum fdit_status member_of(fdit_context *ctx, struct fdit_pt *pt, const char *name, struct record *out)
{
    size_t i;
    if (!fdit_zip_find(pt->zip, name, &i))
        return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                         "%s: %.200s is missing in the zip; the file is "
                         "damaged, get it again",
                         pt->path, name);
    struct fdit_zip_member m = { 0 };
    enum fdit_status status = fdit_zip_place(ctx, pt->zip, i, &m);
    if (status == FDIT_OK && m.method != FDIT_ZIP_STORED)
        status =
            fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED,
                      "%s: %.100s is compressed or encrypted, which torch.save does not do; load the file "
                      "in PyTorch and save it again",
                      pt->path, name);
    out->data = m.data;
    out->bytes = m.bytes;
    out->sum = NULL;
    if (status == FDIT_OK && fdit_zip_has_sums(pt->zip)) {
        out->sum = &pt->sums[i];
        out->sum->data = m.data;
        out->sum->bytes = m.bytes;
        out->sum->crc = m.crc;
    }
    return status;
}

static int by_key(const void *pa, const void *pb)
{
    const struct record *a = pa, *b = pb;
    int order = memcmp(a->key, b->key, a->n_key < b->n_key ? a->n_key : b->n_key);
    return order ? order : (a->n_key > b->n_key) - (a->n_key < b->n_key);
}

/* Where the numbers of a storage lie; checks that there are as many as it says. */
static enum fdit_status find_record(fdit_context *ctx, struct fdit_pt *pt, const struct fdit_pt_value *s,
                                    const char *tensor, struct record *out)
{
    enum fdit_status status = FDIT_OK;
    char *name = NULL;
    size_t need;
    for (size_t i = 0; i < s->n; i++)
        if ((unsigned char)s->text[i] <= 0x20 || (unsigned char)s->text[i] > 0x7e)
            FAIL(ctx, FDIT_ERROR_FORMAT,
                 "%s: tensor %.200s: its storage has a name with other than "
                 "visible characters; the file is damaged, get it again",
                 pt->path, tensor);
    if (s->n > 100)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: tensor %.200s: its storage has a name of %zu bytes; the file "
             "is damaged, get it again",
             pt->path, tensor, s->n);
    if (pt->zip) {
        TRY(fdit_strf(ctx, &name, "%sdata/%.*s", pt->prefix, (int)s->n, s->text));
        TRY(member_of(ctx, pt, name, out));
    } else {
        struct record key = { .key = s->text, .n_key = s->n };
        struct record *found =
            pt->n_records ? bsearch(&key, pt->records, pt->n_records, sizeof key, by_key) : NULL;
        if (!found)
            FAIL(ctx, FDIT_ERROR_FORMAT,
                 "%s: tensor %.200s: its storage %.*s is missing; the file is "
                 "damaged, get it again",
                 pt->path, tensor, (int)s->n, s->text);
        *out = *found;
    }
    if (!fdit_mul((size_t)s->i, fdit_st_type_bytes(s->type), &need) || need > out->bytes)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: tensor %.200s: its storage %.*s should have %" PRId64
             " numbers of %s, the file has %zu bytes for them; it is cut off or damaged, get it again",
             pt->path, tensor, (int)s->n, s->text, s->i, fdit_st_type_name(s->type), out->bytes);
    out->bytes = need;
out:
    fdit_free(name);
    return status;
}

/* ------------------------------------------------------------------ tensors */

static bool is_contiguous(const struct fdit_st_tensor *t, const struct fdit_pt_value *strides)
{
    int64_t step = 1;
    for (int i = t->rank - 1; i >= 0; i--) {
        if (t->shape[i] != 1 && strides->items[i]->i != step)
            return false;
        step *= t->shape[i];
    }
    return true;
}

/* Number of elements, and the place of the last one from the first; false when beyond size_t. */
static bool measure(struct fdit_st_tensor *t, const struct fdit_pt_value *strides, size_t *last)
{
    t->n = 1;
    *last = 0;
    bool empty = false;
    for (int i = 0; i < t->rank; i++)
        empty = empty || t->shape[i] == 0;
    if (empty) {
        t->n = 0;
        return true;
    }
    for (int i = 0; i < t->rank; i++) {
        size_t reach;
        if (!fdit_mul(t->n, (size_t)t->shape[i], &t->n) ||
            !fdit_mul((size_t)t->shape[i] - 1, (size_t)strides->items[i]->i, &reach) ||
            !fdit_add(*last, reach, last))
            return false;
    }
    return true;
}

static enum fdit_status set_strides(fdit_context *ctx, struct fdit_st_tensor *t,
                                    const struct fdit_pt_value *strides)
{
    enum fdit_status status = FDIT_OK;
    int64_t *stride = NULL;
    if (t->n == 0 || is_contiguous(t, strides))
        return FDIT_OK;
    TRY(fdit_alloc(ctx, (size_t)t->rank, sizeof *stride, &stride));
    for (int i = 0; i < t->rank; i++)
        stride[i] = strides->items[i]->i;
    t->stride = stride;
out:
    return status;
}

static enum fdit_status add_tensor(fdit_context *ctx, struct fdit_pt *pt, const char *name,
                                   const struct fdit_pt_value *v)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_pt_value *storage = v->items[0], *shape = v->items[1], *strides = v->items[2];
    struct fdit_st_tensor t = { .type = v->type, .rank = (int)shape->n };
    struct record record = { 0 };
    size_t size = fdit_st_type_bytes(v->type), last, first, numbers;
    char *own = NULL, text[128];
    for (size_t i = 0; i < shape->n; i++)
        t.shape[i] = shape->items[i]->i;
    fdit_st_shape_text(t.rank, t.shape, text, sizeof text);
    TRY(find_record(ctx, pt, storage, name, &record));
    numbers = record.bytes / size;
    if (!measure(&t, strides, &last) || !fdit_add((size_t)storage->offset, (size_t)v->offset, &first) ||
        !fdit_add(first, last, &last) || (t.n && last >= numbers) || first > numbers)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: tensor %.200s of shape %s reaches outside its storage of %zu "
             "numbers; the file is damaged, get it again",
             pt->path, name, text, numbers);
    if (t.n > numbers)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: tensor %.200s of shape %s has %zu numbers, its storage only "
             "%zu; the file is damaged, or the tensor was expanded: save it with .contiguous()",
             pt->path, name, text, t.n, numbers);
    t.bytes = t.n * size;
    t.data = record.data + first * size;
    t.sum = record.sum;
    TRY(fdit_grow(ctx, &pt->tensors, &pt->capacity, pt->n + 1, sizeof *pt->tensors));
    TRY(fdit_strdup(ctx, name, &own));
    TRY(set_strides(ctx, &t, strides));
    t.name = own;
    pt->tensors[pt->n++] = t;
    own = NULL;
out:
    fdit_free(own);
    return status;
}

/* ------------------------------------------------------------------ from the root to the tensors */

/* The key as a part of a name, 0 bytes when it cannot be one. */
static size_t key_text(const struct fdit_pt_value *key, char *out, size_t size)
{
    if (key->kind == FDIT_PT_INT)
        return (size_t)snprintf(out, size, "%" PRId64, key->i);
    if (key->kind != FDIT_PT_TEXT || key->n == 0 || key->n >= size)
        return 0;
    for (size_t i = 0; i < key->n; i++)
        if ((unsigned char)key->text[i] < 0x20 || key->text[i] == 0x7f)
            return 0;
    memcpy(out, key->text, key->n);
    out[key->n] = 0;
    return key->n;
}

/* name[0..used) leads to v. */
static enum fdit_status walk(fdit_context *ctx, struct fdit_pt *pt, const struct fdit_pt_value *v, char *name,
                             size_t used, int depth)
{
    enum fdit_status status = FDIT_OK;
    if (depth > MOST_DEPTH || pt->visits++ > most_visits(pt) || pt->n == MOST_TENSORS)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                         "%s: lists and dictionaries that hold each other; no checkpoint has them", pt->path);
    if (v->kind == FDIT_PT_TENSOR)
        return add_tensor(ctx, pt, used ? name : "(the only one)", v);
    if (v->kind == FDIT_PT_OBJECT)
        return v->n ? walk(ctx, pt, v->items[0], name, used, depth + 1) : FDIT_OK;
    bool dict = v->kind == FDIT_PT_DICT;
    if (!dict && v->kind != FDIT_PT_LIST && v->kind != FDIT_PT_TUPLE)
        return FDIT_OK;
    for (size_t i = 0; i < v->n; i += dict ? 2 : 1) {
        const struct fdit_pt_value *item = v->items[dict ? i + 1 : i];
        const struct fdit_pt_value number = { .kind = FDIT_PT_INT, .i = (int64_t)i };
        char key[MOST_NAME];
        pt->visits++;
        if (item->depth == 0 && item->kind != FDIT_PT_TENSOR)
            continue;
        size_t n = key_text(dict ? v->items[i] : &number, key, sizeof key);
        if (n == 0 && item->kind != FDIT_PT_TENSOR)
            continue; /* such as a tuple for a key: nothing below it can be a weight */
        if (n == 0 || used + n + 2 > MOST_NAME)
            FAIL(ctx, FDIT_ERROR_FORMAT,
                 "%s: under %.200s: a key is empty, longer than %d bytes, not text or has control "
                 "characters; the file is damaged or not a checkpoint",
                 pt->path, used ? name : "the root", MOST_NAME);
        size_t at = used;
        if (used)
            name[at++] = '/';
        memcpy(name + at, key, n + 1);
        TRY(walk(ctx, pt, item, name, at + n, depth + 1));
        name[used] = 0;
    }
out:
    return status;
}

static int by_name(const void *pa, const void *pb)
{
    const struct fdit_st_tensor *const *a = pa, *const *b = pb;
    return strcmp((*a)->name, (*b)->name);
}

static enum fdit_status collect(fdit_context *ctx, struct fdit_pt *pt)
{
    enum fdit_status status = FDIT_OK;
    char name[MOST_NAME] = "";
    if (pt->root->kind != FDIT_PT_INERT && pt->root->depth)
        TRY(walk(ctx, pt, pt->root, name, 0, 0));
    if (pt->n == 0)
        TRY(fdit_pt_refuse_unknown(ctx, pt->pickle));
    if (pt->root->kind == FDIT_PT_INERT || pt->root->depth == 0)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: holds no dictionary of tensors; in PyTorch save "
             "model.state_dict()",
             pt->path);
    if (pt->n == 0 && fdit_pt_get(pt->root, "param_groups"))
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: holds the state of an optimizer and no tensor; give the file with the model's state_dict()",
             pt->path);
    if (pt->n == 0)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: holds no tensor, so it is not a checkpoint; give the file with the model's state_dict()",
             pt->path);
    TRY(fdit_alloc(ctx, pt->n, sizeof *pt->by_name, &pt->by_name));
    for (size_t i = 0; i < pt->n; i++)
        pt->by_name[i] = &pt->tensors[i];
    qsort(pt->by_name, pt->n, sizeof *pt->by_name, by_name);
    for (size_t i = 1; i < pt->n; i++)
        if (strcmp(pt->by_name[i - 1]->name, pt->by_name[i]->name) == 0)
            FAIL(ctx, FDIT_ERROR_FORMAT,
                 "%s: the tensor %.200s is there twice; the file is damaged, get it again", pt->path,
                 pt->by_name[i]->name);
out:
    return status;
}

/* ------------------------------------------------------------------ the zip layout */

/* Finds the pickle. Two members of one name, or two pickles, could be read in two ways. */
static enum fdit_status find_pickle(fdit_context *ctx, struct fdit_pt *pt)
{
    enum fdit_status status = FDIT_OK;
    const char *name, **names = NULL, *found = NULL;
    size_t n = 0, capacity = 0;
    for (; n < fdit_zip_count(pt->zip); n++) {
        name = fdit_zip_name(pt->zip, n);
        TRY(fdit_grow(ctx, &names, &capacity, n + 1, sizeof *names));
        names[n] = name;
        const char *last = fdit_path_base(name);
        if (strcmp(last, "data.pkl"))
            continue;
        if (found)
            FAIL(ctx, FDIT_ERROR_FORMAT,
                 "%s: is a zip with two pickles, %.100s and %.100s, where a torch file has one; the file is "
                 "damaged or made to deceive, get it again",
                 pt->path, found, name);
        found = name;
    }
    if (!found)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: is a zip archive without data.pkl, not a torch file; if it holds pictures, unpack it and "
             "give the folder as --data",
             pt->path);
    qsort(names, n, sizeof *names, fdit_text_compare);
    for (size_t i = 1; i < n; i++)
        if (!strcmp(names[i - 1], names[i]))
            FAIL(ctx, FDIT_ERROR_FORMAT, "%s: the zip has %.100s twice; the file is damaged, get it again",
                 pt->path, names[i]);
    TRY(fdit_alloc(ctx, n, sizeof *pt->sums, &pt->sums));
    TRY(fdit_strndup(ctx, found, strlen(found) - strlen("data.pkl"), &pt->prefix));
out:
    fdit_free(names);
    return status;
}

/* A small member, whole and with the right checksum. */
static enum fdit_status read_member(fdit_context *ctx, struct fdit_pt *pt, const char *name, struct record *r)
{
    enum fdit_status status = FDIT_OK;
    char *full = NULL;
    TRY(fdit_strf(ctx, &full, "%s%s", pt->prefix, name));
    TRY(member_of(ctx, pt, full, r));
    if (r->bytes > MOST_PICKLE)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: %s of %zu bytes is beyond the limit of %zu", pt->path, name,
             r->bytes, MOST_PICKLE);
    if (r->sum && (uint32_t)crc32_z(crc32_z(0, NULL, 0), r->data, r->bytes) != r->sum->crc)
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: %s does not have the checksum that the zip names; the file is damaged, get it again",
             pt->path, name);
out:
    fdit_free(full);
    return status;
}

static enum fdit_status open_zip(fdit_context *ctx, struct fdit_pt *pt)
{
    enum fdit_status status = FDIT_OK;
    struct record r = { 0 };
    char *order = NULL;
    size_t i;
    TRY(fdit_zip_open(ctx, pt->path, pt->bytes, pt->n_bytes, &pt->zip));
    TRY(find_pickle(ctx, pt));
    TRY(fdit_strf(ctx, &order, "%sbyteorder", pt->prefix));
    if (fdit_zip_find(pt->zip, order, &i)) {
        TRY(read_member(ctx, pt, "byteorder", &r));
        if (r.bytes != 6 || memcmp(r.data, "little", 6))
            FAIL(ctx, FDIT_ERROR_UNSUPPORTED,
                 "%s: was written on a big-endian machine; load it in "
                 "PyTorch on another and save it again",
                 pt->path);
    }
    TRY(read_member(ctx, pt, "data.pkl", &r));
    TRY(fdit_pt_pickle_run(ctx, pt->pickle, r.data, r.bytes, NULL, &pt->root));
out:
    fdit_free(order);
    return status;
}

/* ------------------------------------------------------------------ the older layout */

static enum fdit_status next_pickle(fdit_context *ctx, struct fdit_pt *pt, size_t *at,
                                    const struct fdit_pt_value **out)
{
    enum fdit_status status = FDIT_OK;
    size_t used = 0, left = pt->n_bytes - *at;
    TRY(fdit_pt_pickle_run(ctx, pt->pickle, pt->bytes + *at, left < MOST_PICKLE ? left : MOST_PICKLE, &used,
                           out));
    *at += used;
out:
    return status;
}

/* What the pickle says about storages: one for each key, in the order of keys. */
struct storages {
    const struct fdit_pt_value **list;
    size_t n, capacity, visits, limit;
};

static enum fdit_status find_storages(fdit_context *ctx, const struct fdit_pt *pt,
                                      const struct fdit_pt_value *v, int depth, struct storages *s)
{
    enum fdit_status status = FDIT_OK;
    if (depth > MOST_DEPTH || s->visits++ > s->limit)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                         "%s: lists and dictionaries that hold each other; no checkpoint has them", pt->path);
    if (v->kind == FDIT_PT_TENSOR) {
        TRY(fdit_grow(ctx, &s->list, &s->capacity, s->n + 1, sizeof *s->list));
        s->list[s->n++] = v->items[0];
        return FDIT_OK;
    }
    for (size_t i = 0; v->depth && i < v->n; i++)
        TRY(find_storages(ctx, pt, v->items[i], depth + 1, s));
out:
    return status;
}

static int by_storage(const void *pa, const void *pb)
{
    const struct fdit_pt_value *const *a = pa, *const *b = pb;
    struct record x = { .key = (*a)->text, .n_key = (*a)->n }, y = { .key = (*b)->text, .n_key = (*b)->n };
    return by_key(&x, &y);
}

static int by_storage_key(const void *pa, const void *pb)
{
    const struct record *a = pa;
    const struct fdit_pt_value *const *b = pb;
    struct record y = { .key = (*b)->text, .n_key = (*b)->n };
    return by_key(a, &y);
}

/* Behind the pickles: for each key of the list the number of elements in 8 bytes, then the
 * elements. */
static enum fdit_status find_numbers(fdit_context *ctx, struct fdit_pt *pt, const struct fdit_pt_value *keys,
                                     size_t at)
{
    enum fdit_status status = FDIT_OK;
    struct storages s = { .limit = most_visits(pt) };
    if (keys->kind != FDIT_PT_LIST)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: the list of storages is missing; the file is damaged, get it again",
             pt->path);
    TRY(find_storages(ctx, pt, pt->root, 0, &s));
    if (s.n)
        qsort(s.list, s.n, sizeof *s.list, by_storage);
    TRY(fdit_alloc(ctx, keys->n, sizeof *pt->records, &pt->records));
    for (size_t i = 0; i < keys->n; i++) {
        const struct fdit_pt_value *k = keys->items[i];
        struct record r = { .key = k->text, .n_key = k->n };
        const struct fdit_pt_value **known =
            k->kind == FDIT_PT_TEXT && s.n ? bsearch(&r, s.list, s.n, sizeof *s.list, by_storage_key) : NULL;
        uint64_t n = 0;
        if (!known)
            FAIL(ctx, FDIT_ERROR_FORMAT,
                 "%s: storage %zu of its list belongs to no tensor; the file is "
                 "damaged, get it again",
                 pt->path, i);
        if (pt->n_bytes - at < 8)
            FAIL(ctx, FDIT_ERROR_FORMAT, "%s: ends before storage %zu of %zu; it is cut off, get it again",
                 pt->path, i, keys->n);
        for (int b = 7; b >= 0; b--)
            n = n << 8 | pt->bytes[at + (size_t)b];
        at += 8;
        if (n != (uint64_t)(*known)->i ||
            !fdit_mul((size_t)n, fdit_st_type_bytes((*known)->type), &r.bytes) || r.bytes > pt->n_bytes - at)
            FAIL(ctx, FDIT_ERROR_FORMAT,
                 "%s: storage %zu of %zu has %" PRIu64 " numbers, its tensors say "
                 "%" PRId64 ", and %zu bytes are left; the file is cut off or damaged, get it again",
                 pt->path, i, keys->n, n, (*known)->i, pt->n_bytes - at);
        r.data = pt->bytes + at;
        at += r.bytes;
        pt->records[pt->n_records++] = r;
    }
    if (pt->n_records)
        qsort(pt->records, pt->n_records, sizeof *pt->records, by_key);
out:
    fdit_free(s.list);
    return status;
}

static enum fdit_status open_legacy(fdit_context *ctx, struct fdit_pt *pt)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_pt_value *v, *info, *little;
    size_t at = 0;
    TRY(next_pickle(ctx, pt, &at, &v));
    if (v->kind != FDIT_PT_LONG || v->n != sizeof magic || memcmp(v->text, magic, sizeof magic))
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: is a pickle, but not one that torch.save wrote; in PyTorch "
             "save model.state_dict()",
             pt->path);
    TRY(next_pickle(ctx, pt, &at, &v));
    if (v->kind != FDIT_PT_INT || v->i != 1001)
        FAIL(ctx, FDIT_ERROR_UNSUPPORTED,
             "%s: torch file of the older layout, but not of protocol "
             "1001; load it in PyTorch and save it again",
             pt->path);
    TRY(next_pickle(ctx, pt, &at, &info));
    little = fdit_pt_get(info, "little_endian");
    if (little && !little->i)
        FAIL(ctx, FDIT_ERROR_UNSUPPORTED,
             "%s: was written on a big-endian machine; load it in PyTorch "
             "on another and save it again",
             pt->path);
    TRY(next_pickle(ctx, pt, &at, &pt->root));
    TRY(next_pickle(ctx, pt, &at, &v));
    TRY(find_numbers(ctx, pt, v, at));
out:
    return status;
}

/* ------------------------------------------------------------------ opening */

bool fdit_pt_is(const uint8_t *bytes, size_t n)
{
    return n >= 4 && (!memcmp(bytes, "PK\3\4", 4) || !memcmp(bytes, "PK\5\6", 4) ||
                      (bytes[0] == 0x80 && bytes[1] <= 5 && bytes[2] != 0));
}

static enum fdit_status open_bytes(fdit_context *ctx, struct fdit_pt *pt)
{
    enum fdit_status status = FDIT_OK;
    TRY(fdit_pt_pickle_new(ctx, pt->path, &pt->pickle));
    if (pt->n_bytes >= 4 && pt->bytes[0] == 'P' && pt->bytes[1] == 'K')
        TRY(open_zip(ctx, pt));
    else if (fdit_pt_is(pt->bytes, pt->n_bytes))
        TRY(open_legacy(ctx, pt));
    else
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: is not a torch file: it begins neither as a zip nor as a pickle "
             "does; get it again",
             pt->path);
    TRY(collect(ctx, pt));
out:
    return status;
}

enum fdit_status fdit_pt_open_memory(fdit_context *ctx, const char *name, const uint8_t *bytes, size_t n,
                                     struct fdit_pt **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_pt *pt = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *pt, &pt));
    TRY(fdit_strdup(ctx, name, &pt->path));
    pt->bytes = bytes;
    pt->n_bytes = n;
    TRY(open_bytes(ctx, pt));
    *out = pt;
    pt = NULL;
out:
    fdit_pt_close(pt);
    return status;
}

enum fdit_status fdit_pt_open(fdit_context *ctx, const char *path, struct fdit_pt **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_pt *pt = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *pt, &pt));
    TRY(fdit_strdup(ctx, path, &pt->path));
    TRY(fdit_file_map(ctx, path, &pt->map));
    pt->bytes = pt->map.data;
    pt->n_bytes = pt->map.size;
    TRY(open_bytes(ctx, pt));
    *out = pt;
    pt = NULL;
out:
    fdit_pt_close(pt);
    return status;
}

void fdit_pt_close(struct fdit_pt *pt)
{
    if (!pt)
        return;
    for (size_t i = 0; i < pt->n; i++) {
        fdit_free((void *)(uintptr_t)pt->tensors[i].name);
        fdit_free((void *)(uintptr_t)pt->tensors[i].stride);
    }
    fdit_free(pt->tensors);
    fdit_free(pt->by_name);
    fdit_free(pt->records);
    fdit_free(pt->sums);
    fdit_free(pt->prefix);
    fdit_zip_close(pt->zip);
    fdit_pt_pickle_free(pt->pickle);
    fdit_file_unmap(&pt->map);
    fdit_free(pt->path);
    fdit_free(pt);
}

/* ------------------------------------------------------------------ looking up */

const char *fdit_pt_path(const struct fdit_pt *pt)
{
    return pt->path;
}

size_t fdit_pt_count(const struct fdit_pt *pt)
{
    return pt->n;
}

const struct fdit_st_tensor *fdit_pt_at(const struct fdit_pt *pt, size_t i)
{
    return &pt->tensors[i];
}

const struct fdit_st_tensor *fdit_pt_find(const struct fdit_pt *pt, const char *name)
{
    const struct fdit_st_tensor key = { .name = name }, *at = &key;
    const struct fdit_st_tensor *const *found =
        bsearch(&at, pt->by_name, pt->n, sizeof *pt->by_name, by_name);
    return found ? *found : NULL;
}

static const struct fdit_pt_value *value_at(const struct fdit_pt *pt, const char *name)
{
    const struct fdit_pt_value *v = pt->root;
    char key[MOST_NAME];
    while (v && *name) {
        size_t n = strcspn(name, "/");
        if (n >= sizeof key)
            return NULL;
        memcpy(key, name, n);
        key[n] = 0;
        v = fdit_pt_get(v, key);
        name += n + (name[n] == '/');
    }
    return v;
}

bool fdit_pt_text(const struct fdit_pt *pt, const char *name, char *out, size_t size)
{
    const struct fdit_pt_value *v = value_at(pt, name);
    if (!v || v->kind != FDIT_PT_TEXT || v->n >= size || memchr(v->text, 0, v->n))
        return false;
    memcpy(out, v->text, v->n);
    out[v->n] = 0;
    return true;
}

bool fdit_pt_unknown(const struct fdit_pt *pt, char *out, size_t size)
{
    return fdit_pt_pickle_unknown(pt->pickle, out, size);
}

void fdit_pt_drop(const struct fdit_pt *pt, const struct fdit_st_tensor *t)
{
    if (pt->map.data && !t->stride)
        fdit_file_map_drop(&pt->map, t->data, t->bytes);
}
