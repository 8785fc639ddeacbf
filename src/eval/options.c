/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/evaluate.h"

#include "core/file.h"
#include "core/target.h"

#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static enum fdit_status parse_part(fdit_context *ctx, void *args, const char *value)
{
    struct fdit_eval_options *o = args;
    return fdit_parse_part(ctx, "--part", value, &o->part, &o->parts);
}

#define ROW(kind, name, arg, field) FDIT_OPTION_ROW(kind, name, arg, struct fdit_eval_options, field)

const struct fdit_option fdit_eval_option_table[] = {
    FDIT_HEADING("What is compared"),
    { ROW(TEXT, "real", "DATA", real),
      .help = "real pictures to compare with: a folder, archive, WebDataset, cache of pixels, manifest of "
              "'sample', or a file of features or statistics" },
    { ROW(TEXT, "stats", "FILE.npz", stats),
      .help = "mean and covariance (mu, sigma) of real pictures instead, as pytorch-fid, clean-fid or "
              "--stats-out wrote them; for fd alone" },
    { ROW(TEXT, "features", "NAME[:FILE]", features), .usual = "judge",
      .help =
          "network whose features are compared. judge: a classifier that 'train --classifier' made; without "
          "FILE the built-in one, which knows letters. dinov2 (FILE in its authors' or transformers' names; "
          "pictures as dgm-eval prepares them), dinov2-clean, dinov2-tf, dinov2-crop, dinov2-hf (resized as "
          "clean-fid, torch-fidelity, its authors, transformers do): fd is then FD-DINOv2. clip "
          "(ViT-L/14-336): cmmd is then as published. inception-torch, inception-tf, inception-clean (FID's "
          "Inception in the file of pytorch-fid, torch-fidelity or clean-fid; resized as they do): fd is "
          "then fid:torch, fid:tf, fid:clean, is the Inception score, and sfid is made in the same pass. "
          "spatial-torch, spatial-tf, spatial-clean: the features of sfid alone" },
    { ROW(TEXT, "lpips", "NET[,HEADS]", lpips),
      .help =
          "LPIPS of all pairs of pictures of a class: torchvision's AlexNet or VGG16, and the heads of the "
          "lpips package unless NET has them" },
    { ROW(TEXT, "classifier", "FILE", classifier), .note = ": that of --features",
      .help =
          "classifier (train --classifier) that says whether pictures show their class; without --features "
          "its features are those that are compared" },
    { ROW(TEXT, "taxonomy", "FILE", taxonomy), .note = ": the folders of the real pictures",
      .help = "classes and their ranks" },
    { ROW(TEXT, "ranks", "A,B", ranks), .note = ": all", .help = "ranks that get tables" },
    { ROW(FLAG, "no-classes", NULL, no_classes), .help = "compare the sets as wholes: their classes need not "
                                                         "agree, and pictures may lie in no class folder" },
    { ROW(CHOICE, "fit", "crop|pad", fit), .usual = "crop",
      .help =
          "for the judge: cut a square out of the middle, or keep all and fill the edges. Other networks "
          "take whole pictures as they were published to; to measure photographs as training cut them, give "
          "a cache of pixels (encode)" },
    { ROW(TEXT, "orient", "exif|none", look.orient), .note = " exif",
      .help = "turn pictures upright as their EXIF data say, or leave them as stored" },
    { ROW(TEXT, "matte", "white|black|#rrggbb", look.matte), .note = " white",
      .help = "background of transparent pixels; none: ignore transparency" },

    { ROW(PARSE, "part", "I/N", part), .parse = parse_part, .note = ": all",
      .help =
          "only part I (from 0) of N of GENERATED, for --features-out or --stats-out; the files of all parts "
          "are then given as GENERATED together" },

    FDIT_HEADING("What is measured"),
    { ROW(TEXT, "metrics", "LIST", metrics),
      .note = ": those that can be computed but for sfid, fd-infinity, kid-subsets, cmmd and is",
      .help = "fd, sfid, fd-infinity, kid, kid-subsets, cmmd, mean-distance, precision, recall, density, "
              "coverage, authenticity, nearest, is, accuracy with commas between; all; or none" },
    { ROW(INT, "draws", "N", draws), FDIT_RANGE(0, 10000), .usual = "100",
      .help = "bootstrap draws of the error bars; 0: no error bars" },
    { ROW(SEED, "seed", "S", seed), .usual = "0",
      .help = "seed of draws and subsets, and of what is drawn, as in sample; with 0 kid-subsets and is "
              "shuffle as "
              "torch-fidelity does" },
    { ROW(INT, "batch", "N", batch), FDIT_RANGE(1, 4096), .usual = "32",
      .help = "pictures at once; changes nothing but speed and memory" },
    { ROW(INT, "workers", "N", workers), FDIT_RANGE(0, 1024), .usual = "2",
      .help = "threads that decode pictures" },
    { ROW(FLAG, "skip-bad", NULL, skip_bad),
      .help = "leave out pictures that are broken or cannot be read, and count them" },

    FDIT_HEADING("Output"),
    { ROW(TEXT, "features-out", "FILE", features_out),
      .help = "keep the features of GENERATED (.safetensors or .npz), to be given in its place later" },
    { ROW(TEXT, "stats-out", "FILE.npz", stats_out),
      .help =
          "write mean and covariance of GENERATED's features; of real pictures: reference statistics. With "
          "inception networks also mu_s and sigma_s, as ADM's" },
    { ROW(TEXT, "report", "FILE.html", report), .help = "write a page with numbers, charts, tables by rank, "
                                                        "the best and worst classes beside real pictures "
                                                        "and the closest pairs; it needs no other file" },
    { ROW(TEXT, "by", "class|RANK|tail", by), .note = ": all of them, classes with --json alone",
      .help = "which tables are printed, with commas between" },
    { ROW(TEXT, "by-class", "FILE.tsv", by_class), .help = "write a table with a line for each class" },
    { ROW(TEXT, "confusion", "FILE.tsv", confusion),
      .help = "write which classes, and which groups of each rank, the classifier takes for which" },
    { 0 }
};

