/* SPDX-License-Identifier: Apache-2.0
 * ops.c: the wrappers of the compute entries. Each states its numbers and tensors, lets check.c judge
 * them, adds what only this op forbids, and calls the table or generic.c. */
#include "device/check.h"
#include "device/generic.h"

#include <math.h>

/* clang-format off */
void fdit_op_call(fdit_device *dev, enum fdit_op op, const union fdit_op_args *a)
{
    switch (op) {
#define OP(entry, ENUM, arguments) case FDIT_OP_##ENUM: fdit_##entry(dev, &a->entry); break;
#include "device/op_list.h"
    case FDIT_OP_FILL:
    case FDIT_OP_COPY:
    case FDIT_OP_COUNT: break;
    }
}
/* clang-format on */

enum { MAX_HEAD_SIZE = 128 };

static bool need(const struct fdit_call *call, bool condition, const char *reason)
{
    return condition || fdit_call_fail(call, FDIT_ERROR_ARGUMENT, "%s", reason);
}

static bool both_or_neither(const struct fdit_call *call, struct fdit_tensor a, const char *a_name,
                            struct fdit_tensor b, const char *b_name)
{
    if (fdit_has(a) == fdit_has(b))
        return true;
    return fdit_call_fail(call, FDIT_ERROR_ARGUMENT, "%s and %s: both or neither, only %s is given", a_name,
                          b_name, fdit_has(a) ? a_name : b_name);
}

/* The frozen weight or the plain matrix, exactly one, and the weight's shape. */
static bool check_matrix(const struct fdit_call *call, const fdit_weight *weight, struct fdit_tensor matrix,
                         int n_out, int n_in)
{
    if ((weight != NULL) == fdit_has(matrix))
        return need(call, false,
                    weight ? "weight and matrix are both given" : "neither weight nor matrix is given");
    if (!weight)
        return true;
    if (weight->dev != call->dev)
        return fdit_call_fail(call, FDIT_ERROR_ARGUMENT, "the weight lies on another device, %s",
                              weight->dev->ops->name);
    if (weight->desc.n_out != n_out || weight->desc.n_in != n_in)
        return fdit_call_fail(call, FDIT_ERROR_ARGUMENT, "the weight is %d x %d, not %d x %d",
                              weight->desc.n_out, weight->desc.n_in, n_out, n_in);
    return true;
}

static double linear_flops(int samples, int tokens, int n_in, int n_out)
{
    return 2.0 * samples * tokens * (double)n_in * n_out;
}

static bool need_low(struct fdit_call *call, struct fdit_tensor low, struct fdit_tensor low_matrix,
                     const fdit_weight *weight)
{
    return both_or_neither(call, low, "low", low_matrix, "low_matrix") &&
           need(call, !fdit_has(low) || (weight && fdit_device_fuses_low(call->dev)),
                "low is for a weight, on a device that fuses it");
}

/* ------------------------------------------------------------------------------ linear family */

void fdit_linear(fdit_device *dev, const struct fdit_linear_args *a)
{
    const struct fdit_dim dims[] = {
        FDIT_SIZE("samples", a->samples),
        FDIT_SIZE("tokens", a->tokens),
        FDIT_SIZE("n_in", a->n_in),
        FDIT_SIZE("n_out", a->n_out),
        FDIT_RANGE("low_rank", a->low_rank, fdit_has(a->low) ? 1 : 0, fdit_has(a->low) ? INT_MAX : 0),
        FDIT_RANGE("act", a->act, FDIT_ACT_NONE, FDIT_ACT_LAST),
        FDIT_RANGE("gate_stride", a->gate_stride, fdit_has(a->gate) ? 0 : LLONG_MIN, LLONG_MAX),
        FDIT_RANGE("beta", a->beta, 0, 1),
    };
    size_t out = fdit_product(a->samples, a->tokens, a->n_out);
    const struct fdit_operand operands[] = {
        fdit_may_be(fdit_inout("y", a->y, out, a->beta), "residual"),
        fdit_in("x", a->x, fdit_product(a->samples, a->tokens, a->n_in)),
        fdit_optional(fdit_in("matrix", a->matrix, fdit_product(a->n_out, a->n_in, 1))),
        fdit_optional(fdit_in("bias", a->bias, fdit_product(a->n_out, 1, 1))),
        fdit_optional(fdit_in("add", a->add, out)),
        fdit_optional(fdit_in("low", a->low, fdit_product(a->samples, a->tokens, a->low_rank))),
        fdit_optional(fdit_in("low_matrix", a->low_matrix, fdit_product(a->n_out, a->low_rank, 1))),
        fdit_optional(fdit_out("pre", a->pre, out)),
        fdit_optional(fdit_strided(fdit_in("gate", a->gate, 0), a->samples, a->n_out, a->gate_stride)),
        fdit_optional(fdit_in("residual", a->residual,
                              a->residual_shared ? fdit_product(a->tokens, a->n_out, 1) : out)),
    };
    struct fdit_call call = FDIT_CALL(dev, FDIT_OP_LINEAR, dims, operands);
    if (!fdit_call_check(&call) || !check_matrix(&call, a->weight, a->matrix, a->n_out, a->n_in) ||
        !need(&call, !a->beta || (!fdit_has(a->gate) && !fdit_has(a->residual)),
              "beta 1 excludes gate and residual") ||
        !need_low(&call, a->low, a->low_matrix, a->weight) || !fdit_call_start(&call))
        return;
    fdit_compose_linear(dev, a);
    fdit_call_end(&call, linear_flops(a->samples, a->tokens, a->n_in + a->low_rank, a->n_out),
                  a->weight ? a->weight->bytes : 0);
}

