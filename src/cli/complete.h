/* SPDX-License-Identifier: Apache-2.0
 * complete.h: what a shell offers when Tab is pressed. The scripts in completion/ call
 *
 *     finediffusion --complete WORD...
 *
 * with the words of the command line behind the program's name up to the cursor; the last is the one being
 * typed and may be empty. On standard output come a line `words`, `files` or `folders` (whether paths are
 * offered as well) and then a candidate a line: the whole word, a tab, and what it means or nothing. A
 * candidate that ends in ':', '=' or ',' is only a beginning. Everything comes from the tables of options,
 * and from the taxonomy that the files named on the line carry. */
#ifndef FDIT_CLI_COMPLETE_H
#define FDIT_CLI_COMPLETE_H

#define FDIT_COMPLETE_WORD "--complete"

/* The exit status: 0; 1 where standard output cannot be written. Files that cannot be read offer nothing,
 * without a message, which would land in the line that is being typed. */
int fdit_complete(int n, char **words);

#endif
