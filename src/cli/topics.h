/* SPDX-License-Identifier: Apache-2.0
 * topics.h: the texts of `finediffusion help TOPIC`. */
#ifndef FDIT_CLI_TOPICS_H
#define FDIT_CLI_TOPICS_H

struct fdit_topic {
    const char *name, *summary, *text;
};
const struct fdit_topic *fdit_topics(int *n);

#endif
