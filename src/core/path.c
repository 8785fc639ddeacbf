/* SPDX-License-Identifier: Apache-2.0
 * Folders, paths, and class names as parts of paths. */
#include "core/file.h"

#include "core/fnv.h"
#include "core/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

const char *fdit_temporary_folder(void)
{
    const char *own = getenv("TMPDIR");
    return own && *own ? own : fdit_is_folder("/var/tmp") ? "/var/tmp" : "/tmp";
}

enum fdit_status fdit_mkdirs(fdit_context *ctx, const char *path)
{
    enum fdit_status status = FDIT_OK;
    char *part = NULL;
    TRY(fdit_strdup(ctx, path, &part));
    for (size_t i = 1;; i++) {
        if (part[i - 1] == 0)
            break;
        if (part[i] != '/' && part[i] != 0)
            continue;
        char was = part[i];
        part[i] = 0;
        if (mkdir(part, 0777) != 0) {
            int saved = errno; /* EROFS, EACCES and others come before EEXIST on some systems */
            bool there, folder;
            TRY(fdit_file_look(ctx, part, &there, &folder));
            if (!folder)
                TRY(fdit_fail_errno(ctx, FDIT_ERROR_IO, saved == EEXIST ? ENOTDIR : saved,
                                    "%s: cannot make the folder", part));
        }
        part[i] = was;
    }
out:
    fdit_free(part);
    return status;
}

enum fdit_status fdit_path_join(fdit_context *ctx, const char *a, const char *b, char **out)
{
    size_t n = strlen(a);
    if (n == 0 || b[0] == '/')
        return fdit_strdup(ctx, b, out);
    return fdit_strf(ctx, out, a[n - 1] == '/' ? "%s%s" : "%s/%s", a, b);
}

enum fdit_status fdit_path_folder(fdit_context *ctx, const char *path, char **out)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return fdit_strdup(ctx, ".", out);
    return fdit_strndup(ctx, path, slash == path ? 1 : (size_t)(slash - path), out);
}

enum fdit_status fdit_path_real(fdit_context *ctx, const char *path, char **out)
{
    enum fdit_status status = FDIT_OK;
    char *real;
    *out = NULL;
    errno = 0;
    real = realpath(path, NULL);
    if (!real && errno == ENOMEM)
        FAIL(ctx, FDIT_ERROR_MEMORY, "out of memory when the path %s is looked up", path);
    if (!real && !fdit_is_absence(errno))
        TRY(fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot be looked up", path));
    if (real)
        TRY(fdit_strdup(ctx, real, out));
out:
    free(real);
    return status;
}

const char *fdit_path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

bool fdit_path_has_suffix(const char *path, const char *suffix)
{
    size_t n = strlen(path), m = strlen(suffix);
    return n >= m && strncasecmp(path + n - m, suffix, m) == 0;
}

#define ENCODED_MAX 200
#define ENCODED_CUT 182 /* + "%~" + 16 digits = ENCODED_MAX */

static bool is_hex(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool needs_encoding(const unsigned char *s, size_t n)
{
    if (n == 0 || n > ENCODED_MAX || (n == 1 && s[0] == '.'))
        return true;
    for (size_t i = 0; i < n; i++) {
        if (s[i] < 0x20 || s[i] == 0x7f || s[i] == '/' || (s[i] == '.' && s[i + 1] == '.'))
            return true;
        if (s[i] == '%' && (s[i + 1] == '~' || (is_hex(s[i + 1]) && is_hex(s[i + 2]))))
            return true;
    }
    return false;
}

static bool must_escape(const unsigned char *s, size_t i, size_t n)
{
    if (s[i] == '.')
        return n == 1 || s[i + 1] == '.' || (i > 0 && s[i - 1] == '.');
    return s[i] < 0x20 || s[i] == 0x7f || s[i] == '/' || s[i] == '%';
}

enum fdit_status fdit_path_encode(fdit_context *ctx, const char *name, char **out)
{
    const unsigned char *s = (const unsigned char *)name;
    size_t n = strlen(name), bytes, used = 0, cut = 0;
    enum fdit_status status = FDIT_OK;
    char *text = NULL;
    if (!needs_encoding(s, n))
        return fdit_strdup(ctx, name, out);
    *out = NULL;
    if (!fdit_mul(n, 3, &bytes) || !fdit_add(bytes, 32, &bytes))
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "a name of %zu bytes is too long", n);
    TRY(fdit_alloc(ctx, bytes, 1, &text));
    for (size_t i = 0; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80 && used <= ENCODED_CUT)
            cut = used; /* a character begins here */
        if (must_escape(s, i, n))
            used += (size_t)snprintf(text + used, 4, "%%%02X", (unsigned)s[i]);
        else
            text[used++] = (char)s[i];
    }
    if (used == 0 || used > ENCODED_MAX)
        snprintf(text + cut, 19, "%%~%016llx", (unsigned long long)fdit_fnv(FDIT_FNV_START, s, n));
    *out = text;
    text = NULL;
out:
    fdit_free(text);
    return status;
}

enum fdit_status fdit_path_decode(fdit_context *ctx, const char *text, char **out)
{
    enum fdit_status status = FDIT_OK;
    char *name = NULL, *again = NULL;
    size_t n = 0;
    TRY(fdit_strdup(ctx, text, &name));
    for (const char *at = text; *at; at++) {
        unsigned byte;
        char digits[3] = { at[1], at[1] ? at[2] : 0, 0 };
        if (*at != '%' || !is_hex((unsigned char)digits[0]) || !is_hex((unsigned char)digits[1]) ||
            sscanf(digits, "%2x", &byte) != 1 || !byte) {
            name[n++] = *at;
            continue;
        }
        name[n++] = (char)byte;
        at += 2;
    }
    name[n] = 0;
    TRY(fdit_path_encode(ctx, name, &again));
    if (strcmp(again, text)) /* not by fdit_path_encode, or its hash: a name as it is */
        TRY(fdit_strdup(ctx, text, out));
    else {
        *out = name;
        name = NULL;
    }
out:
    fdit_free(again);
    fdit_free(name);
    return status;
}
