/* SPDX-License-Identifier: Apache-2.0
 * letters.c: draws Latin letters with the typefaces that are installed and sorts them into classes.
 * Not part of the build: tools/letters/make.sh compiles and runs it.
 *
 *     letters --families FILE --out DIR [--fonts DIR]... [--seed N] [--list | --dump FILE]
 *
 * writes into DIR, each a tar of CLASS/FACE.png, grey, 24 x 24, ink = 255:
 *     fine-train.tar    110 classes LETTER/STYLE, at most 48 faces a class
 *     fine-test.tar     the same classes from typefaces that occur in no other file but
 * base-val.tar fine-all.tar      the classes of fine-train.tar with every distinct face (to train a
 * judge) base.tar          52 classes, the letters without style; typefaces of fine-train only
 *     base-val.tar      the same from the typefaces of fine-test
 * and counts.tsv. FILE says for each family what it is and on which side of the split it stands:
 * the metadata of fonts tell weight, slant and width, but seldom whether a face has serifs, and
 * nothing of whether its A looks like an A. A family that is not in FILE is not used, so that the
 * outcome does not depend on what else is installed.
 *
 * --list prints one line for each face with what was measured and why it was left out; --dump
 * writes the pictures of those faces, 52 x 24 x 24 bytes each, in the order of the list. */
#include <fontconfig/fontconfig.h>
#include <ft2build.h>
#include FT_BBOX_H
#include FT_FREETYPE_H
#include FT_OUTLINE_H
#include FT_TRUETYPE_TABLES_H
#include <png.h>

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { SIZE = 24, PIXELS = SIZE * SIZE, LETTERS = 52, STYLES = 10 };
enum { CAP = 16 }; /* pixels from the base line to the top of H, where the face fits */
enum { FINE_TRAIN = 48, FINE_TEST = 12, NO_LIMIT = 1 << 30 };
static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
static const char fine_letters[] = "ABEGKMNQRSW";
static const char *const style_names[STYLES] = {
    "sans light", "sans regular", "sans bold",    "sans italic", "sans condensed",
    "serif",      "serif bold",   "serif italic", "mono",        "hand",
};

enum kind { KIND_NONE, KIND_SANS, KIND_SERIF, KIND_MONO, KIND_HAND, KIND_DROP };
static const char *const kind_names[] = { "?", "sans", "serif", "mono", "hand", "drop" };

struct family {
    char *name;
    enum kind kind;
    bool test;
};

struct face {
    char *path, *family, *full;
    int index;
    double weight, slant, width, spacing; /* as fontconfig has them */
    double stem, wide;                    /* stem of I and mean width of H E A N, in cap heights */
    double small_caps;                    /* likeness of the small letters to the capitals, 0..1 */
    const struct family *entry;
    int style;         /* index of style_names; -1: good for the base only */
    const char *doubt; /* why the style is -1 */
    const char *out;   /* why it is not used */
    uint64_t order;
    uint8_t (*picture)[PIXELS];
    bool ink[LETTERS];
};

static void die(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    fputs("letters: ", stderr);
    vfprintf(stderr, format, ap);
    fputc('\n', stderr);
    va_end(ap);
    exit(1);
}

static void *need(void *p)
{
    if (!p)
        die("out of memory");
    return p;
}

/* FNV-1a, finished as splitmix64 does: an order that depends on names only. */
static uint64_t hash(uint64_t seed, const char *s)
{
    uint64_t h = 1469598103934665603u ^ seed;
    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * 1099511628211u;
    h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9u;
    h = (h ^ (h >> 27)) * 0x94d049bb133111ebu;
    return h ^ (h >> 31);
}

/* ------------------------------------------------------------------ the families' table */

static struct family *families;
static size_t n_families;

static int by_name(const void *a, const void *b)
{
    const struct family *x = a, *y = b;
    return strcmp(x->name, y->name);
}

