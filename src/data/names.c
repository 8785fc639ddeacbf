/* SPDX-License-Identifier: Apache-2.0 */
#include "data/names.h"

#include "core/fnv.h"
#include "core/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* FNV-1a, then a multiplication so that the low bits that pick a slot depend on all bytes. */
static size_t hash_of(const char *s, size_t len)
{
    return (size_t)((fdit_fnv(FDIT_FNV_START, s, len) * UINT64_C(0x9e3779b97f4a7c15)) >> 32);
}

const char *fdit_names_get(const struct fdit_names *names, size_t id)
{
    return names->bytes + names->start[id];
}

size_t fdit_names_length(const struct fdit_names *names, size_t id)
{
    size_t end = id + 1 < names->n ? names->start[id + 1] : names->n_bytes;
    return end - names->start[id] - 1;
}

/* The slot that holds the name, or the empty one where it belongs. */
static size_t slot_of(const struct fdit_names *names, const char *s, size_t len)
{
    size_t mask = names->n_slots - 1;
    for (size_t at = hash_of(s, len) & mask;; at = (at + 1) & mask) {
        if (!names->slots[at])
            return at;
        size_t id = names->slots[at] - 1;
        if (fdit_names_length(names, id) == len && !memcmp(fdit_names_get(names, id), s, len))
            return at;
    }
}

static enum fdit_status grow_slots(fdit_context *ctx, struct fdit_names *names)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_names bigger = *names;
    bigger.n_slots = names->n_slots ? names->n_slots * 2 : 16;
    TRY(fdit_alloc(ctx, bigger.n_slots, sizeof *bigger.slots, &bigger.slots));
    for (size_t id = 0; id < names->n; id++)
        bigger.slots[slot_of(&bigger, fdit_names_get(names, id), fdit_names_length(names, id))] =
            (uint32_t)(id + 1);
    fdit_free(names->slots);
    *names = bigger;
out:
    return status;
}

enum fdit_status fdit_names_add(fdit_context *ctx, struct fdit_names *names, const char *s, size_t len,
                                size_t *id, bool *added)
{
    enum fdit_status status = FDIT_OK;
    size_t need;
    if (2 * (names->n + 1) > names->n_slots)
        TRY(grow_slots(ctx, names));
    size_t at = slot_of(names, s, len);
    if (added)
        *added = !names->slots[at];
    if (names->slots[at]) {
        *id = names->slots[at] - 1;
        return FDIT_OK;
    }
    if (names->n >= INT32_MAX - 1)
        FAIL(ctx, FDIT_ERROR_FORMAT, "more than %d names", INT32_MAX - 1);
    if (!fdit_add(names->n_bytes, len, &need) || !fdit_add(need, 1, &need))
        FAIL(ctx, FDIT_ERROR_MEMORY, "a name of %zu bytes is too large", len);
    TRY(fdit_grow(ctx, &names->bytes, &names->bytes_capacity, need, 1));
    TRY(fdit_grow(ctx, &names->start, &names->start_capacity, names->n + 1, sizeof *names->start));
    memcpy(names->bytes + names->n_bytes, s, len);
    names->bytes[names->n_bytes + len] = 0;
    names->start[names->n] = names->n_bytes;
    names->n_bytes = need;
    *id = names->n++;
    names->slots[at] = (uint32_t)(*id + 1);
out:
    return status;
}

size_t fdit_names_find(const struct fdit_names *names, const char *s, size_t len)
{
    if (!names->n_slots)
        return FDIT_NAMES_NONE;
    size_t at = slot_of(names, s, len);
    return names->slots[at] ? names->slots[at] - 1 : FDIT_NAMES_NONE;
}

enum fdit_status fdit_names_copy(fdit_context *ctx, const struct fdit_names *src, struct fdit_names *dst)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_names copy = *src;
    copy.bytes = NULL;
    copy.start = NULL;
    copy.slots = NULL;
    copy.bytes_capacity = src->n_bytes;
    copy.start_capacity = src->n;
    TRY(fdit_alloc(ctx, src->n_bytes, 1, &copy.bytes));
    TRY(fdit_alloc(ctx, src->n, sizeof *copy.start, &copy.start));
    TRY(fdit_alloc(ctx, src->n_slots, sizeof *copy.slots, &copy.slots));
    if (src->n) {
        memcpy(copy.bytes, src->bytes, src->n_bytes);
        memcpy(copy.start, src->start, src->n * sizeof *copy.start);
    }
    if (src->n_slots)
        memcpy(copy.slots, src->slots, src->n_slots * sizeof *copy.slots);
    *dst = copy;
    return FDIT_OK;
out:
    fdit_names_fini(&copy);
    return status;
}

void fdit_names_fini(struct fdit_names *names)
{
    fdit_free(names->bytes);
    fdit_free(names->start);
    fdit_free(names->slots);
    *names = (struct fdit_names){ 0 };
}

size_t fdit_names_memory(const struct fdit_names *names)
{
    return names->bytes_capacity + names->start_capacity * sizeof *names->start +
           names->n_slots * sizeof *names->slots;
}

/* Merge sort: C11's qsort gives the comparison no access to the set. */
enum fdit_status fdit_names_sort(fdit_context *ctx, const struct fdit_names *names, uint32_t *order)
{
    enum fdit_status status = FDIT_OK;
    uint32_t *spare = NULL, *from = order, *to;
    TRY(fdit_alloc(ctx, names->n, sizeof *spare, &spare));
    to = spare;
    for (size_t i = 0; i < names->n; i++)
        order[i] = (uint32_t)i;
    for (size_t width = 1; width < names->n; width *= 2) {
        for (size_t low = 0; low < names->n; low += 2 * width) {
            size_t middle = low + width < names->n ? low + width : names->n;
            size_t high = middle + width < names->n ? middle + width : names->n;
            size_t a = low, b = middle;
            for (size_t k = low; k < high; k++) {
                bool left = b >= high || (a < middle && strcmp(fdit_names_get(names, from[a]),
                                                               fdit_names_get(names, from[b])) <= 0);
                to[k] = left ? from[a++] : from[b++];
            }
        }
        uint32_t *swap = from;
        from = to;
        to = swap;
    }
    if (from != order)
        memcpy(order, from, names->n * sizeof *order);
out:
    fdit_free(spare);
    return status;
}

void fdit_name_list_add(struct fdit_name_list *list, const char *name, const char *note)
{
    enum { shown = 5, longest = 60 };
    if (list->n++ >= shown)
        return;
    size_t length = strlen(name), kept = length < longest ? length : longest;
    while (kept < length && kept > 0 && ((unsigned char)name[kept] & 0xc0) == 0x80)
        kept--;                                          /* not inside a character */
    size_t room = sizeof list->text - list->length - 40; /* " and N more" follows */
    int n =
        snprintf(list->text + list->length, room, "%s\"%.*s%s\"%s%.20s%s", list->n > 1 ? ", " : "", (int)kept,
                 name, kept < length ? "..." : "", note ? " (" : "", note ? note : "", note ? ")" : "");
    if (n <= 0 || (size_t)n >= room) {
        list->text[list->length] = 0;
        return;
    }
    for (char *c = list->text + list->length; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    list->length += (size_t)n;
}

const char *fdit_name_list_text(struct fdit_name_list *list)
{
    enum { shown = 5 };
    if (list->n > shown)
        snprintf(list->text + list->length, sizeof list->text - list->length, " and %zu more",
                 list->n - shown);
    return list->text;
}