static enum fdit_status check_targets(fdit_context *ctx, const struct fdit_eval_options *o)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_input sources[] = { { "GENERATED", o->generated, true },
                                          { "--real", o->real, true },
                                          { "--stats", o->stats, false },
                                          { "--classifier", o->classifier, false },
                                          { "--taxonomy", o->taxonomy, false } };
    const struct {
        const char *option, *path;
    } targets[] = { { "--features-out", o->features_out },
                    { "--stats-out", o->stats_out },
                    { "--by-class", o->by_class },
                    { "--confusion", o->confusion },
                    { "--report", o->report } };
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        if (!targets[i].path)
            continue;
        TRY(fdit_target_check(ctx, targets[i].option, targets[i].path, sources,
                              sizeof sources / sizeof *sources));
        TRY(fdit_file_target(ctx, targets[i].option, targets[i].path));
    }
    if (o->report)
        TRY(fdit_target_ending(ctx, "--report", o->report, ".html", "a report"));
    if (o->stats_out)
        TRY(fdit_target_ending(ctx, "--stats-out", o->stats_out, ".npz", "a file of statistics"));
    if (o->features_out && !fdit_path_has_suffix(o->features_out, ".npz"))
        TRY(fdit_target_ending(ctx, "--features-out", o->features_out, ".safetensors",
                               "a file of features (or .npz)"));
out:
    return status;
}

enum fdit_status fdit_eval_check(fdit_context *ctx, const struct fdit_eval_options *o, bool *device)
{
    enum fdit_status status = FDIT_OK;
    TRY(fdit_options_check(ctx, fdit_eval_option_table, o));
    const bool file = o->n_parts || (!o->drawing && o->generated && fdit_feature_file_is(o->generated));
    if (!o->generated && !o->drawing)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "give the pictures to measure: eval GENERATED --real DATA");
    if (o->real && o->stats)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--real and --stats: give one of the two");
    if (o->classifier && file)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--classifier %s needs pictures, and %s is a file of features",
             o->classifier, o->generated);
    if (o->lpips && file)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--lpips %s needs pictures, and %s is a file of features", o->lpips,
             o->generated);
    if (o->lpips && o->no_classes)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--lpips and --no-classes: give one of the two");
    if (o->parts && file)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--part %d/%d is for pictures, and %s is a file of features", o->part,
             o->parts, o->generated);
    if (o->by_class && o->no_classes)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "--by-class and --no-classes: give one of the two");
    TRY(check_targets(ctx, o));
    *device = !file || (o->real && !fdit_feature_file_is(o->real));
out:
    return status;
}
