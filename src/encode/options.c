/* SPDX-License-Identifier: Apache-2.0 */
#include "encode/encode.h"

#include <stddef.h>

static bool has_look(const void *args) /* caches of earlier versions do not name it */
{
    return ((const struct fdit_encode_options *)args)->look.orient != NULL;
}

static enum fdit_status parse_part(fdit_context *ctx, void *args, const char *value)
{
    struct fdit_encode_options *o = args;
    return fdit_parse_part(ctx, "--part", value, &o->part, &o->parts);
}

#define ROW(kind, name, arg, field) FDIT_OPTION_ROW(kind, name, arg, struct fdit_encode_options, field)
#define RESULT .keep = FDIT_KEEP_RESULT

const struct fdit_option fdit_encode_option_table[] = {
    FDIT_HEADING("What is kept"),
    { ROW(TEXT, "vae", "FILE", vae), RESULT,
      .help = "autoencoder whose moments are kept: the safetensors file of an AutoencoderKL, or its folder" },
    { ROW(REAL, "vae-scale", "X", vae_scale), RESULT,
      .note = ": as its config.json says, 0.18215 without one", .help = "scaling factor of the autoencoder" },
    { ROW(FLAG, "pixels", NULL, pixels), .help = "keep pixels (the same as without --vae)" },
    { ROW(INT, "size", "S", size), FDIT_RANGE(1, 8192), RESULT, .usual = "256",
      .help = "pictures become S x S" },
    { ROW(INT, "channels", "1|3", channels), RESULT, .usual = "3", .note = "; an autoencoder knows its own",
      .help = "channels of pixels: grey or RGB" },
    { ROW(CHOICE, "fit", "crop|pad", fit), RESULT, .usual = "crop",
      .help = "cut a square out of the middle, or keep all and fill the edges" },
    { ROW(TEXT, "orient", "exif|none", look.orient), RESULT, .kept = has_look, .note = " exif",
      .help = "turn pictures upright as their EXIF data say, or leave them as stored" },
    { ROW(TEXT, "matte", "white|black|#rrggbb", look.matte), RESULT, .kept = has_look, .note = " white",
      .help = "background of transparent pixels; none: ignore transparency, as the published pipeline does" },
    { ROW(SWITCH, "flip", "horizontal|none", flip), RESULT, .usual = "horizontal",
      .help = "also keep mirror images; none halves a cache of moments" },

    FDIT_HEADING("Data"),
    { ROW(TEXT, "taxonomy", "FILE", taxonomy), .note = ": the folders", .help = "classes and their ranks" },
    { ROW(TEXT, "ranks", "A,B", ranks), .note = ": all",
      .help = "ranks of the taxonomy that the cache keeps" },
    { ROW(FLAG, "skip-bad", NULL, skip_bad), .help = "leave out pictures that are broken" },
    { ROW(INT, "workers", "N", workers), FDIT_RANGE(0, 1024), .usual = "2",
      .help = "threads that decode pictures" },
    { ROW(PARSE, "part", "I/N", part), .parse = parse_part, .note = ": all",
      .help = "encode only part I of N (from 0); the parts share OUT, and the last to end makes it whole. "
              "Under mpirun and srun each process takes its own" },
    { ROW(SIZE, "memory", "SIZE", memory) },
    { 0 }
};

struct fdit_encode_options fdit_encode_defaults(void)
{
    struct fdit_encode_options o = { .data = NULL };
    fdit_options_defaults(fdit_encode_option_table, &o);
    return o;
}