void fdit_linear_dx(fdit_device *dev, const struct fdit_linear_dx_args *a)
{
    const struct fdit_dim dims[] = {
        FDIT_SIZE("samples", a->samples),
        FDIT_SIZE("tokens", a->tokens),
        FDIT_SIZE("n_in", a->n_in),
        FDIT_SIZE("n_out", a->n_out),
        FDIT_RANGE("low_rank", a->low_rank, fdit_has(a->low) ? 1 : 0, fdit_has(a->low) ? INT_MAX : 0),
        FDIT_RANGE("act", a->act, FDIT_ACT_NONE, FDIT_ACT_LAST),
        FDIT_RANGE("beta", a->beta, 0, 1),
    };
    size_t in = fdit_product(a->samples, a->tokens, a->n_in);
    const struct fdit_operand operands[] = {
        fdit_inout("dx", a->dx, in, a->beta),
        fdit_in("dy", a->dy, fdit_product(a->samples, a->tokens, a->n_out)),
        fdit_optional(fdit_in("matrix", a->matrix, fdit_product(a->n_out, a->n_in, 1))),
        fdit_optional(fdit_in("add", a->add, in)),
        fdit_optional(fdit_in("low", a->low, fdit_product(a->samples, a->tokens, a->low_rank))),
        fdit_optional(fdit_in("low_matrix", a->low_matrix, fdit_product(a->low_rank, a->n_in, 1))),
        fdit_optional(fdit_in("pre", a->pre, in)),
    };
    struct fdit_call call = FDIT_CALL(dev, FDIT_OP_LINEAR_DX, dims, operands);
    if (!fdit_call_check(&call) || !check_matrix(&call, a->weight, a->matrix, a->n_out, a->n_in) ||
        !need(&call, !a->weight || a->weight->desc.need_dx, "the weight was made without need_dx") ||
        !need(&call, !a->act || fdit_has(a->pre), "act needs pre, the activation's argument") ||
        !need(&call, a->act || !fdit_has(a->pre), "pre is given without act") ||
        !need(&call, !a->act || !a->beta, "act excludes beta 1") ||
        !need_low(&call, a->low, a->low_matrix, a->weight) || !fdit_call_start(&call))
        return;
    fdit_compose_linear_dx(dev, a);
    fdit_call_end(&call, linear_flops(a->samples, a->tokens, a->n_in, a->n_out + a->low_rank),
                  a->weight ? a->weight->bytes : 0);
}

void fdit_linear_dw(fdit_device *dev, const struct fdit_linear_dw_args *a)
{
    const struct fdit_dim dims[] = {
        FDIT_SIZE("samples", a->samples), FDIT_SIZE("tokens", a->tokens),    FDIT_SIZE("n_in", a->n_in),
        FDIT_SIZE("n_out", a->n_out),     FDIT_RANGE("beta", a->beta, 0, 1),
    };
    const struct fdit_operand operands[] = {
        fdit_inout("dw", a->dw, fdit_product(a->n_out, a->n_in, 1), a->beta),
        fdit_in("dy", a->dy, fdit_product(a->samples, a->tokens, a->n_out)),
        fdit_in("x", a->x, fdit_product(a->samples, a->tokens, a->n_in)),
    };
    struct fdit_call call = FDIT_CALL(dev, FDIT_OP_LINEAR_DW, dims, operands);
    if (!fdit_call_check(&call) || !fdit_call_start(&call))
        return;
    dev->ops->linear_dw(dev, a);
    fdit_call_end(&call, linear_flops(a->samples, a->tokens, a->n_in, a->n_out), 0);
}

void fdit_column_sum(fdit_device *dev, const struct fdit_column_sum_args *a)
{
    const struct fdit_dim dims[] = {
        FDIT_SIZE("m", a->m),
        FDIT_SIZE("n", a->n),
        FDIT_RANGE("beta", a->beta, 0, 1),
    };
    const struct fdit_operand operands[] = {
        fdit_inout("db", a->db, fdit_product(a->n, 1, 1), a->beta),
        fdit_in("dy", a->dy, fdit_product(a->m, a->n, 1)),
    };
    struct fdit_call call = FDIT_CALL(dev, FDIT_OP_COLUMN_SUM, dims, operands);
    if (!fdit_call_check(&call) || !fdit_call_start(&call))
        return;
    dev->ops->column_sum(dev, a);
    fdit_call_end(&call, 0, 0);
}

/* ---------------------------------------------------------------------------- norm, attention */

void fdit_norm(fdit_device *dev, const struct fdit_norm_args *a)
{
    const struct fdit_dim dims[] = {
        FDIT_SIZE("samples", a->samples),
        FDIT_SIZE("tokens", a->tokens),
        FDIT_SIZE("width", a->width),
        FDIT_RANGE("mod_stride", a->mod_stride, fdit_has(a->scale) ? 0 : LLONG_MIN, LLONG_MAX),
    };
    size_t all = fdit_product(a->samples, a->tokens, a->width);
    size_t width = fdit_product(a->width, 1, 1);
    const struct fdit_operand operands[] = {
        fdit_optional(fdit_out("y", a->y, all)),
        fdit_in("x", a->x, all),
        fdit_optional(fdit_in("weight", a->weight, width)),
        fdit_optional(fdit_in("bias", a->bias, width)),
        fdit_optional(fdit_strided(fdit_in("shift", a->shift, 0), a->samples, a->width, a->mod_stride)),
        fdit_optional(fdit_strided(fdit_in("scale", a->scale, 0), a->samples, a->width, a->mod_stride)),
        fdit_optional(fdit_out("xhat", a->xhat, all)),
        fdit_optional(fdit_out("rstd", a->rstd, fdit_product(a->samples, a->tokens, 1))),
    };
    struct fdit_call call = FDIT_CALL(dev, FDIT_OP_NORM, dims, operands);
    if (!fdit_call_check(&call) || !both_or_neither(&call, a->weight, "weight", a->bias, "bias") ||
        !both_or_neither(&call, a->shift, "shift", a->scale, "scale") ||
        !need(&call, fdit_has(a->y) || fdit_has(a->xhat) || fdit_has(a->rstd),
              "none of y, xhat, rstd is given") ||
        !fdit_call_start(&call))
        return;
    dev->ops->norm(dev, a);
    fdit_call_end(&call, 0, 0);
}

