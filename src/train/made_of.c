/* SPDX-License-Identifier: Apache-2.0 */
#include "train/made_of.h"

#include "core/file.h"
#include "core/fnv.h"
#include "core/mem.h"
#include "format/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ making */

static enum fdit_status mark_whole(fdit_context *ctx, const struct fdit_train_source *data,
                                   fdit_looked_fn looked, void *user, uint64_t *out)
{
    enum fdit_status status = FDIT_OK;
    size_t n = (size_t)fdit_taxonomy_n_classes(fdit_train_source_taxonomy(data));
    uint64_t *marks = NULL;
    TRY(fdit_alloc(ctx, n, sizeof *marks, &marks));
    TRY(fdit_train_source_marks(ctx, data, marks, looked, user));
    *out = fdit_fnv(FDIT_FNV_START, marks, n * sizeof *marks);
out:
    fdit_free(marks);
    return status;
}

enum fdit_status fdit_made_of_data(fdit_context *ctx, const struct fdit_train_source *data,
                                   const char *taxonomy, const struct fdit_train_source *val,
                                   const struct fdit_train_source *prior, fdit_looked_fn looked, void *user,
                                   struct fdit_made_of *out)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_taxonomy *tax = fdit_train_source_taxonomy(data);
    *out = (struct fdit_made_of){ .taxonomy = taxonomy,
                                  .n_classes = (size_t)fdit_taxonomy_n_classes(tax),
                                  .pictures = fdit_train_source_size(data),
                                  .has_val = val != NULL,
                                  .has_prior = prior != NULL };
    TRY(fdit_alloc(ctx, out->n_classes, sizeof *out->marks, &out->marks));
    TRY(fdit_alloc(ctx, out->n_classes, sizeof *out->counts, &out->counts));
    for (size_t i = 0; i < out->pictures; i++)
        out->counts[fdit_train_source_label(data, i)]++;
    TRY(fdit_train_source_marks(ctx, data, out->marks, looked, user));
    if (val) {
        out->val_pictures = fdit_train_source_size(val);
        TRY(mark_whole(ctx, val, looked, user, &out->val));
    }
    if (prior) {
        out->prior_pictures = fdit_train_source_size(prior);
        TRY(mark_whole(ctx, prior, looked, user, &out->prior));
    }
out:
    return status;
}

void fdit_made_of_fini(struct fdit_made_of *id)
{
    fdit_free(id->marks);
    fdit_free(id->counts);
    *id = (struct fdit_made_of){ 0 };
}

enum { CLASS_TEXT = 24 }; /* of each class: 8 hexadecimal digits of its count, 16 of its mark */

static void put_hex(struct fdit_json *b, json_t *to, const char *key, uint64_t value)
{
    char text[17];
    snprintf(text, sizeof text, "%016" PRIx64, value);
    fdit_json_put_text(b, to, key, text);
}

/* Pictures beside the run's own. */
static void put_other(struct fdit_json *b, const char *key, size_t pictures, uint64_t mark)
{
    json_t *to = fdit_json_put_object(b, NULL, key);
    fdit_json_put_int(b, to, "pictures", (int64_t)pictures);
    put_hex(b, to, "mark", mark);
}

static void class_text(const struct fdit_made_of *id, size_t i, char text[CLASS_TEXT + 1])
{
    snprintf(text, CLASS_TEXT + 1, "%08" PRIx32 "%016" PRIx64, (uint32_t)id->counts[i], id->marks[i]);
}

enum fdit_status fdit_made_of_json(fdit_context *ctx, const struct fdit_made_of *id, char **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_json b;
    char *classes = NULL;
    *out = NULL;
    fdit_json_begin(&b);
    TRY(fdit_alloc(ctx, id->n_classes * CLASS_TEXT + 1, 1, &classes));
    for (size_t i = 0; i < id->n_classes; i++)
        class_text(id, i, classes + i * CLASS_TEXT);
    json_t *data = fdit_json_put_object(&b, NULL, "data");
    fdit_json_put_int(&b, data, "pictures", (int64_t)id->pictures);
    fdit_json_put_text(&b, data, "classes", classes);
    if (id->has_val)
        put_other(&b, "val", id->val_pictures, id->val);
    if (id->has_prior)
        put_other(&b, "prior", id->prior_pictures, id->prior);
    if (id->has_base)
        put_hex(&b, NULL, "base", id->base);
    if (id->has_delta)
        put_hex(&b, NULL, "delta", id->delta);
    if (id->has_vae)
        put_hex(&b, NULL, "vae", id->vae);
    if (id->has_vectors)
        put_hex(&b, NULL, "class-vectors", id->vectors);
    TRY(fdit_json_end(ctx, &b, "config.json", JSON_COMPACT, out));
out:
    fdit_json_fini(&b);
    fdit_free(classes);
    return status;
}

/* ------------------------------------------------------------------ comparing */

static bool same_hex(const json_t *was, uint64_t is)
{
    char text[17];
    const char *old = json_string_value(was);
    snprintf(text, sizeof text, "%016" PRIx64, is);
    return old && !strcmp(old, text);
}

