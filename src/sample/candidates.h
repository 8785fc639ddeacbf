/* SPDX-License-Identifier: Apache-2.0
 * candidates.h: the best of several drawings of each picture, by the distance of class and guide: the mean,
 * over the guided steps, of the squared difference of their predictions. Where the class makes a difference
 * is where its gradient, that of log p(class | x), is; a drawing with a small distance has followed it to
 * where nothing more is to be gained. The measure is ours, an extension of guidance (arXiv 2207.12598).
 *
 * All candidates are scored first, and then the chosen seeds are drawn as any others: the same bits as a job
 * that asks for them alone, and (N + 1) / N of the time of the candidates. */
#ifndef FDIT_SAMPLE_CANDIDATES_H
#define FDIT_SAMPLE_CANDIDATES_H

#include "sample/identity.h"
#include "sample/painter.h"
#include "sample/request.h"

/* Scores what request->candidates asks for and sets request->chosen: for picture p of the shard the seeds
 * request.h says, the one of the least score, of equals the first. `folder` (NULL: none) keeps the scores
 * while the job runs, in .candidates.jsonl (.candidates.I-of-N.jsonl): a job that was stopped goes on
 * with those that were made with the same `id`. FDIT_INTERRUPTED after a request to stop. The painter was
 * planned for it (fdit_generator_options.scored) and is loaded. */
enum fdit_status fdit_candidates_choose(fdit_context *ctx, struct fdit_painter *painter,
                                        const struct fdit_sample_source *source,
                                        const struct fdit_identity *id, const char *folder,
                                        struct fdit_request *request);
/* Removes the kept scores, when they stand in the manifest. */
void fdit_candidates_done(fdit_context *ctx, const char *folder, const struct fdit_request *request);

#endif
