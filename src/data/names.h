/* SPDX-License-Identifier: Apache-2.0
 * names.h: a set of strings with ids 0, 1, ... in the order of their arrival, found by hash. All
 * bytes lie in one block: 100,000 names cost their bytes and 16 more each. */
#ifndef FDIT_DATA_NAMES_H
#define FDIT_DATA_NAMES_H

#include "core/status.h"
#include "core/utf8.h"

/* All zero is an empty set. */
struct fdit_names {
    char *bytes; /* name after name, a zero byte behind each */
    size_t n_bytes, bytes_capacity;
    size_t *start; /* [n] where each begins in bytes */
    size_t n, start_capacity;
    uint32_t *slots; /* open addressing, id + 1 or 0; a power of two, at most half full */
    size_t n_slots;
};

#define FDIT_NAMES_NONE SIZE_MAX

/* *id is the name's id; *added (NULL allowed) whether it is new. At most 2^31-2 names. */
enum fdit_status fdit_names_add(fdit_context *ctx, struct fdit_names *names, const char *s, size_t len,
                                size_t *id, bool *added);
/* The id, FDIT_NAMES_NONE when it is not there. */
size_t fdit_names_find(const struct fdit_names *names, const char *s, size_t len);
/* Valid until the next add. */
const char *fdit_names_get(const struct fdit_names *names, size_t id);
size_t fdit_names_length(const struct fdit_names *names, size_t id);
/* A copy; dst must be empty (all zero). */
enum fdit_status fdit_names_copy(fdit_context *ctx, const struct fdit_names *src, struct fdit_names *dst);
void fdit_names_fini(struct fdit_names *names); /* frees all and makes it empty */
size_t fdit_names_memory(const struct fdit_names *names);

/* order[i] = id of the i-th name in byte order. */
enum fdit_status fdit_names_sort(fdit_context *ctx, const struct fdit_names *names, uint32_t *order);

/* Collects names for a message: `"a", "b", "c" and 12 more`. Zero it, add, read text. */
struct fdit_name_list {
    size_t n;
    size_t length;
    char text[600];
};
void fdit_name_list_add(struct fdit_name_list *list, const char *name, const char *note);
/* Closes the list (once) and returns its text. */
const char *fdit_name_list_text(struct fdit_name_list *list);

#endif
