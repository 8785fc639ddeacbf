/* SPDX-License-Identifier: Apache-2.0
 * Taxonomies from iNaturalist's categories, and to and from the JSON of our own files. */
#include "core/file.h"
#include "core/fnv.h"
#include "core/mem.h"
#include "core/text.h"
#include "format/json.h"
#include "data/taxonomy_build.h"

#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------ iNaturalist */

static const char *const inaturalist_ranks[] = { "supercategory", "kingdom", "phylum", "class",
                                                 "order",         "family",  "genus" };
enum { n_inaturalist_ranks = sizeof inaturalist_ranks / sizeof *inaturalist_ranks };

/* The order in which the method's authors number the groups of iNaturalist 2021: 4271, 2526, ...
 * classes, most first; the mixed rest is the last. */
static const char *const inaturalist_groups[] = {
    "Plants",     "Insects",  "Birds",     "Fungi",    "Reptiles", "Mammals", "Ray-finned Fishes",
    "Amphibians", "Mollusks", "Arachnids", "Animalia",
};
enum { n_inaturalist_groups = sizeof inaturalist_groups / sizeof *inaturalist_groups };

static enum fdit_status order_inaturalist(fdit_context *ctx, struct fdit_taxonomy *draft, int32_t rank)
{
    enum fdit_status status = FDIT_OK;
    uint32_t *order = NULL;
    TRY(fdit_tax_sort(ctx, draft, rank));
    const struct fdit_names *groups = &draft->ranks[rank].groups;
    size_t n = 0;
    TRY(fdit_alloc(ctx, groups->n, sizeof *order, &order));
    for (int i = 0; i < n_inaturalist_groups; i++) {
        size_t id = fdit_names_find(groups, inaturalist_groups[i], strlen(inaturalist_groups[i]));
        if (id != FDIT_NAMES_NONE)
            order[n++] = (uint32_t)id;
    }
    for (size_t g = 0; g < groups->n; g++) {
        bool known = false;
        for (int i = 0; i < n_inaturalist_groups; i++)
            known = known || !strcmp(fdit_names_get(groups, g), inaturalist_groups[i]);
        if (!known)
            order[n++] = (uint32_t)g;
    }
    TRY(fdit_tax_reorder(ctx, draft, rank, order));
out:
    fdit_free(order);
    return status;
}

/* list[i] = the category with id i. */
static enum fdit_status categories_by_id(fdit_context *ctx, const json_t *array, const char *what,
                                         const json_t ***out)
{
    enum fdit_status status = FDIT_OK;
    const json_t **list = NULL;
    size_t n = json_array_size(array);
    *out = NULL;
    TRY(fdit_alloc(ctx, n, sizeof *list, &list));
    for (size_t i = 0; i < n; i++) {
        const json_t *category = json_array_get(array, i), *id = json_object_get(category, "id");
        if (!json_is_integer(id) || !json_string_value(json_object_get(category, "name")))
            FAIL(ctx, FDIT_ERROR_FORMAT, "%s: category %zu has no integer \"id\" or no text \"name\"", what,
                 i);
        json_int_t at = json_integer_value(id);
        if (at < 0 || (uint64_t)at >= n || list[at])
            FAIL(ctx, FDIT_ERROR_FORMAT, "%s: id %lld %s; %zu categories must have the ids 0 .. %zu", what,
                 (long long)at, at < 0 || (uint64_t)at >= n ? "is out of range" : "is there twice", n, n - 1);
        list[at] = category;
    }
    *out = list;
    return FDIT_OK;
out:
    fdit_free(list);
    return status;
}

/* The second names: only when each class has one and no two are equal. */
static enum fdit_status add_folders(fdit_context *ctx, struct fdit_taxonomy *draft, const json_t *const *list,
                                    size_t n, const char *key)
{
    enum fdit_status status = FDIT_OK;
    bool complete = true;
    size_t id;
    for (size_t i = 0; i < n && complete; i++) {
        const char *folder = json_string_value(json_object_get(list[i], key));
        complete = folder && *folder;
        if (complete)
            TRY(fdit_names_add(ctx, &draft->folders, folder, strlen(folder), &id, &complete));
    }
    if (!complete)
        fdit_names_fini(&draft->folders);
out:
    return status;
}

