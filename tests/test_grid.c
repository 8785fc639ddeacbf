/* SPDX-License-Identifier: Apache-2.0
 * test_grid.c: contact sheets: where pictures and letters land, what is refused. The environment
 * variable FDIT_TEST_GRID=FILE.png keeps a sheet to look at. */
#include "core/mem.h"
#include "picture/font.h"
#include "picture/grid.h"
#include "picture/png.h"
#include "harness.h"

#include <stdlib.h>
#include <string.h>

static fdit_context *ctx;

static void setup(void)
{
    ctx = fdit_context_new();
    ck_assert_ptr_nonnull(ctx);
}

static void teardown(void)
{
    fdit_context_free(ctx);
}

static const uint8_t black[3] = { 0, 0, 0 };

static struct fdit_font *font_of(int scale)
{
    struct fdit_font *f;
    ck_assert_ok(ctx, fdit_font_new(ctx, scale, &f));
    return f;
}

static size_t dark(const struct fdit_picture *p)
{
    size_t n = 0;
    for (size_t i = 0; i < (size_t)p->width * (size_t)p->height; i++)
        n += p->pixels[3 * i] < 128;
    return n;
}

/* The text alone, on white. */
static struct fdit_picture written(const struct fdit_font *f, const char *text, const uint8_t colour[3])
{
    struct fdit_picture p;
    int64_t width = fdit_font_width(f, text, strlen(text));
    ck_assert_ok(ctx, fdit_picture_new(ctx, width > 0 ? (int)width : 1, fdit_font_line(f), 3, &p));
    memset(p.pixels, 255, (size_t)p.width * (size_t)p.height * 3);
    fdit_font_draw(f, &p, 0, 0, colour, text, strlen(text));
    return p;
}

static bool same_picture(const struct fdit_picture *a, const struct fdit_picture *b)
{
    return a->width == b->width && a->height == b->height &&
           !memcmp(a->pixels, b->pixels, (size_t)a->width * (size_t)a->height * 3);
}

/* Letters of many languages: each shows something, and no two look alike. */
START_TEST(test_letters)
{
    static const char *const letters[] = { "a", "b", "W", "0", "%", "é", "ß", "ø", "ł", "ž",
                                           "ğ", "ț", "ż", "ő", "ñ", "ấ", "ữ", "α", "ώ", "Ω",
                                           "ж", "Ё", "ї", "ћ", "–", "’", "♀", "♂", "×", "†" };
    enum { N = sizeof letters / sizeof *letters };
    for (int scale = 1; scale <= 4; scale++) {
        struct fdit_font *f = font_of(scale);
        struct fdit_picture p[N];
        for (size_t i = 0; i < N; i++) {
            ck_assert_msg(fdit_font_has(f, letters[i], strlen(letters[i])), "%s", letters[i]);
            p[i] = written(f, letters[i], black);
            ck_assert_msg(dark(&p[i]) >= 3, "%s at %d", letters[i], scale);
            for (size_t k = 0; k < i; k++)
                ck_assert_msg(!same_picture(&p[i], &p[k]), "%s looks like %s", letters[i], letters[k]);
        }
        for (size_t i = 0; i < N; i++)
            fdit_picture_fini(&p[i]);
        fdit_font_free(f);
    }
}
END_TEST

/* A letter and its mark are the letter that has it. */
START_TEST(test_marks)
{
    static const char *const pairs[][2] = { { "e\xcc\x81", "é" },
                                            { "Z\xcc\x8c", "Ž" },
                                            { "a\xcc\x82\xcc\x81", "ấ" },
                                            { "\xd0\xb8\xcc\x86", "й" },
                                            { "\xce\xb1\xcc\x81", "ά" } };
    struct fdit_font *f = font_of(1);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct fdit_picture a = written(f, pairs[i][0], black), b = written(f, pairs[i][1], black);
        ck_assert_msg(same_picture(&a, &b), "%s", pairs[i][1]);
        fdit_picture_fini(&a);
        fdit_picture_fini(&b);
    }
    ck_assert_int_eq(fdit_font_width(f, "x\xcc\xa8", 3), fdit_font_width(f, "x", 1)); /* drawn over it */
    ck_assert(fdit_font_has(f, "x\xcc\xa8", 3));
    ck_assert_uint_eq(fdit_font_fits(f, "e\xcc\x81", fdit_font_width(f, "e", 1)), 3); /* never apart */
    fdit_font_free(f);
}
END_TEST