/* Lines "family TAB kind TAB train|test"; # begins a comment line. */
static void read_families(const char *path)
{
    FILE *f = fopen(path, "r");
    char line[1024];
    if (!f)
        die("cannot read %s", path);
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\r\n")] = 0;
        if (!*line || *line == '#')
            continue;
        char *kind = strchr(line, '\t'), *split = kind ? strchr(kind + 1, '\t') : NULL;
        if (!split)
            die("%s: \"%s\" has no three columns", path, line);
        *kind++ = *split++ = 0;
        families = need(realloc(families, (n_families + 1) * sizeof *families));
        struct family *e = &families[n_families++];
        *e = (struct family){ .name = need(strdup(line)), .test = !strcmp(split, "test") };
        for (int k = KIND_SANS; k <= KIND_DROP; k++)
            if (!strcmp(kind, kind_names[k]))
                e->kind = k;
        if (!e->kind)
            die("%s: %s: unknown kind %s", path, line, kind);
    }
    fclose(f);
    qsort(families, n_families, sizeof *families, by_name);
}

/* ------------------------------------------------------------------------------ faces */

static struct face *faces;
static size_t n_faces;

static bool has_word(const char *text, const char *const *words)
{
    char low[512];
    size_t n = 0;
    for (; text[n] && n + 1 < sizeof low; n++)
        low[n] = (char)tolower((unsigned char)text[n]);
    low[n] = 0;
    for (; *words; words++)
        if (strstr(low, *words))
            return true;
    return false;
}

static double number(FcPattern *p, const char *object, double fallback)
{
    double value;
    return FcPatternGetDouble(p, object, 0, &value) == FcResultMatch ? value : fallback;
}

static const char *text(FcPattern *p, const char *object)
{
    FcChar8 *value;
    return FcPatternGetString(p, object, 0, &value) == FcResultMatch ? (const char *)value : "";
}

/* A copy on one line. */
static char *one_line(const char *s)
{
    char *copy = need(strdup(s));
    for (char *c = copy; *c; c++)
        if ((unsigned char)*c < ' ')
            *c = ' ';
    return copy;
}

static int by_file(const void *a, const void *b)
{
    const struct face *x = a, *y = b;
    int d = strcmp(x->path, y->path);
    return d ? d : x->index - y->index;
}

static void find_faces(uint64_t seed)
{
    FcPattern *all = need(FcPatternCreate());
    FcObjectSet *objects =
        need(FcObjectSetBuild(FC_FILE, FC_INDEX, FC_FAMILY, FC_STYLE, FC_FULLNAME, FC_WEIGHT, FC_SLANT,
                              FC_WIDTH, FC_SPACING, FC_VARIABLE, (char *)NULL));
    FcFontSet *set = need(FcFontList(NULL, all, objects));
    faces = need(calloc((size_t)set->nfont + 1, sizeof *faces));
    for (int i = 0; i < set->nfont; i++) {
        FcPattern *p = set->fonts[i];
        FcBool variable = FcFalse;
        int index = 0;
        const char *path = text(p, FC_FILE), *dot = strrchr(path, '.');
        FcPatternGetBool(p, FC_VARIABLE, 0, &variable);
        FcPatternGetInteger(p, FC_INDEX, 0, &index);
        static const char *const wanted[] = { ".ttf", ".otf", ".ttc", NULL };
        if (variable || !dot || !has_word(dot, wanted))
            continue;
        struct face *f = &faces[n_faces++];
        char full[512];
        snprintf(full, sizeof full, "%s %s", text(p, FC_FAMILY), text(p, FC_STYLE));
        f->path = realpath(path, NULL);
        if (!f->path)
            f->path = need(strdup(path));
        f->family = one_line(text(p, FC_FAMILY));
        f->full = one_line(full);
        f->index = index;
        f->weight = number(p, FC_WEIGHT, 80);
        f->slant = number(p, FC_SLANT, 0);
        f->width = number(p, FC_WIDTH, 100);
        f->spacing = number(p, FC_SPACING, 0);
        f->style = -1;
        f->order = hash(seed, full);
        const struct family key = { .name = f->family };
        f->entry = n_families ? bsearch(&key, families, n_families, sizeof key, by_name) : NULL;
    }
    qsort(faces, n_faces, sizeof *faces, by_file);
    size_t kept = 0;
    for (size_t i = 0; i < n_faces; i++) /* the same file by two links */
        if (!kept || by_file(&faces[kept - 1], &faces[i]))
            faces[kept++] = faces[i];
    n_faces = kept;
    FcFontSetDestroy(set);
    FcObjectSetDestroy(objects);
    FcPatternDestroy(all);
}

