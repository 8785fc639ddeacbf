/* SPDX-License-Identifier: Apache-2.0
 * op_list.h: the one list of ops. A line is OP(entry, ENUM, arguments): fdit_<entry>() is the call, <entry>
 * the place in a device's table and in union fdit_op_args, FDIT_OP_<ENUM> the number, struct fdit_<arguments>
 * what it takes. Everything that must know all ops is made by including this file with OP defined, or with
 * one or both of REQUIRED_OP and OPTIONAL_OP (the other one is then empty). It undefines them all.
 *
 * A device must have the required ops. An optional one that it leaves out is made of others or computed on
 * the host by fdit_generic_<entry>. fill and copy, which take no structure, stand beside the list. */

#ifdef OP
#define REQUIRED_OP OP
#define OPTIONAL_OP OP
#endif
#ifndef REQUIRED_OP
#define REQUIRED_OP(entry, ENUM, arguments)
#endif
#ifndef OPTIONAL_OP
#define OPTIONAL_OP(entry, ENUM, arguments)
#endif

REQUIRED_OP(linear, LINEAR, linear_args)
REQUIRED_OP(linear_dx, LINEAR_DX, linear_dx_args)
REQUIRED_OP(linear_dw, LINEAR_DW, linear_dw_args)
REQUIRED_OP(column_sum, COLUMN_SUM, column_sum_args)
REQUIRED_OP(norm, NORM, norm_args)
OPTIONAL_OP(modulate, MODULATE, modulate_args)
REQUIRED_OP(norm_backward, NORM_BACKWARD, norm_backward_args)
REQUIRED_OP(qk_norm, QK_NORM, qk_norm_args)
REQUIRED_OP(qk_norm_backward, QK_NORM_BACKWARD, qk_norm_backward_args)
REQUIRED_OP(attention, ATTENTION, attention_args)
REQUIRED_OP(attention_backward, ATTENTION_BACKWARD, attention_backward_args)
REQUIRED_OP(gate, GATE, gate_args)
REQUIRED_OP(gate_backward, GATE_BACKWARD, gate_backward_args)
REQUIRED_OP(activation, ACTIVATION, activation_args)
REQUIRED_OP(activation_backward, ACTIVATION_BACKWARD, activation_backward_args)
REQUIRED_OP(axpy, AXPY, axpy_args)
REQUIRED_OP(gather, GATHER, gather_args)
REQUIRED_OP(scatter_add, SCATTER_ADD, scatter_add_args)
REQUIRED_OP(patchify, PATCHIFY, patchify_args)
REQUIRED_OP(unpatchify, UNPATCHIFY, patchify_args)
OPTIONAL_OP(copy_columns, COPY_COLUMNS, copy_columns_args)
OPTIONAL_OP(token_mean, TOKEN_MEAN, token_mean_args)
OPTIONAL_OP(token_mean_backward, TOKEN_MEAN_BACKWARD, token_mean_backward_args)
OPTIONAL_OP(diffuse, DIFFUSE, diffuse_args)
OPTIONAL_OP(diffusion_loss, DIFFUSION_LOSS, diffusion_loss_args)
OPTIONAL_OP(velocity_loss, VELOCITY_LOSS, velocity_loss_args)
OPTIONAL_OP(cross_entropy, CROSS_ENTROPY, cross_entropy_args)
OPTIONAL_OP(sampler_step, SAMPLER_STEP, sampler_step_args)
REQUIRED_OP(adamw, ADAMW, adamw_args)
OPTIONAL_OP(lion, LION, lion_args)
REQUIRED_OP(sum_squares, SUM_SQUARES, sum_squares_args)
OPTIONAL_OP(clip_scale, CLIP_SCALE, clip_scale_args)
OPTIONAL_OP(conv, CONV, conv_args)
OPTIONAL_OP(group_stats, GROUP_STATS, group_stats_args)
OPTIONAL_OP(group_apply, GROUP_APPLY, group_apply_args)
OPTIONAL_OP(softmax, SOFTMAX, softmax_args)
OPTIONAL_OP(pooling, POOLING, pooling_args)

#undef OP
#undef REQUIRED_OP
#undef OPTIONAL_OP
