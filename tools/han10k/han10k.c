/* SPDX-License-Identifier: Apache-2.0
 * han10k.c: draws 10,000 Chinese characters with the typefaces that are installed: a data set with
 * as many classes as iNaturalist 2021 has, for tests of scale. Not part of the build: make.sh
 * compiles and runs it.
 *
 *     han10k --characters FILE --out DIR [--size 32] [--most N] [--classes N] [--others N]
 *
 * writes into DIR
 *     train.tar      CHARACTER/NNN.png, grey, ink = 255, at most N a class (default: all)
 *     test.tar       the same classes from typefaces that train.tar has nothing of
 *     taxonomy.tsv   class, its radical, and the group of radicals of 1, 2, ..., 10, 11 or more strokes
 *     faces.tsv      the faces, with the side of the split and the pictures each gave
 * and with --others N, for the base that is fine-tuned,
 *     base.tar       N other characters, none of them in FILE, from the typefaces of train.tar
 *     base-test.tar  the same from those of test.tar
 *
 * --classes N takes N of FILE's characters, evenly spread: radicals keep their shares.
 *
 * Faces claim characters that they draw as nothing, so a picture must have ink; many faces draw the
 * same picture, so equal ones of a class count once, and none of test.tar is in train.tar. The
 * split goes by family, never by picture. */
#include <fontconfig/fontconfig.h>
#include <ft2build.h>
#include FT_FREETYPE_H
#include <png.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_FACES = 1024, MOST_CLASSES = 20000, LARGEST_SIZE = 256 };
enum { FIRST_OTHER = 0x4e00, LAST_OTHER = 0x9fa5 }; /* "CJK Unified Ideographs" as of Unicode 1.1 */
enum { SPARE_OTHER = 0x400 };                       /* of these, behind the last place that is asked for */
enum { FEWEST_OTHER = 20 };                         /* pictures that another character must have */

struct face {
    char *path, *family;
    int index;
    bool test;
    FT_Face ft;
    long pictures;
};

struct class
{
    unsigned long code;
    char name[8], radical[8];
    int strokes;
};

static struct face faces[MOST_FACES];
static struct class classes[MOST_CLASSES];
static int n_faces, n_classes, size = 32;
static long most = 1 << 30;

static void die(const char *what, const char *which)
{
    fprintf(stderr, "han10k: %s: %s\n", which, what);
    exit(1);
}

/* ------------------------------------------------------------------ the characters */

/* One character of UTF-8; its length, 0 if it is none. */
static int character(const char *s, unsigned long *code)
{
    const unsigned char *p = (const unsigned char *)s;
    int n = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    *code = n == 1 ? p[0] : p[0] & (0xffu >> (n + 1));
    for (int i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        *code = *code << 6 | (p[i] & 0x3f);
    }
    return n;
}

static void read_characters(const char *path)
{
    static char line[1 << 16];
    FILE *in = fopen(path, "r");
    if (!in)
        die("cannot be read", path);
    while (fgets(line, sizeof line, in)) {
        int strokes, at = 0;
        char radical[8];
        unsigned long code;
        if (line[0] == '#' || sscanf(line, "%*d %d %7s %n", &strokes, radical, &at) != 2)
            continue;
        for (int n; line[at] > ' ' || line[at] < 0; at += n) {
            struct class *c = &classes[n_classes];
            n = character(line + at, &code);
            if (!n || n_classes == MOST_CLASSES)
                die("not what characters.txt is", path);
            c->code = code;
            c->strokes = strokes;
            memcpy(c->name, line + at, (size_t)n);
            memcpy(c->radical, radical, sizeof radical);
            n_classes++;
        }
    }
    fclose(in);
}

/* ------------------------------------------------------------------ the faces */

/* Not drawn as one writes: numbers of strokes on them, outlines, running script. */
static bool is_left_out(const char *family)
{
    static const char *const names[] = { "KanjiStrokeOrders", "Train One", "Rampart One",
                                         "KouzanBrushFontSousyo" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strstr(family, names[i]))
            return true;
    return false;
}

static int compare_faces(const void *x, const void *y)
{
    const struct face *a = x, *b = y;
    int paths = strcmp(a->path, b->path);
    return paths ? paths : a->index - b->index;
}