static enum fdit_status parse_categories(fdit_context *ctx, const json_t *array, const char *what,
                                         const char *ranks, struct fdit_taxonomy **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_taxonomy *draft = NULL;
    const json_t **list = NULL;
    struct fdit_tax_nesting nesting = { 0 };
    size_t n = json_array_size(array);
    TRY(categories_by_id(ctx, array, what, &list));
    TRY(fdit_tax_new(ctx, &draft));
    draft->strict = true;
    draft->paths = true;
    for (int r = 0; r < n_inaturalist_ranks; r++) {
        const char *key = inaturalist_ranks[r];
        bool used = false;
        for (size_t i = 0; i < n && !used; i++)
            used = json_string_length(json_object_get(list[i], key)) > 0;
        if (used)
            TRY(fdit_tax_add_rank(ctx, draft, what, key, strlen(key)));
    }
    for (size_t i = 0; i < n; i++) {
        const char *name = json_string_value(json_object_get(list[i], "name"));
        TRY(fdit_tax_add_class(ctx, draft, what, name, strlen(name)));
        for (int32_t r = 0; r < draft->n_ranks; r++) {
            const json_t *group = json_object_get(list[i], draft->ranks[r].name);
            const char *text = json_string_value(group);
            size_t len = json_string_length(group);
            if (text)
                fdit_spelling_trim(&text, &len);
            if (len)
                TRY(fdit_tax_put(ctx, draft, what, r, i, text, len));
        }
    }
    TRY(fdit_tax_nesting_new(ctx, draft, &nesting));
    fdit_tax_nesting_biology(draft, &nesting);
    TRY(fdit_tax_warn_case(ctx, draft, what));
    TRY(fdit_tax_split_homonyms(ctx, draft, what, &nesting));
    TRY(add_folders(ctx, draft, list, n, "image_dir_name"));
    bool super = draft->n_ranks && !strcmp(draft->ranks[0].name, inaturalist_ranks[0]);
    for (int32_t r = 0; r < draft->n_ranks; r++)
        TRY(super && !r ? order_inaturalist(ctx, draft, r) : fdit_tax_sort(ctx, draft, r));
    TRY(fdit_tax_pick(ctx, draft, what, !ranks && super ? inaturalist_ranks[0] : ranks, out));
out:
    fdit_free(list);
    fdit_tax_nesting_fini(&nesting);
    fdit_taxonomy_free(draft);
    return status;
}

/* ------------------------------------------------------------------ our own JSON */

static enum fdit_status own_rank(fdit_context *ctx, struct fdit_taxonomy *draft, const json_t *object,
                                 const char *what)
{
    enum fdit_status status = FDIT_OK;
    const json_t *name = json_object_get(object, "name"), *groups = json_object_get(object, "groups");
    const json_t *of = json_object_get(object, "of");
    bool *used = NULL;
    size_t id;
    bool added = true;
    if (!json_is_string(name) || !json_is_array(groups) || !json_is_array(of) ||
        json_array_size(of) != draft->classes.n)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: rank %d needs \"name\", \"groups\", and \"of\" with %zu numbers",
             what, draft->n_ranks, draft->classes.n);
    TRY(fdit_tax_add_rank(ctx, draft, what, json_string_value(name), json_string_length(name)));
    struct fdit_tax_rank *rank = &draft->ranks[draft->n_ranks - 1];
    size_t n_groups = json_array_size(groups);
    TRY(fdit_alloc(ctx, n_groups, sizeof *used, &used));
    for (size_t g = 0; g < n_groups; g++) {
        const json_t *group = json_array_get(groups, g);
        if (json_string_length(group))
            TRY(fdit_names_add(ctx, &rank->groups, json_string_value(group), json_string_length(group), &id,
                               &added));
        if (!json_string_length(group) || !added)
            FAIL(ctx, FDIT_ERROR_FORMAT, "%s: group %zu of %s has no name of its own", what, g, rank->name);
    }
    TRY(fdit_grow(ctx, &rank->of, &rank->of_capacity, draft->classes.n, sizeof *rank->of));
    for (size_t c = 0; c < draft->classes.n; c++) {
        const json_t *g = json_array_get(of, c);
        json_int_t value = json_integer_value(g);
        if (!json_is_integer(g) || value < 0 || (uint64_t)value >= n_groups)
            FAIL(ctx, FDIT_ERROR_FORMAT, "%s: class %zu is in no group of %s", what, c, rank->name);
        rank->of[c] = (int32_t)value;
        used[value] = true;
    }
    for (size_t g = 0; g < n_groups; g++)
        if (!used[g])
            FAIL(ctx, FDIT_ERROR_FORMAT, "%s: group \"%s\" of %s has no class", what,
                 fdit_names_get(&rank->groups, g), rank->name);
out:
    fdit_free(used);
    return status;
}