void fdit_modulate(fdit_device *dev, const struct fdit_modulate_args *a)
{
    const struct fdit_dim dims[] = {
        FDIT_SIZE("samples", a->samples),
        FDIT_SIZE("tokens", a->tokens),
        FDIT_SIZE("width", a->width),
        FDIT_RANGE("mod_stride", a->mod_stride, fdit_has(a->scale) ? 0 : LLONG_MIN, LLONG_MAX),
    };
    size_t all = fdit_product(a->samples, a->tokens, a->width);
    size_t width = fdit_product(a->width, 1, 1);
    const struct fdit_operand operands[] = {
        fdit_out("y", a->y, all),
        fdit_in("xhat", a->xhat, all),
        fdit_optional(fdit_in("weight", a->weight, width)),
        fdit_optional(fdit_in("bias", a->bias, width)),
        fdit_optional(fdit_strided(fdit_in("shift", a->shift, 0), a->samples, a->width, a->mod_stride)),
        fdit_optional(fdit_strided(fdit_in("scale", a->scale, 0), a->samples, a->width, a->mod_stride)),
    };
    struct fdit_call call = FDIT_CALL(dev, FDIT_OP_MODULATE, dims, operands);
    if (!fdit_call_check(&call) || !both_or_neither(&call, a->weight, "weight", a->bias, "bias") ||
        !both_or_neither(&call, a->shift, "shift", a->scale, "scale") || !fdit_call_start(&call))
        return;
    (dev->ops->modulate ? dev->ops->modulate : fdit_generic_modulate)(dev, a);
    fdit_call_end(&call, 0, 0);
}

void fdit_norm_backward(fdit_device *dev, const struct fdit_norm_backward_args *a)
{
    const struct fdit_dim dims[] = {
        FDIT_SIZE("samples", a->samples),
        FDIT_SIZE("tokens", a->tokens),
        FDIT_SIZE("width", a->width),
        FDIT_RANGE("mod_stride", a->mod_stride, fdit_has(a->scale) ? 0 : LLONG_MIN, LLONG_MAX),
        FDIT_RANGE("dmod_stride", a->dmod_stride, fdit_has(a->dscale) ? 0 : LLONG_MIN, LLONG_MAX),
        FDIT_RANGE("beta", a->beta, 0, 1),
    };
    size_t all = fdit_product(a->samples, a->tokens, a->width);
    size_t width = fdit_product(a->width, 1, 1);
    const struct fdit_operand operands[] = {
        fdit_optional(fdit_inout("dx", a->dx, all, a->accumulate)),
        fdit_optional(fdit_strided(fdit_out("dshift", a->dshift, 0), a->samples, a->width, a->dmod_stride)),
        fdit_optional(fdit_strided(fdit_out("dscale", a->dscale, 0), a->samples, a->width, a->dmod_stride)),
        fdit_optional(fdit_inout("dweight", a->dweight, width, a->beta)),
        fdit_optional(fdit_inout("dbias", a->dbias, width, a->beta)),
        fdit_in("dy", a->dy, all),
        fdit_in("xhat", a->xhat, all),
        fdit_optional(fdit_in("rstd", a->rstd, fdit_product(a->samples, a->tokens, 1))),
        fdit_optional(fdit_in("weight", a->weight, width)),
        fdit_optional(fdit_in("bias", a->bias, width)),
        fdit_optional(fdit_strided(fdit_in("scale", a->scale, 0), a->samples, a->width, a->mod_stride)),
    };
    struct fdit_call call = FDIT_CALL(dev, FDIT_OP_NORM_BACKWARD, dims, operands);
    if (!fdit_call_check(&call) || !both_or_neither(&call, a->dshift, "dshift", a->dscale, "dscale") ||
        !both_or_neither(&call, a->dweight, "dweight", a->dbias, "dbias") ||
        !need(&call, fdit_has(a->dx) || fdit_has(a->dshift) || fdit_has(a->dweight),
              "none of dx, dshift and dscale, dweight and dbias is given") ||
        !need(&call, fdit_has(a->rstd) || !fdit_has(a->dx), "rstd is missing, dx needs it") ||
        !both_or_neither(&call, a->weight, "weight", a->bias, "bias") || !fdit_call_start(&call))
        return;
    dev->ops->norm_backward(dev, a);
    fdit_call_end(&call, 0, 0);
}

/* B N^2 H dh */
static double attention_work(int samples, int tokens, int heads, int head_size)
{
    return (double)samples * tokens * tokens * heads * head_size;
}