/* Families that train.tar has nothing of, with all their relatives. */
static bool is_test(const char *family)
{
    static const char *const names[] = { "LXGW",       "Klee",  "BIZ UD",           "Dejima",
                                         "AR PL UKai", "cwTeX", "WenQuanYi Zen Hei" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strncmp(family, names[i], strlen(names[i])))
            return true;
    return false;
}

static void add_face(const char *path, const char *family, int index)
{
    for (int i = 0; i < n_faces; i++)
        if (faces[i].index == index && !strcmp(faces[i].path, path))
            return;
    if (is_left_out(family) || n_faces == MOST_FACES)
        return;
    faces[n_faces++] = (struct face){
        .path = strdup(path), .family = strdup(family), .index = index, .test = is_test(family)
    };
}

static void find_faces(void)
{
    static const char *const languages[] = { "ja", "zh-cn", "zh-tw", "ko" };
    for (size_t i = 0; i < sizeof languages / sizeof *languages; i++) {
        FcPattern *pattern = FcPatternCreate();
        FcLangSet *langs = FcLangSetCreate();
        FcObjectSet *objects = FcObjectSetBuild(FC_FILE, FC_INDEX, FC_FAMILY, (char *)NULL);
        FcLangSetAdd(langs, (const FcChar8 *)languages[i]);
        FcPatternAddLangSet(pattern, FC_LANG, langs);
        FcFontSet *set = FcFontList(NULL, pattern, objects);
        for (int k = 0; set && k < set->nfont; k++) {
            FcChar8 *file, *family;
            int index;
            if (FcPatternGetString(set->fonts[k], FC_FILE, 0, &file) == FcResultMatch &&
                FcPatternGetString(set->fonts[k], FC_FAMILY, 0, &family) == FcResultMatch &&
                FcPatternGetInteger(set->fonts[k], FC_INDEX, 0, &index) == FcResultMatch &&
                index < 0x10000) /* no named instances of variable fonts */
                add_face((const char *)file, (const char *)family, index);
        }
        FcFontSetDestroy(set);
        FcObjectSetDestroy(objects);
        FcLangSetDestroy(langs);
        FcPatternDestroy(pattern);
    }
    qsort(faces, (size_t)n_faces, sizeof *faces, compare_faces); /* the order of pictures */
}

/* Whether the face has the character, in the middle of out [size][size]. */
static bool draw(FT_Face face, unsigned long code, uint8_t *out)
{
    long ink = 0;
    FT_UInt glyph = FT_Get_Char_Index(face, code);
    memset(out, 0, (size_t)size * (size_t)size);
    if (!glyph || FT_Load_Glyph(face, glyph, FT_LOAD_NO_HINTING | FT_LOAD_NO_BITMAP) ||
        face->glyph->format != FT_GLYPH_FORMAT_OUTLINE || FT_Render_Glyph(face->glyph, FT_RENDER_MODE_NORMAL))
        return false;
    const FT_Bitmap *b = &face->glyph->bitmap;
    int x0 = (size - (int)b->width) / 2, y0 = (size - (int)b->rows) / 2;
    for (int y = 0; y < (int)b->rows; y++)
        for (int x = 0; x < (int)b->width; x++)
            if (x + x0 >= 0 && x + x0 < size && y + y0 >= 0 && y + y0 < size)
                ink += out[(y + y0) * size + x + x0] = b->buffer[y * b->pitch + x];
    return ink > 255L * size; /* a stroke of the picture's length */
}

/* ------------------------------------------------------------------ the archives */

static void put_member(FILE *tar, const char *name, const void *bytes, size_t n)
{
    char header[512] = { 0 };
    unsigned sum = 0;
    static const char zeros[512];
    snprintf(header, 100, "%s", name);
    snprintf(header + 100, 8, "0000644");
    snprintf(header + 108, 8, "0000000");
    snprintf(header + 116, 8, "0000000");
    snprintf(header + 124, 12, "%011zo", n);
    snprintf(header + 136, 12, "00000000000");
    memset(header + 148, ' ', 8);
    header[156] = '0';
    memcpy(header + 257, "ustar", 6);
    memcpy(header + 263, "00", 2);
    for (int i = 0; i < 512; i++)
        sum += (unsigned char)header[i];
    snprintf(header + 148, 8, "%06o", sum);
    fwrite(header, 512, 1, tar);
    fwrite(bytes, n, 1, tar);
    fwrite(zeros, (512 - n % 512) % 512, 1, tar);
}