START_TEST(test_drawing_text)
{
    struct fdit_picture p;
    struct fdit_font *f = font_of(7);
    ck_assert_ok(ctx, fdit_picture_new(ctx, 30, 24, 3, &p));
    fdit_font_draw(f, &p, -7, -5, black, "WWWWWWWWWW", 10);
    fdit_font_draw(f, &p, 25, 20, black, "WW", 2);
    fdit_font_draw(f, &p, 500, 500, black, "W", 1);
    fdit_font_draw(f, &p, -500, -500, black, "\xff\xc3\xe2\x82\xed\xa0\x80\xf8", 8);
    fdit_picture_fini(&p);
    fdit_font_free(f);
}
END_TEST

START_TEST(test_names_without_letters)
{
    static const struct {
        const char *text;
        int32_t id;
        const char *want;
    } cases[] = {
        { "plain", 3, "plain" },
        { "Việt/Chim sẻ", 3, "Việt/Chim sẻ" },
        { "\xe4\xb8\xad\xe6\x96\x87/\xe9\xb8\x9f", 7, "#7" },
        { "Turdus \xe9\xb8\xab", 12, "#12 Turdus" },
        { "\xd8\xb7\xd8\xa7\xd8\xa6\xd8\xb1", 0, "#0" },
        { "bird \xf0\x9f\x90\xa6 two", 5, "#5 bird two" },
        { "\xff\xfe", 1, "#1" },
        { "\xe9\xb8\x9f", -1, "" },
    };
    struct fdit_font *f = font_of(1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *out;
        ck_assert_ok(ctx, fdit_font_label(ctx, f, cases[i].text, cases[i].id, &out));
        ck_assert_str_eq(out, cases[i].want);
        fdit_free(out);
    }
    fdit_font_free(f);
}
END_TEST

/* Counts the w x h squares of the sheet that show this picture, and remembers where the last one
 * is. */
static int find(const struct fdit_picture *p, const uint8_t *cell, int size, int channels, int upscale,
                int *at_x, int *at_y)
{
    int n = 0, side = size * upscale;
    for (int y = 0; y + side <= p->height; y++) {
        for (int x = 0; x + side <= p->width; x++) {
            bool same = true;
            for (int k = 0; same && k < side * side; k++) {
                const uint8_t *got = p->pixels + ((y + k / side) * p->width + x + k % side) * 3;
                const uint8_t *want = cell + (k / side / upscale * size + k % side / upscale) * channels;
                for (int c = 0; c < 3; c++)
                    same = same && got[c] == want[channels == 3 ? c : 0];
            }
            if (same) {
                *at_x = x;
                *at_y = y;
                n++;
            }
        }
    }
    return n;
}

static void check_cells(int channels, int upscale)
{
    enum { SIZE = 5, ROWS = 2, COLUMNS = 3 };
    uint8_t pixels[ROWS * COLUMNS][SIZE * SIZE * 3];
    const uint8_t *cells[ROWS * COLUMNS];
    static const char *const rows[ROWS] = { "first", "the second row with a long name" };
    static const char *const columns[COLUMNS] = { "a", NULL, "wide column" };
    struct test_rng random = test_rng_new("cells");
    int x[ROWS * COLUMNS], y[ROWS * COLUMNS];
    struct fdit_picture p;

    for (int k = 0; k < ROWS * COLUMNS; k++) {
        for (int i = 0; i < SIZE * SIZE * 3; i++)
            pixels[k][i] = (uint8_t)test_int(&random, 256);
        cells[k] = pixels[k];
    }
    const struct fdit_grid_group group = { "heading", ROWS, COLUMNS, rows, columns, cells, NULL, NULL };
    const struct fdit_grid grid = { .title = "title",
                                    .size = SIZE,
                                    .channels = channels,
                                    .upscale = upscale,
                                    .n_groups = 1,
                                    .groups = &group };
    ck_assert_ok(ctx, fdit_grid_draw(ctx, &grid, &p));
    ck_assert_int_eq(p.channels, 3);
    for (int k = 0; k < ROWS * COLUMNS; k++)
        ck_assert_int_eq(find(&p, cells[k], SIZE, channels, upscale, &x[k], &y[k]), 1);
    for (int k = 0; k < ROWS * COLUMNS; k++) {
        ck_assert_int_eq(y[k], y[k / COLUMNS * COLUMNS]);
        ck_assert_int_eq(x[k], x[k % COLUMNS]);
    }
    ck_assert(x[0] + SIZE * upscale < x[1] && x[1] + SIZE * upscale < x[2]);
    ck_assert(y[0] + SIZE * upscale < y[COLUMNS]);
    fdit_picture_fini(&p);
}

