/* SPDX-License-Identifier: Apache-2.0
 * peft.h: adapters as the Python library PEFT keeps them: a folder with adapter_config.json and
 * adapter_model.safetensors (0.21). Its names are ours behind "base_model.model.", with
 *
 *     blocks.0.attn.qkv.lora_A.weight       for lora_A, lora_B
 *     blocks.0.attn.qkv.base_layer.bias     for the bias of a layer that has an adapter
 *
 * and copies of what modules_to_save names (..modules_to_save.., ..original_module..), which are left out. */
#ifndef FDIT_MODEL_PEFT_H
#define FDIT_MODEL_PEFT_H

#include "model/adapter.h"

#define FDIT_PEFT_WEIGHTS "adapter_model.safetensors"
#define FDIT_PEFT_CONFIG "adapter_config.json"

/* Whether a file of weights is that of such a folder: its name, and the other file beside it. */
bool fdit_peft_is(const char *weights);
/* The adapter that the adapter_config.json beside `weights` describes. FDIT_ERROR_UNSUPPORTED names an entry
 * that means something which is not computed here. */
enum fdit_status fdit_peft_read(fdit_context *ctx, const char *weights, struct fdit_adapter *out);
/* That file for an adapter. biases, norms: they are trained too. */
enum fdit_status fdit_peft_write(fdit_context *ctx, const char *path, const struct fdit_adapter *a,
                                 bool biases, bool norms);

/* Our name of PEFT's tensor into out, of strlen(name) + 1 bytes; false: not of a model, or a copy. */
bool fdit_peft_ours(const char *name, char *out);
/* PEFT's name of our parameter. Free with fdit_free. */
enum fdit_status fdit_peft_theirs(fdit_context *ctx, const char *param, char **out);

#endif
