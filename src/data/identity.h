/* SPDX-License-Identifier: Apache-2.0
 * identity.h: tells two sets of pictures apart by what they hold, without decoding a picture. */
#ifndef FDIT_DATA_IDENTITY_H
#define FDIT_DATA_IDENTITY_H

#include "data/dataset.h"

/* Called now and then: `done` of `total` pictures were looked at. */
typedef void (*fdit_looked_fn)(void *user, size_t done, size_t total);

/* marks[id] for each class id of the taxonomy: of its pictures in their order, the names of the files
 * without their folder, their lengths, and the first 64 KiB of up to 1024 pictures that are spread over
 * the whole set. A folder and an archive of it have the same marks, whatever their paths are. A picture that
 * cannot be opened, or with options.skip_bad read, counts as one without content. looked: NULL or told how
 * far it is. FDIT_INTERRUPTED. */
enum fdit_status fdit_dataset_marks(fdit_context *ctx, const struct fdit_dataset *ds, uint64_t *marks,
                                    fdit_looked_fn looked, void *user);

#endif
