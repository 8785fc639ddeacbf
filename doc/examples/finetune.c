/* SPDX-License-Identifier: Apache-2.0
 * Fine-tunes a model on a folder of pictures, one folder a class, and draws a picture of each class.
 *
 *     cc finetune.c $(pkg-config --cflags --libs finediffusion) -o finetune
 *     ./finetune base.safetensors pictures run [OPTION VALUE]...
 *
 * Options are those of `finediffusion train --help`, without the dashes: lr 1e-3, tune bitfit, ... */
#include <finediffusion.h>

#include <stdio.h>
#include <stdlib.h>

static bool on_step(void *user, const struct fdit_training_progress *p)
{
    (void)user;
    if (p->step % 10 == 0 || p->step == p->steps)
        printf("step %lld of %lld, loss %.4f\n", (long long)p->step, (long long)p->steps, p->loss);
    return true; /* false: stop, and leave a checkpoint to go on from */
}

static enum fdit_status tune(fdit_context *ctx, int argc, char **argv)
{
    const char *const given[4][2] = {
        { "base", argv[1] }, { "data", argv[2] }, { "out", argv[3] }, { "steps", "500" }
    };
    fdit_training *t = NULL;
    enum fdit_status status = fdit_training_new(ctx, &t);
    for (int i = 0; i < 4 && status == FDIT_OK; i++)
        status = fdit_training_set(ctx, t, given[i][0], given[i][1]);
    for (int i = 4; i + 1 < argc && status == FDIT_OK; i += 2)
        status = fdit_training_set(ctx, t, argv[i], argv[i + 1]);
    if (status == FDIT_OK)
        status = fdit_training_run(ctx, t, on_step, NULL);
    fdit_training_free(t);
    return status;
}

/* A picture of each class into RUN/class-0.png, RUN/class-1.png, ... */
static enum fdit_status draw(fdit_context *ctx, fdit_session *s, const char *run)
{
    enum fdit_status status = FDIT_OK;
    const uint64_t seed = 0;
    float *x = (float *)malloc(fdit_session_elements(s) * sizeof *x);
    if (!x)
        return FDIT_ERROR_MEMORY;
    for (int32_t id = 0; id < fdit_session_n_classes(s) && status == FDIT_OK; id++) {
        char path[512];
        snprintf(path, sizeof path, "%s/class-%d.png", run, (int)id);
        status = fdit_session_draw(ctx, s, NULL, &id, &seed, 1, x);
        if (status == FDIT_OK)
            status = fdit_session_save_png(ctx, s, x, path);
        if (status == FDIT_OK)
            printf("%s: %s\n", path, fdit_session_class_name(s, id));
    }
    free(x);
    return status;
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return fprintf(stderr, "use: finetune BASE FOLDER RUN [OPTION VALUE]...\n"), EXIT_FAILURE;
    fdit_context *ctx = fdit_context_new();
    if (!ctx)
        return fprintf(stderr, "finetune: out of memory\n"), EXIT_FAILURE;
    enum fdit_status status = tune(ctx, argc, argv);
    fdit_session *s = NULL;
    if (status == FDIT_OK) {
        char delta[512];
        struct fdit_session_options options;
        snprintf(delta, sizeof delta, "%s/delta.safetensors", argv[3]);
        fdit_session_options_init(&options);
        options.base = argv[1];
        options.delta = delta;
        status = fdit_session_open(ctx, &options, &s);
    }
    if (status == FDIT_OK)
        status = draw(ctx, s, argv[3]);
    if (status != FDIT_OK)
        fprintf(stderr, "finetune: %s: %s\n", fdit_status_text(status), fdit_context_message(ctx));
    fdit_session_close(s);
    fdit_context_free(ctx);
    return status == FDIT_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