void fdit_qk_norm(fdit_device *dev, const struct fdit_qk_norm_args *a)
{
    const struct fdit_dim dims[] = {
        FDIT_SIZE("samples", a->samples),
        FDIT_SIZE("tokens", a->tokens),
        FDIT_SIZE("heads", a->heads),
        FDIT_RANGE("head_size", a->head_size, 1, MAX_HEAD_SIZE),
    };
    const long long width = (long long)a->heads * a->head_size;
    const size_t size = (size_t)a->head_size, all = fdit_product(a->samples, a->tokens, 3 * width);
    const struct fdit_operand operands[] = {
        fdit_may_be(fdit_out("y", a->y, all), "x"),
        fdit_in("x", a->x, all),
        fdit_in("q_weight", a->q_weight, size),
        fdit_in("q_bias", a->q_bias, size),
        fdit_in("k_weight", a->k_weight, size),
        fdit_in("k_bias", a->k_bias, size),
        fdit_optional(fdit_out("xhat", a->xhat, fdit_product(a->samples, a->tokens, 2 * width))),
        fdit_optional(fdit_out("rstd", a->rstd, fdit_product(a->samples, a->tokens, 2LL * a->heads))),
    };
    struct fdit_call call = FDIT_CALL(dev, FDIT_OP_QK_NORM, dims, operands);
    if (!fdit_call_check(&call) || !fdit_call_start(&call))
        return;
    dev->ops->qk_norm(dev, a);
    fdit_call_end(&call, 0, 0);
}

void fdit_qk_norm_backward(fdit_device *dev, const struct fdit_qk_norm_backward_args *a)
{
    const struct fdit_dim dims[] = {
        FDIT_SIZE("samples", a->samples),
        FDIT_SIZE("tokens", a->tokens),
        FDIT_SIZE("heads", a->heads),
        FDIT_RANGE("head_size", a->head_size, 1, MAX_HEAD_SIZE),
    };
    const long long width = (long long)a->heads * a->head_size;
    const size_t size = (size_t)a->head_size, all = fdit_product(a->samples, a->tokens, 3 * width);
    const size_t sums = fdit_product(a->samples, a->tokens, a->head_size);
    const struct fdit_operand operands[] = {
        fdit_may_be(fdit_out("dx", a->dx, all), "dy"),
        fdit_out("dq_weight", a->dq_weight, sums),
        fdit_out("dq_bias", a->dq_bias, sums),
        fdit_out("dk_weight", a->dk_weight, sums),
        fdit_out("dk_bias", a->dk_bias, sums),
        fdit_in("dy", a->dy, all),
        fdit_in("xhat", a->xhat, fdit_product(a->samples, a->tokens, 2 * width)),
        fdit_in("rstd", a->rstd, fdit_product(a->samples, a->tokens, 2LL * a->heads)),
        fdit_in("q_weight", a->q_weight, size),
        fdit_in("k_weight", a->k_weight, size),
    };
    struct fdit_call call = FDIT_CALL(dev, FDIT_OP_QK_NORM_BACKWARD, dims, operands);
    if (!fdit_call_check(&call) || !fdit_call_start(&call))
        return;
    dev->ops->qk_norm_backward(dev, a);
    fdit_call_end(&call, 0, 0);
}

void fdit_attention(fdit_device *dev, const struct fdit_attention_args *a)
{
    const struct fdit_dim dims[] = {
        FDIT_SIZE("samples", a->samples),
        FDIT_SIZE("tokens", a->tokens),
        FDIT_SIZE("heads", a->heads),
        FDIT_RANGE("head_size", a->head_size, 1, MAX_HEAD_SIZE),
    };
    long long width = (long long)a->heads * a->head_size;
    const struct fdit_operand operands[] = {
        fdit_out("out", a->out, fdit_product(a->samples, a->tokens, width)),
        fdit_optional(fdit_out("lse", a->lse, fdit_product(a->samples, a->heads, a->tokens))),
        fdit_in("qkv", a->qkv, fdit_product(a->samples, a->tokens, 3 * width)),
    };
    struct fdit_call call = FDIT_CALL(dev, FDIT_OP_ATTENTION, dims, operands);
    if (!fdit_call_check(&call) || !fdit_call_start(&call))
        return;
    dev->ops->attention(dev, a);
    fdit_call_end(&call, 4 * attention_work(a->samples, a->tokens, a->heads, a->head_size), 0);
}

void fdit_attention_backward(fdit_device *dev, const struct fdit_attention_backward_args *a)
{
    const struct fdit_dim dims[] = {
        FDIT_SIZE("samples", a->samples),
        FDIT_SIZE("tokens", a->tokens),
        FDIT_SIZE("heads", a->heads),
        FDIT_RANGE("head_size", a->head_size, 1, MAX_HEAD_SIZE),
    };
    long long width = (long long)a->heads * a->head_size;
    size_t all = fdit_product(a->samples, a->tokens, width);
    size_t packed = fdit_product(a->samples, a->tokens, 3 * width);
    const struct fdit_operand operands[] = {
        fdit_out("dqkv", a->dqkv, packed),
        fdit_in("dout", a->dout, all),
        fdit_in("qkv", a->qkv, packed),
        fdit_in("out", a->out, all),
        fdit_in("lse", a->lse, fdit_product(a->samples, a->heads, a->tokens)),
    };
    struct fdit_call call = FDIT_CALL(dev, FDIT_OP_ATTENTION_BACKWARD, dims, operands);
    if (!fdit_call_check(&call) || !fdit_call_start(&call))
        return;
    dev->ops->attention_backward(dev, a);
    fdit_call_end(&call, 8 * attention_work(a->samples, a->tokens, a->heads, a->head_size), 0);
}

