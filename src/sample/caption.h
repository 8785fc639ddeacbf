/* SPDX-License-Identifier: Apache-2.0
 * caption.h: the texts that a picture carries: how it was made, without time, place or machine.
 *
 *     parameters      what other programs for diffusion models show: the class, then
 *                     "Steps: 50, Sampler: ddim, CFG scale: 2, Seed: 7, Size: 32x32, Model hash:
 * ... finediffusion   {"class":"a/b","id":5,"seed":7,"model":"DiT-S/2","weights":"...","run":"...",
 *                      "options":{...},"version":"0.1.0"}: run is "pictures" in run.json
 *     Title, Software the class; the program */
#ifndef FDIT_SAMPLE_CAPTION_H
#define FDIT_SAMPLE_CAPTION_H

#include "picture/png.h"
#include "sample/identity.h"

#define FDIT_CAPTION_KEY "finediffusion"

/* The same for all pictures of a job. Strings must outlive it. */
struct fdit_caption {
    const struct fdit_identity *identity;
    const char *model; /* "DiT-S/2" */
    const char *sampler, *guide;
    double w; /* of the guidance; not shown with the guide "none" */
    bool clip_x0;
    int steps, width, height;
};

enum { FDIT_CAPTION_TEXTS = 4 };
struct fdit_caption_texts {
    struct fdit_png_text list[FDIT_CAPTION_TEXTS];
    char *owned[3];
};
enum fdit_status fdit_caption_make(fdit_context *ctx, const struct fdit_caption *c, const char *class_name,
                                   int32_t id, uint64_t seed, struct fdit_caption_texts *out);
void fdit_caption_fini(struct fdit_caption_texts *texts);

/* Whether the text of the key FDIT_CAPTION_KEY (n bytes) is that of this class and seed, made by a
 * job whose run.json has this under "pictures". class_name NULL: of whatever class and seed. */
bool fdit_caption_is(const char *text, size_t n, const char *run, const char *class_name, uint64_t seed);

#endif
