/* SPDX-License-Identifier: Apache-2.0
 * adapter.h: small parameters beside the linear layers of every block that change what these compute while
 * their matrices stay frozen.
 *
 *     LoRA (arXiv 2106.09685)   y = W x + b + s B (A x), A [rank, n_in], B [n_out, rank],
 *                               s = alpha / rank, or alpha / sqrt(rank) (rsLoRA, arXiv 2312.03732)
 *
 * on attn.qkv, attn.proj, mlp.fc1 and mlp.fc2; or
 *
 *     DiffFit (arXiv 2304.06648)   vectors gamma, at first 1, that multiply what layers give, bias included.
 *         branch: x += gate gamma Branch(x) on both branches of a block (gamma1, gamma2, [D] each)
 *         linear: y = gamma (W x + b) on the four layers (attn.gamma1 [3 D], attn.gamma2, mlp.gamma1 [4 D],
 *                 mlp.gamma2): code by the method's authors has this one. gamma2 is what `branch` has.
 *
 * A model's config holds its adapter; params.c lists its parameters ("blocks.0.attn.qkv.lora_A"), forward.c
 * and backward.c use them where they compute a linear layer, and merge.c merges them into the frozen
 * matrices. Here is the adapter's description. */
#ifndef FDIT_MODEL_ADAPTER_H
#define FDIT_MODEL_ADAPTER_H

#include "core/status.h"
#include "format/json.h"

enum fdit_gammas { FDIT_GAMMAS_NONE, FDIT_GAMMAS_BRANCH, FDIT_GAMMAS_LINEAR };
struct fdit_adapter {
    int rank;                /* of A and B; 0: there are none */
    double alpha;            /* above 0 */
    bool rslora;             /* s = alpha / sqrt(rank) */
    enum fdit_gammas gammas; /* of DiffFit, without A and B */
};

bool fdit_adapter_any(const struct fdit_adapter *a);
bool fdit_adapter_equal(const struct fdit_adapter *a, const struct fdit_adapter *b);
/* s; 0 without a rank. */
float fdit_adapter_scale(const struct fdit_adapter *a);
/* FDIT_ERROR_ARGUMENT for a rank that is not 1 to the width of the model, or an alpha that is not above 0 and
 * finite. */
enum fdit_status fdit_adapter_check(fdit_context *ctx, const struct fdit_adapter *a, int width);
/* "lora of rank 16, alpha 16", for people. */
enum { FDIT_ADAPTER_TEXT = 96 };
void fdit_adapter_text(const struct fdit_adapter *a, char out[FDIT_ADAPTER_TEXT]);

/* The entry "adapter" of a model's description; nothing without an adapter. *out: ",\"adapter\":{..}" or "",
 * to be freed with fdit_free. */
enum fdit_status fdit_adapter_to_json(fdit_context *ctx, const struct fdit_adapter *a, char **out);
/* The other way, from that entry; NULL is none. What is not understood is refused by name. `name`: of the
 * file, for messages. */
enum fdit_status fdit_adapter_from_json(fdit_context *ctx, const char *name, const json_t *entry,
                                        struct fdit_adapter *out);

/* The layers of a block that have one, by their names in a file: "attn.qkv", ... */
enum { FDIT_ADAPTER_LAYERS = 4 };
extern const char *const fdit_adapter_layers[FDIT_ADAPTER_LAYERS];

#endif
