/* SPDX-License-Identifier: Apache-2.0
 * test_options.c: tables of options: defaults, ranges, words, JSON, and what a resumed run may change. */
#include "core/mem.h"
#include "core/option_table.h"
#include "demo/demo.h"
#include "encode/encode.h"
#include "format/option_json.h"
#include "harness.h"
#include "sample/options.h"
#include "train/options.h"
#include "train/state.h"

#include <locale.h>
#include <math.h>
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

#define ck_fails(call, words)                                                      \
    do {                                                                           \
        ck_assert_int_eq((call), FDIT_ERROR_ARGUMENT);                             \
        ck_assert_msg(strstr(fdit_context_message(ctx), words), "'%s' lacks '%s'", \
                      fdit_context_message(ctx), words);                           \
    } while (0)

/* ------------------------------------------------------------------ a table of all kinds */

enum colour { RED, GREEN, BLUE };
struct job {
    const char *text;
    int small;
    int64_t large;
    uint64_t seed;
    double real, pair[2];
    size_t size;
    enum colour colour;
    int power;
    bool flag, up;
};

static const int powers[] = { 1, 2, 4, 8 };
#define ROW(kind, name, arg, field) FDIT_OPTION_ROW(kind, name, arg, struct job, field)
static const struct fdit_option table[] = {
    FDIT_HEADING("All kinds"),
    { ROW(TEXT, "text", "FILE", text), .help = "a text", .note = ": none" },
    { ROW(INT, "small", "N", small), FDIT_RANGE(1, 100), .usual = "7", .note = "; 1: least",
      .help = "a number" },
    { ROW(INT64, "large", "N", large), FDIT_RANGE(-5, 1e15), .help = "a large one" },
    { ROW(SEED, "seed", "N", seed), .usual = "3", .help = "a seed" },
    { ROW(REAL, "real", "X", real), FDIT_RANGE(0, 10), .usual = "1e-4", .help = "a real" },
    { ROW(REALS, "pair", "A,B", pair), FDIT_RANGE(0, 1), .usual = "0.25,0.5", .help = "two" },
    { ROW(SIZE, "size", "SIZE", size), FDIT_RANGE(1, 9e18), .usual = "1.5K", .help = "a size" },
    { ROW(CHOICE, "colour", "red|green|blue", colour), .usual = "green", .help = "a word" },
    { ROW(CHOICE, "power", "one|two|four|eight", power), .values = powers, .usual = "four",
      .help = "a power" },
    { ROW(FLAG, "flag", NULL, flag), .help = "a flag" },
    { ROW(SWITCH, "turn", "up|down", up), .usual = "up", .help = "a switch" },
    { 0 }
};
#undef ROW

START_TEST(test_defaults)
{
    struct job j = { .large = 12 };
    fdit_options_defaults(table, &j);
    ck_assert_ptr_null(j.text);
    ck_assert_int_eq(j.small, 7);
    ck_assert_int_eq(j.large, 12); /* has none: left alone */
    ck_assert_uint_eq(j.seed, 3);
    ck_assert(j.real == 1e-4 && j.pair[0] == 0.25 && j.pair[1] == 0.5);
    ck_assert_uint_eq(j.size, 1536);
    ck_assert_int_eq(j.colour, GREEN);
    ck_assert_int_eq(j.power, 4);
    ck_assert(!j.flag && j.up);
    ck_assert_int_eq(fdit_options_check(ctx, table, &j), FDIT_OK);
}
END_TEST