/* ------------------------------------------------------------------------------ drawing */

/* The outline of a character, unhinted, at the face's current size; NULL when there is none with
 * ink. */
static FT_Outline *outline(FT_Face face, char c, FT_BBox *box)
{
    FT_UInt glyph = FT_Get_Char_Index(face, (FT_ULong)(unsigned char)c);
    if (!glyph || FT_Load_Glyph(face, glyph, FT_LOAD_NO_HINTING | FT_LOAD_NO_BITMAP) ||
        face->glyph->format != FT_GLYPH_FORMAT_OUTLINE || !face->glyph->outline.n_points ||
        FT_Outline_Get_BBox(&face->glyph->outline, box) || box->xMax <= box->xMin || box->yMax <= box->yMin)
        return NULL;
    return &face->glyph->outline;
}

/* Draws into side x side pixels with the middle of the ink box in the middle of the picture. */
static bool draw(FT_Library lib, FT_Outline *o, const FT_BBox *box, int side, uint8_t *pixels)
{
    FT_Bitmap bitmap = { .rows = (unsigned)side,
                         .width = (unsigned)side,
                         .pitch = side,
                         .buffer = pixels,
                         .num_grays = 256,
                         .pixel_mode = FT_PIXEL_MODE_GRAY };
    memset(pixels, 0, (size_t)side * (size_t)side);
    FT_Outline_Translate(o, side * 32 - (box->xMin + box->xMax) / 2, side * 32 - (box->yMin + box->yMax) / 2);
    return !FT_Outline_Get_Bitmap(lib, o, &bitmap);
}

/* How alike two letters are when each is stretched to fill the same box: correlation, 0..1. */
static double likeness(FT_Library lib, FT_Face face, char a, char b)
{
    enum { SIDE = 16 };
    uint8_t p[2][SIDE * SIDE];
    for (int i = 0; i < 2; i++) {
        FT_BBox box;
        FT_Outline *o = outline(face, i ? b : a, &box);
        if (!o)
            return 0;
        FT_Matrix m = { (FT_Fixed)(65536.0 * SIDE * 64 / (double)(box.xMax - box.xMin)), 0, 0,
                        (FT_Fixed)(65536.0 * SIDE * 64 / (double)(box.yMax - box.yMin)) };
        FT_Outline_Transform(o, &m);
        if (FT_Outline_Get_BBox(o, &box) || !draw(lib, o, &box, SIDE, p[i]))
            return 0;
    }
    double x = 0, y = 0, xx = 0, yy = 0, xy = 0, n = SIDE * SIDE;
    for (int i = 0; i < SIDE * SIDE; i++) {
        double u = p[0][i], v = p[1][i];
        x += u, y += v, xx += u * u, yy += v * v, xy += u * v;
    }
    double sx = xx - x * x / n, sy = yy - y * y / n;
    return sx > 0 && sy > 0 ? fmax(0, (xy - x * y / n) / sqrt(sx * sy)) : 0;
}

