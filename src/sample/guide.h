/* SPDX-License-Identifier: Apache-2.0
 * guide.h: what a picture is guided by: another row of the class table, or another model. */
#ifndef FDIT_SAMPLE_GUIDE_H
#define FDIT_SAMPLE_GUIDE_H

#include "sample/options.h"
#include "sample/weight_files.h"

enum fdit_guide_kind {
    FDIT_GUIDE_NONE,       /* the class alone */
    FDIT_GUIDE_SUPERCLASS, /* the class's group at a rank */
    FDIT_GUIDE_EMPTY,      /* a row trained for dropped labels */
    FDIT_GUIDE_RANDOM,     /* another class, drawn for each picture */
    FDIT_GUIDE_BASE,       /* the base model at the last row of its own table */
    FDIT_GUIDE_DELTA,      /* the same class in another delta of the base */
};

struct fdit_guide {
    enum fdit_guide_kind kind;
    int32_t rank;                   /* FDIT_GUIDE_SUPERCLASS */
    int32_t empty_row;              /* FDIT_GUIDE_EMPTY, FDIT_GUIDE_BASE */
    struct fdit_checkpoint *delta;  /* FDIT_GUIDE_DELTA */
    int32_t *rows;                  /* FDIT_GUIDE_DELTA: [classes] rows of its table */
    struct fdit_weight_files files; /* n = 0: the guide is the sampled model itself */
    char *text;                     /* as --guide takes it, for messages and files: no path */
    /* With FDIT_GUIDE_NONE: the network is told the guidance scale, which was trained from `from` to `to`. */
    bool input;
    double from, to;
};

struct fdit_sample_source;

/* The guide that o->guide names, NULL: the one that the weights were trained for. Files, classes and ranks
 * of the source are there. FDIT_ERROR_ARGUMENT for one that was not trained, with those that were;
 * FDIT_ERROR_FORMAT for a delta that does not fit. *fingerprint: see fdit_weight_files_check_base. Free
 * with fdit_guide_fini. */
enum fdit_status fdit_guide_choose(fdit_context *ctx, const struct fdit_sample_options *o,
                                   const struct fdit_sample_source *source, char **fingerprint,
                                   struct fdit_guide *out);
void fdit_guide_fini(struct fdit_guide *guide);
/* A guidance scale that a guide which is an input was trained for: w, or the nearest one; 1 is none. */
double fdit_guide_nearest(const struct fdit_guide *guide, double w);

/* Rows and random stream of a picture of class `id`. A random guide depends on class and seed alone. */
struct fdit_picture_spec fdit_guide_picture(const struct fdit_guide *guide,
                                            const struct fdit_taxonomy *taxonomy, int32_t id, uint64_t seed);

/* The taxonomy that a file carries; NULL in *out when it carries none, or cp is NULL. */
enum fdit_status fdit_guide_taxonomy(fdit_context *ctx, const struct fdit_checkpoint *cp,
                                     struct fdit_taxonomy **out);

#endif