static void put_picture(FILE *tar, const struct class *c, long number, const uint8_t *pixels)
{
    static uint8_t bytes[2 * LARGEST_SIZE * LARGEST_SIZE];
    char name[64];
    png_alloc_size_t n = sizeof bytes;
    png_image image = { .version = PNG_IMAGE_VERSION,
                        .width = (png_uint_32)size,
                        .height = (png_uint_32)size,
                        .format = PNG_FORMAT_GRAY };
    if (!png_image_write_to_memory(&image, bytes, &n, 0, pixels, size, NULL))
        die(image.message, c->name);
    snprintf(name, sizeof name, "%s/%03ld.png", c->name, number);
    put_member(tar, name, bytes, n);
}

static FILE *create(const char *folder, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    if (!f)
        die("cannot be written", path);
    return f;
}

static void finish(FILE *f, const char *name, bool tar)
{
    static const char zeros[1024];
    if (tar)
        fwrite(zeros, sizeof zeros, 1, f);
    bool bad = ferror(f);
    if (fclose(f) || bad)
        die("cannot be written; is the disk full?", name);
}

/* Draws the character with the faces of train (side 0) or test (side 1) and puts what differs from the
 * n_seen pictures whose hashes are in seen [MOST_FACES] into tar, or nowhere if that is NULL. Returns how
 * many these were. */
static long draw_side(const struct class *c, int side, uint64_t *seen, int *n_seen, FILE *tar)
{
    static uint8_t pixels[LARGEST_SIZE * LARGEST_SIZE];
    long number = 0;
    for (int i = 0; i < n_faces && number < most; i++) {
        struct face *f = &faces[i];
        if (!f->ft || f->test != (side == 1) || !draw(f->ft, c->code, pixels))
            continue;
        uint64_t hash = UINT64_C(0xcbf29ce484222325);
        for (int k = 0; k < size * size; k++)
            hash = (hash ^ pixels[k]) * UINT64_C(0x100000001b3);
        bool known = false;
        for (int k = 0; k < *n_seen && !known; k++)
            known = seen[k] == hash;
        if (known)
            continue;
        seen[(*n_seen)++] = hash;
        if (tar) {
            put_picture(tar, c, number, pixels);
            f->pictures++;
        }
        number++;
    }
    return number;
}

static void draw_class(const struct class *c, FILE *const tars[2])
{
    uint64_t seen[MOST_FACES];
    int n_seen = 0;
    for (int side = 0; side < 2; side++) /* train first: test gets nothing that is in it */
        draw_side(c, side, seen, &n_seen, tars[side]);
}

/* ------------------------------------------------------------------ other characters, for a base */

static bool is_listed(unsigned long code)
{
    for (int i = 0; i < n_classes; i++)
        if (classes[i].code == code)
            return true;
    return false;
}

static struct class other(unsigned long code)
{
    struct class c = { .code = code };
    c.name[0] = (char)(0xe0 | code >> 12);
    c.name[1] = (char)(0x80 | (code >> 6 & 0x3f));
    c.name[2] = (char)(0x80 | (code & 0x3f));
    return c;
}

/* n characters that are not of the list, evenly spread over the block, with enough pictures each. */
static void draw_others(int n, FILE *const tars[2])
{
    unsigned long code = FIRST_OTHER;
    for (int i = 0; i < n; i++, code++) {
        unsigned long from =
            FIRST_OTHER + (unsigned long)i * (LAST_OTHER - SPARE_OTHER - FIRST_OTHER) / (unsigned long)n;
        for (code = code > from ? code : from;; code++) {
            uint64_t seen[MOST_FACES];
            int n_seen = 0;
            struct class c = other(code);
            if (code > LAST_OTHER)
                die("fewer other characters have enough typefaces; see make.sh --install-fonts", "--others");
            if (is_listed(code) || draw_side(&c, 0, seen, &n_seen, NULL) < FEWEST_OTHER)
                continue;
            draw_class(&c, tars);
            break;
        }
    }
}

