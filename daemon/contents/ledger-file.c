/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The journal's lines: made, checked, appended. */
#include "daemon/contents/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "helpers/json-text.h"
#include "helpers/write.h"
#include "lib/cleanup.h"

DEFINE_CLEANUP(json_object *, json_object_put)

#define PREFIX 9                /* 8 digits and a blank */
#define FIRST_ENTRY "{\"journal\":1}"

static uint32_t checksum(const char *text, size_t size)
{
    return (uint32_t)crc32(0, (const uint8_t *)text, (unsigned)size);
}

/* ---- opening --------------------------------------------------------------------------------- */

int state_file_open_fd(const char *path, int flags, int *ret_fd)
{
    _cleanup_close_ int fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY,
                                  0600);
    struct stat st;

    if (fd < 0)
        return errno == ENXIO || errno == ELOOP ? -EBADMSG : -errno;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EBADMSG;
    *ret_fd = TAKE_FD(fd);
    return 0;
}

FILE *state_file_open(const char *path)
{
    _cleanup_close_ int fd = -1;
    int r = state_file_open_fd(path, O_RDONLY, &fd);
    FILE *file = r < 0 ? NULL : fdopen(fd, "r");

    if (r < 0)
        errno = -r;
    if (file)
        (void)TAKE_FD(fd);
    return file;
}

bool state_error_passes(int error)
{
    return error == -ENOMEM || error == -EMFILE || error == -ENFILE || error == -EAGAIN;
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool checksum_is_right(const char *line, size_t size)
{
    char digits[PREFIX];

    if (size <= PREFIX || size > LEDGER_LINE_MAX || line[PREFIX - 1] != ' ')
        return false;
    snprintf(digits, sizeof(digits), "%08" PRIx32, checksum(line + PREFIX, size - PREFIX));
    return memcmp(digits, line, PREFIX - 1) == 0;
}

static int take_entry(const char *line, size_t size,
                      int (*entry)(void *userdata, json_object *entry), void *userdata)
{
    _cleanup_(json_object_putp) json_object *object = NULL;
    int r = json_text_parse(line + PREFIX, size - PREFIX, &object);

    if (r < 0)
        return r;
    if (!json_object_is_type(object, json_type_object))
        return -EBADMSG;
    if (json_object_object_get_ex(object, "journal", NULL))
        return 0;
    return entry(userdata, object);
}

static int take_line(const char *line, size_t size,
                     int (*entry)(void *userdata, json_object *entry), void *userdata)
{
    int r;

    if (!checksum_is_right(line, size))
        return -EBADMSG;
    r = take_entry(line, size, entry, userdata);
    /* As it was written: perhaps json-c had no memory for a member, which it does not say. A
     * journal must not be called damaged, and put aside, for that. */
    return r == -EBADMSG ? take_entry(line, size, entry, userdata) : r;
}

int ledger_read(FILE *file, int (*entry)(void *userdata, json_object *entry), void *userdata,
                struct ledger_report *ret_report)
{
    struct ledger_report report = { .entries = 0 };
    _cleanup_free_ char *line = NULL;
    size_t allocated = 0;
    uint64_t number = 0;
    struct stat st;
    ssize_t n;

    if (fileno(file) >= 0 && fstat(fileno(file), &st) == 0 &&
        (uint64_t)st.st_size > LEDGER_SIZE_MAX)
        return -EFBIG;
    errno = 0;
    while ((n = getline(&line, &allocated, file)) > 0) {
        int r;

        if (line[n - 1] != '\n') {
            report.torn = true;
            break;
        }
        report.end += (uint64_t)n;
        number++;
        r = take_line(line, (size_t)n - 1, entry, userdata);
        if (r == -EBADMSG) {
            report.damaged++;
            report.first_damaged = report.first_damaged ?: number;
        } else if (r < 0) {
            return r;
        } else {
            report.entries++;
        }
        errno = 0;
    }
    if (ferror(file))
        return errno > 0 ? -errno : -EIO;
    if (n < 0 && errno == ENOMEM)
        return -ENOMEM;
    *ret_report = report;
    return 0;
}

/* ---- writing --------------------------------------------------------------------------------- */

int ledger_line(json_object *entry, char **ret_line)
{
    const char *text = json_object_to_json_string_ext(entry, JSON_C_TO_STRING_PLAIN |
                                                                 JSON_C_TO_STRING_NOSLASHESCAPE);

    if (!text || asprintf(ret_line, "%08" PRIx32 " %s\n", checksum(text, strlen(text)), text) < 0)
        return -ENOMEM;
    return 0;
}

static int write_first(int fd)
{
    char line[64];
    int n = snprintf(line, sizeof(line), "%08" PRIx32 " %s\n",
                     checksum(FIRST_ENTRY, strlen(FIRST_ENTRY)), FIRST_ENTRY);

    return write_all(fd, line, (size_t)n);
}

static int sync_folder(const char *path)
{
    _cleanup_free_ char *folder = strdup(path);
    _cleanup_close_ int fd = -1;
    char *slash = folder ? strrchr(folder, '/') : NULL;

    if (!slash)
        return folder ? -EINVAL : -ENOMEM;
    *slash = '\0';
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

int ledger_append(const char *path, const char *lines, size_t size)
{
    _cleanup_close_ int fd = -1;
    struct stat st;
    int r = state_file_open_fd(path, O_WRONLY | O_CREAT | O_APPEND, &fd);

    if (r < 0)
        return r;
    if (fstat(fd, &st) < 0)
        return -errno;
    r = st.st_size == 0 ? write_first(fd) : 0;
    if (r == 0)
        r = write_all(fd, lines, size);
    if (r == 0 && fdatasync(fd) < 0)
        r = -errno;
    if (r < 0 && ftruncate(fd, st.st_size) < 0)         /* half a line would spoil the next one */
        return r;
    return r == 0 && st.st_size == 0 ? sync_folder(path) : r;
}

int ledger_rewrite(const char *path, const char *lines, size_t size)
{
    _cleanup_free_ char *fresh = NULL;
    _cleanup_close_ int fd = -1;
    int r;

    if (asprintf(&fresh, "%s.new", path) < 0) {
        fresh = NULL;
        return -ENOMEM;
    }
    r = state_file_open_fd(fresh, O_WRONLY | O_CREAT | O_TRUNC, &fd);
    if (r == -EBADMSG && unlink(fresh) == 0)
        r = state_file_open_fd(fresh, O_WRONLY | O_CREAT | O_TRUNC, &fd);
    if (r < 0)
        return r;
    r = write_first(fd);
    if (r == 0)
        r = write_all(fd, lines, size);
    if (r == 0 && (fsync(fd) < 0 || rename(fresh, path) < 0))
        r = -errno;
    if (r < 0) {
        (void)unlink(fresh);
        return r;
    }
    return sync_folder(path);
}

int ledger_cut(const char *path, uint64_t end)
{
    return truncate(path, (off_t)end) < 0 ? -errno : 0;
}
