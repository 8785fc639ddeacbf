/* SPDX-License-Identifier: Apache-2.0
 * session.h: what a session of finediffusion.h is. */
#ifndef FDIT_API_SESSION_H
#define FDIT_API_SESSION_H

#include "sample/identity.h"
#include "sample/painter.h"

struct fdit_session {
    struct fdit_devices devices;
    struct fdit_sample_source source;
    bool has_source;
    struct fdit_painter *painter;
    bool loaded;
    char *model, *plan_text;
    size_t device_bytes, process_bytes;
    struct fdit_picture_spec *specs; /* [a round] */
    enum fdit_dtype storage, precision;
    bool merge;
    struct fdit_reuse_options reuse;
    struct fdit_identity_files files; /* for the texts of pictures, read for the first one */
    bool has_files;
    char *base, *device;         /* as they were given */
    struct fdit_session *beside; /* whose devices and base it uses; NULL: its own */
    int users;                   /* sessions beside this one that are open */
    bool closed;                 /* by the caller, who has no more to do with it; they have */
};

#endif