START_TEST(test_cells)
{
    check_cells(3, 1);
    check_cells(3, 4);
    check_cells(1, 1);
    check_cells(1, 7);
}
END_TEST

/* Whether the words are in the sheet, to the pixel. */
static bool shows(const struct fdit_picture *p, const char *word, int scale, const uint8_t colour[3])
{
    struct fdit_font *f = font_of(scale);
    struct fdit_picture w = written(f, word, colour);
    bool found = false;
    for (int y = 0; !found && y + w.height <= p->height; y++)
        for (int x = 0; !found && x + w.width <= p->width; x++) {
            bool same = true;
            for (int row = 0; same && row < w.height; row++)
                same = !memcmp(p->pixels + 3 * ((y + row) * p->width + x), w.pixels + 3 * row * w.width,
                               3 * (size_t)w.width);
            found = same;
        }
    fdit_picture_fini(&w);
    fdit_font_free(f);
    return found;
}

static const uint8_t ink[3] = { 28, 28, 32 }, blue[3] = { 16, 64, 128 };

START_TEST(test_labels)
{
    static const char *const row[] = { "aptenodytes_patagonicus", "\xe9\xb8\x9f Turdus" };
    static const char *const above[] = { "A rank", NULL };
    static const char *const column[] = { "an old, old column label" };
    static const int32_t ids[] = { 4, 11 };
    const uint8_t *cell[] = { NULL, NULL };
    struct fdit_grid_group group = { "A group of birds", 2, 1, row, column, cell, above, ids };
    struct fdit_grid grid = { .title = "Everything \xc3\xa9\xc3\xa0",
                              .size = 66,
                              .channels = 3,
                              .label_chars = 14,
                              .n_groups = 1,
                              .groups = &group };
    struct fdit_picture p;
    ck_assert_ok(ctx, fdit_grid_draw(ctx, &grid, &p));
    ck_assert(shows(&p, "Everything \xc3\xa9\xc3\xa0", 2, ink));
    ck_assert(shows(&p, "A group of birds", 1, blue));
    ck_assert(shows(&p, "A rank", 1, blue));
    ck_assert(shows(&p, "aptenodytes_", 1, ink));
    ck_assert(shows(&p, "patagonicus", 1, ink));
    ck_assert(shows(&p, "#11 Turdus", 1, ink));
    ck_assert(shows(&p, "an old, old", 1, ink));
    fdit_picture_fini(&p);

    /* small cells: rows become as high as their labels, and words stay whole */
    grid.size = 16;
    ck_assert_ok(ctx, fdit_grid_draw(ctx, &grid, &p));
    ck_assert(shows(&p, "aptenodytes_", 1, ink));
    ck_assert(shows(&p, "patagonicus", 1, ink));
    fdit_picture_fini(&p);
}
END_TEST

/* A title is wrapped, and a sheet of one small picture made wide enough for it. */
START_TEST(test_long_titles)
{
    const uint8_t *cell[] = { NULL };
    const struct fdit_grid_group group = { NULL, 1, 1, NULL, NULL, cell, NULL, NULL };
    const struct fdit_grid grid = { .title =
                                        "run/delta.safetensors on base.safetensors: DiT-S/2, ddim, 50 steps, "
                                        "guide superclass:genus, w = 2, clip-x0, the very last words",
                                    .size = 8,
                                    .channels = 3,
                                    .n_groups = 1,
                                    .groups = &group };
    struct fdit_picture p;
    ck_assert_ok(ctx, fdit_grid_draw(ctx, &grid, &p));
    ck_assert(shows(&p, "run/delta.safetensors on", 2, ink));
    ck_assert(shows(&p, "last words", 2, ink));
    fdit_picture_fini(&p);
}
END_TEST

