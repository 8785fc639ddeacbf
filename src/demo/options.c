/* SPDX-License-Identifier: Apache-2.0 */
#include "demo/demo.h"

#include <limits.h>
#include <stddef.h>

#define ROW(kind, name, arg, field) FDIT_OPTION_ROW(kind, name, arg, struct fdit_demo_options, field)

const struct fdit_option fdit_demo_option_table[] = {
    FDIT_HEADING("Demo"),
    { ROW(TEXT, "out", "FILE.png", out), .usual = "demo.png", .help = "where the picture goes" },
    { ROW(FLAG, "full", NULL, full),
      .help = "also compare with BitFit and full fine-tuning, 8 pictures per class (about 20 minutes)" },
    { ROW(REAL, "seconds", "N", seconds), FDIT_RANGE(1e-3, 1e9), .usual = "90",
      .help = "time for each fine-tuning" },
    { ROW(INT, "train-steps", "N", train_steps), FDIT_RANGE(1, INT_MAX),
      .help = "steps of each fine-tuning instead of --seconds: the same result on any machine" },
    { ROW(INT, "per-class", "N", per_class), FDIT_RANGE(1, 1000), .note = ": 2; 8 with --full",
      .help = "pictures drawn of each class" },
    { ROW(REAL, "guidance", "W", guidance), FDIT_RANGE(-1000, 1000), .usual = "2",
      .help = "scale of the superclass-conditioned guidance" },
    { ROW(INT, "steps", "N", steps), FDIT_RANGE(2, 1000), .usual = "25",
      .help = "steps of the sampler, DDIM with eta 1" },
    { ROW(REAL, "lr", "X", lr), FDIT_RANGE(0, 10), .usual = "1e-2", .help = "learning rate" },
    { ROW(SEED, "seed", "N", seed), .usual = "1", .help = "seed of all random numbers" },
    { ROW(TEXT, "run", "DIR", run), .note = ": they are deleted",
      .help = "keep the training runs in this folder" },
    { 0 }
};
