/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/scores.h"

#include "core/mem.h"

#include <math.h>
#include <stdlib.h>

/* out [k] = log softmax */
static void log_probabilities(const float *logits, size_t k, double *out)
{
    double most = -INFINITY, sum = 0;
    for (size_t c = 0; c < k; c++)
        most = (double)logits[c] > most ? (double)logits[c] : most;
    for (size_t c = 0; c < k; c++) {
        out[c] = (double)logits[c] - most;
        sum += exp(out[c]);
    }
    sum = log(sum);
    for (size_t c = 0; c < k; c++)
        out[c] -= sum;
}

/* Of pictures first .. end - 1; logp and mean: room for k numbers each. */
static double score_of(const float *logits, size_t k, const uint32_t *order, size_t first, size_t end,
                       double *logp, double *mean)
{
    double sum = 0, pictures = (double)(end - first);
    for (size_t c = 0; c < k; c++)
        mean[c] = 0;
    for (size_t i = first; i < end; i++) {
        log_probabilities(logits + (order ? order[i] : i) * k, k, logp);
        for (size_t c = 0; c < k; c++) {
            double p = exp(logp[c]);
            mean[c] += p / pictures;
            sum += p > 0 ? p * logp[c] : 0;
        }
    }
    /* sum of p (log p - log mean): the second part depends on the mean alone */
    sum /= pictures;
    for (size_t c = 0; c < k; c++)
        sum -= mean[c] > 0 ? mean[c] * log(mean[c]) : 0;
    return exp(sum);
}

enum fdit_status fdit_inception_score(fdit_context *ctx, const float *logits, size_t n, size_t k,
                                      size_t splits, const uint32_t *order, double *mean, double *deviation)
{
    enum fdit_status status = FDIT_OK;
    double *room = NULL, *value = NULL;
    *mean = *deviation = 0;
    if (splits < 1 || n < splits)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "an Inception score of %zu splits needs as many pictures; there are %zu", splits, n);
    TRY(fdit_alloc(ctx, 2 * k, sizeof(double), &room));
    TRY(fdit_alloc(ctx, splits, sizeof(double), &value));
    for (size_t s = 0; s < splits; s++) {
        value[s] = score_of(logits, k, order, s * n / splits, (s + 1) * n / splits, room, room + k);
        *mean += value[s] / (double)splits;
    }
    for (size_t s = 0; s < splits; s++)
        *deviation += (value[s] - *mean) * (value[s] - *mean) / (double)splits;
    *deviation = sqrt(*deviation);
out:
    fdit_free(room);
    fdit_free(value);
    return status;
}

/* p [labels]: in the order of their probabilities; logp: room for k numbers. */
static void likelihoods(const float *logits, size_t k, const int32_t *group_of, size_t labels, double *logp,
                        double *p)
{
    log_probabilities(logits, k, logp);
    for (size_t c = 0; c < labels; c++)
        p[c] = group_of ? 0 : logp[c];
    for (size_t c = 0; group_of && c < k; c++)
        p[group_of[c]] += exp(logp[c]);
}

/* What fdit_top_hits and fdit_top_labels say of each picture; hits, likeliest: NULL when not asked for. */
static enum fdit_status rank_labels(fdit_context *ctx, const float *logits, size_t n, size_t k,
                                    const int32_t *group_of, size_t groups, const int32_t *label, size_t top,
                                    double *hits, int32_t *likeliest)
{
    enum fdit_status status = FDIT_OK;
    size_t labels = group_of ? groups : k;
    double *logp = NULL, *p = NULL;
    TRY(fdit_alloc(ctx, k, sizeof(double), &logp));
    TRY(fdit_alloc(ctx, labels, sizeof(double), &p));
    for (size_t i = 0; i < n; i++) {
        size_t before = 0, first = 0;
        likelihoods(logits + i * k, k, group_of, labels, logp, p);
        for (size_t c = 0; c < labels; c++) {
            if (hits)
                before += p[c] > p[label[i]] || (p[c] == p[label[i]] && c < (size_t)label[i]);
            if (p[c] > p[first])
                first = c;
        }
        if (hits)
            hits[i] = before < top;
        if (likeliest)
            likeliest[i] = (int32_t)first;
    }
out:
    fdit_free(logp);
    fdit_free(p);
    return status;
}

enum fdit_status fdit_top_hits(fdit_context *ctx, const float *logits, size_t n, size_t k,
                               const int32_t *group_of, size_t groups, const int32_t *label, size_t top,
                               double *hits)
{
    return rank_labels(ctx, logits, n, k, group_of, groups, label, top, hits, NULL);
}

enum fdit_status fdit_top_labels(fdit_context *ctx, const float *logits, size_t n, size_t k,
                                 const int32_t *group_of, size_t groups, int32_t *out)
{
    return rank_labels(ctx, logits, n, k, group_of, groups, NULL, 0, NULL, out);
}

double fdit_mean_known(const double *value, size_t n)
{
    double sum = 0;
    size_t known = 0;
    for (size_t i = 0; i < n; i++)
        if (!isnan(value[i])) {
            sum += value[i];
            known++;
        }
    return known ? sum / (double)known : NAN;
}

enum fdit_status fdit_mean_by_group(fdit_context *ctx, const double *value, const int32_t *group_of, size_t n,
                                    size_t groups, double *out)
{
    enum fdit_status status = FDIT_OK;
    size_t *known = NULL;
    TRY(fdit_alloc(ctx, groups, sizeof *known, &known));
    for (size_t g = 0; g < groups; g++)
        out[g] = 0;
    for (size_t i = 0; i < n; i++)
        if (!isnan(value[i])) {
            out[group_of[i]] += value[i];
            known[group_of[i]]++;
        }
    for (size_t g = 0; g < groups; g++)
        out[g] = known[g] ? out[g] / (double)known[g] : NAN;
out:
    fdit_free(known);
    return status;
}

struct counted {
    size_t pictures, id;
};

static int by_count(const void *pa, const void *pb)
{
    const struct counted *a = pa, *b = pb;
    int order = (a->pictures < b->pictures) - (a->pictures > b->pictures);
    return order ? order : (a->id > b->id) - (a->id < b->id);
}

enum fdit_status fdit_thirds(fdit_context *ctx, const size_t *pictures, size_t n, int32_t *out)
{
    enum fdit_status status = FDIT_OK;
    struct counted *order = NULL;
    TRY(fdit_alloc(ctx, n, sizeof *order, &order));
    for (size_t i = 0; i < n; i++)
        order[i] = (struct counted){ pictures[i], i };
    if (n)
        qsort(order, n, sizeof *order, by_count);
    for (size_t i = 0; i < n; i++)
        out[order[i].id] = i < (n + 2) / 3 ? FDIT_HEAD : i < n - n / 3 ? FDIT_MIDDLE : FDIT_TAIL;
out:
    fdit_free(order);
    return status;
}