/* ------------------------------------------------------------------------------- element-wise */

void fdit_gate(fdit_device *dev, const struct fdit_gate_args *a)
{
    const struct fdit_dim dims[] = {
        FDIT_SIZE("samples", a->samples),
        FDIT_SIZE("tokens", a->tokens),
        FDIT_SIZE("width", a->width),
        FDIT_RANGE("gate_stride", a->gate_stride, 0, LLONG_MAX),
    };
    size_t all = fdit_product(a->samples, a->tokens, a->width);
    const struct fdit_operand operands[] = {
        fdit_may_be(fdit_out("y", a->y, all), "residual"),
        fdit_optional(fdit_in("residual", a->residual, all)),
        fdit_in("branch", a->branch, all),
        fdit_strided(fdit_in("gate", a->gate, 0), a->samples, a->width, a->gate_stride),
    };
    struct fdit_call call = FDIT_CALL(dev, FDIT_OP_GATE, dims, operands);
    if (!fdit_call_check(&call) || !fdit_call_start(&call))
        return;
    dev->ops->gate(dev, a);
    fdit_call_end(&call, 0, 0);
}

void fdit_gate_backward(fdit_device *dev, const struct fdit_gate_backward_args *a)
{
    const struct fdit_dim dims[] = {
        FDIT_SIZE("samples", a->samples),
        FDIT_SIZE("tokens", a->tokens),
        FDIT_SIZE("width", a->width),
        FDIT_RANGE("gate_stride", a->gate_stride, fdit_has(a->gate) ? 0 : LLONG_MIN, LLONG_MAX),
        FDIT_RANGE("dgate_stride", a->dgate_stride, fdit_has(a->dgate) ? 0 : LLONG_MIN, LLONG_MAX),
    };
    size_t all = fdit_product(a->samples, a->tokens, a->width);
    const struct fdit_operand operands[] = {
        fdit_may_be(fdit_optional(fdit_out("dbranch", a->dbranch, all)), "branch"),
        fdit_optional(fdit_strided(fdit_out("dgate", a->dgate, 0), a->samples, a->width, a->dgate_stride)),
        fdit_in("dy", a->dy, all),
        fdit_optional(fdit_in("branch", a->branch, all)),
        fdit_optional(fdit_strided(fdit_in("gate", a->gate, 0), a->samples, a->width, a->gate_stride)),
    };
    struct fdit_call call = FDIT_CALL(dev, FDIT_OP_GATE_BACKWARD, dims, operands);
    if (!fdit_call_check(&call) ||
        !need(&call, fdit_has(a->dbranch) || fdit_has(a->dgate), "neither dbranch nor dgate is given") ||
        !need(&call, fdit_has(a->gate) || !fdit_has(a->dbranch), "gate is missing, dbranch needs it") ||
        !need(&call, fdit_has(a->branch) || !fdit_has(a->dgate), "branch is missing, dgate needs it") ||
        !fdit_call_start(&call))
        return;
    dev->ops->gate_backward(dev, a);
    fdit_call_end(&call, 0, 0);
}

void fdit_activation(fdit_device *dev, const struct fdit_activation_args *a)
{
    const struct fdit_dim dims[] = {
        FDIT_SIZE("n", a->n),
        FDIT_RANGE("act", a->act, FDIT_ACT_GELU_TANH, FDIT_ACT_LAST),
    };
    const struct fdit_operand operands[] = {
        fdit_may_be(fdit_out("y", a->y, a->n), "x"),
        fdit_in("x", a->x, a->n),
    };
    struct fdit_call call = FDIT_CALL(dev, FDIT_OP_ACTIVATION, dims, operands);
    if (!fdit_call_check(&call) || !fdit_call_start(&call))
        return;
    dev->ops->activation(dev, a);
    fdit_call_end(&call, 0, 0);
}

void fdit_activation_backward(fdit_device *dev, const struct fdit_activation_backward_args *a)
{
    const struct fdit_dim dims[] = {
        FDIT_SIZE("n", a->n),
        FDIT_RANGE("act", a->act, FDIT_ACT_GELU_TANH, FDIT_ACT_LAST),
    };
    struct fdit_operand dx = fdit_may_be(fdit_out("dx", a->dx, a->n), "dy");
    dx.or_as = "x";
    const struct fdit_operand operands[] = {
        dx,
        fdit_in("dy", a->dy, a->n),
        fdit_in("x", a->x, a->n),
    };
    struct fdit_call call = FDIT_CALL(dev, FDIT_OP_ACTIVATION_BACKWARD, dims, operands);
    if (!fdit_call_check(&call) || !fdit_call_start(&call))
        return;
    dev->ops->activation_backward(dev, a);
    fdit_call_end(&call, 0, 0);
}

void fdit_axpy(fdit_device *dev, const struct fdit_axpy_args *a)
{
    const struct fdit_dim dims[] = {
        FDIT_SIZE("n", a->n),
        FDIT_RANGE("beta", a->beta, 0, 1),
    };
    const struct fdit_operand operands[] = {
        fdit_inout("y", a->y, a->n, a->beta),
        fdit_in("x", a->x, a->n),
    };
    struct fdit_call call = FDIT_CALL(dev, FDIT_OP_AXPY, dims, operands);
    if (!fdit_call_check(&call) || !fdit_call_start(&call))
        return;
    dev->ops->axpy(dev, a);
    fdit_call_end(&call, 0, 0);
}

/* -------------------------------------------------------------------------- tables and layout */

