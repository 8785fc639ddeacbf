/* SPDX-License-Identifier: Apache-2.0
 * page.h: the files of src/serve/page inside the program, as embed.awk writes them; path NULL ends them. */
#ifndef FDIT_SERVE_PAGE_H
#define FDIT_SERVE_PAGE_H

#include "serve/http.h"

extern const struct fdit_http_file fdit_page_files[];

#endif
