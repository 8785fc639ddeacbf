/* SPDX-License-Identifier: Apache-2.0
 * progress.h: one line that says how far a long job is and what it does just now. On a terminal it is
 * redrawn in place, at most ten times a second; elsewhere plain lines appear: every 2.5 seconds for two
 * minutes, then seldomer, at most five minutes apart, and for each phase that lasts.
 *
 *     struct fdit_progress p;
 *     fdit_progress_begin(&p, quiet ? NULL : stderr, "train", "step", done, total);
 *     for (...) {
 *         fdit_progress_update(&p, ++done, "loss 0.151");
 *         fdit_progress_phase(&p, "validating", 1024);
 *         ... fdit_progress_phase_at(&p, 300); ...
 *         fdit_progress_phase_end(&p);
 *     }
 *     fdit_progress_end(&p);
 *
 * The time left: what remains of the job at its own rate, from which the time in phases is taken out, and
 * what the phases ahead take, as far as they were told. Only the program uses this; the library prints
 * nothing (core/phase.h). */
#ifndef FDIT_CLI_PROGRESS_H
#define FDIT_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { FDIT_PHASES_DEEP = 4, FDIT_PHASES_KNOWN = 8, FDIT_PHASE_NAME = 96 };

struct fdit_progress_phase {
    char name[FDIT_PHASE_NAME];
    uint64_t done, total;
    double began;
};

/* A kind of phase that happens again and again. */
struct fdit_progress_kind {
    char name[FDIT_PHASE_NAME];
    uint64_t ahead, times; /* still to come; done */
    double seconds;        /* of all that are done, */
    double in_job;         /* and of those within this job */
    bool told;             /* by fdit_progress_ahead: keeps its place in the list */
    double units;          /* what one takes by a guess, in units of the job; 0: not known */
};

struct fdit_progress {
    FILE *file; /* NULL: nothing is written */
    bool live;  /* a terminal */
    int columns;
    const char *label, *unit;    /* unit NULL: no job yet, only phases */
    bool alone;                  /* without a job and a phase it says that the program works */
    uint64_t first, done, total; /* first: done at the beginning */
    double part;                 /* units of the work under way, 0 .. */
    char note[160];
    double (*now)(void); /* seconds; tests put their own here */
    double began, shown; /* when the job began; when a line was last written */
    int drawn;           /* columns that the live line takes now */
    /* the rate: of working time, which stands still in phases */
    double in_phases;             /* seconds of phases since the beginning */
    double sampled, sampled_done; /* time and count of the last look */
    double gap;                   /* between the last two looks */
    uint64_t samples;
    double sum_seconds, sum_units; /* faded sums; their ratio is the rate */
    struct fdit_progress_phase phases[FDIT_PHASES_DEEP];
    int depth; /* may be more than FDIT_PHASES_DEEP: the inner ones are not shown */
    struct fdit_progress_kind kinds[FDIT_PHASES_KNOWN];
    int n_kinds;
};

/* label and unit must stay valid. unit in the singular; NULL: no job, only its phases are shown. total 0:
 * not known. done: what is there already (a resumed job); it does not count for the rate. */
void fdit_progress_begin(struct fdit_progress *p, FILE *file, const char *label, const char *unit,
                         uint64_t done, uint64_t total);
/* The job after, or within, another one on the same screen: `from` goes off the screen, and what it knows of
 * kinds of phases and when it last wrote goes on in p. */
void fdit_progress_follow(struct fdit_progress *p, struct fdit_progress *from);
/* note: shown behind the rest until the next one; NULL or "" for none. Cheap when nothing is due. */
void fdit_progress_update(struct fdit_progress *p, uint64_t done, const char *note);
/* The same with a part of the units under way: 3.5 of a batch of 16 pictures after 14 of 64 steps. */
void fdit_progress_update_part(struct fdit_progress *p, uint64_t done, double part, const char *note);

void fdit_progress_phase(struct fdit_progress *p, const char *name, uint64_t total);
void fdit_progress_phase_at(struct fdit_progress *p, uint64_t done);
void fdit_progress_phase_end(struct fdit_progress *p);
/* How often a phase will still happen; see fdit_phase_ahead. */
void fdit_progress_ahead(struct fdit_progress *p, const char *name, uint64_t times, double units);

/* From a clock, for the times when nothing is reported: draws what is due, with the time that has passed. */
void fdit_progress_tick(struct fdit_progress *p);
/* Takes the live line off the screen, so that a message can be printed. */
void fdit_progress_clear(struct fdit_progress *p);
/* The last line: count, time taken and rate, if the job took a second or more. */
void fdit_progress_end(struct fdit_progress *p);
/* Seconds that are left by what is known now; negative: not known. */
double fdit_progress_left(const struct fdit_progress *p);

/* "0:07", "12:05", "1:02:03", "3 d 04:05". NaN or over 1000 days: "?". */
void fdit_format_duration(double seconds, char out[24]);
/* "152 steps/s", "1.52 steps/s", "0.66 steps/s", "12.3 s/step", "4:10/step". */
void fdit_format_rate(double per_second, const char *unit, char out[64]);

#endif
