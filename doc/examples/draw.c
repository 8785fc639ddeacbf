/* SPDX-License-Identifier: Apache-2.0
 * Draws four pictures of a fine-tuned model into picture-0.png ... picture-3.png.
 *
 *     cc draw.c $(pkg-config --cflags --libs finediffusion) -o draw
 *     ./draw base.safetensors run/delta.safetensors [AUTOENCODER] */
#include <finediffusion.h>

#include <stdio.h>
#include <stdlib.h>

enum { PICTURES = 4 };

static enum fdit_status draw(fdit_context *ctx, fdit_session *s, float *x)
{
    const int32_t classes[PICTURES] = { 0, 0, 1, 1 };
    const uint64_t seeds[PICTURES] = { 1, 2, 1, 2 };
    enum fdit_status status = fdit_session_draw(ctx, s, NULL, classes, seeds, PICTURES, x);
    for (int i = 0; i < PICTURES && status == FDIT_OK; i++) {
        char path[32];
        snprintf(path, sizeof path, "picture-%d.png", i);
        status = fdit_session_save_png(ctx, s, x + (size_t)i * fdit_session_elements(s), path);
        if (status == FDIT_OK)
            printf("%s: %s\n", path, fdit_session_class_name(s, classes[i]));
    }
    return status;
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return fprintf(stderr, "use: draw BASE DELTA [AUTOENCODER]\n"), EXIT_FAILURE;
    fdit_context *ctx = fdit_context_new();
    if (!ctx)
        return fprintf(stderr, "draw: out of memory\n"), EXIT_FAILURE;
    struct fdit_session_options options;
    fdit_session_options_init(&options);
    options.base = argv[1];
    options.delta = argv[2];
    options.vae = argc > 3 ? argv[3] : NULL; // for a model on latents
    fdit_session *s = NULL;
    float *x = NULL;
    enum fdit_status status = fdit_session_open(ctx, &options, &s);
    if (status == FDIT_OK) {
        x = (float *)malloc(PICTURES * fdit_session_elements(s) * sizeof *x);
        status = x ? draw(ctx, s, x) : FDIT_ERROR_MEMORY;
    }
    if (status != FDIT_OK)
        fprintf(stderr, "draw: %s: %s\n", fdit_status_text(status), fdit_context_message(ctx));
    free(x);
    fdit_session_close(s);
    fdit_context_free(ctx);
    return status == FDIT_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