/* Keeps n of the classes, evenly spread over the list. */
static void keep_classes(int n)
{
    for (int i = 0; i < n; i++)
        classes[i] = classes[(long)i * n_classes / n];
    n_classes = n;
}

static void write_lists(const char *folder)
{
    FILE *f = create(folder, "taxonomy.tsv");
    fprintf(f, "class\tradical\tstrokes\n#order strokes=1,2,3,4,5,6,7,8,9,10,11+\n");
    for (int i = 0; i < n_classes; i++)
        if (classes[i].strokes > 10)
            fprintf(f, "%s\t%s\t11+\n", classes[i].name, classes[i].radical);
        else
            fprintf(f, "%s\t%s\t%d\n", classes[i].name, classes[i].radical, classes[i].strokes);
    finish(f, "taxonomy.tsv", false);
    f = create(folder, "faces.tsv");
    fprintf(f, "family\tindex\tset\tpictures\n");
    for (int i = 0; i < n_faces; i++)
        fprintf(f, "%s\t%d\t%s\t%ld\n", faces[i].family, faces[i].index, faces[i].test ? "test" : "train",
                faces[i].pictures);
    finish(f, "faces.tsv", false);
}

/* The archives of both sides: of the classes, or of that many other characters. */
static void write_pair(const char *folder, const char *train, const char *test, int others)
{
    FILE *tars[2] = { create(folder, train), create(folder, test) };
    for (int i = 0; !others && i < n_classes; i++)
        draw_class(&classes[i], tars);
    if (others)
        draw_others(others, tars);
    finish(tars[0], train, true);
    finish(tars[1], test, true);
}

static void open_faces(FT_Library lib)
{
    for (int i = 0; i < n_faces; i++)
        if (FT_New_Face(lib, faces[i].path, faces[i].index, &faces[i].ft) ||
            FT_Set_Pixel_Sizes(faces[i].ft, 0, (FT_UInt)size - 2))
            faces[i].ft = NULL;
}

int main(int argc, char **argv)
{
    const char *characters = NULL, *out = NULL;
    FT_Library lib;
    long pictures[2] = { 0 };
    int others = 0, keep = 0;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--characters"))
            characters = argv[i + 1];
        else if (!strcmp(argv[i], "--out"))
            out = argv[i + 1];
        else if (!strcmp(argv[i], "--size"))
            size = atoi(argv[i + 1]);
        else if (!strcmp(argv[i], "--most"))
            most = atol(argv[i + 1]);
        else if (!strcmp(argv[i], "--classes"))
            keep = atoi(argv[i + 1]);
        else if (!strcmp(argv[i], "--others"))
            others = atoi(argv[i + 1]);
        else
            characters = NULL, i = argc;
    }
    if (!characters || !out || argc % 2 == 0 || size < 8 || size > LARGEST_SIZE || most < 1 || keep < 0 ||
        others < 0) {
        fprintf(stderr, "usage: han10k --characters FILE --out DIR [--size 8..256] [--most N] [--classes N]\n"
                        "              [--others N]\n");
        return 2;
    }
    read_characters(characters);
    find_faces();
    if (!n_faces || FT_Init_FreeType(&lib))
        die("no typeface with Chinese characters; see make.sh --install-fonts", "fontconfig");
    open_faces(lib);
    if (others) /* before the list is shortened: none of the 10,000 is among them */
        write_pair(out, "base.tar", "base-test.tar", others);
    for (int i = 0; i < n_faces; i++)
        faces[i].pictures = 0;
    if (keep && keep < n_classes)
        keep_classes(keep);
    write_pair(out, "train.tar", "test.tar", 0);
    write_lists(out);
    for (int i = 0; i < n_faces; i++)
        pictures[faces[i].test] += faces[i].pictures;
    printf("%d classes, %d faces, %ld pictures in train.tar, %ld in test.tar\n", n_classes, n_faces,
           pictures[0], pictures[1]);
    return 0;
}