static enum fdit_status parse_own(fdit_context *ctx, const json_t *root, const char *what, const char *ranks,
                                  struct fdit_taxonomy **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_taxonomy *draft = NULL;
    const json_t *classes = json_object_get(root, "classes"), *list = json_object_get(root, "ranks");
    const json_t *folders = json_object_get(root, "folders");
    if (!json_is_array(classes) || !json_is_array(list))
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: a taxonomy needs the lists \"classes\" and \"ranks\"", what);
    TRY(fdit_tax_new(ctx, &draft));
    draft->paths = json_is_true(json_object_get(root, "paths"));
    for (size_t c = 0; c < json_array_size(classes); c++) {
        const json_t *name = json_array_get(classes, c);
        if (!json_is_string(name))
            FAIL(ctx, FDIT_ERROR_FORMAT, "%s: class %zu is not text", what, c);
        TRY(fdit_tax_add_class(ctx, draft, what, json_string_value(name), json_string_length(name)));
    }
    for (size_t r = 0; r < json_array_size(list); r++)
        TRY(own_rank(ctx, draft, json_array_get(list, r), what));
    if (folders && json_array_size(folders) != draft->classes.n)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: %zu folders for %zu classes", what, json_array_size(folders),
             draft->classes.n);
    for (size_t c = 0; folders && c < draft->classes.n; c++) {
        const json_t *folder = json_array_get(folders, c);
        size_t id;
        bool added = false;
        if (json_string_length(folder))
            TRY(fdit_names_add(ctx, &draft->folders, json_string_value(folder), json_string_length(folder),
                               &id, &added));
        if (!added)
            FAIL(ctx, FDIT_ERROR_FORMAT, "%s: folder %zu has no name of its own", what, c);
    }
    TRY(fdit_tax_pick(ctx, draft, what, ranks, out));
out:
    fdit_taxonomy_free(draft);
    return status;
}

static enum fdit_status parse_json(fdit_context *ctx, const char *text, size_t n, const char *what,
                                   const char *ranks, struct fdit_taxonomy **out)
{
    enum fdit_status status = FDIT_OK;
    json_t *root = NULL;
    TRY(fdit_json_parse(ctx, what, text, n, 16, &root));
    const json_t *categories = json_is_array(root) ? root : json_object_get(root, "categories");
    if (json_object_get(root, "classes"))
        TRY(parse_own(ctx, root, what, ranks, out));
    else if (json_is_array(categories))
        TRY(parse_categories(ctx, categories, what, ranks, out));
    else
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: JSON without \"categories\" or \"classes\"", what);
out:
    json_decref(root);
    return status;
}

/* ------------------------------------------------------------------ public */

enum fdit_status fdit_taxonomy_parse(fdit_context *ctx, const char *text, size_t n, const char *what,
                                     const char *ranks, struct fdit_taxonomy **out)
{
    size_t at = 0;
    *out = NULL;
    if (n >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) {
        text += 3;
        n -= 3;
    }
    while (at < n && (text[at] == ' ' || text[at] == '\t' || text[at] == '\r' || text[at] == '\n'))
        at++;
    if (at < n && (text[at] == '{' || text[at] == '['))
        return parse_json(ctx, text, n, what, ranks, out);
    return fdit_tax_parse_table(ctx, text, n, what, ranks, out);
}

enum fdit_status fdit_taxonomy_load(fdit_context *ctx, const char *path, const char *ranks,
                                    struct fdit_taxonomy **out)
{
    enum fdit_status status = FDIT_OK;
    char *text = NULL;
    size_t n;
    *out = NULL;
    TRY(fdit_text_file_read(ctx, path, "a taxonomy (a table or JSON)", FDIT_TEXT_MOST_JSON, &text, &n));
    TRY(fdit_taxonomy_parse(ctx, text, n, path, ranks, out));
out:
    fdit_free(text);
    return status;
}

struct text {
    char *bytes;
    size_t n, capacity;
    bool escaped; /* a table with the line #escaped */
};

static enum fdit_status put(fdit_context *ctx, struct text *t, const char *s, size_t n)
{
    enum fdit_status status = fdit_grow(ctx, &t->bytes, &t->capacity, t->n + n + 1, 1);
    if (status != FDIT_OK)
        return status;
    memcpy(t->bytes + t->n, s, n);
    t->n += n;
    t->bytes[t->n] = 0;
    return FDIT_OK;
}