START_TEST(test_set)
{
    struct job j = { 0 };
    char word[32];
    static const char *const pairs[][2] = {
        { "text", "a b" },  { "small", "100" }, { "large", "-5" },  { "seed", "9223372036854775807" },
        { "real", "2.5" },  { "pair", "0,1" },  { "size", "2G" },   { "colour", "blue" },
        { "power", "one" }, { "flag", "true" }, { "turn", "down" },
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        ck_assert_int_eq(fdit_options_set(ctx, table, &j, pairs[i][0], pairs[i][1]), FDIT_OK);
    ck_assert_str_eq(j.text, "a b");
    ck_assert_int_eq(j.small, 100);
    ck_assert_int_eq(j.large, -5);
    ck_assert_uint_eq(j.seed, INT64_MAX);
    ck_assert(j.real == 2.5 && j.pair[0] == 0 && j.pair[1] == 1);
    ck_assert_uint_eq(j.size, (size_t)2 << 30);
    ck_assert_int_eq(j.colour, BLUE);
    ck_assert_int_eq(j.power, 1);
    ck_assert(j.flag && !j.up);
    ck_assert_str_eq(fdit_option_word(fdit_option_find(table, "colour"), &j, word), "blue");
    ck_assert_str_eq(fdit_option_word(fdit_option_find(table, "power"), &j, word), "one");
    ck_assert_str_eq(fdit_option_word(fdit_option_find(table, "turn"), &j, word), "down");
    j.power = 3;
    ck_assert_ptr_null(fdit_option_word(fdit_option_find(table, "power"), &j, word));
    ck_assert_int_eq(fdit_options_set(ctx, table, &j, "flag", "false"), FDIT_OK);
    ck_assert(!j.flag);
    ck_assert_int_eq(fdit_options_set(ctx, table, &j, "flag", NULL), FDIT_OK);
    ck_assert(j.flag);
}
END_TEST

/* The option, the value, what is possible; and nothing is changed by a word that is refused. */
START_TEST(test_refused)
{
    struct job j = { 0 };
    fdit_options_defaults(table, &j);
    ck_fails(fdit_options_set(ctx, table, &j, "small", "0"), "--small 0: give a number from 1 to 100");
    ck_fails(fdit_options_set(ctx, table, &j, "small", "99999999999999999999"), "from 1 to 100");
    ck_fails(fdit_options_set(ctx, table, &j, "small", "1e2"),
             "--small 1e2: a whole number is written in digits");
    ck_fails(fdit_options_set(ctx, table, &j, "large", "1000000000000001"), "from -5 to 1000000000000000");
    ck_fails(fdit_options_set(ctx, table, &j, "seed", "-1"),
             "a seed is a number from 0 to 9223372036854775807");
    ck_fails(fdit_options_set(ctx, table, &j, "real", "10.5"), "--real 10.5: give a number from 0 to 10");
    ck_fails(fdit_options_set(ctx, table, &j, "real", "nan"), "--real nan: not a number");
    ck_fails(fdit_options_set(ctx, table, &j, "real", "0,5"), "with a point");
    ck_fails(fdit_options_set(ctx, table, &j, "pair", "0.5"), "--pair 0.5: give two numbers with a comma");
    ck_fails(fdit_options_set(ctx, table, &j, "pair", "0.5,2"),
             "--pair: the second number 2 is out of range");
    ck_fails(fdit_options_set(ctx, table, &j, "size", "0"), "--size 0: nothing fits into that");
    ck_fails(fdit_options_set(ctx, table, &j, "colour", "gren"),
             "did you mean green? Else give one of red|green|blue");
    ck_fails(fdit_options_set(ctx, table, &j, "power", "3"),
             "--power 3: not known; give one of one|two|four|eight");
    ck_fails(fdit_options_set(ctx, table, &j, "turn", "left"), "give one of up|down");
    ck_fails(fdit_options_set(ctx, table, &j, "flag", "maybe"), "--flag maybe: give true or false");
    ck_fails(fdit_options_set(ctx, table, &j, "text", ""), "--text: the value is empty; give FILE");
    ck_fails(fdit_options_set(ctx, table, &j, "text", NULL), "--text: the value is empty; give FILE");
    ck_fails(fdit_options_set(ctx, table, &j, "smal", "3"), "option smal is not known; did you mean small?");
    ck_fails(fdit_options_set(ctx, table, &j, "All kinds", "3"), "option All kinds is not known");
    ck_assert_int_eq(j.colour, GREEN);
    ck_assert(j.up && !j.flag);
    fdit_options_defaults(table, &j);
    j.small = 101;
    ck_fails(fdit_options_check(ctx, table, &j), "--small 101 is out of range; it must be from 1 to 100");
    j.small = 0; /* a default was taken away: zero is then a value as any other */
    ck_fails(fdit_options_check(ctx, table, &j), "--small 0 is out of range");
    j.small = 1;
    j.real = NAN;
    ck_fails(fdit_options_check(ctx, table, &j), "--real nan is out of range");
}
END_TEST

START_TEST(test_help)
{
    char text[64];
    const char *const names[] = { "text", "small", "large", "real", "turn" };
    const char *const texts[] = { "a text (default: none)", "a number (default 7; 1: least)", "a large one",
                                  "a real (default 1e-4)", "a switch (default up)" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        ck_assert_uint_eq(fdit_option_help(fdit_option_find(table, names[i]), text, sizeof text),
                          strlen(texts[i]));
        ck_assert_str_eq(text, texts[i]);
    }
    ck_assert_uint_eq(fdit_option_help(fdit_option_find(table, "text"), text, 5), strlen(texts[0]));
    ck_assert_str_eq(text, "a te");
}
END_TEST

/* An application may have set a locale with a decimal comma; options are read and shown as in C. */
START_TEST(test_locale)
{
    struct job j = { 0 };
    char text[32];
    if (!setlocale(LC_NUMERIC, "de_DE.UTF-8") && !setlocale(LC_NUMERIC, "fr_FR.UTF-8"))
        return;
    fdit_options_defaults(table, &j);
    const int set = fdit_options_set(ctx, table, &j, "real", "2.5"),
              comma = fdit_options_set(ctx, table, &j, "real", "2,5");
    fdit_format_number(0.25, text);
    setlocale(LC_NUMERIC, "C");
    ck_assert_int_eq(set, FDIT_OK);
    ck_assert_int_eq(comma, FDIT_ERROR_ARGUMENT);
    ck_assert(j.real == 2.5 && j.pair[0] == 0.25 && j.size == 1536);
    ck_assert_str_eq(text, "0.25");
}
END_TEST

static json_t *put_all(const struct fdit_option *rows, const void *args, struct fdit_json *b)
{
    fdit_json_begin(b);
    for (const struct fdit_option *o = rows; o->name; o++)
        fdit_option_put(b, NULL, o, args);
    ck_assert_int_eq(fdit_json_check(ctx, b, "test"), FDIT_OK);
    return b->root;
}

/* What is written is read again, and gives the same text. */
static void check_round_trip(const struct fdit_option *rows, const void *args, void *other)
{
    struct fdit_json a, b;
    json_t *written = put_all(rows, args, &a), *value;
    const char *key;
    json_object_foreach(written, key, value) ck_assert_msg(
        fdit_option_take(fdit_option_find(rows, key), value, other), "%s is not read again", key);
    ck_assert(json_equal(written, put_all(rows, other, &b)));
    fdit_json_fini(&b);
    fdit_json_fini(&a);
}

START_TEST(test_json)
{
    struct job j = { .text = "x", .large = -3, .flag = true }, other = { 0 };
    fdit_options_defaults(table, &j);
    j.up = false;
    check_round_trip(table, &j, &other);
    ck_assert(other.power == 4 && other.colour == GREEN && !other.up && other.pair[1] == 0.5);
    static const struct {
        const char *name, *json;
    } wrong[] = { { "text", "3" },         { "small", "2147483648" }, { "small", "1.5" },
                  { "small", "\"1\"" },    { "large", "null" },       { "seed", "-1" },
                  { "size", "-1" },        { "real", "\"1\"" },       { "pair", "[1]" },
                  { "pair", "[1,\"2\"]" }, { "pair", "[1,2,3]" },     { "colour", "\"pink\"" },
                  { "colour", "1" },       { "power", "4" },          { "flag", "1" },
                  { "turn", "true" } };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        json_t *value = json_loads(wrong[i].json, JSON_DECODE_ANY, NULL);
        ck_assert_msg(value && !fdit_option_take(fdit_option_find(table, wrong[i].name), value, &other),
                      "%s: %s", wrong[i].name, wrong[i].json);
        json_decref(value);
    }
}
END_TEST

