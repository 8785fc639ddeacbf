/* SPDX-License-Identifier: Apache-2.0
 * file.h: reading, and writing so that a reader never sees half a file.
 *
 *     struct fdit_writer *w = NULL;
 *     TRY(fdit_writer_open(ctx, path, true, &w));
 *     TRY(fdit_writer_write(ctx, w, bytes, n));
 *     TRY(fdit_writer_commit(ctx, &w));   // path now holds the whole file
 * out:
 *     fdit_writer_abort(w);               // NULL after a commit: nothing to do
 *
 * Every failure is FDIT_ERROR_IO with the path and errno's text, unless said otherwise. */
#ifndef FDIT_CORE_FILE_H
#define FDIT_CORE_FILE_H

#include "core/status.h"

#include <dirent.h>

/* ---- Reading ---- */

/* A file mapped read-only. Bytes that another program cuts off while they are mapped cannot be
 * reported (the system sends SIGBUS). */
struct fdit_file_map {
    const uint8_t *data; /* never NULL after success, also when size is 0 */
    size_t size;
    char *path;
};
enum fdit_status fdit_file_map(fdit_context *ctx, const char *path, struct fdit_file_map *out);
void fdit_file_unmap(struct fdit_file_map *map); /* NULL and an all-zero map are allowed */
/* Tells the system that the bytes from..from+n of the map are done with: its whole pages leave the
 * resident memory of the process. They can still be read, at the cost of reading the file again. */
void fdit_file_map_drop(const struct fdit_file_map *map, const void *from, size_t n);

/* The whole file plus one zero byte that is not counted in *size. More than `limit` bytes are
 * FDIT_ERROR_FORMAT before anything is allocated. Also for pipes; devices and sockets, which may have no end,
 * are refused. After FDIT_ERROR_IO errno says what the system refused. Free *data with fdit_free. */
enum fdit_status fdit_file_read_all(fdit_context *ctx, const char *path, size_t limit, uint8_t **data,
                                    size_t *size);
/* The same with a look at the first bytes (FDIT_LOOK_BYTES, or all) before the rest is read: `check` may
 * fail, and may lower the limit. */
enum { FDIT_LOOK_BYTES = 4096 };
typedef enum fdit_status (*fdit_check_fn)(fdit_context *ctx, void *user, const uint8_t *head, size_t n,
                                          size_t *limit);
enum fdit_status fdit_file_read_checked(fdit_context *ctx, const char *path, size_t limit,
                                        fdit_check_fn check, void *user, uint8_t **data, size_t *size);

/* Opens a regular file for reading: *fd is the caller's to close, -1 after a failure; *size its bytes. */
enum fdit_status fdit_file_open(fdit_context *ctx, const char *path, int *fd, size_t *size);

/* Whether an errno says that nothing is there, or nothing for us; else that cannot be told this time. */
bool fdit_is_absence(int errnum);
/* Whether it says that this process or machine has no more memory or descriptors: then nothing is wrong with
 * the file, and the next one would fail as well. */
bool fdit_is_shortage(int errnum);
/* Whether something is there, and whether it is a folder, links followed; FDIT_ERROR_IO when that cannot be
 * told. */
enum fdit_status fdit_file_look(fdit_context *ctx, const char *path, bool *there, bool *folder);
/* The same where a failure to tell may count as "no". */
bool fdit_file_exists(const char *path); /* of any kind, links followed */
bool fdit_is_file(const char *path);     /* a regular file, links followed */
bool fdit_is_folder(const char *path);
enum fdit_status fdit_file_size(fdit_context *ctx, const char *path, uint64_t *out);
/* *there: whether a regular file is at the path (links followed). Anything else that is there, a folder or a
 * pipe, is refused: nobody waits for the other end of a pipe that somebody put in a file's place. */
enum fdit_status fdit_file_regular(fdit_context *ctx, const char *path, bool *there);
/* open(path, flags) for what should be a regular file of the system (/proc, /sys): never waits, and what lies
 * there instead, a folder, a pipe or a device, counts as absent (ENOENT). -1: errno says why. May be called
 * in a signal handler. */
int fdit_regular_open(const char *path, int flags);
/* Where files go that nobody keeps: $TMPDIR; without it /var/tmp, since /tmp often lies in memory, or /tmp
 * where that is not there. */
const char *fdit_temporary_folder(void);
/* Removes a file; a missing one is not an error. */
enum fdit_status fdit_file_remove(fdit_context *ctx, const char *path);

/* ---- Writing whole files ---- */

struct fdit_writer;

/* Begins a file. Bytes go to a temporary file in the same folder, which must exist: one without a name
 * where the system has such files, so that nothing is left of a program that is killed. `durable`: the
 * commit also waits until file and folder are on the disk (checkpoints, deltas), and temporary files that
 * killed programs left in the folder are removed (fdit_folder_clean); without it only the
 * appearance of the file is atomic (pictures by the thousand). A path that is a device or a pipe is
 * written directly. A folder is refused. */
enum fdit_status fdit_writer_open(fdit_context *ctx, const char *path, bool durable,
                                  struct fdit_writer **out);
