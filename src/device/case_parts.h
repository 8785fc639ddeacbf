/* SPDX-License-Identifier: Apache-2.0
 * case_parts.h: what cases of ops are put together from, for cases.c and cases_picture.c alone. */
#ifndef FDIT_DEVICE_CASE_PARTS_H
#define FDIT_DEVICE_CASE_PARTS_H

#include "device/cases.h"

#include <math.h>

/* The sizes of a call: none may be below 1. */
#define SIZE(kind, field)                                            \
    {                                                                \
#field, AT(kind, field),                                     \
            _Generic(((struct fdit_##kind##_args *)0)->field, size_t \
                     : true, default                                 \
                     : false)                                        \
    }
#define SIZES(p, ...) \
    fdit_probe_sizes((p), (const struct fdit_probe_size[]){ __VA_ARGS__, { NULL, 0, false } })

#define AT(kind, field) (offsetof(union fdit_op_args, kind) + offsetof(struct fdit_##kind##_args, field))

/* Every table of shapes has N_SHAPES and that of FDIT_CASE_ALL; the first TINY are small enough for a
 * simulator. */
enum { N_SHAPES = 8, TINY = 4 };

/* What a case is made for: `dev` says which types it keeps weights in. */
struct fdit_case_on {
    fdit_context *ctx;
    const struct fdit_device *dev;
};
typedef void fdit_case_fn(struct fdit_probe *p, const struct fdit_case_on *on, int variant);
#define OP(entry, ENUM, arguments) fdit_case_fn fdit_case_##entry;
#include "device/op_list.h"

/* The row of a table of shapes: the last one is FDIT_CASE_ALL's. */
static inline int shape_at(int variant)
{
    return variant == FDIT_CASE_ALL ? N_SHAPES : variant % N_SHAPES;
}

static inline struct fdit_probe_slot *optional(struct fdit_probe_slot *s)
{
    s->optional = true;
    return s;
}

/* Of all samples: a parameter, or a sum over them. */
static inline struct fdit_probe_slot *shared(struct fdit_probe_slot *s)
{
    s->shared = true;
    return s;
}

/* The output may be the very tensor of one of these inputs. */
static inline struct fdit_probe_slot *may_be(struct fdit_probe_slot *s, const char *inputs)
{
    s->may_be = inputs;
    return s;
}

/* A second argument is this tensor. */
static inline void also(struct fdit_probe_slot *s, size_t field)
{
    s->alias = field;
}

static inline void scale(struct fdit_probe_slot *s, float by, float plus)
{
    for (size_t i = 0; s->data && i < s->n; i++)
        s->data[i] = s->data[i] * by + plus;
}

static inline void make_positive(struct fdit_probe_slot *s)
{
    for (size_t i = 0; s->data && i < s->n; i++)
        s->data[i] = 0.5f + fabsf(s->data[i]);
}

#endif