/* ------------------------------------------------------------------ the program's tables */

/* Every default is in its range, and can be typed. */
static void check_table(const struct fdit_option *rows, void *args)
{
    char text[1024];
    for (const struct fdit_option *o = rows; o->name; o++) {
        if (o->kind == FDIT_OPT_HEADING)
            continue;
        ck_assert_msg(!o->usual || fdit_option_set(ctx, o, args, o->usual) == FDIT_OK, "--%s %s: %s", o->name,
                      o->usual, fdit_context_message(ctx));
        ck_assert_msg(!o->path || (o->kind == FDIT_OPT_TEXT && o->keep != FDIT_KEEP_NOT), "--%s", o->name);
        ck_assert_msg(o->keep != FDIT_KEEP_CONTENT || o->path, "--%s", o->name);
        if (o->help)
            ck_assert_uint_lt(fdit_option_help(o, text, sizeof text), sizeof text);
        for (const struct fdit_option *p = rows; p < o;
             p++) /* once on a command line, and once in each part of a file */
            ck_assert_msg(strcmp(p->name, o->name) ||
                              (p->offset == o->offset && !(p->help && o->help) &&
                               (p->keep == FDIT_KEEP_RUN) != (o->keep == FDIT_KEEP_RUN)),
                          "--%s twice", o->name);
    }
}

