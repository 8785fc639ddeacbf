/* SPDX-License-Identifier: Apache-2.0
 * checkpoint.h: named tensors from a file, whatever its layout, and the model they belong to.
 *
 * Layouts: safetensors or torch, also in shards (format/weights.h); a flat state_dict with the
 * public names (DiT: no norm weights), a dictionary with "model" and "ema" (FineDiffusion) or other
 * sets of weights, names with the marks of wrappers in any order and number (module., _orig_mod.,
 * net., ...), diffusers' names (a file, or a folder with or around "transformer"), a training
 * checkpoint of this program (the public names behind "ema." and "raw."). */
#ifndef FDIT_MODEL_CHECKPOINT_H
#define FDIT_MODEL_CHECKPOINT_H

#include "model/model.h"

struct fdit_checkpoint;

#define FDIT_FILE_VERSION "1" /* metadata "version" of models, deltas and training checkpoints */
/* By metadata: one of this program's files must be of that version, or FDIT_ERROR_UNSUPPORTED. Files of
 * others (format NULL or not "finediffusion-...") pass. */
enum fdit_status fdit_file_version_check(fdit_context *ctx, const char *path, const char *format,
                                         const char *version);

/* Opens the file and checks structure and version; FDIT_ERROR_FORMAT, _UNSUPPORTED or _IO with the
 * reason. `values` says which set is read from a file that holds both. */
enum fdit_status fdit_checkpoint_open(fdit_context *ctx, const char *path, enum fdit_values values,
                                      struct fdit_checkpoint **out);
void fdit_checkpoint_close(struct fdit_checkpoint *cp); /* NULL is allowed */
const char *fdit_checkpoint_path(const struct fdit_checkpoint *cp);
/* NULL when the file has no such entry. */
const char *fdit_checkpoint_meta(const struct fdit_checkpoint *cp, const char *key);
/* The adapter that one of this program's files says it holds; of rank 0: none. */
const struct fdit_adapter *fdit_checkpoint_adapter(const struct fdit_checkpoint *cp);
bool fdit_checkpoint_has(const struct fdit_checkpoint *cp, const char *param);
size_t fdit_checkpoint_tensors(const struct fdit_checkpoint *cp); /* all in the file */
struct fdit_st_tensor;
const struct fdit_st_tensor *fdit_checkpoint_at(const struct fdit_checkpoint *cp, size_t i);
/* Releases the resident pages of a tensor; it can still be read. */
void fdit_checkpoint_drop(const struct fdit_checkpoint *cp, const struct fdit_st_tensor *t);
/* Whether it is a PEFT adapter (peft.h): no metadata of a model, only its trained parameters. */
bool fdit_checkpoint_is_peft(const struct fdit_checkpoint *cp);
/* "safetensors", "torch state_dict", "torch checkpoint", "diffusers DiT" or "PEFT adapter". */
const char *fdit_checkpoint_layout(const struct fdit_checkpoint *cp);
/* What stands before the names of the weights in a training checkpoint: "raw." or "ema.". */
const char *fdit_values_prefix(enum fdit_values values);
/* What stands before the names of the weights: "", "ema/", ... */
const char *fdit_checkpoint_prefix(const struct fdit_checkpoint *cp);
/* Refuses a file whose weights are not of the kind that was asked for by name (--weights-from):
 * FDIT_ERROR_ARGUMENT. */
enum fdit_status fdit_checkpoint_check_kind(fdit_context *ctx, const struct fdit_checkpoint *cp,
                                            enum fdit_values values);
/* Whether tensor i is among the weights, not beside them (another set, an optimiser's state). */
bool fdit_checkpoint_in_weights(const struct fdit_checkpoint *cp, size_t i);
/* Blocks of the network that the file has a part of, counted from the first. */
int fdit_checkpoint_depth(const struct fdit_checkpoint *cp);
/* The parameter is there with its shape; FDIT_ERROR_FORMAT. */
enum fdit_status fdit_checkpoint_check_shape(fdit_context *ctx, const struct fdit_checkpoint *cp,
                                             const struct fdit_param *p);