static enum fdit_status compare_classes(fdit_context *ctx, const json_t *was, const struct fdit_made_of *is,
                                        const struct fdit_made_of_names *names)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_taxonomy *a = NULL, *b = NULL;
    const json_t *classes = json_object_get(was, "taxonomy");
    char *text = NULL, *message = NULL, *config = NULL;
    if (!classes)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s/config.json does not say the classes of its run; it is damaged",
             names->run);
    TRY(fdit_json_dump(ctx, classes, JSON_COMPACT, &text));
    if (!strcmp(text, is->taxonomy)) /* without the memory that reading them takes */
        goto out;
    TRY(fdit_path_join(ctx, names->run, "config.json", &config));
    TRY(fdit_taxonomy_parse(ctx, text, strlen(text), config, NULL, &a));
    TRY(fdit_taxonomy_parse(ctx, is->taxonomy, strlen(is->taxonomy), names->data, NULL, &b));
    if (fdit_taxonomy_compare(ctx, a, names->run, b, names->data) == FDIT_OK)
        goto out;
    TRY(fdit_strdup(ctx, fdit_context_message(ctx), &message));
    status = fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                       "--resume: the classes are not those that the run began with: %s; give the data and "
                       "--taxonomy of its beginning, or begin a new run with --delta",
                       message);
out:
    fdit_free(text);
    fdit_free(message);
    fdit_free(config);
    fdit_taxonomy_free(a);
    fdit_taxonomy_free(b);
    return status;
}

static const char advice[] = "put them back; or go on with --data-changed; or begin a new run with --delta";

static enum fdit_status compare_pictures(fdit_context *ctx, const json_t *was, const struct fdit_made_of *is,
                                         const struct fdit_made_of_names *names)
{
    enum fdit_status status = FDIT_OK;
    const char *classes = json_string_value(json_object_get(json_object_get(was, "data"), "classes"));
    struct fdit_taxonomy *tax = NULL;
    size_t differ = 0, first = 0;
    char text[CLASS_TEXT + 1];
    if (!classes || strlen(classes) != is->n_classes * CLASS_TEXT)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s/config.json does not say the pictures of its run; it is damaged",
             names->run);
    for (size_t i = is->n_classes; i-- > 0;) {
        class_text(is, i, text);
        if (memcmp(text, classes + i * CLASS_TEXT, CLASS_TEXT)) {
            differ++;
            first = i;
        }
    }
    if (!differ)
        return FDIT_OK;
    TRY(fdit_taxonomy_parse(ctx, is->taxonomy, strlen(is->taxonomy), names->data, NULL, &tax));
    const char *class = fdit_taxonomy_class_name(tax, (int32_t)first);
    snprintf(text, 9, "%.8s", classes + first * CLASS_TEXT);
    unsigned long before = strtoul(text, NULL, 16), now = (unsigned long)is->counts[first];
    if (before != now)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--resume: %s has other pictures than when the run began: %zu of %zu classes differ, %s had %lu "
             "and has %lu; %s",
             names->data, differ, is->n_classes, class, before, now, advice);
    FAIL(ctx, FDIT_ERROR_ARGUMENT,
         "--resume: %s has other pictures than when the run began: "
         "%zu of %zu classes differ, of %s names or contents; %s",
         names->data, differ, is->n_classes, class, advice);
out:
    fdit_taxonomy_free(tax);
    return status;
}

/* One of the files that a run may be made from. */
static enum fdit_status compare_file(fdit_context *ctx, const json_t *was, const char *option,
                                     const char *name, bool has, uint64_t is)
{
    const json_t *old = json_object_get(was, option);
    if (!old && !has)
        return FDIT_OK;
    if (!old)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                         "--resume: the run began without --%s; leave the option out", option);
    if (!has)
        return fdit_fail(ctx, FDIT_ERROR_ARGUMENT, "--resume: the run began with --%s; give that file",
                         option);
    if (same_hex(old, is))
        return FDIT_OK;
    return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                     "--resume: --%s %s holds other numbers than the file that the "
                     "run began with (%s then, %016" PRIx64 " now); give that one",
                     option, name, json_string_value(old), is);
}

/* Pictures beside the run's own, where the run has and had some. */
static enum fdit_status compare_other(fdit_context *ctx, const json_t *was, const char *option,
                                      const char *name, bool has, size_t pictures, uint64_t mark)
{
    const json_t *old = json_object_get(was, option);
    const json_int_t before = json_integer_value(json_object_get(old, "pictures"));
    if (!old || !has || (before == (json_int_t)pictures && same_hex(json_object_get(old, "mark"), mark)))
        return FDIT_OK;
    return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                     "--resume: --%s %s has other pictures than when the run began (%lld then, %zu now); %s",
                     option, name, (long long)before, pictures, advice);
}

enum fdit_status fdit_made_of_compare(fdit_context *ctx, const json_t *was, const struct fdit_made_of *is,
                                      const struct fdit_made_of_names *names, bool other_data, bool *differs)
{
    enum fdit_status status = FDIT_OK;
    *differs = false;
    TRY(compare_classes(ctx, was, is, names));
    TRY(compare_file(ctx, was, "base", names->base, is->has_base, is->base));
    TRY(compare_file(ctx, was, "delta", names->delta, is->has_delta, is->delta));
    TRY(compare_file(ctx, was, "vae", names->vae, is->has_vae, is->vae));
    TRY(compare_file(ctx, was, "class-vectors", names->vectors, is->has_vectors, is->vectors));
    status = compare_pictures(ctx, was, is, names);
    if (status == FDIT_OK)
        status = compare_other(ctx, was, "val", names->val, is->has_val, is->val_pictures, is->val);
    if (status == FDIT_OK)
        status = compare_other(ctx, was, "prior", names->prior, is->has_prior, is->prior_pictures, is->prior);
    if (status == FDIT_ERROR_ARGUMENT && other_data) {
        *differs = true;
        return FDIT_OK;
    }
out:
    return status;
}
