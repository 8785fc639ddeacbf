/* SPDX-License-Identifier: Apache-2.0
 * crew.h: the same pictures from several devices: each has the whole model and takes an equal part of what is
 * to be sampled, on a thread of its own. A picture's bits are those that its device gives alone. */
#ifndef FDIT_SAMPLE_CREW_H
#define FDIT_SAMPLE_CREW_H

#include "sample/generate.h"
#include "sample/subject.h"

struct fdit_crew;

/* The devices behind first->next with models of the subject; nothing is allocated yet. The options' on_step
 * is not called for them. */
enum fdit_status fdit_crew_new(fdit_context *ctx, fdit_device *first, const struct fdit_subject *subject,
                               const struct fdit_generator_options *options, enum fdit_dtype storage,
                               struct fdit_crew **out);
void fdit_crew_free(struct fdit_crew *c);         /* NULL is allowed */
int fdit_crew_devices(const struct fdit_crew *c); /* the first one included */
/* Of device i >= 1; owned by the crew, with the device's name as title. */
const struct fdit_plan *fdit_crew_plan(const struct fdit_crew *c, int i);
fdit_device *fdit_crew_device(const struct fdit_crew *c, int i);
enum fdit_status fdit_crew_load(fdit_context *ctx, struct fdit_crew *c);

/* n pictures, at most options.batch a device; `own` is the first device's generator. A device that fails is
 * named. */
enum fdit_status fdit_crew_run(fdit_context *ctx, struct fdit_crew *c, struct fdit_generator *own,
                               const struct fdit_picture_spec *pictures, int n, float *x);

#endif