void fdit_gather(fdit_device *dev, const struct fdit_gather_args *a)
{
    const struct fdit_dim dims[] = {
        FDIT_SIZE("samples", a->samples),
        FDIT_SIZE("table_rows", a->table_rows),
        FDIT_SIZE("width", a->width),
        FDIT_RANGE("beta", a->beta, 0, 1),
    };
    const struct fdit_operand operands[] = {
        fdit_inout("y", a->y, fdit_product(a->samples, a->width, 1), a->beta),
        fdit_in("table", a->table, fdit_product(a->table_rows, a->width, 1)),
        fdit_typed(fdit_in("index", a->index, fdit_product(a->samples, 1, 1)), FDIT_I32),
    };
    struct fdit_call call = FDIT_CALL(dev, FDIT_OP_GATHER, dims, operands);
    if (!fdit_call_check(&call) || !fdit_call_start(&call))
        return;
    dev->ops->gather(dev, a);
    fdit_call_end(&call, 0, 0);
}

void fdit_scatter_add(fdit_device *dev, const struct fdit_scatter_add_args *a)
{
    const struct fdit_dim dims[] = {
        FDIT_SIZE("samples", a->samples),
        FDIT_SIZE("table_rows", a->table_rows),
        FDIT_SIZE("width", a->width),
        FDIT_RANGE("beta", a->beta, 0, 1),
    };
    const struct fdit_operand operands[] = {
        fdit_inout("dtable", a->dtable, fdit_product(a->table_rows, a->width, 1), a->beta),
        fdit_in("dy", a->dy, fdit_product(a->samples, a->width, 1)),
        fdit_typed(fdit_in("index", a->index, fdit_product(a->samples, 1, 1)), FDIT_I32),
    };
    struct fdit_call call = FDIT_CALL(dev, FDIT_OP_SCATTER_ADD, dims, operands);
    if (!fdit_call_check(&call) || !fdit_call_start(&call))
        return;
    dev->ops->scatter_add(dev, a);
    fdit_call_end(&call, 0, 0);
}

static void patches(fdit_device *dev, const struct fdit_patchify_args *a, enum fdit_op op)
{
    const struct fdit_dim dims[] = {
        FDIT_SIZE("samples", a->samples),
        FDIT_SIZE("channels", a->channels),
        FDIT_SIZE("size", a->size),
        FDIT_SIZE("patch", a->patch),
        FDIT_RANGE("order", a->order, FDIT_PATCH_CHANNEL_FIRST, FDIT_PATCH_CHANNEL_LAST),
    };
    bool forward = op == FDIT_OP_PATCHIFY;
    size_t picture = fdit_product(a->channels, a->size, a->size);
    size_t all = picture > LLONG_MAX ? SIZE_MAX : fdit_product(a->samples, (long long)picture, 1);
    const struct fdit_operand operands[] = {
        forward ? fdit_out("tokens", a->tokens, all) : fdit_in("tokens", a->tokens, all),
        forward ? fdit_in("image", a->image, all) : fdit_out("image", a->image, all),
    };
    struct fdit_call call = FDIT_CALL(dev, op, dims, operands);
    if (!fdit_call_check(&call) || !need(&call, a->size % a->patch == 0, "size is not a multiple of patch") ||
        !fdit_call_start(&call))
        return;
    (forward ? dev->ops->patchify : dev->ops->unpatchify)(dev, a);
    fdit_call_end(&call, 0, 0);
}

void fdit_patchify(fdit_device *dev, const struct fdit_patchify_args *a)
{
    patches(dev, a, FDIT_OP_PATCHIFY);
}

void fdit_unpatchify(fdit_device *dev, const struct fdit_patchify_args *a)
{
    patches(dev, a, FDIT_OP_UNPATCHIFY);
}

void fdit_copy_columns(fdit_device *dev, const struct fdit_copy_columns_args *a)
{
    const struct fdit_dim dims[] = {
        FDIT_SIZE("m", a->m),
        FDIT_SIZE("n", a->n),
        FDIT_SIZE("width", a->width),
        FDIT_RANGE("first", a->first, 0, (long long)a->width - a->n),
    };
    const struct fdit_operand operands[] = {
        fdit_out("y", a->y, fdit_product(a->m, a->width, 1)),
        fdit_in("x", a->x, fdit_product(a->m, a->n, 1)),
    };
    struct fdit_call call = FDIT_CALL(dev, FDIT_OP_COPY_COLUMNS, dims, operands);
    if (!fdit_call_check(&call) || !fdit_call_start(&call))
        return;
    (dev->ops->copy_columns ? dev->ops->copy_columns : fdit_generic_copy_columns)(dev, a);
    fdit_call_end(&call, 0, 0);
}

void fdit_token_mean(fdit_device *dev, const struct fdit_token_mean_args *a)
{
    const struct fdit_dim dims[] = {
        FDIT_SIZE("samples", a->samples),
        FDIT_SIZE("tokens", a->tokens),
        FDIT_SIZE("width", a->width),
    };
    const struct fdit_operand operands[] = {
        fdit_out("y", a->y, fdit_product(a->samples, a->width, 1)),
        fdit_in("x", a->x, fdit_product(a->samples, a->tokens, a->width)),
    };
    struct fdit_call call = FDIT_CALL(dev, FDIT_OP_TOKEN_MEAN, dims, operands);
    if (!fdit_call_check(&call) || !fdit_call_start(&call))
        return;
    (dev->ops->token_mean ? dev->ops->token_mean : fdit_generic_token_mean)(dev, a);
    fdit_call_end(&call, 0, 0);
}

