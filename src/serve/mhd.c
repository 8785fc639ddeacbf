/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/mhd.h"

#ifdef HAVE_HTTP

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

/* The library stays loaded: its threads may still run in it. */
bool fdit_mhd_load(struct fdit_mhd *m, char *why, size_t bytes)
{
    void *handle = dlopen(FDIT_MICROHTTPD_NAME, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE), *symbol = NULL;
    const char *missing = NULL;
#define X(name)                                           \
    symbol = handle ? dlsym(handle, "MHD_" #name) : NULL; \
    missing = symbol || missing ? missing : #name;        \
    memcpy(&m->name, &symbol, sizeof m->name);
    FDIT_MHD_FUNCTIONS(X)
#undef X
    if (!missing)
        return true;
    const char *error = dlerror();
    snprintf(why, bytes,
             "libmicrohttpd cannot be loaded (%s); install libmicrohttpd12 or as your system calls it",
             error ? error : missing);
    return false;
}

#endif