/* Stem of I at half its height, in cap heights. */
static double measure_stem(FT_Library lib, FT_Face face, double cap)
{
    enum { SIDE = 256 };
    static uint8_t p[SIDE * SIDE];
    FT_BBox box;
    FT_Outline *o = outline(face, 'I', &box);
    if (!o || !draw(lib, o, &box, SIDE, p))
        return 0;
    double sum = 0;
    for (int x = 0; x < SIDE; x++)
        sum += p[SIDE / 2 * SIDE + x];
    return sum / 255 * 64 / cap;
}

static void draw_face(FT_Library lib, struct face *f)
{
    FT_Face face = NULL;
    FT_BBox box;
    if (FT_New_Face(lib, f->path, f->index, &face)) {
        f->out = "unreadable";
        return;
    }
    if (!FT_IS_SCALABLE(face) || FT_Select_Charmap(face, FT_ENCODING_UNICODE) ||
        FT_Set_Char_Size(face, 0, 100 * 64, 72, 72) || !outline(face, 'H', &box)) {
        f->out = "no outline of H";
        goto out;
    }
    const TT_Postscript *post = FT_Get_Sfnt_Table(face, FT_SFNT_POST);
    if (post && post->italicAngle && f->slant <= 0)
        f->slant = 100;
    double cap = (double)(box.yMax - box.yMin);
    f->stem = measure_stem(lib, face, cap);
    for (const char *c = "HEAN"; *c; c++)
        if (outline(face, *c, &box))
            f->wide += (double)(box.xMax - box.xMin) / cap / 4;
    static const char differ[] = "abdeghnqr";
    for (const char *c = differ; *c; c++)
        f->small_caps += likeness(lib, face, *c, (char)toupper(*c)) / (sizeof differ - 1);

    /* One size for the whole face, so that c and C stay apart; smaller where a letter would not
     * fit. */
    double scale = CAP * 64 / cap;
    for (int i = 0; i < LETTERS; i++)
        if (outline(face, letters[i], &box)) {
            double extent = fmax((double)(box.xMax - box.xMin), (double)(box.yMax - box.yMin));
            scale = fmin(scale, (SIZE * 64 - 8) / extent);
        }
    if (scale * cap < 10 * 64) {
        f->out = "letters too wide for their height";
        goto out;
    }
    if (FT_Set_Char_Size(face, 0, (FT_F26Dot6)(100 * 64 * scale), 72, 72)) {
        f->out = "cannot be scaled";
        goto out;
    }
    f->picture = need(calloc(LETTERS, sizeof *f->picture));
    int have = 0;
    for (int i = 0; i < LETTERS; i++) {
        FT_Outline *o = outline(face, letters[i], &box);
        long ink = 0;
        if (o && draw(lib, o, &box, SIZE, f->picture[i]))
            for (int k = 0; k < PIXELS; k++)
                ink += f->picture[i][k];
        f->ink[i] = ink >= 8 * 255;
        have += f->ink[i];
    }
    if (have < 26)
        f->out = "letters without ink";
out:
    FT_Done_Face(face);
}

/* ------------------------------------------------------------------------------ classes */

/* The style of a face; -1 when its metadata and its strokes contradict each other. */
static int style_of(const struct face *f, const char **why)
{
    static const char *const narrow[] = { "cond", "narrow", "compress", NULL };
    static const char *const slanted[] = { "ital", "obliq", "slant", NULL };
    bool slant = f->slant > 0 || has_word(f->full, slanted);
    bool bold = f->weight >= 180, light = f->weight <= 55;
    *why = "weight in doubt";
    switch (f->entry->kind) {
    case KIND_MONO: return slant ? (*why = "slanted mono", -1) : 8;
    case KIND_HAND: return 9;
    case KIND_SERIF:
        if (slant)
            return 7;
        return bold ? (f->stem > 0.16 ? 6 : -1) : f->stem < 0.21 ? 5 : -1;
    case KIND_SANS:
        if (slant)
            return 3;
        if (f->width < 90 || has_word(f->full, narrow))
            return f->wide < 0.72 ? 4 : (*why = "not narrow", -1);
        if (f->wide < 0.56)
            return *why = "narrow without saying so", -1;
        if (light)
            return f->stem < 0.125 ? 0 : -1;
        return bold ? (f->stem > 0.17 ? 2 : -1) : f->stem > 0.1 && f->stem < 0.2 ? 1 : -1;
    default: *why = "kind"; return -1;
    }
}