START_TEST(test_train_table)
{
    struct fdit_train_options o = fdit_train_defaults(), other = { 0 };
    check_table(fdit_train_option_table, &o);
    fdit_train_betas_settle(&o);
    check_round_trip(fdit_train_option_table, &o, &other);
    /* those of earlier versions: what a run that says nothing computes */
    ck_assert_str_eq(o.tune, "finediffusion");
    ck_assert(o.optimiser == 0 && o.lr == 1e-4 && o.beta1 == 0.9 && o.beta2 == 0.999 && o.weight_decay == 0 &&
              o.clip == 0);
    ck_assert(o.ema == 0.9999 && !o.ema_exact && o.drop_prob == 0.1 && o.drop == FDIT_DROP_SUPERCLASS);
    ck_assert(o.batch == 32 && o.accumulate == 1 && o.devices == 1 && o.warmup == 0 && o.seed == 0 && o.flip);
    ck_assert(o.storage == FDIT_F32 && o.precision == FDIT_F32 && o.activations == FDIT_F32);
    ck_assert(o.steps == 0 && o.epochs == 0 && o.checkpoint_every == 1000 && o.checkpoint_seconds == 600);
    ck_assert(o.preview_every == 1000 && o.preview_guidance == 4 && o.keep == 3 && o.workers == 2);
    ck_assert(o.cache_bytes == (size_t)1 << 30 && o.memory == 0 && o.val_pictures == 1024 && o.threads == 0);
}
END_TEST

