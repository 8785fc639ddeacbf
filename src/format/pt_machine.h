/* SPDX-License-Identifier: Apache-2.0
 * pt_machine.h: the stack machine that pt_pickle.c (instructions) and pt_names.c (names) share. */
#ifndef FDIT_FORMAT_PT_MACHINE_H
#define FDIT_FORMAT_PT_MACHINE_H

#include "format/pt_pickle.h"

enum {
    BLOCK = 512,           /* values allocated at a time */
    MOST_VALUES = 1 << 21, /* and memo entries, stack places, items in containers */
    MOST_MARKS = 256,
    MOST_DEPTH = 64,
    MOST_TEXT_LINE = 4096, /* bytes of a number or name in the text protocol */
};

struct fdit_pt_pickle {
    const char *file;
    struct fdit_pt_value **blocks; /* of BLOCK values each */
    size_t n_blocks, blocks_capacity, n_values, n_items;
    char unknown[164]; /* the first unknown name, "": none */
    /* of the running pickle */
    fdit_context *ctx;
    const uint8_t *bytes, *op; /* op: the instruction, for messages */
    size_t n, at;
    struct fdit_pt_value **stack, **memo;
    size_t n_stack, stack_capacity, n_memo, memo_capacity;
    size_t marks[MOST_MARKS]; /* heights of the stack */
    size_t n_marks;
};

/* FDIT_ERROR_FORMAT with the place in the pickle. */
enum fdit_status fdit_pt_bad(struct fdit_pt_pickle *p, const char *what);
enum fdit_status fdit_pt_value_new(struct fdit_pt_pickle *p, enum fdit_pt_kind kind,
                                   struct fdit_pt_value **out);
enum fdit_status fdit_pt_push(struct fdit_pt_pickle *p, struct fdit_pt_value *v);
enum fdit_status fdit_pt_push_new(struct fdit_pt_pickle *p, enum fdit_pt_kind kind, int64_t i);
/* Never from below the last mark. */
enum fdit_status fdit_pt_pop(struct fdit_pt_pickle *p, struct fdit_pt_value **out);
enum fdit_status fdit_pt_top(struct fdit_pt_pickle *p, struct fdit_pt_value **out);
/* n values behind those of a container. */
enum fdit_status fdit_pt_append(struct fdit_pt_pickle *p, struct fdit_pt_value *to,
                                struct fdit_pt_value *const *values, size_t n);

/* Pushes module.name, or refuses it by name. */
enum fdit_status fdit_pt_push_name(struct fdit_pt_pickle *p, const char *module, size_t n_module,
                                   const char *name, size_t n_name);
/* name, arguments -> the value that the call would give. */
enum fdit_status fdit_pt_reduce(struct fdit_pt_pickle *p);
/* object, state -> object. */
enum fdit_status fdit_pt_set_state(struct fdit_pt_pickle *p);
/* an outside reference -> a storage. */
enum fdit_status fdit_pt_persistent(struct fdit_pt_pickle *p);

#endif
