/* SPDX-License-Identifier: Apache-2.0
 * progress.h: one line that says how far a long job is. On a terminal it is redrawn in place, at
 * most ten times a second; elsewhere a plain line appears now and then: after 10 seconds, then each
 * time when a quarter more has passed, but at most ten minutes apart.
 *
 *     struct fdit_progress p;
 *     fdit_progress_begin(&p, quiet ? NULL : stderr, "train", "step", done, total);
 *     for (...)
 *         fdit_progress_update(&p, ++done, "loss 0.151");
 *     fdit_progress_end(&p);
 *
 * Only the program uses this; the library prints nothing. */
#ifndef FDIT_CORE_PROGRESS_H
#define FDIT_CORE_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct fdit_progress {
    FILE *file; /* NULL: nothing is written */
    bool live;  /* a terminal */
    int columns;
    const char *label, *unit;
    uint64_t first, done, total; /* first: done at the beginning */
    double (*now)(void);         /* seconds; tests put their own here */
    double began, shown;         /* when the job began; when a line was last written */
    double sampled;              /* time and count of the last look at the rate, */
    uint64_t sampled_done;
    double rate; /* and the smoothed rate, units a second; 0: not known yet */
    int drawn;   /* columns that the live line takes now */
};

/* label and unit must stay valid. unit in the singular. total 0: not known. done: what is there
 * already (a resumed job); it does not count for the rate. */
void fdit_progress_begin(struct fdit_progress *p, FILE *file, const char *label, const char *unit,
                         uint64_t done, uint64_t total);
/* note: shown behind the rest; NULL or "" for none. Cheap when nothing is due. */
void fdit_progress_update(struct fdit_progress *p, uint64_t done, const char *note);
/* Takes the live line off the screen, so that a message can be printed. */
void fdit_progress_clear(struct fdit_progress *p);
/* The last line: count, time taken and overall rate, if the job took a second or more. */
void fdit_progress_end(struct fdit_progress *p);

/* "0:07", "12:05", "1:02:03", "3 d 04:05". NaN or over 1000 days: "?". */
void fdit_format_duration(double seconds, char out[24]);
/* "152 steps/s", "1.52 steps/s", "0.66 steps/s", "12.3 s/step", "4:10/step". */
void fdit_format_rate(double per_second, const char *unit, char out[64]);

#endif
