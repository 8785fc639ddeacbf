/* SPDX-License-Identifier: Apache-2.0
 * room.h: memory that several threads share: who needs some waits until there is as much. */
#ifndef FDIT_DATA_ROOM_H
#define FDIT_DATA_ROOM_H

#include "core/status.h"

struct fdit_room;

enum fdit_status fdit_room_new(fdit_context *ctx, struct fdit_room **out);
void fdit_room_free(struct fdit_room *r); /* NULL is allowed */
/* How much there is, 0: no bound. Before any thread takes some. */
void fdit_room_set(struct fdit_room *r, size_t bytes);
/* Takes that much; one who needs more than there is gets all for itself alone. */
void fdit_room_take(struct fdit_room *r, size_t bytes);
void fdit_room_give(struct fdit_room *r, size_t bytes);

#endif