/* Groups stand beside each other in bands. */
START_TEST(test_bands)
{
    enum { SIZE = 8 };
    uint8_t pixels[3][SIZE * SIZE];
    const uint8_t *cells[3];
    struct fdit_grid_group groups[3];
    int x[3], y[3];
    struct fdit_picture p;
    for (int k = 0; k < 3; k++) {
        memset(pixels[k], 40 + 60 * k, SIZE * SIZE);
        pixels[k][3] = 1;
        cells[k] = pixels[k];
        groups[k] = (struct fdit_grid_group){ "same", 1, 1, NULL, NULL, &cells[k], NULL, NULL };
    }
    const struct fdit_grid grid = {
        .size = SIZE, .channels = 1, .across = 2, .n_groups = 3, .groups = groups
    };
    ck_assert_ok(ctx, fdit_grid_draw(ctx, &grid, &p));
    for (int k = 0; k < 3; k++)
        ck_assert_int_eq(find(&p, cells[k], SIZE, 1, 1, &x[k], &y[k]), 1);
    ck_assert(y[0] == y[1] && y[2] > y[0] + SIZE && x[1] > x[0] + SIZE && x[2] == x[0]);
    fdit_picture_fini(&p);
}
END_TEST

/* Every length of text in every size of cell, under whatever checker is on. */
START_TEST(test_odd_sizes)
{
    char label[1200];
    memset(label, 'x', sizeof label - 1);
    label[sizeof label - 1] = '\0';
    for (int size = 1; size < 40; size += 3) {
        for (size_t length = 0; length < sizeof label; length = length * 2 + 1) {
            const char *text = label + sizeof label - 1 - length;
            const uint8_t *cells[2] = { NULL, NULL };
            const char *const labels[2] = { text, NULL };
            const struct fdit_grid_group group = { text, 1, 2, labels, labels, cells, NULL, NULL };
            const struct fdit_grid grid = { .title = text,
                                            .size = size,
                                            .channels = 1,
                                            .text_scale = 1 + size % 3,
                                            .label_chars = 1 + size,
                                            .n_groups = 1,
                                            .groups = &group };
            struct fdit_picture p;
            ck_assert_ok(ctx, fdit_grid_draw(ctx, &grid, &p));
            ck_assert(p.width > 2 * size && p.height > size);
            fdit_picture_fini(&p);
        }
    }
    const struct fdit_grid nothing = { .size = 4, .channels = 3 };
    struct fdit_picture p;
    ck_assert_ok(ctx, fdit_grid_draw(ctx, &nothing, &p));
    ck_assert(p.width > 0 && p.height > 0);
    fdit_picture_fini(&p);
}
END_TEST

START_TEST(test_refusals)
{
    const struct fdit_grid_group huge = { NULL, 1u << 20, 1u << 20, NULL, NULL, NULL, NULL, NULL };
    const struct fdit_grid_group absurd = { NULL, SIZE_MAX, 1, NULL, NULL, NULL, NULL, NULL };
    const struct fdit_grid bad[] = {
        { .size = 0, .channels = 3 },
        { .size = -1, .channels = 3 },
        { .size = 4, .channels = 2 },
        { .size = 4, .channels = 4 },
        { .size = 4, .channels = 3, .upscale = -1 },
        { .size = 30000, .channels = 3, .upscale = 30000 },
        { .size = 4, .channels = 3, .text_scale = 65 },
        { .size = 4, .channels = 3, .text_scale = -1 },
        { .size = 4, .channels = 3, .label_chars = 121 },
        { .size = 4, .channels = 3, .n_groups = 1, .groups = &huge },
        { .size = 4, .channels = 3, .n_groups = 1, .groups = &absurd },
    };
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        struct fdit_picture p;
        ck_assert_msg(fdit_grid_draw(ctx, &bad[k], &p) == FDIT_ERROR_ARGUMENT, "case %zu", k);
        ck_assert_ptr_null(p.pixels);
        ck_assert_ptr_null(strchr(fdit_context_message(ctx), '\n'));
    }
    const struct fdit_grid good = { .size = 4, .channels = 3 };
    struct fdit_picture p;
    fdit_mem_fail_at(1);
    ck_assert_int_eq(fdit_grid_draw(ctx, &good, &p), FDIT_ERROR_MEMORY);
    fdit_mem_fail_at(0);
    ck_assert_ptr_null(p.pixels);
}
END_TEST

