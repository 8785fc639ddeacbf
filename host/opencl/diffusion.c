/* SPDX-License-Identifier: Apache-2.0
 * diffusion.c: calls of cl/diffusion.cl. */
#include "state.h"

void opencl_diffusion_loss(fdit_device *dev, const struct fdit_diffusion_loss_args *a)
{
    struct launch l = launch_begin(dev, PROGRAM_DIFFUSION, KERNEL_DIFFUSION_LOSS);
    launch_tensor(&l, a->dout);
    launch_tensor(&l, a->losses);
    launch_tensor(&l, a->out);
    launch_tensor(&l, a->x0);
    launch_tensor(&l, a->noise);
    launch_tensor(&l, a->coef);
    launch_size(&l, (size_t)a->channels * a->n);
    launch_int(&l, fdit_has(a->dout));
    launch_run(&l, 1, (size_t[]){ (size_t)a->samples * l.group }, (size_t[]){ l.group });
}

void opencl_velocity_loss(fdit_device *dev, const struct fdit_velocity_loss_args *a)
{
    struct launch l = launch_begin(dev, PROGRAM_DIFFUSION, KERNEL_VELOCITY_LOSS);
    size_t n = (size_t)a->channels * a->n;
    launch_tensor(&l, a->dout);
    launch_tensor(&l, a->losses);
    launch_tensor(&l, a->out);
    launch_tensor(&l, a->x0);
    launch_tensor(&l, a->noise);
    launch_tensor(&l, a->coef);
    launch_size(&l, n);
    launch_size(&l, (size_t)(a->outputs - 1) * n);
    launch_int(&l, fdit_has(a->dout));
    launch_run(&l, 1, (size_t[]){ (size_t)a->samples * l.group }, (size_t[]){ l.group });
}

void opencl_cross_entropy(fdit_device *dev, const struct fdit_cross_entropy_args *a)
{
    struct launch l = launch_begin(dev, PROGRAM_DIFFUSION, KERNEL_CROSS_ENTROPY);
    launch_tensor(&l, a->loss);
    launch_tensor(&l, a->dlogits);
    launch_tensor(&l, a->logits);
    launch_tensor(&l, a->labels);
    launch_int(&l, a->classes);
    launch_float(&l, a->scale);
    launch_int(&l, fdit_has(a->dlogits));
    launch_run(&l, 1, (size_t[]){ (size_t)a->samples * l.group }, (size_t[]){ l.group });
}

void opencl_sampler_step(fdit_device *dev, const struct fdit_sampler_step_args *a)
{
    size_t n = (size_t)a->channels * a->n;
    unsigned flags = BIT(fdit_has(a->uncond), SAMPLER_UNCOND) | BIT(fdit_has(a->z), SAMPLER_Z) |
                     BIT(fdit_has(a->old), SAMPLER_OLD) | BIT(a->clip_x0, SAMPLER_CLIP_X0) |
                     BIT(a->learned, SAMPLER_LEARNED) | BIT(a->single, SAMPLER_SINGLE);
    struct launch l = launch_begin(dev, PROGRAM_DIFFUSION, KERNEL_SAMPLER);
    launch_tensor(&l, a->x_next);
    launch_tensor(&l, a->x);
    launch_tensor(&l, a->cond);
    launch_tensor(&l, a->uncond);
    launch_tensor(&l, a->z);
    launch_tensor(&l, a->old);
    launch_size(&l, n);
    launch_size(&l, (size_t)a->guided_channels * a->n);
    launch_float(&l, a->guidance);
    launch_float(&l, a->x0_x);
    launch_float(&l, a->x0_eps);
    launch_float(&l, a->to_x);
    launch_float(&l, a->to_x0);
    launch_float(&l, a->to_eps);
    launch_float(&l, a->to_old);
    launch_float(&l, a->to_z);
    launch_float(&l, a->log_beta);
    launch_float(&l, a->log_var);
    launch_uint(&l, flags);
    launch_run(&l, 2, (size_t[]){ n, (size_t)a->samples }, (size_t[]){ l.group, 1 });
}