/* One character of valid UTF-8; returns its length. */
static size_t character(const char *s, uint32_t *code)
{
    const unsigned char *p = (const unsigned char *)s;
    if (p[0] < 0x80) {
        *code = p[0];
        return 1;
    }
    size_t n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    *code = p[0] & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++)
        *code = *code << 6 | (p[i] & 0x3f);
    return n;
}

static enum fdit_status put_string(fdit_context *ctx, struct text *t, const char *s)
{
    enum fdit_status status = FDIT_OK;
    uint32_t code;
    TRY(put(ctx, t, "\"", 1));
    for (; *s; s += character(s, &code)) {
        char escaped[16];
        size_t n = 1;
        character(s, &code);
        escaped[0] = (char)code;
        if (code == '"' || code == '\\') {
            escaped[0] = '\\';
            escaped[n++] = (char)code;
        } else if (code >= 0x10000) {
            uint32_t rest = code - 0x10000;
            n = (size_t)snprintf(escaped, sizeof escaped, "\\u%04x\\u%04x", (unsigned)(0xd800 + (rest >> 10)),
                                 (unsigned)(0xdc00 + (rest & 0x3ff)));
        } else if (code < 0x20 || code >= 0x7f) {
            n = (size_t)snprintf(escaped, sizeof escaped, "\\u%04x", (unsigned)code);
        }
        TRY(put(ctx, t, escaped, n));
    }
    TRY(put(ctx, t, "\"", 1));
out:
    return status;
}

static enum fdit_status put_names(fdit_context *ctx, struct text *t, const struct fdit_names *names)
{
    enum fdit_status status = FDIT_OK;
    TRY(put(ctx, t, "[", 1));
    for (size_t i = 0; i < names->n; i++) {
        if (i)
            TRY(put(ctx, t, ",", 1));
        TRY(put_string(ctx, t, fdit_names_get(names, i)));
    }
    TRY(put(ctx, t, "]", 1));
out:
    return status;
}

static enum fdit_status to_json(fdit_context *ctx, const struct fdit_taxonomy *tax, bool marked, char **out)
{
    enum fdit_status status = FDIT_OK;
    struct text t = { 0 };
    *out = NULL;
    TRY(put(ctx, &t, "{\"classes\":", 11));
    TRY(put_names(ctx, &t, &tax->classes));
    TRY(put(ctx, &t, ",\"ranks\":[", 10));
    for (int32_t r = 0; r < tax->n_ranks; r++) {
        const struct fdit_tax_rank *rank = &tax->ranks[r];
        TRY(put(ctx, &t, r ? ",{\"name\":" : "{\"name\":", r ? 9 : 8));
        TRY(put_string(ctx, &t, rank->name));
        TRY(put(ctx, &t, ",\"groups\":", 10));
        TRY(put_names(ctx, &t, &rank->groups));
        TRY(put(ctx, &t, ",\"of\":[", 7));
        for (size_t c = 0; c < tax->classes.n; c++) {
            char number[16];
            int n = snprintf(number, sizeof number, c ? ",%d" : "%d", rank->of[c]);
            TRY(put(ctx, &t, number, (size_t)n));
        }
        TRY(put(ctx, &t, "]}", 2));
    }
    TRY(put(ctx, &t, "]", 1));
    if (tax->folders.n) {
        TRY(put(ctx, &t, ",\"folders\":", 11));
        TRY(put_names(ctx, &t, &tax->folders));
    }
    if (marked && tax->paths && tax->n_ranks)
        TRY(put(ctx, &t, ",\"paths\":true", 13));
    TRY(put(ctx, &t, "}", 1));
    *out = t.bytes;
    return FDIT_OK;
out:
    fdit_free(t.bytes);
    return status;
}

enum fdit_status fdit_taxonomy_to_json(fdit_context *ctx, const struct fdit_taxonomy *tax, char **out)
{
    return to_json(ctx, tax, true, out);
}

enum fdit_status fdit_taxonomy_hash(fdit_context *ctx, const struct fdit_taxonomy *tax, uint64_t *out)
{
    enum fdit_status status = FDIT_OK;
    char *text = NULL;
    TRY(to_json(ctx, tax, false, &text));
    *out = fdit_fnv(FDIT_FNV_START, text, strlen(text));
out:
    fdit_free(text);
    return status;
}

