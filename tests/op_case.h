/* SPDX-License-Identifier: Apache-2.0
 * op_case.h: a probe (device/probe.h) with all that every device promises of it: the same call is made on the
 * reference device, on the device under test, with one thread, with the optional entries removed, sample by
 * sample, and with a NaN in an input.
 *
 *     struct op_case *c = case_new(FDIT_OP_GATE, "samples %d", b);
 *     c->p.args.gate = (struct fdit_gate_args){ .samples = b, .tokens = n, .width = d, ... };
 *     case_in(c, offsetof(struct fdit_gate_args, branch), "branch", n * d, b);
 *     case_out(c, offsetof(struct fdit_gate_args, y), "y", n * d, b);
 *     case_check(c);    // consumes c
 */
#ifndef FDIT_TESTS_OP_CASE_H
#define FDIT_TESTS_OP_CASE_H

#include "device/backend.h"
#include "device/cases.h"
#include "device/probe_run.h"
#include "harness.h"

struct op_case {
    struct fdit_probe p;
    double floor;    /* 1: a lone result that cancelled to almost nothing may be off by an ulp of its terms,
                      * which are about 1; an output's allowed error is p.allowed (floor + sum wanted^2) */
    bool no_poison;  /* leave out the NaN and infinity runs */
    bool has_limits; /* an infinity may give a limit, as GELU(-inf) = 0, where the reference has NaN */
    float *wanted[FDIT_PROBE_SLOTS]; /* outputs: the reference's */
    struct test_rng rng;
};

enum { OP_DEVICES = 4 };

/* The devices that one run compares; opened by op_devices_open. */
struct op_devices {
    fdit_context *ctx;
    const char *spec;
    fdit_device *ref, *main;
    fdit_device *one_thread; /* NULL where the device has but one or does not say */
    fdit_device *composed;   /* no optional entries */
    struct fdit_device_ops composed_ops;
    fdit_device *buffer_of[OP_DEVICES + 1]; /* whose buffers[i] is; NULL ends it */
    fdit_buffer *buffers[OP_DEVICES];
};
extern struct op_devices op_devices;
enum fdit_status op_devices_open(fdit_context *ctx, const char *spec);
void op_devices_close(void);

struct op_case *case_new(enum fdit_op op, const char *format, ...) FDIT_PRINTF(2, 3);
/* Tensors of `n` floats a sample for `samples` samples (0: one n that all share). Inputs are N(0, 1); the
 * returned slot can be changed until case_check. */
struct fdit_probe_slot *case_in(struct op_case *c, size_t field, const char *name, size_t n, int samples);
struct fdit_probe_slot *case_out(struct op_case *c, size_t field, const char *name, size_t n, int samples);
struct fdit_probe_slot *case_inout(struct op_case *c, size_t field, const char *name, size_t n, int samples);
/* As case_in, case_out with the rows `stride` apart. */
struct fdit_probe_slot *case_in_strided(struct op_case *c, size_t field, const char *name, size_t n,
                                        int samples, int stride);
struct fdit_probe_slot *case_out_strided(struct op_case *c, size_t field, const char *name, size_t n,
                                         int samples, int stride);
/* Row numbers 0..below-1, one a sample. */
struct fdit_probe_slot *case_index(struct op_case *c, size_t field, const char *name, int samples, int below);
void case_weight(struct op_case *c, size_t field, int n_out, int n_in, float deviation);

/* The shared case of an op (device/cases.h), with what every device promises. */
struct op_case *case_shared(enum fdit_op op, int variant);

/* All comparisons of the header comment; fails the running test. Frees c. */
void case_check(struct op_case *c);
/* Runs on the reference only and copies the output `name` (a slot's) to `to`. Frees c. */
void case_reference(struct op_case *c, const char *name, float *to);

#endif
