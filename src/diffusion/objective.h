/* SPDX-License-Identifier: Apache-2.0
 * objective.h: the table of objectives: what a diffusion network is trained to predict. A row says how many
 * outputs it has, what its time is, how a picture is noised, and which device op makes losses and gradient.
 * The rows' names are in config.json and in the metadata of deltas and checkpoints; files without one are of
 * the first row.
 *
 * ddpm       the noise and its variance, at whole times 0 .. 999 (arXiv 2102.09672)
 * flow-sit   flow matching as in SiT (arXiv 2401.08740): the velocity x0 - noise, told t = 1 - u
 * flow-repa  the same as in REPA (arXiv 2410.06940): the velocity noise - x0, told t = u, without variance
 * In flow matching x = (1-u) x0 + u noise; the noise time u goes from 0, data, to 1, noise.
 *
 *     const struct fdit_objective *o = fdit_objective_find("ddpm");
 *     double t = o->draw(o, &density, &rng);
 *     o->diffuse(o, schedule, t, noising);                  // x_t = noising[0] x0 + noising[1] noise
 *     o->coefficients(o, schedule, t, 1.0 / batch, &weight, coef);
 *     o->target(o, noising[0], noising[1], target);         // what is predicted: of x0, of noise
 *     ... noising and coef to the device, x_t and t through the network ...
 *     o->loss(o, dev, &(struct fdit_objective_batch){ .samples = batch, .out = network's output, ... });
 */
#ifndef FDIT_DIFFUSION_OBJECTIVE_H
#define FDIT_DIFFUSION_OBJECTIVE_H

#include "core/rng.h"
#include "diffusion/schedule.h"
#include "diffusion/weighting.h"

/* Rows of the table; zero is what files without a name are of. */
enum fdit_objective_id { FDIT_OBJECTIVE_DDPM, FDIT_OBJECTIVE_FLOW_SIT, FDIT_OBJECTIVE_FLOW_REPA };

/* Floats that the loss op takes for each sample. */
enum { FDIT_LOSS_COEFS = sizeof(struct fdit_loss_coef) / sizeof(float) };

/* A batch on the device, C channels of n elements each, O outputs a channel. */
struct fdit_objective_batch {
    int samples, channels;
    size_t n;
    struct fdit_tensor dout;      /* optional [B, O C, n]: gradient of the weighted sum of the losses */
    struct fdit_tensor losses;    /* [B, 2]: mse, and vb or 0 */
    struct fdit_tensor out;       /* [B, O C, n] of the network */
    struct fdit_tensor x0, noise; /* [B, C, n] */
    struct fdit_tensor coef;      /* [B, FDIT_LOSS_COEFS] */
};

/* How x_t comes from a picture and noise. */
enum fdit_process {
    FDIT_PROCESS_CHAIN,    /* of schedule.h, at whole times 0 .. FDIT_TRAIN_STEPS - 1 */
    FDIT_PROCESS_STRAIGHT, /* (1-u) x0 + u noise, at any noise time u from 0 to 1 */
};

struct fdit_objective {
    const char *name;
    enum fdit_objective_id id;
    int outputs; /* of the network for each channel of the picture */
    enum fdit_process process;
    bool reversed; /* of the straight path: the network is told 1 - u, not u */
    bool variance; /* the second output sets the variance of ancestral steps, and has a loss of its own */
    bool counts_points; /* steps of euler and heun are points of a grid, and each of heun's has two passes */
    bool guides_all;    /* guidance is of all channels where none are given */
    bool like_ddpm;     /* a state_dict looks like one of ddpm: a torch file has to tell */
    const char *predicts; /* for messages: "a velocity" */
    /* What the first output of a channel is to be of x = alpha x0 + sigma noise: out[0] x0 + out[1] noise. */
    void (*target)(const struct fdit_objective *o, double alpha, double sigma, double out[2]);
    /* From a time of the network: 0, the picture, to 1, noise. */
    double (*noise_time)(const struct fdit_objective *o, double t);
    /* `o` is the row itself, so that rows can share functions. The time of a sample in training, from its own
     * stream of random numbers, and of validation picture `index`: spread evenly. */
    double (*draw)(const struct fdit_objective *o, const struct fdit_time_density *density,
                   const struct fdit_rng *rng);
    double (*spread)(const struct fdit_objective *o, uint64_t index);
    void (*diffuse)(const struct fdit_objective *o, const struct fdit_schedule *s, double t, float out[2]);
    /* scale: weight of the sample, 1/B for a batch mean; `weight` is another factor, of mse alone */
    void (*coefficients)(const struct fdit_objective *o, const struct fdit_schedule *s, double t,
                         double scale, const struct fdit_loss_weight *weight, float out[FDIT_LOSS_COEFS]);
    void (*loss)(const struct fdit_objective *o, fdit_device *dev, const struct fdit_objective_batch *b);
};

/* What --objective takes; "flow" is "flow-repa". */
#define FDIT_OBJECTIVE_NAMES "ddpm|flow|flow-sit|flow-repa"

/* NULL name: the first. NULL: there is none of that name. */
const struct fdit_objective *fdit_objective_find(const char *name);
const struct fdit_objective *fdit_objective_at(enum fdit_objective_id id);

#endif