START_TEST(test_sample_table)
{
    struct fdit_sample_options o = fdit_sample_defaults(), other = fdit_sample_defaults();
    ck_assert(o.values == FDIT_VALUES_EMA && !o.values_asked && o.storage == FDIT_F32 && o.per_class == 1);
    ck_assert(o.seed == 0 && o.shard == 0 && o.shards == 1 && isnan(o.guidance.w) &&
              o.guidance.channels == 0);
    ck_assert(o.guidance.t_low == 0 && o.guidance.t_high == 999 && o.sampler.kind == FDIT_SAMPLER_DDPM);
    ck_assert(o.steps == 0 && o.clip_x0 == -1 && o.rng == FDIT_NOISE_PHILOX && o.batch == 0 && !o.tar);
    check_table(fdit_sample_option_table, &o);
    o.guidance = (struct fdit_guidance){ 3, 3, 100, 900, FDIT_GUIDANCE_ZERO_STAR };
    o.reuse = (struct fdit_reuse_options){ 4, 2, FDIT_REUSE_FORA };
    ck_assert_int_eq(fdit_options_set(ctx, fdit_sample_option_table, &o, "sampler", "ddim:0.25"), FDIT_OK);
    ck_assert_int_eq(fdit_options_set(ctx, fdit_sample_option_table, &o, "clip-x0", "true"), FDIT_OK);
    ck_fails(fdit_options_set(ctx, fdit_sample_option_table, &o, "no-clip-x0", NULL), "give one of the two");
    ck_fails(fdit_options_set(ctx, fdit_sample_option_table, &o, "weights-from", "best"), "one of ema|raw");
    ck_fails(fdit_options_set(ctx, fdit_sample_option_table, &o, "steps", "1001"), "from 1 to 1000");
    check_round_trip(fdit_sample_option_table, &o, &other);
    ck_assert(other.sampler.eta == 0.25 && other.guidance.t_high == 900 && other.guidance.channels == 3);
    ck_assert_int_eq(other.clip_x0, 1);
    ck_assert(other.guidance.rule == FDIT_GUIDANCE_ZERO_STAR && other.reuse.interval == 4);
    ck_assert(other.reuse.order == 2 && other.reuse.full == FDIT_REUSE_FORA);
    ck_fails(fdit_options_set(ctx, fdit_sample_option_table, &o, "cache-interval", "0"), "from 1 to 1000");
    ck_fails(fdit_options_set(ctx, fdit_sample_option_table, &o, "cache-order", "3"), "from 0 to 2");
    ck_fails(fdit_options_set(ctx, fdit_sample_option_table, &o, "cache-full", "never"), "ends|taylor|fora");
    ck_fails(fdit_options_set(ctx, fdit_sample_option_table, &o, "guidance-rule", "x"), "plain|zero-star");
    o.guidance.w = 4;
    o.per_class = 0;
    o.base = o.out = "x";
    ck_fails(fdit_sample_check(ctx, &o, false), "--per-class 0 is out of range");
}
END_TEST

START_TEST(test_encode_table)
{
    struct fdit_encode_options o = fdit_encode_defaults(), other = { 0 };
    check_table(fdit_encode_option_table, &o);
    check_round_trip(fdit_encode_option_table, &o, &other);
    ck_assert(o.size == 256 && o.channels == 3 && o.fit == FDIT_FIT_CROP && o.flip && o.workers == 2);
    ck_assert(o.vae_scale == 0 && !o.skip_bad && o.memory == 0);
}
END_TEST

/* --optimiser takes the rows of the table, in their order; a name in a checkpoint means one thing. */
START_TEST(test_optimisers)
{
    const struct fdit_option *row = fdit_option_find(fdit_train_option_table, "optimiser");
    const struct fdit_optimiser *o, *p;
    char names[128] = "";
    for (size_t i = 0; (o = fdit_optimiser_at(i)); i++) {
        struct fdit_train_options t = fdit_train_defaults();
        size_t n = strlen(names);
        snprintf(names + n, sizeof names - n, "%s%s", i ? "|" : "", o->name);
        ck_assert_int_eq(fdit_train_options_set(ctx, &t, "optimiser", o->name), FDIT_OK);
        ck_assert(t.optimiser == (int)i && fdit_optimiser_find(o->name) == o);
        fdit_train_betas_settle(&t);
        ck_assert(t.beta1 == o->beta1 && t.beta2 == o->beta2);
        ck_assert_int_eq(fdit_train_options_set(ctx, &t, "betas", "0,0"), FDIT_OK);
        fdit_train_betas_settle(&t); /* what was given stays */
        ck_assert(t.beta1 == 0 && t.beta2 == 0);
        ck_assert(o->moments >= 0 && o->moments <= FDIT_MOST_MOMENTS && o->update);
        for (int k = 0; k < o->moments; k++) {
            char name[64];
            snprintf(name, sizeof name, "%sx_embedder.proj.bias", o->prefix[k]);
            ck_assert_uint_eq(fdit_state_prefix(name), strlen(o->prefix[k]));
            for (size_t j = 0; (p = fdit_optimiser_at(j)); j++)
                for (int q = 0; q < p->moments; q++) /* none begins another one */
                    ck_assert(!strcmp(o->prefix[k], p->prefix[q]) ||
                              strncmp(o->prefix[k], p->prefix[q], strlen(o->prefix[k])));
        }
    }
    ck_assert_str_eq(names, row->arg);
    ck_assert_str_eq(row->usual, fdit_optimiser_find(NULL)->name);
    ck_assert_ptr_null(fdit_optimiser_find("lio"));
    ck_assert_uint_eq(fdit_state_prefix("raw.x"), 4);
    ck_assert_uint_eq(fdit_state_prefix("ema.x"), 4);
    ck_assert_uint_eq(fdit_state_prefix("x_embedder.proj.bias"), 0);
}
END_TEST

