/* SPDX-License-Identifier: Apache-2.0
 * problem.h: what a benchmark is told to do, as words: "linear 512x4608x1152", "train DiT-XL/2 b2".
 */
#ifndef FDIT_BENCH_PROBLEM_H
#define FDIT_BENCH_PROBLEM_H

#include "model/model.h"

enum fdit_bench_kind {
    FDIT_BENCH_LINEAR,    /* y [m, n] = x [m, k] W^T + b */
    FDIT_BENCH_LINEAR_DX, /* the gradient of x of the same layer */
    FDIT_BENCH_LINEAR_DW, /* and of W */
    FDIT_BENCH_ATTENTION,
    FDIT_BENCH_ATTENTION_BACKWARD,
    FDIT_BENCH_BLOCK,  /* forward and backward of one transformer block */
    FDIT_BENCH_TRAIN,  /* one optimiser step */
    FDIT_BENCH_SAMPLE, /* one guided sampling step */
    FDIT_BENCH_VAE,    /* one picture through the autoencoder */
    FDIT_BENCH_KINDS
};

struct fdit_bench_problem {
    char *text; /* the words as typed, one space between two */
    enum fdit_bench_kind kind;
    int batch;                       /* samples, pictures */
    int m, n, k;                     /* linear family: rows of all samples, columns out, columns in */
    int tokens, heads, head_size;    /* attention */
    struct fdit_model_config config; /* block, train, sample */
    struct fdit_mask mask;           /* block, train: what is trained; sample: its adapter */
    enum fdit_recompute recompute;
    enum fdit_dtype activations;
    bool decode; /* vae: m pixels wide and high */
};

/* Reads the words of one problem. FDIT_ERROR_ARGUMENT names the word that is wrong and what there
 * is. Free with fdit_bench_problem_fini, also after a failure. */
enum fdit_status fdit_bench_problem_parse(fdit_context *ctx, const char *text,
                                          struct fdit_bench_problem *out);
void fdit_bench_problem_fini(struct fdit_bench_problem *problem);
/* The problems that are measured when none is named; NULL after the last. */
extern const char *const fdit_bench_default_problems[];

#endif
