/* SPDX-License-Identifier: Apache-2.0
 * diffusion.c: calls of cl/diffusion.cl. */
#include "state.h"

void fdit_opencl_diffusion_loss(fdit_device *dev, const struct fdit_diffusion_loss_args *a)
{
    struct launch l = fdit_launch_begin(dev, PROGRAM_DIFFUSION, KERNEL_DIFFUSION_LOSS);
    fdit_launch_tensor(&l, a->dout);
    fdit_launch_tensor(&l, a->losses);
    fdit_launch_tensor(&l, a->out);
    fdit_launch_tensor(&l, a->x0);
    fdit_launch_tensor(&l, a->noise);
    fdit_launch_tensor(&l, a->coef);
    fdit_launch_size(&l, (size_t)a->channels * a->n);
    fdit_launch_int(&l, fdit_has(a->dout));
    fdit_launch_run(&l, 1, (size_t[]){ (size_t)a->samples * l.group }, (size_t[]){ l.group });
}

void fdit_opencl_velocity_loss(fdit_device *dev, const struct fdit_velocity_loss_args *a)
{
    struct launch l = fdit_launch_begin(dev, PROGRAM_DIFFUSION, KERNEL_VELOCITY_LOSS);
    size_t n = (size_t)a->channels * a->n;
    fdit_launch_tensor(&l, a->dout);
    fdit_launch_tensor(&l, a->losses);
    fdit_launch_tensor(&l, a->out);
    fdit_launch_tensor(&l, a->x0);
    fdit_launch_tensor(&l, a->noise);
    fdit_launch_tensor(&l, a->coef);
    fdit_launch_size(&l, n);
    fdit_launch_size(&l, (size_t)(a->outputs - 1) * n);
    fdit_launch_int(&l, fdit_has(a->dout));
    fdit_launch_run(&l, 1, (size_t[]){ (size_t)a->samples * l.group }, (size_t[]){ l.group });
}

void fdit_opencl_cross_entropy(fdit_device *dev, const struct fdit_cross_entropy_args *a)
{
    struct launch l = fdit_launch_begin(dev, PROGRAM_DIFFUSION, KERNEL_CROSS_ENTROPY);
    fdit_launch_tensor(&l, a->loss);
    fdit_launch_tensor(&l, a->dlogits);
    fdit_launch_tensor(&l, a->logits);
    fdit_launch_tensor(&l, a->labels);
    fdit_launch_int(&l, a->classes);
    fdit_launch_float(&l, a->scale);
    fdit_launch_int(&l, fdit_has(a->dlogits));
    fdit_launch_run(&l, 1, (size_t[]){ (size_t)a->samples * l.group }, (size_t[]){ l.group });
}

void fdit_opencl_sampler_step(fdit_device *dev, const struct fdit_sampler_step_args *a)
{
    size_t n = (size_t)a->channels * a->n;
    unsigned flags = BIT(fdit_has(a->uncond), SAMPLER_UNCOND) | BIT(fdit_has(a->z), SAMPLER_Z) |
                     BIT(fdit_has(a->old), SAMPLER_OLD) | BIT(a->clip_x0, SAMPLER_CLIP_X0) |
                     BIT(a->learned, SAMPLER_LEARNED) | BIT(a->single, SAMPLER_SINGLE);
    struct launch l = fdit_launch_begin(dev, PROGRAM_DIFFUSION, KERNEL_SAMPLER);
    fdit_launch_tensor(&l, a->x_next);
    fdit_launch_tensor(&l, a->x);
    fdit_launch_tensor(&l, a->cond);
    fdit_launch_tensor(&l, a->uncond);
    fdit_launch_tensor(&l, a->z);
    fdit_launch_tensor(&l, a->old);
    fdit_launch_size(&l, n);
    fdit_launch_size(&l, (size_t)a->guided_channels * a->n);
    fdit_launch_float(&l, a->guidance);
    fdit_launch_float(&l, a->x0_x);
    fdit_launch_float(&l, a->x0_eps);
    fdit_launch_float(&l, a->to_x);
    fdit_launch_float(&l, a->to_x0);
    fdit_launch_float(&l, a->to_eps);
    fdit_launch_float(&l, a->to_old);
    fdit_launch_float(&l, a->to_z);
    fdit_launch_float(&l, a->log_beta);
    fdit_launch_float(&l, a->log_var);
    fdit_launch_uint(&l, flags);
    fdit_launch_run(&l, 2, (size_t[]){ n, (size_t)a->samples }, (size_t[]){ l.group, 1 });
}
