/* SPDX-License-Identifier: Apache-2.0
 * vit_file.h: files of vision transformers (arXiv 2010.11929) that give features: what is in them, told by
 * their tensors, and the tensors by what they are for.
 *
 *   DINOv2 (arXiv 2304.07193)   names of its authors (cls_token, blocks.0.attn.qkv.weight) or of
 *                               transformers (embeddings.cls_token, encoder.layer.0...), with and without
 *                               registers, MLP or SwiGLU (ViT-g)
 *   CLIP's picture tower        names of transformers (vision_model..., visual_projection.weight) or of
 *     (arXiv 2103.00020)        OpenAI (visual.class_embedding, visual.transformer.resblocks.0...)
 *
 * Something may stand before all names ("model.", "teacher.backbone."). Tensors of other parts are not looked
 * at. What tensors do not tell stands in a config.json beside the file, where there is one of this width: the
 * number of heads (without it: of 64 channels each), the activation, the eps of norms. */
#ifndef FDIT_EVAL_VIT_FILE_H
#define FDIT_EVAL_VIT_FILE_H

#include "device/device.h"
#include "format/weights.h"

enum fdit_vit_family { FDIT_VIT_DINO, FDIT_VIT_CLIP };

/* D width, P patch, G places of the position table on each side, R registers, H hidden. */
enum fdit_vit_role {
    FDIT_VIT_CLASS,     /* [D] */
    FDIT_VIT_POSITION,  /* [1 + G G, D], the class token's first */
    FDIT_VIT_REGISTERS, /* [R, D]; may be absent */
    FDIT_VIT_PATCH,     /* [D, 3, P, P] */
    FDIT_VIT_PATCH_BIAS,
    FDIT_VIT_PRE, /* norm before the first block: CLIP */
    FDIT_VIT_PRE_BIAS,
    FDIT_VIT_LAST, /* norm behind the last block */
    FDIT_VIT_LAST_BIAS,
    FDIT_VIT_PROJECTION, /* [features, D]: CLIP */
    FDIT_VIT_NORM1,      /* from here on of each block */
    FDIT_VIT_NORM1_BIAS,
    FDIT_VIT_QKV, /* [3 D, D] */
    FDIT_VIT_QKV_BIAS,
    FDIT_VIT_PROJ, /* [D, D] */
    FDIT_VIT_PROJ_BIAS,
    FDIT_VIT_SCALE1, /* [D], LayerScale: DINOv2 */
    FDIT_VIT_NORM2,
    FDIT_VIT_NORM2_BIAS,
    FDIT_VIT_FC1, /* [H, D], or [2 H, D] of SwiGLU: what goes through SiLU first */
    FDIT_VIT_FC1_BIAS,
    FDIT_VIT_FC2, /* [D, H] */
    FDIT_VIT_FC2_BIAS,
    FDIT_VIT_SCALE2,
    FDIT_VIT_ROLES
};
static inline bool fdit_vit_role_in_block(enum fdit_vit_role role)
{
    return role >= FDIT_VIT_NORM1;
}

enum fdit_vit_act { FDIT_VIT_GELU, FDIT_VIT_QUICK_GELU /* x sigmoid(1.702 x) */, FDIT_VIT_SWIGLU };

struct fdit_vit_config {
    enum fdit_vit_family family;
    int width, depth, heads, hidden, patch, grid, registers;
    int features; /* width, or of the projection */
    enum fdit_vit_act act;
    double eps; /* of norms */
};

struct fdit_vit_file {
    struct fdit_weights *weights;
    const struct fdit_vit_layout *layout; /* the names */
    char prefix[128];
    struct fdit_vit_config config;
};

/* Opens a file or the one in a folder and looks for all tensors. FDIT_ERROR_FORMAT when it is not a network
 * of this family, a tensor is missing or has another shape, with what was expected. */
enum fdit_status fdit_vit_file_open(fdit_context *ctx, const char *path, enum fdit_vit_family family,
                                    struct fdit_vit_file *out);
void fdit_vit_file_close(struct fdit_vit_file *f);
/* Numbers of a role; 0: this network does not have it. */
size_t fdit_vit_role_size(const struct fdit_vit_config *c, enum fdit_vit_role role);
/* Those of one block (or of the network: block 0), fdit_vit_role_size finite numbers. */
enum fdit_status fdit_vit_file_read(fdit_context *ctx, const struct fdit_vit_file *f, enum fdit_vit_role role,
                                    int block, float *out);

#endif