/* A name as a field of a line, or, with a comma too much, of an #order. */
static enum fdit_status put_plain(fdit_context *ctx, struct text *t, const char *name, bool listed)
{
    if (strpbrk(name, listed ? "\t\r\n," : "\t\r\n"))
        return fdit_fail(ctx, FDIT_ERROR_UNSUPPORTED,
                         "\"%.80s\" has a tab, a line end or, in a list, a comma: a table cannot hold it",
                         name);
    if (listed || (name[0] != '"' && name[0] != '#')) /* a line that begins with # says something else */
        return put(ctx, t, name, strlen(name));
    enum fdit_status status = FDIT_OK;
    TRY(put(ctx, t, "\"", 1));
    for (; *name; name++)
        TRY(put(ctx, t, *name == '"' ? "\"\"" : name, *name == '"' ? 2 : 1));
    TRY(put(ctx, t, "\"", 1));
out:
    return status;
}

/* The same in a table with the line #escaped: nothing that moves a terminal's cursor, no tab, no line end. */
static enum fdit_status put_field(fdit_context *ctx, struct text *t, const char *name, bool listed)
{
    enum fdit_status status = FDIT_OK;
    char *doubled = NULL, *safe = NULL;
    size_t n = 0;
    if (!t->escaped)
        return put_plain(ctx, t, name, listed);
    TRY(fdit_alloc(ctx, 2 * strlen(name) + 1, 1, &doubled));
    for (; *name; name++) {
        doubled[n++] = *name;
        if (*name == '\\')
            doubled[n++] = *name;
    }
    n = fdit_text_safe(NULL, 0, doubled, FDIT_TEXT_LINE);
    TRY(fdit_alloc(ctx, n + 1, 1, &safe));
    fdit_text_safe(safe, n + 1, doubled, FDIT_TEXT_LINE);
    TRY(put_plain(ctx, t, safe, listed));
out:
    fdit_free(doubled);
    fdit_free(safe);
    return status;
}

static bool all_safe(const struct fdit_names *names)
{
    bool safe = true;
    for (size_t i = 0; safe && i < names->n; i++)
        safe = fdit_text_is_safe(fdit_names_get(names, i), FDIT_TEXT_LINE);
    return safe;
}

static bool needs_escapes(const struct fdit_taxonomy *tax)
{
    bool safe = all_safe(&tax->classes);
    for (int32_t r = 0; r < tax->n_ranks; r++)
        safe =
            safe && fdit_text_is_safe(tax->ranks[r].name, FDIT_TEXT_LINE) && all_safe(&tax->ranks[r].groups);
    return !safe;
}

static enum fdit_status put_order(fdit_context *ctx, struct text *t, const struct fdit_tax_rank *rank)
{
    enum fdit_status status = FDIT_OK;
    bool sorted = true;
    for (size_t i = 1; i < rank->groups.n; i++)
        sorted = sorted && strcmp(fdit_names_get(&rank->groups, i - 1), fdit_names_get(&rank->groups, i)) < 0;
    if (sorted)
        return FDIT_OK;
    TRY(put(ctx, t, "#order ", 7));
    TRY(put_field(ctx, t, rank->name, true));
    for (size_t i = 0; i < rank->groups.n; i++) {
        TRY(put(ctx, t, i ? "," : "=", 1));
        TRY(put_field(ctx, t, fdit_names_get(&rank->groups, i), true));
    }
    TRY(put(ctx, t, "\n", 1));
out:
    return status;
}

enum fdit_status fdit_taxonomy_to_tsv(fdit_context *ctx, const struct fdit_taxonomy *tax, char **out)
{
    enum fdit_status status = FDIT_OK;
    struct text t = { .escaped = needs_escapes(tax) };
    *out = NULL;
    if (t.escaped)
        TRY(put(ctx, &t, "#escaped\n", 9));
    TRY(put(ctx, &t, "class", 5));
    for (int32_t r = 0; r < tax->n_ranks; r++) {
        TRY(put(ctx, &t, "\t", 1));
        TRY(put_field(ctx, &t, tax->ranks[r].name, false));
    }
    TRY(put(ctx, &t, "\n", 1));
    for (int32_t r = 0; r < tax->n_ranks; r++)
        TRY(put_order(ctx, &t, &tax->ranks[r]));
    for (size_t c = 0; c < tax->classes.n; c++) {
        TRY(put_field(ctx, &t, fdit_names_get(&tax->classes, c), false));
        for (int32_t r = 0; r < tax->n_ranks; r++) {
            size_t group = (size_t)tax->ranks[r].of[c];
            TRY(put(ctx, &t, "\t", 1));
            TRY(put_field(ctx, &t, fdit_names_get(&tax->ranks[r].groups, group), false));
        }
        TRY(put(ctx, &t, "\n", 1));
    }
    *out = t.bytes;
    return FDIT_OK;
out:
    fdit_free(t.bytes);
    return status;
}