/* Near enough to be the same drawing: another edition of a face, or one family inside another. */
static bool same(const uint8_t *a, const uint8_t *b)
{
    long sum = 0;
    for (int i = 0; i < PIXELS && sum < 1500; i++)
        sum += labs((long)a[i] - b[i]);
    return sum < 1500;
}

struct pick {
    const struct face *face;
    uint64_t round; /* how many faces of the same family stand before it */
};

static int by_family(const void *a, const void *b)
{
    const struct face *x = ((const struct pick *)a)->face, *y = ((const struct pick *)b)->face;
    int d = strcmp(x->family, y->family);
    return d ? d : x->order < y->order ? -1 : x->order > y->order;
}

static int by_round(const void *a, const void *b)
{
    const struct pick *x = a, *y = b;
    if (x->round != y->round)
        return x->round < y->round ? -1 : 1;
    return x->face->order < y->face->order ? -1 : x->face->order > y->face->order;
}

/* Distinct pictures of a letter: one face of every family before the second of any. */
static size_t collect(int letter, int style, bool test, size_t most, struct pick *out)
{
    size_t n = 0, kept = 0;
    for (size_t i = 0; i < n_faces; i++) {
        const struct face *f = &faces[i];
        if (f->out || !f->ink[letter] || f->entry->test != test || (style >= 0 && f->style != style))
            continue;
        if (letters[letter] >= 'a' && f->small_caps > 0.85)
            continue;
        out[n++].face = f;
    }
    qsort(out, n, sizeof *out, by_family);
    for (size_t i = 0; i < n; i++)
        out[i].round = i && !strcmp(out[i - 1].face->family, out[i].face->family) ? out[i - 1].round + 1 : 0;
    qsort(out, n, sizeof *out, by_round);
    for (size_t i = 0; i < n && kept < most; i++) {
        bool again = false;
        for (size_t k = 0; k < kept && !again; k++)
            again = same(out[k].face->picture[letter], out[i].face->picture[letter]);
        if (!again)
            out[kept++] = out[i];
    }
    return kept;
}

/* ------------------------------------------------------------------------------ PNG and tar */

struct bytes {
    uint8_t *p;
    size_t n;
};

static void png_append(png_structp png, png_bytep data, size_t n)
{
    struct bytes *b = png_get_io_ptr(png);
    b->p = need(realloc(b->p, b->n + n));
    memcpy(b->p + b->n, data, n);
    b->n += n;
}

static void png_nothing(png_structp png)
{
    (void)png;
}

static struct bytes encode(const uint8_t *pixels, int filters, int strategy)
{
    struct bytes b = { 0 };
    png_structp png = need(png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL));
    png_infop info = need(png_create_info_struct(png));
    if (setjmp(png_jmpbuf(png)))
        die("libpng failed");
    png_set_write_fn(png, &b, png_append, png_nothing);
    png_set_IHDR(png, info, SIZE, SIZE, 8, PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_set_compression_level(png, 9);
    png_set_compression_mem_level(png, 9);
    png_set_compression_strategy(png, strategy);
    png_set_filter(png, PNG_FILTER_TYPE_BASE, filters);
    png_write_info(png, info);
    for (int y = 0; y < SIZE; y++)
        png_write_row(png, pixels + y * SIZE);
    png_write_end(png, NULL);
    png_destroy_write_struct(&png, &info);
    return b;
}