void fdit_token_mean_backward(fdit_device *dev, const struct fdit_token_mean_backward_args *a)
{
    const struct fdit_dim dims[] = {
        FDIT_SIZE("samples", a->samples),
        FDIT_SIZE("tokens", a->tokens),
        FDIT_SIZE("width", a->width),
    };
    const struct fdit_operand operands[] = {
        fdit_out("dx", a->dx, fdit_product(a->samples, a->tokens, a->width)),
        fdit_in("dy", a->dy, fdit_product(a->samples, a->width, 1)),
    };
    struct fdit_call call = FDIT_CALL(dev, FDIT_OP_TOKEN_MEAN_BACKWARD, dims, operands);
    if (!fdit_call_check(&call) || !fdit_call_start(&call))
        return;
    (dev->ops->token_mean_backward ? dev->ops->token_mean_backward : fdit_generic_token_mean_backward)(dev,
                                                                                                       a);
    fdit_call_end(&call, 0, 0);
}

/* --------------------------------------------------------------------------- loss and sampler */

/* B * C * n for a size_t n */
static size_t elements(int samples, long long channels, size_t n)
{
    return n > LLONG_MAX ? SIZE_MAX : fdit_product(samples, channels, (long long)n);
}

void fdit_diffuse(fdit_device *dev, const struct fdit_diffuse_args *a)
{
    const struct fdit_dim dims[] = {
        FDIT_SIZE("samples", a->samples),
        FDIT_SIZE("n", a->n),
    };
    size_t all = elements(a->samples, 1, a->n);
    const struct fdit_operand operands[] = {
        fdit_may_be(fdit_out("xt", a->xt, all), "x0"),
        fdit_in("x0", a->x0, all),
        fdit_in("noise", a->noise, all),
        fdit_in("coef", a->coef, fdit_product(a->samples, 2, 1)),
    };
    struct fdit_call call = FDIT_CALL(dev, FDIT_OP_DIFFUSE, dims, operands);
    if (!fdit_call_check(&call) || !fdit_call_start(&call))
        return;
    (dev->ops->diffuse ? dev->ops->diffuse : fdit_generic_diffuse)(dev, a);
    fdit_call_end(&call, 0, 0);
}

void fdit_diffusion_loss(fdit_device *dev, const struct fdit_diffusion_loss_args *a)
{
    const struct fdit_dim dims[] = {
        FDIT_SIZE("samples", a->samples),
        FDIT_SIZE("channels", a->channels),
        FDIT_SIZE("n", a->n),
    };
    size_t half = elements(a->samples, a->channels, a->n);
    size_t full = elements(a->samples, 2 * (long long)a->channels, a->n);
    const struct fdit_operand operands[] = {
        fdit_optional(fdit_out("dout", a->dout, full)),
        fdit_out("losses", a->losses, fdit_product(a->samples, 2, 1)),
        fdit_in("out", a->out, full),
        fdit_in("x0", a->x0, half),
        fdit_in("noise", a->noise, half),
        fdit_in("coef", a->coef, fdit_product(a->samples, 8, 1)),
    };
    struct fdit_call call = FDIT_CALL(dev, FDIT_OP_DIFFUSION_LOSS, dims, operands);
    if (!fdit_call_check(&call) || !fdit_call_start(&call))
        return;
    (dev->ops->diffusion_loss ? dev->ops->diffusion_loss : fdit_generic_diffusion_loss)(dev, a);
    fdit_call_end(&call, 0, 0);
}

void fdit_velocity_loss(fdit_device *dev, const struct fdit_velocity_loss_args *a)
{
    const struct fdit_dim dims[] = {
        FDIT_SIZE("samples", a->samples),
        FDIT_SIZE("channels", a->channels),
        FDIT_RANGE("outputs", a->outputs, 1, 2),
        FDIT_SIZE("n", a->n),
    };
    size_t one = elements(a->samples, a->channels, a->n);
    size_t full = elements(a->samples, (long long)a->outputs * a->channels, a->n);
    const struct fdit_operand operands[] = {
        fdit_optional(fdit_out("dout", a->dout, full)),
        fdit_out("losses", a->losses, fdit_product(a->samples, 2, 1)),
        fdit_in("out", a->out, full),
        fdit_in("x0", a->x0, one),
        fdit_in("noise", a->noise, one),
        fdit_in("coef", a->coef, fdit_product(a->samples, 8, 1)),
    };
    struct fdit_call call = FDIT_CALL(dev, FDIT_OP_VELOCITY_LOSS, dims, operands);
    if (!fdit_call_check(&call) || !fdit_call_start(&call))
        return;
    (dev->ops->velocity_loss ? dev->ops->velocity_loss : fdit_generic_velocity_loss)(dev, a);
    fdit_call_end(&call, 0, 0);
}

void fdit_cross_entropy(fdit_device *dev, const struct fdit_cross_entropy_args *a)
{
    const struct fdit_dim dims[] = {
        FDIT_SIZE("samples", a->samples),
        FDIT_SIZE("classes", a->classes),
    };
    size_t all = fdit_product(a->samples, a->classes, 1);
    const struct fdit_operand operands[] = {
        fdit_out("loss", a->loss, fdit_product(a->samples, 1, 1)),
        fdit_optional(fdit_out("dlogits", a->dlogits, all)),
        fdit_in("logits", a->logits, all),
        fdit_typed(fdit_in("labels", a->labels, fdit_product(a->samples, 1, 1)), FDIT_I32),
    };
    struct fdit_call call = FDIT_CALL(dev, FDIT_OP_CROSS_ENTROPY, dims, operands);
    if (!fdit_call_check(&call) || !fdit_call_start(&call))
        return;
    (dev->ops->cross_entropy ? dev->ops->cross_entropy : fdit_generic_cross_entropy)(dev, a);
    fdit_call_end(&call, 0, 0);
}

