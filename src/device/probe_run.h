/* SPDX-License-Identifier: Apache-2.0
 * probe_run.h: the call of a probe on one device: its tensors in the device's memory between guards, the
 * call, what it changed, and how far results are apart. The self-test and the tests of ops and of wrong
 * arguments share it.
 *
 *     struct fdit_probe_run run;
 *     TRY(fdit_probe_place(&p, dev, &(struct fdit_probe_placing){ .sample = FDIT_PROBE_ALL }, &run));
 *     TRY(fdit_probe_call(&p, &run));
 *     if (!fdit_probe_is_clean(&p, &run, text, sizeof text))
 *         ...                          // wrote where it may not, or left an output unwritten
 *     fdit_probe_run_end(&run);
 */
#ifndef FDIT_DEVICE_PROBE_RUN_H
#define FDIT_DEVICE_PROBE_RUN_H

#include "device/probe.h"

enum { FDIT_PROBE_ALL = -1 };

struct fdit_probe_placing {
    int sample;              /* FDIT_PROBE_ALL, or the only sample: its parts of the tensors */
    bool apart;              /* every tensor in a buffer of its own, which ends where the tensor ends */
    enum fdit_dtype storage; /* of the frozen matrix */
    float spoil;             /* added to the first tensor's first element */
    fdit_buffer **keep;      /* not with apart: a buffer to use again, replaced by a longer one; NULL: none */
};

struct fdit_probe_run {
    fdit_device *dev;
    union fdit_op_args args;                          /* what the call is made with */
    struct fdit_tensor tensors[FDIT_PROBE_SLOTS];     /* of the slots, where they lie */
    size_t at[FDIT_PROBE_SLOTS], n[FDIT_PROBE_SLOTS]; /* in the images */
    float *before, *after; /* [total] images: the tensors in the order of the slots */
    size_t total;
    struct {
        fdit_buffer *buffer;
        size_t from, n; /* the part of the image that it holds */
    } pieces[FDIT_PROBE_SLOTS];
    int n_pieces;
    bool kept; /* the buffer is not the run's own */
    fdit_weight *weight;
    double seconds;                /* of the call, until the device was idle */
    uint64_t objects, allocations; /* that the call made */
};

/* Lays the tensors out, uploads them, makes the weight and sets the arguments. After a failure nothing is
 * left to be ended. */
enum fdit_status fdit_probe_place(struct fdit_probe *p, fdit_device *dev,
                                  const struct fdit_probe_placing *how, struct fdit_probe_run *run);
/* Makes the call and reads everything into `after`. */
enum fdit_status fdit_probe_call(struct fdit_probe *p, struct fdit_probe_run *run);
/* Device memory as it is now, into image[total]. */
enum fdit_status fdit_probe_read(struct fdit_probe *p, struct fdit_probe_run *run, float *image);
/* After the call: guards and inputs are as they were, outputs are written everywhere but between their
 * rows. Else `what` says what is wrong. */
bool fdit_probe_is_clean(const struct fdit_probe *p, const struct fdit_probe_run *run, char *what,
                         size_t bytes);
void fdit_probe_run_end(struct fdit_probe_run *run);

/* The part of a slot that is one sample's (FDIT_PROBE_ALL: of all): its first element and length. */
struct fdit_probe_part {
    size_t from, n;
};
struct fdit_probe_part fdit_probe_part_of(const struct fdit_probe *p, const struct fdit_probe_slot *s,
                                          int sample);

#endif