/* The shortest of several encodings. */
static struct bytes encode_best(const uint8_t *pixels)
{
    static const int filters[] = { PNG_FILTER_NONE, PNG_FILTER_SUB, PNG_FILTER_UP, PNG_FILTER_PAETH,
                                   PNG_ALL_FILTERS };
    struct bytes best = { 0 };
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
        for (int strategy = 0; strategy <= 3; strategy++) {
            struct bytes b = encode(pixels, filters[i], strategy);
            if (!best.p || b.n < best.n) {
                free(best.p);
                best = b;
            } else {
                free(b.p);
            }
        }
    return best;
}

static void tar_member(FILE *tar, const char *name, const struct bytes *data)
{
    static const uint8_t zero[512];
    char h[512] = { 0 };
    if (strlen(name) > 99)
        die("%s: name too long for a tar", name);
    strcpy(h, name);
    memcpy(h + 100, "0000644", 8);
    memcpy(h + 108, "0000000", 8);
    memcpy(h + 116, "0000000", 8);
    snprintf(h + 124, 12, "%011lo", (unsigned long)data->n);
    memcpy(h + 136, "00000000000", 12);
    memset(h + 148, ' ', 8);
    h[156] = '0';
    memcpy(h + 257, "ustar\00000", 8);
    unsigned sum = 0;
    for (int i = 0; i < 512; i++)
        sum += (unsigned char)h[i];
    snprintf(h + 148, 8, "%06o", sum);
    fwrite(h, 1, 512, tar);
    fwrite(data->p, 1, data->n, tar);
    fwrite(zero, 1, (512 - data->n % 512) % 512, tar);
}

/* "Noto Sans Bold" -> "noto-sans-bold" */
static void slug(const char *s, char *out, size_t n)
{
    size_t k = 0;
    for (; *s && k + 1 < n && k < 48; s++)
        if (isalnum((unsigned char)*s))
            out[k++] = (char)tolower((unsigned char)*s);
        else if (k && out[k - 1] != '-')
            out[k++] = '-';
    while (k && out[k - 1] == '-')
        k--;
    out[k] = 0;
}

static size_t write_class(FILE *tar, const char *class, int letter, int style, bool test, size_t most)
{
    struct pick *picks = need(calloc(n_faces + 1, sizeof *picks));
    size_t n = collect(letter, style, test, most, picks);
    for (size_t i = 0; i < n; i++) {
        char name[160], face[64];
        slug(picks[i].face->full, face, sizeof face);
        snprintf(name, sizeof name, "%s/%s.%03zu.png", class, face, i);
        struct bytes b = encode_best(picks[i].face->picture[letter]);
        tar_member(tar, name, &b);
        free(b.p);
    }
    free(picks);
    return n;
}

static FILE *open_tar(const char *dir, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    if (!f)
        die("cannot write %s", path);
    return f;
}

static void close_tar(FILE *f)
{
    static const uint8_t zero[1024];
    fwrite(zero, 1, sizeof zero, f);
    if (ferror(f) | fclose(f))
        die("cannot write a tar: no space?");
}

static void write_fine(const char *dir, const char *name, bool test, size_t most, FILE *counts)
{
    FILE *tar = open_tar(dir, name);
    for (const char *c = fine_letters; *c; c++)
        for (int s = 0; s < STYLES; s++) {
            char class[64];
            snprintf(class, sizeof class, "%c/%s", *c, style_names[s]);
            size_t n = write_class(tar, class, (int)(strchr(letters, *c) - letters), s, test, most);
            fprintf(counts, "%s\t%s\t%zu\n", name, class, n);
        }
    close_tar(tar);
}

static void write_base(const char *dir, const char *name, bool test, FILE *counts)
{
    FILE *tar = open_tar(dir, name);
    for (int i = 0; i < LETTERS; i++) {
        const char class[2] = { letters[i] };
        fprintf(counts, "%s\t%s\t%zu\n", name, class, write_class(tar, class, i, -1, test, NO_LIMIT));
    }
    close_tar(tar);
}