void fdit_sampler_step(fdit_device *dev, const struct fdit_sampler_step_args *a)
{
    const struct fdit_dim dims[] = {
        FDIT_SIZE("samples", a->samples),
        FDIT_SIZE("channels", a->channels),
        FDIT_SIZE("n", a->n),
        FDIT_RANGE("guided_channels", a->guided_channels, fdit_has(a->uncond) ? 0 : LLONG_MIN,
                   fdit_has(a->uncond) ? a->channels : LLONG_MAX),
    };
    size_t half = elements(a->samples, a->channels, a->n);
    size_t full = elements(a->samples, (a->single ? 1 : 2) * (long long)a->channels, a->n);
    const struct fdit_operand operands[] = {
        fdit_may_be(fdit_out("x_next", a->x_next, half), "x"),
        fdit_in("x", a->x, half),
        fdit_in("cond", a->cond, full),
        fdit_optional(fdit_in("uncond", a->uncond, full)),
        fdit_optional(fdit_in("z", a->z, half)),
        fdit_optional(fdit_inout("old", a->old, half, 1)),
    };
    struct fdit_call call = FDIT_CALL(dev, FDIT_OP_SAMPLER_STEP, dims, operands);
    if (!fdit_call_check(&call) ||
        !need(&call, a->to_old == 0 || fdit_has(a->old), "to_old is not 0 and old is missing") ||
        !need(&call, !a->single || !a->learned, "learned needs v, which single has not") ||
        !need(&call, !a->clip_x0 || a->x0_eps != 0, "clip_x0 needs x0_eps other than 0") ||
        !fdit_call_start(&call))
        return;
    struct fdit_sampler_step_args b = *a;
    if (!fdit_has(b.z))
        b.to_z = 0;
    (dev->ops->sampler_step ? dev->ops->sampler_step : fdit_generic_sampler_step)(dev, &b);
    fdit_call_end(&call, 0, 0);
}

/* ---------------------------------------------------------------------------------- optimiser */

void fdit_adamw(fdit_device *dev, const struct fdit_adamw_args *a)
{
    const struct fdit_dim dims[] = { FDIT_SIZE("n", a->n) };
    const struct fdit_operand operands[] = {
        fdit_inout("p", a->p, a->n, 1),
        fdit_in("g", a->g, a->n),
        fdit_inout("m", a->m, a->n, 1),
        fdit_inout("v", a->v, a->n, 1),
        fdit_optional(fdit_inout("ema", a->ema, a->n, 1)),
        fdit_optional(fdit_in("scale", a->scale, 1)),
    };
    struct fdit_call call = FDIT_CALL(dev, FDIT_OP_ADAMW, dims, operands);
    if (!fdit_call_check(&call) || !fdit_call_start(&call))
        return;
    dev->ops->adamw(dev, a);
    fdit_call_end(&call, 0, 0);
}

void fdit_lion(fdit_device *dev, const struct fdit_lion_args *a)
{
    const struct fdit_dim dims[] = { FDIT_SIZE("n", a->n) };
    const struct fdit_operand operands[] = {
        fdit_inout("p", a->p, a->n, 1),
        fdit_in("g", a->g, a->n),
        fdit_inout("m", a->m, a->n, 1),
        fdit_optional(fdit_inout("ema", a->ema, a->n, 1)),
        fdit_optional(fdit_in("scale", a->scale, 1)),
    };
    struct fdit_call call = FDIT_CALL(dev, FDIT_OP_LION, dims, operands);
    if (!fdit_call_check(&call) || !fdit_call_start(&call))
        return;
    (dev->ops->lion ? dev->ops->lion : fdit_generic_lion)(dev, a);
    fdit_call_end(&call, 0, 0);
}

void fdit_sum_squares(fdit_device *dev, const struct fdit_sum_squares_args *a)
{
    const struct fdit_dim dims[] = { FDIT_SIZE("n", a->n) };
    const struct fdit_operand operands[] = {
        fdit_out("out", a->out, 1),
        fdit_in("x", a->x, a->n),
    };
    struct fdit_call call = FDIT_CALL(dev, FDIT_OP_SUM_SQUARES, dims, operands);
    if (!fdit_call_check(&call) || !fdit_call_start(&call))
        return;
    dev->ops->sum_squares(dev, a);
    fdit_call_end(&call, 0, 0);
}

void fdit_clip_scale(fdit_device *dev, const struct fdit_clip_scale_args *a)
{
    const struct fdit_dim dims[] = { FDIT_SIZE("n", a->n) };
    const struct fdit_operand operands[] = {
        fdit_out("scale", a->scale, 1),
        fdit_optional(fdit_out("norm", a->norm, 1)),
        fdit_in("partial", a->partial, fdit_product(a->n, 1, 1)),
    };
    struct fdit_call call = FDIT_CALL(dev, FDIT_OP_CLIP_SCALE, dims, operands);
    if (!fdit_call_check(&call) || !need(&call, !isnan(a->max_norm), "max_norm is not a number") ||
        !fdit_call_start(&call))
        return;
    (dev->ops->clip_scale ? dev->ops->clip_scale : fdit_generic_clip_scale)(dev, a);
    fdit_call_end(&call, 0, 0);
}