/* The same sheet twice has the same bytes, and survives PNG. */
START_TEST(test_png)
{
    enum { SIZE = 64 };
    static uint8_t pixels[6][SIZE * SIZE * 3];
    const uint8_t *cells[6];
    static const char *const rows[2] = { "Aptenodytes forsteri", "Pygoscelis adeliae (Adelie penguin)" };
    static const char *const columns[3] = { "seed 0", "seed 1", "real" };
    struct fdit_picture p, q, back;
    for (int k = 0; k < 6; k++) {
        for (int i = 0; i < SIZE * SIZE; i++) {
            pixels[k][3 * i] = (uint8_t)(i % SIZE * 4);
            pixels[k][3 * i + 1] = (uint8_t)(i / SIZE * 4);
            pixels[k][3 * i + 2] = (uint8_t)(k * 50);
        }
        cells[k] = k == 4 ? NULL : pixels[k];
    }
    const struct fdit_grid_group groups[3] = {
        { "Birds", 2, 3, rows, columns, cells, NULL, NULL },
        { "The quick brown fox jumps over the lazy dog", 1, 3, NULL, columns, cells, NULL, NULL },
        { "!\"#$%&'()*+,-./0123456789:;<=>?@[\\]^_`{|}~", 2, 2, rows, NULL, cells, NULL, NULL },
    };
    const struct fdit_grid grid = { .title = "Guidance 4, dpm++ 20 steps: ABCDEFGHIJKLMNOPQRSTUVWXYZ",
                                    .size = SIZE,
                                    .channels = 3,
                                    .across = 2,
                                    .n_groups = 3,
                                    .groups = groups };
    ck_assert_ok(ctx, fdit_grid_draw(ctx, &grid, &p));
    ck_assert_ok(ctx, fdit_grid_draw(ctx, &grid, &q));
    const size_t bytes = (size_t)p.width * (size_t)p.height * 3;
    ck_assert(p.width == q.width && p.height == q.height && memcmp(p.pixels, q.pixels, bytes) == 0);

    uint8_t *png;
    size_t n;
    ck_assert_ok(ctx, fdit_png_encode(ctx, &p, &png, &n));
    ck_assert_ok(ctx, fdit_picture_decode(ctx, png, n, "sheet", &back));
    ck_assert(back.width == p.width && back.height == p.height);
    ck_assert(memcmp(back.pixels, p.pixels, bytes) == 0);
    const char *keep = getenv("FDIT_TEST_GRID");
    if (keep != NULL && keep[0] != '\0')
        ck_assert_ok(ctx, fdit_png_write(ctx, keep, &p));
    fdit_free(png);
    fdit_picture_fini(&back);
    fdit_picture_fini(&p);
    fdit_picture_fini(&q);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("grid");
    TCase *font = tcase_create("font");
    tcase_add_checked_fixture(font, setup, teardown);
    tcase_add_test(font, test_letters);
    tcase_add_test(font, test_marks);
    tcase_add_test(font, test_drawing_text);
    tcase_add_test(font, test_names_without_letters);
    suite_add_tcase(suite, font);
    TCase *sheet = tcase_create("sheet");
    tcase_add_checked_fixture(sheet, setup, teardown);
    tcase_add_test(sheet, test_cells);
    tcase_add_test(sheet, test_labels);
    tcase_add_test(sheet, test_long_titles);
    tcase_add_test(sheet, test_bands);
    tcase_add_test(sheet, test_odd_sizes);
    tcase_add_test(sheet, test_refusals);
    tcase_add_test(sheet, test_png);
    suite_add_tcase(suite, sheet);
    return test_run(suite);
}