struct choices {
    const char *out, *dump, *table;
    bool list;
    uint64_t seed;
};

static struct choices read_options(int argc, char **argv)
{
    struct choices c = { .seed = 1 };
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (!strcmp(argv[i], "--list"))
            c.list = true;
        else if (!value)
            die("%s: unknown, or a value is missing", argv[i]);
        else if (!strcmp(argv[i], "--families"))
            c.table = value, i++;
        else if (!strcmp(argv[i], "--out"))
            c.out = value, i++;
        else if (!strcmp(argv[i], "--dump"))
            c.dump = value, i++;
        else if (!strcmp(argv[i], "--seed"))
            c.seed = strtoull(value, NULL, 10), i++;
        else if (!strcmp(argv[i], "--fonts")) {
            if (!FcConfigAppFontAddDir(NULL, (const FcChar8 *)value))
                die("%s: not a folder of fonts", value);
            i++;
        } else
            die("%s: unknown option", argv[i]);
    }
    if (!c.out && !c.list && !c.dump)
        die("--families FILE --out DIR [--fonts DIR]... [--list | --dump FILE]");
    if (c.out && !c.table)
        die("--out needs --families");
    return c;
}

/* One line a face, and its pictures into `dump`. */
static void list_faces(const char *dump)
{
    static const uint8_t zero[LETTERS][PIXELS];
    FILE *raw = dump ? fopen(dump, "wb") : NULL;
    if (dump && !raw)
        die("cannot write %s", dump);
    for (size_t i = 0; i < n_faces; i++) {
        const struct face *f = &faces[i];
        printf("%s\t%s\t%g\t%g\t%g\t%g\t%.3f\t%.3f\t%.3f\t%s\t%s\t%s\t%d\n", f->family, f->full, f->weight,
               f->slant, f->width, f->spacing, f->stem, f->wide, f->small_caps,
               f->style >= 0 ? style_names[f->style] : "-",
               f->out                     ? f->out
               : f->style < 0 && f->doubt ? f->doubt
                                          : "",
               f->path, f->index);
        if (raw)
            fwrite(f->picture ? f->picture[0] : zero[0], PIXELS, LETTERS, raw);
    }
    if (raw && fclose(raw))
        die("cannot write %s", dump);
}

static void write_archives(const char *out)
{
    if (mkdir(out, 0777) && errno != EEXIST)
        die("cannot make %s", out);
    FILE *counts = open_tar(out, "counts.tsv");
    fprintf(counts, "file\tclass\tpictures\n");
    write_fine(out, "fine-train.tar", false, FINE_TRAIN, counts);
    write_fine(out, "fine-test.tar", true, FINE_TEST, counts);
    write_fine(out, "fine-all.tar", false, NO_LIMIT, counts);
    write_base(out, "base.tar", false, counts);
    write_base(out, "base-val.tar", true, counts);
    if (fclose(counts))
        die("cannot write %s/counts.tsv", out);
}

int main(int argc, char **argv)
{
    FT_Library lib;
    if (!FcInit() || FT_Init_FreeType(&lib))
        die("fontconfig or FreeType does not start");
    const struct choices c = read_options(argc, argv);
    if (c.table)
        read_families(c.table);
    find_faces(c.seed);

    for (size_t i = 0; i < n_faces; i++) {
        struct face *f = &faces[i];
        if (c.table && !f->entry)
            f->out = "family is not in the table";
        else if (c.table && f->entry->kind == KIND_DROP)
            f->out = "family is left out";
        else
            draw_face(lib, f);
        if (c.table && !f->out) {
            f->style = style_of(f, &f->doubt);
        }
    }
    if (c.list || c.dump)
        list_faces(c.dump);
    if (c.out)
        write_archives(c.out);
    return 0;
}