/* Appends n bytes. After a failure the writer accepts nothing more and its commit fails, too. */
enum fdit_status fdit_writer_write(fdit_context *ctx, struct fdit_writer *w, const void *bytes, size_t n);
/* n zero bytes. */
enum fdit_status fdit_writer_zeros(fdit_context *ctx, struct fdit_writer *w, size_t n);
uint64_t fdit_writer_bytes(const struct fdit_writer *w); /* written so far */
/* Flushes, syncs, closes and renames onto the path, with the permissions that the process mask
 * allows. Always frees *w and sets it to NULL; on failure the temporary file is gone and a file that
 * was at the path before is as it was. */
enum fdit_status fdit_writer_commit(fdit_context *ctx, struct fdit_writer **w);
void fdit_writer_abort(struct fdit_writer *w); /* removes the temporary file; NULL is allowed */

/* Refuses, before a long work, a path where no file could be written after it: a folder, or one in a folder
 * that is not there or may not be written to. `option` ("--grid") begins the message. */
enum fdit_status fdit_file_target(fdit_context *ctx, const char *option, const char *path);

/* Open, write, commit. */
enum fdit_status fdit_file_write(fdit_context *ctx, const char *path, bool durable, const void *bytes,
                                 size_t n);
/* All n bytes at place `at` of the open file, which is called `path` in the message. */
enum fdit_status fdit_write_at(fdit_context *ctx, int fd, const char *path, const void *bytes, size_t n,
                               uint64_t at);
/* Waits until all that was written in the folder and below it, by whatever process, is on the disk: for files
 * by the thousand that were written without `durable`, before a list of them is. */
enum fdit_status fdit_folder_sync(fdit_context *ctx, const char *folder);
/* The next entry of a folder that was opened (`path` is for the message); *out NULL at its end. */
enum fdit_status fdit_folder_next(fdit_context *ctx, DIR *dir, const char *path, struct dirent **out);
/* Removes temporary files that a killed program left in the folder; those that another process is
 * writing stay. Returns how many went through *removed (NULL allowed). */
enum fdit_status fdit_folder_clean(fdit_context *ctx, const char *folder, size_t *removed);

/* ---- Files that grow line by line: logs and manifests ---- */

struct fdit_appender;

#define FDIT_APPEND_END UINT64_MAX
/* Opens or creates the file and cuts it at `offset` bytes (FDIT_APPEND_END: keeps all). An offset
 * beyond the end is FDIT_ERROR_FORMAT. */
enum fdit_status fdit_appender_open(fdit_context *ctx, const char *path, uint64_t offset,
                                    struct fdit_appender **out);
/* Appends with one write call, so that lines of several processes do not mix. */
enum fdit_status fdit_appender_write(fdit_context *ctx, struct fdit_appender *a, const void *bytes, size_t n);
enum fdit_status fdit_appender_sync(fdit_context *ctx, struct fdit_appender *a); /* onto the disk */
uint64_t fdit_appender_bytes(const struct fdit_appender *a);                     /* length of the file */
/* Closes and frees; reports a failure of close. NULL is allowed. */
enum fdit_status fdit_appender_close(fdit_context *ctx, struct fdit_appender *a);

/* Calls `keep` for each complete line (n bytes without the newline, a zero byte behind them) until it
 * returns false; *offset is where the first line that was not kept begins, or the end of the last
 * complete line. An absent file has no lines. With fdit_appender_open this cuts a log at a step. */
typedef bool (*fdit_line_fn)(void *user, const char *line, size_t n);
enum fdit_status fdit_file_lines(fdit_context *ctx, const char *path, fdit_line_fn keep, void *user,
                                 uint64_t *offset);

/* ---- Paths. All results are freed with fdit_free ---- */

/* Makes the folder and all above it that are missing; one that exists is not an error. */
enum fdit_status fdit_mkdirs(fdit_context *ctx, const char *path);
/* "a/b"; only b when a is empty or b is absolute. */
enum fdit_status fdit_path_join(fdit_context *ctx, const char *a, const char *b, char **out);
/* The folder part, "." when there is none. */
enum fdit_status fdit_path_folder(fdit_context *ctx, const char *path, char **out);
/* The path of what is there, whole and without links (POSIX realpath); *out NULL where nothing is. Fails with
 * FDIT_ERROR_MEMORY only. */
enum fdit_status fdit_path_real(fdit_context *ctx, const char *path, char **out);
const char *fdit_path_base(const char *path);                    /* behind the last slash, inside path */
bool fdit_path_has_suffix(const char *path, const char *suffix); /* letter case of ASCII ignored */

/* A class name as one path component of at most 200 bytes; different names stay different.
 * A name of 1..200 bytes without slash, "..", control bytes, the component ".", and without anything
 * that looks like this encoding is itself. Else slashes, percent signs, control bytes and the dots of
 * "." and ".." become %XX; if the result is longer than 200 bytes (or the name empty), it is cut at a
 * character's border to at most 182 bytes and "%~" and 16 hex digits of the name's 64-bit FNV-1a hash
 * follow. */
enum fdit_status fdit_path_encode(fdit_context *ctx, const char *name, char **out);
/* The name of which fdit_path_encode makes exactly `text`; text itself when there is none (also for one
 * that was cut). A text without any %XX decodes to itself. */
enum fdit_status fdit_path_decode(fdit_context *ctx, const char *text, char **out);

/* ---- Tests ---- */

/* The n-th write, sync, close or rename of this file's functions from now (1 = the next) fails with
 * ENOSPC, once; 0 turns it off. */
void fdit_file_fail_at(uint64_t n);
uint64_t fdit_file_calls(void); /* such operations so far */

#endif