/* Dimension i of the shape of a parameter, or -1. */
int64_t fdit_checkpoint_dim(const struct fdit_checkpoint *cp, const char *param, int i);

/* p->count floats of parameter p. A missing tensor, another shape, an integer type, NaN or
 * infinity: FDIT_ERROR_FORMAT or _NUMERIC naming file and tensor. */
enum fdit_status fdit_checkpoint_read(fdit_context *ctx, struct fdit_checkpoint *cp,
                                      const struct fdit_param *p, float *out);
/* Numbers first..first+n of it. */
enum fdit_status fdit_checkpoint_read_part(fdit_context *ctx, struct fdit_checkpoint *cp,
                                           const struct fdit_param *p, size_t first, size_t n, float *out);
/* Rows first..first+n-1 of the class table, whatever its height. */
enum fdit_status fdit_checkpoint_read_rows(fdit_context *ctx, struct fdit_checkpoint *cp, int first, int n,
                                           int width, float *out);

/* Puts rows [rows, width] in place of the file's class table, for all who read it afterwards; `table`, from
 * fdit_alloc, then belongs to the checkpoint, also after a failure. */
enum fdit_status fdit_checkpoint_replace_table(fdit_context *ctx, struct fdit_checkpoint *cp, float *table,
                                               int32_t rows, int width);

/* Refuses tensors among the weights that are not a parameter of the list. In a training checkpoint
 * they are only counted. */
enum fdit_status fdit_checkpoint_check(fdit_context *ctx, const struct fdit_checkpoint *cp,
                                       const struct fdit_params *params, int depth, int *extra);

/* What a file that does not say its objective was trained with; NULL takes it back. firm:
 * fdit_checkpoint_config refuses a file that says another one; else it is passed over there. */
void fdit_checkpoint_ask_objective(struct fdit_checkpoint *cp, const struct fdit_objective *objective,
                                   bool firm);
const struct fdit_objective *fdit_checkpoint_asked(const struct fdit_checkpoint *cp); /* NULL: nothing */

/* The sizes of the model in the file, from the first of: `model_text` (what --model said, or NULL)
 * for width, depth, heads and patch; metadata; a config.json beside the file; the tensors' shapes,
 * with the heads of the model that a trainer's arguments in the file name, else those that
 * the published model of this width and depth has. What contradicts the tensors is refused. The objective is
 * the one that metadata, config.json, a head without variances (flow-repa) or the arguments of SiT's trainer
 * tell, else what was asked for, else ddpm: a SiT and a DiT cannot be told apart by their tensors. */
enum fdit_status fdit_checkpoint_config(fdit_context *ctx, struct fdit_checkpoint *cp, const char *model_text,
                                        struct fdit_model_config *out);

/* What fdit_model_load found. */
struct fdit_load_report {
    int norms_missing; /* scale and offset of LayerNorms that the file lacks: set to 1 and 0 */
    int extra;         /* tensors of the file that the model has no use for */
};
/* Loads every parameter of the model from the first of the `n` files that has it (a delta before
 * its base). An adapter of the first file that the model does not have (config.adapter) is merged into the
 * matrices (merge.h); parameters of an adapter that no file has are left as they are. With skip_table the
 * class table is left as it is. Extra tensors of the last file are refused by name. */
enum fdit_status fdit_model_load(fdit_context *ctx, struct fdit_model *model,
                                 struct fdit_checkpoint *const *files, int n, bool skip_table,
                                 struct fdit_load_report *report);

/* A short text that tells whether two sets of frozen weights are the same: for each parameter that
 * `mask` does not train, its root mean square and a signed sum. Free with fdit_free. */
enum fdit_status fdit_checkpoint_fingerprint(fdit_context *ctx, struct fdit_checkpoint *cp,
                                             const struct fdit_model_config *config,
                                             const struct fdit_mask *mask, char **out);
/* Compares two of them with a relative tolerance of 1e-3; FDIT_ERROR_FORMAT names the first
 * difference. */
enum fdit_status fdit_fingerprint_compare(fdit_context *ctx, const char *wanted, const char *got,
                                          const char *delta, const char *base);

#endif
