/* SPDX-License-Identifier: Apache-2.0
 * pt_pickle.h: the pickles inside a torch file, read as data.
 *
 * A pickle is a program for a small stack machine; one of its instructions calls any Python
 * function by name. This interpreter builds plain values only: nothing is ever called. It knows the
 * names in a list (pt_globals in pt_names.c), each of which stands for a rule how to build a value.
 * Names of functions that act on the machine are refused. Any other name gives an inert value, as
 * do calls of it and what is done to it: configurations, callbacks and the like lie beside weights.
 * Inside an inert value no weights are looked for. The number of values, their nesting and the memo
 * are bounded. */
#ifndef FDIT_FORMAT_PT_PICKLE_H
#define FDIT_FORMAT_PT_PICKLE_H

#include "format/tensor.h"

enum fdit_pt_kind {
    FDIT_PT_NONE,
    FDIT_PT_BOOL,    /* i */
    FDIT_PT_INT,     /* i */
    FDIT_PT_LONG,    /* text: n bytes of an integer beyond 64 bits, little-endian */
    FDIT_PT_FLOAT,   /* f */
    FDIT_PT_TEXT,    /* text: n bytes of UTF-8 that was not checked */
    FDIT_PT_TUPLE,   /* items[n] */
    FDIT_PT_LIST,    /* items[n] */
    FDIT_PT_DICT,    /* items[n]: key, value, key, value, ... */
    FDIT_PT_OBJECT,  /* attributes, such as argparse.Namespace: items[0] is a dict when n is 1 */
    FDIT_PT_GLOBAL,  /* i: a place in the list of names, -1: a name that is not there */
    FDIT_PT_STORAGE, /* type; text: key of n bytes; i: elements; offset: first of them in the record
                      */
    FDIT_PT_TENSOR,  /* items: storage, shape, strides; offset: first element in the storage */
    FDIT_PT_INERT,   /* something that has no place in a checkpoint: a device, a path, an unknown
                        object */
};

struct fdit_pt_value {
    enum fdit_pt_kind kind;
    enum fdit_st_type type; /* storages and dtypes */
    int depth;              /* containers: levels below, at least 1 */
    bool untyped;           /* a storage counted in bytes */
    size_t n, capacity;
    union {
        int64_t i;
        double f;
    };
    int64_t offset;
    const char *text;
    struct fdit_pt_value **items;
};

struct fdit_pt_pickle;

/* `file` stands in messages and must live as long; texts of values lie in the pickles' bytes. */
enum fdit_status fdit_pt_pickle_new(fdit_context *ctx, const char *file, struct fdit_pt_pickle **out);
void fdit_pt_pickle_free(struct fdit_pt_pickle *p); /* and all its values; NULL is allowed */
/* Runs one pickle at the beginning of the n bytes; *used of them (NULL allowed). The value lives as
 * long as p. FDIT_ERROR_FORMAT says what is wrong and at which byte; a name that is not in the list
 * is FDIT_ERROR_UNSUPPORTED. */
enum fdit_status fdit_pt_pickle_run(fdit_context *ctx, struct fdit_pt_pickle *p, const uint8_t *bytes,
                                    size_t n, size_t *used, const struct fdit_pt_value **out);

size_t fdit_pt_pickle_values(const struct fdit_pt_pickle *p); /* that all runs together have made */

/* "module.name" of the first unknown name; false: there was none. */
bool fdit_pt_pickle_unknown(const struct fdit_pt_pickle *p, char *out, size_t size);
/* FDIT_ERROR_UNSUPPORTED that names it, when there was one: for files in which no weights were
 * found. */
enum fdit_status fdit_pt_refuse_unknown(fdit_context *ctx, const struct fdit_pt_pickle *p);

/* Whether a TEXT value is this. */
bool fdit_pt_is_text(const struct fdit_pt_value *v, const char *text);
/* The value under a key of a dict or an attribute of an object, NULL: none. */
const struct fdit_pt_value *fdit_pt_get(const struct fdit_pt_value *v, const char *key);

#endif