START_TEST(test_demo_table)
{
    struct fdit_demo_options o = { .out = NULL };
    fdit_options_defaults(fdit_demo_option_table, &o);
    check_table(fdit_demo_option_table, &o);
    ck_assert_str_eq(o.out, "demo.png");
    ck_assert(o.seconds == 90 && o.guidance == 2 && o.steps == 25 && o.lr == 1e-2 && o.seed == 1);
    ck_assert(o.per_class == 0 && o.train_steps == 0 && !o.full && !o.run && o.storage == FDIT_F32);
}
END_TEST

START_TEST(test_train_set)
{
    struct fdit_train_options o = fdit_train_defaults();
    static const char *const pairs[][2] = {
        { "base", "b" },         { "data", "d" },         { "out", "o" },
        { "clip", "1" },         { "ema", "0.99:exact" }, { "weights", "int8" },
        { "precision", "bf16" }, { "memory", "6G" },      { "threads", "3" },
        { "flip", "none" },      { "steps", "5" },        { "checkpoint-every", "7,90s" },
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        ck_assert_int_eq(fdit_train_options_set(ctx, &o, pairs[i][0], pairs[i][1]), FDIT_OK);
    ck_assert(o.clip == 1 && o.ema == 0.99 && o.ema_exact && o.storage == FDIT_I8 &&
              o.precision == FDIT_BF16);
    ck_assert(o.memory == (size_t)6 << 30 && o.threads == 3 && !o.flip && o.steps == 5);
    ck_assert(o.checkpoint_every == 7 && o.checkpoint_seconds == 90);
    ck_assert_int_eq(fdit_train_check(ctx, &o), FDIT_OK);
    ck_assert_int_eq(fdit_train_options_set(ctx, &o, "checkpoint-every", "0"), FDIT_OK);
    ck_assert(o.checkpoint_every == 0 && o.checkpoint_seconds == 0);
    ck_fails(fdit_train_options_set(ctx, &o, "clip", "-1"), "--clip -1: give a number of at least 0");
    ck_fails(fdit_train_options_set(ctx, &o, "ema", "1.5"),
             "--ema 1.5 is out of range; it must be from 0 to 1");
    ck_fails(fdit_train_options_set(ctx, &o, "tune", "lora:0"), "the rank must be 1 to the width");
    ck_fails(fdit_train_options_set(ctx, &o, "tune", "dream"), "\"dream\" is not known");
    ck_assert_int_eq(fdit_train_options_set(ctx, &o, "tune", "lora:4:8+norm"), FDIT_OK);
    ck_fails(fdit_train_options_set(ctx, &o, "checkpoint-every", "1e12h"), "--checkpoint-every 1e12h");
    ck_fails(fdit_train_options_set(ctx, &o, "weights", "auto"), "give one of f32|bf16|f16|int8");
    ck_fails(fdit_train_options_set(ctx, &o, "epoch", "3"), "did you mean epochs?");
}
END_TEST

/* Another value of the row that it can hold. */
static void change(const struct fdit_option *o, struct fdit_train_options *options)
{
    char *at = (char *)options + o->offset, word[32];
    const char *text;
    switch (o->kind) {
    case FDIT_OPT_FLAG:
    case FDIT_OPT_SWITCH: *(bool *)at = !*(bool *)at; break;
    case FDIT_OPT_TEXT: *(const char **)at = "another"; break;
    case FDIT_OPT_MAYBE:
    case FDIT_OPT_INT: *(int *)at += 1; break;
    case FDIT_OPT_INT64: *(int64_t *)at += 1; break;
    case FDIT_OPT_SEED: *(uint64_t *)at += 1; break;
    case FDIT_OPT_SIZE: *(size_t *)at += 1; break;
    case FDIT_OPT_REAL: *(double *)at += 0.5; break;
    case FDIT_OPT_REALS: ((double *)at)[1] *= 0.5; break;
    case FDIT_OPT_CHOICE: /* the last word is not a default */
        text = strrchr(o->arg, '|') + 1;
        ck_assert_int_eq(fdit_option_set(ctx, o, options, text), FDIT_OK);
        ck_assert_str_eq(fdit_option_word(o, options, word), text);
        break;
    case FDIT_OPT_PARSE: /* where files hold it */
        text = !strcmp(o->name, "loss-weight") ? "min-snr:3"
               : !strcmp(o->name, "lr-range")  ? "1e-6:1"
                                               : "shift:3";
        if (o->format)
            ck_assert_int_eq(fdit_option_set(ctx, o, options, text), FDIT_OK);
        break;
    case FDIT_OPT_HEADING: break;
    }
}

/* Each row as it says: what decides the result is refused by name when it differs, the rest is not. */
START_TEST(test_train_compare)
{
    struct fdit_train_options began = fdit_train_defaults();
    char *options = NULL, *text = NULL, words[64];
    began.base = "base";
    began.data = "data";
    began.look = (struct fdit_picture_words){ "exif", "white" };
    fdit_train_betas_settle(&began);
    ck_assert_int_eq(fdit_train_options_json(ctx, &began, &options), FDIT_OK);
    ck_assert_int_eq(fdit_strf(ctx, &text, "{\"options\":%s}", options), FDIT_OK);
    int refused = 0, taken = 0;
    for (const struct fdit_option *o = fdit_train_option_table; o->name; o++) {
        struct fdit_train_options now = began;
        if (o->kind == FDIT_OPT_HEADING || !strcmp(o->name, "devices"))
            continue;
        change(o, &now);
        const enum fdit_status status =
            fdit_train_options_compare(ctx, "config.json", text, strlen(text), &now);
        const bool there =
            o->keep == FDIT_KEEP_CONTENT && (!strcmp(o->name, "base") || !strcmp(o->name, "data"));
        const bool may = there || o->keep == FDIT_KEEP_NOT || o->keep == FDIT_KEEP_NOTE ||
                         (o->keep == FDIT_KEEP_RUN && o->offset != offsetof(struct fdit_train_options, vae) &&
                          o->offset != offsetof(struct fdit_train_options, vae_scale));
        snprintf(words, sizeof words, "--%s was ", o->name);
        ck_assert_msg(may == (status == FDIT_OK), "--%s", o->name);
        ck_assert(may || strstr(fdit_context_message(ctx), words));
        refused += !may;
        taken += may;
    }
    ck_assert_int_gt(refused, 30);
    ck_assert_int_gt(taken, 12);
    fdit_free(options);
    fdit_free(text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("options");
    TCase *kinds = tcase_create("kinds"), *tables = tcase_create("tables");
    tcase_add_checked_fixture(kinds, setup, teardown);
    tcase_add_checked_fixture(tables, setup, teardown);
    tcase_add_test(kinds, test_defaults);
    tcase_add_test(kinds, test_set);
    tcase_add_test(kinds, test_refused);
    tcase_add_test(kinds, test_help);
    tcase_add_test(kinds, test_locale);
    tcase_add_test(kinds, test_json);
    tcase_add_test(tables, test_train_table);
    tcase_add_test(tables, test_sample_table);
    tcase_add_test(tables, test_encode_table);
    tcase_add_test(tables, test_optimisers);
    tcase_add_test(tables, test_demo_table);
    tcase_add_test(tables, test_train_set);
    tcase_add_test(tables, test_train_compare);
    suite_add_tcase(suite, kinds);
    suite_add_tcase(suite, tables);
    return test_run(suite);
}
