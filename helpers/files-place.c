/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qcaudit-files: where files really are, and opening them without effect. */
#include "helpers/files-place.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <linux/fsverity.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "helpers/files-link.h"
#include "helpers/files-mount.h"
#include "helpers/files-private.h"
#include "helpers/open-unnoticed.h"
#include "helpers/path.h"
#include "lib/cleanup.h"

#define LINKS_MAX 40            /* the kernel's MAXSYMLINKS */
#ifndef ZFS_SUPER_MAGIC
#define ZFS_SUPER_MAGIC 0x2fc12fc1
#endif

/* QEMU's lock bytes (block/file-posix.c: RAW_LOCK_PERM_BASE 100, RAW_LOCK_SHARED_BASE 200;
 * BLK_PERM_WRITE is bit 1) */
#define LOCK_WRITES 101         /* held: it writes */
#define LOCK_UNSHARED_WRITE 201 /* held: it lets nobody write */

static int open_error(int error)
{
    switch (error) {
    case -EPERM:
        return -EACCES;         /* it means: outside the allowed roots */
    case -ENOTDIR:
        return -ENOENT;
    default:
        return error;
    }
}

/* ---- paths by their text --------------------------------------------------------------------- */

static void path_up(char *path, size_t *length)
{
    while (*length > 1 && path[--*length] != '/')
        ;
    path[*length] = '\0';
}

/* Puts target before what is left of the path. */
static int rest_prepend(char *rest, const char **next, const char *target)
{
    char joined[PATH_MAX];

    if (snprintf(joined, sizeof(joined), "%s/%s", target, *next) >= (int)sizeof(joined))
        return -ENAMETOOLONG;
    memcpy(rest, joined, sizeof(joined));
    *next = rest;
    return 0;
}

int path_resolve(const struct mount_table *mounts, const char *path, char *ret_path)
{
    char rest[PATH_MAX], result[PATH_MAX] = "/", target[PATH_MAX];
    size_t length = 1;          /* of result, without a slash at its end but the root's */
    unsigned links = 0;
    bool ask = true;
    const char *next = rest;
    int r;

    if (strlen(path) >= sizeof(rest))
        return -ENAMETOOLONG;
    strcpy(rest, path);
    for (;;) {
        const struct mount *mount;
        size_t n;
        ssize_t target_length;

        next += strspn(next, "/");
        n = strcspn(next, "/");
        if (n == 0)
            break;
        if (n == 1 && next[0] == '.') {
            next += n;
            continue;
        }
        if (n == 2 && next[0] == '.' && next[1] == '.') {
            path_up(result, &length);
            next += n;
            continue;
        }
        if (length + 1 + n >= sizeof(result))
            return -ENAMETOOLONG;
        if (length > 1)
            result[length++] = '/';
        memcpy(result + length, next, n);
        length += n;
        result[length] = '\0';
        next += n;
        mount = mount_table_at(mounts, result);
        if (mount && mount_type_is_remote(mount->type))
            ask = false;
        if (!ask || mount)
            continue;
        target_length = readlink(result, target, sizeof(target) - 1);
        if (target_length <= 0)
            continue;           /* no link, or nothing there: whoever opens it will see */
        target[target_length] = '\0';
        if (++links > LINKS_MAX)
            return -ELOOP;
        r = rest_prepend(rest, &next, target);
        if (r < 0)
            return r;
        if (target[0] == '/')
            length = 1;
        else
            path_up(result, &length);
        result[length] = '\0';
    }
    strcpy(ret_path, result);
    return 0;
}

int place_allow(struct place *place, const char *path)
{
    _cleanup_(mount_table_done) struct mount_table mounts = {0};
    char resolved[PATH_MAX], **allowed;
    int r;

    r = mount_table_read(place->mountinfo_fd, &mounts);
    if (r == 0)
        r = path_resolve(&mounts, path, resolved);
    if (r < 0)
        return r;
    allowed = reallocarray(place->allowed, place->n_allowed + 1, sizeof(*allowed));
    if (!allowed)
        return -ENOMEM;
    place->allowed = allowed;
    allowed[place->n_allowed] = strdup(resolved);
    if (!allowed[place->n_allowed])
        return -ENOMEM;
    place->n_allowed++;
    return 0;
}

static int list_add(char ***list, size_t *n, const char *text)
{
    char **longer = reallocarray(*list, *n + 1, sizeof(*longer));

    if (!longer)
        return -ENOMEM;
    *list = longer;
    longer[*n] = strdup(text);
    if (!longer[*n])
        return -ENOMEM;
    ++*n;
    return 0;
}

int place_limit(struct place *place, const char *path)
{
    _cleanup_(mount_table_done) struct mount_table mounts = {0};
    char resolved[PATH_MAX];
    int r;

    place->limited = true;
    if (!path)
        return 0;
    r = mount_table_read(place->mountinfo_fd, &mounts);
    if (r == 0)
        r = path_resolve(&mounts, path, resolved);
    return r < 0 ? r : list_add(&place->given, &place->n_given, resolved);
}

int place_add_device(struct place *place, const char *path)
{
    return list_add(&place->devices, &place->n_devices, path);
}

int place_exclude(struct place *place, const char *pattern)
{
    return list_add(&place->exclude, &place->n_exclude, pattern);
}

int place_follow(struct place *place, const char *pattern)
{
    return list_add(&place->follow, &place->n_follow, pattern);
}

int place_know(struct place *place, const char *path)
{
    return list_add(&place->known, &place->n_known, path);
}

/* A pattern is compared with the path below the root, and * and ? match slashes, too; one without a
 * slash is also compared with the name alone. */
bool place_excludes(const struct place *place, const char *path)
{
    size_t n = strlen(place->root);
    const char *below, *name;

    if (place->n_exclude == 0 || strncmp(path, place->root, n) != 0 || path[n] != '/')
        return false;
    below = path + n + 1;
    name = strrchr(path, '/') + 1;
    for (size_t i = 0; i < place->n_exclude; i++)
        if (fnmatch(place->exclude[i], below, 0) == 0 ||
            (!strchr(place->exclude[i], '/') && fnmatch(place->exclude[i], name, 0) == 0))
            return true;
    return false;
}

/* By its text: the links to devices are the host's own, and lead elsewhere after each start. */
static bool is_device(const struct place *place, const char *path)
{
    for (size_t i = 0; i < place->n_devices; i++)
        if (strcmp(place->devices[i], path) == 0)
            return true;
    return false;
}

/* Checked whatever root the daemon names: the daemon may have been taken over. */
static bool is_kept_back(const struct place *place, const char *path)
{
    if (!place->limited || !path_is_private(path))
        return false;
    for (size_t i = 0; i < place->n_given; i++)
        if (path_is_below(path, place->given[i]))
            return false;
    return true;
}

static bool is_allowed(const struct place *place, const char *path)
{
    if (is_kept_back(place, path))
        return false;
    if (!place->of_devices && place->real_root[0] && path_is_below(path, place->real_root))
        return true;
    for (size_t i = 0; i < place->n_allowed; i++)
        if (path_is_below(path, place->allowed[i]))
            return true;
    return false;
}

bool place_excludes_above(const struct place *place, const char *path)
{
    char above[PATH_MAX];
    char *slash;

    if (place->n_exclude == 0 || strlen(path) >= sizeof(above))
        return false;
    strcpy(above, path);
    while ((slash = strrchr(above, '/')) && slash > above) {
        *slash = '\0';
        if (strlen(above) <= strlen(place->root))
            break;
        if (place_excludes(place, above))
            return true;
    }
    return false;
}

/* ---- what a file is -------------------------------------------------------------------------- */

static int64_t timestamp(struct statx_timestamp t)
{
    int64_t nsec;

    /* Anybody who owns a file may date it into the year 2999, which nanoseconds cannot say. */
    if (__builtin_mul_overflow(t.tv_sec, INT64_C(1000000000), &nsec) ||
        __builtin_add_overflow(nsec, (int64_t)t.tv_nsec, &nsec))
        return t.tv_sec < 0 ? INT64_MIN : INT64_MAX;
    return nsec;
}

static enum files_type type_of(unsigned mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return FILES_REGULAR;
    case S_IFBLK:
        return FILES_BLOCK;
    case S_IFDIR:
        return FILES_DIRECTORY;
    case S_IFLNK:
        return FILES_SYMLINK;
    default:
        return FILES_OTHER;
    }
}

/* The file system's number: its own where that survives a mount (xfs makes it from the device
 * number), else made from what is mounted. */
static int fsid_of(struct place *place, int fd, uint64_t mount_id, uint64_t *ret_fsid)
{
    _cleanup_(mount_table_done) struct mount_table mounts = {0};
    const struct mount *mount;
    struct statfs fs;
    int r;

    if (fstatfs(fd, &fs) < 0)
        return -errno;
    switch ((uint64_t)fs.f_type & UINT32_MAX) {
    case EXT4_SUPER_MAGIC:
    case BTRFS_SUPER_MAGIC:
    case ZFS_SUPER_MAGIC:
        memcpy(ret_fsid, &fs.f_fsid, sizeof(*ret_fsid));
        if (*ret_fsid != 0)
            return 0;
    }
    r = mount_table_read(place->mountinfo_fd, &mounts);
    if (r < 0)
        return r;
    mount = mount_table_find(&mounts, mount_id);
    /* a mount of another namespace: its number is all there is */
    *ret_fsid = mount ? mount_identity(mount) : mount_id;
    return 0;
}

int place_stat(struct place *place, int dirfd, const char *name, int flags,
               struct files_stat *ret_stat, struct place_mount *ret_mount)
{
    struct statx x;
    uint64_t device;
    int r;

    if (statx(dirfd, name, flags | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT,
              STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID, &x) < 0)
        return -errno;
    device = makedev(x.stx_dev_major, x.stx_dev_minor);
    if (!place->cached || place->cached_mount != x.stx_mnt_id || place->cached_device != device) {
        _cleanup_close_ int fd = -1;
        uint64_t fsid = 0;

        if (!(flags & AT_EMPTY_PATH)) {
            fd = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
            if (fd < 0)
                return -errno;
        }
        r = fsid_of(place, fd >= 0 ? fd : dirfd, x.stx_mnt_id, &fsid);
        if (r < 0)
            return r;
        place->cached = true;
        place->cached_mount = x.stx_mnt_id;
        place->cached_device = device;
        place->cached_fsid = fsid;
    }
    *ret_stat = (struct files_stat){
        .type = type_of(x.stx_mode), .fsid = place->cached_fsid, .inode = x.stx_ino,
        .btime = x.stx_mask & STATX_BTIME ? timestamp(x.stx_btime) : 0,
        .device = S_ISBLK(x.stx_mode) ? makedev(x.stx_rdev_major, x.stx_rdev_minor) : device,
        .size = x.stx_size,
        .allocated = x.stx_blocks * UINT64_C(512), .mtime = timestamp(x.stx_mtime),
        .ctime = timestamp(x.stx_ctime),
        .mode = x.stx_mode, .uid = x.stx_uid, .gid = x.stx_gid, .links = x.stx_nlink,
    };
    if (ret_mount)
        *ret_mount = (struct place_mount){
            .id = x.stx_mask & STATX_MNT_ID ? x.stx_mnt_id : device,
            .is_root = x.stx_attributes & STATX_ATTR_MOUNT_ROOT,
        };
    return 0;
}

/* Finds the real path of fd. -ENOENT when it is nowhere any more. */
static int real_path(int fd, char *ret_path)
{
    char link[sizeof("/proc/self/fd/") + 10], path[PATH_MAX];
    struct stat by_fd, by_path;
    ssize_t n;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof(path));
    if (n < 0)
        return -errno;
    if (n == sizeof(path))
        return -ENAMETOOLONG;
    path[n] = '\0';
    if (fstatat(fd, "", &by_fd, AT_EMPTY_PATH) < 0)
        return -errno;
    /* the kernel writes " (deleted)" behind a name that is gone; a name may end so too */
    if (path[0] != '/' ||
        fstatat(AT_FDCWD, path, &by_path, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) < 0 ||
        by_fd.st_dev != by_path.st_dev || by_fd.st_ino != by_path.st_ino)
        return -ENOENT;
    strcpy(ret_path, path);
    return 0;
}

/* ---- the root -------------------------------------------------------------------------------- */

int place_open_root(struct place *place, int *ret_fd)
{
    _cleanup_close_ int fd = -1;
    int r;

    place->real_root[0] = '\0';
    place->cached = false;      /* numbers of mounts are used again */
    r = open_unnoticed(AT_FDCWD, place->root, O_DIRECTORY, &fd);
    if (r < 0)
        return r;
    r = real_path(fd, place->real_root);
    if (r < 0)
        return r;
    *ret_fd = TAKE_FD(fd);
    return 0;
}

int place_root(struct place *place, struct files_root *ret_root)
{
    _cleanup_(mount_table_done) struct mount_table mounts = {0};
    _cleanup_close_ int fd = -1;
    const struct mount *mount;
    struct place_mount where;
    struct files_stat stat;
    struct statfs fs;
    uint64_t blocks;
    int r;

    r = place_open_root(place, &fd);
    if (r == 0)
        r = place_stat(place, fd, "", AT_EMPTY_PATH, &stat, &where);
    if (r == 0 && fstatfs(fd, &fs) < 0)
        r = -errno;
    if (r == 0)
        r = mount_table_read(place->mountinfo_fd, &mounts);
    if (r < 0)
        return r;
    mount = mount_table_find(&mounts, where.id);
    /* Blocks reserved for root are neither used nor available: df counts so, too. */
    blocks = (uint64_t)fs.f_blocks - (uint64_t)fs.f_bfree + (uint64_t)fs.f_bavail;
    *ret_root = (struct files_root){
        .fsid = stat.fsid, .inode = stat.inode, .device = stat.device,
        /* each subvolume of a btrfs has a number of its own */
        .space = (uint64_t)fs.f_type == BTRFS_SUPER_MAGIC && mount ? mount_identity(mount)
                                                                    : stat.fsid,
        .size = blocks * (uint64_t)fs.f_bsize,
        .available = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize, .real_path = place->real_root,
        .network = mount && mount_type_is_remote(mount->type),
    };
    snprintf(ret_root->type, sizeof(ret_root->type), "%s", mount ? mount->type : "unknown");
    return 0;
}

/* ---- opening --------------------------------------------------------------------------------- */

/* Does the path, which is resolved by its text, lead onto a file system that may stop answering and
 * that is not the root's own? The walk looks into none of them. */
static bool leads_away(const struct place *place, const struct mount_table *mounts,
                       const char *path)
{
    char above[PATH_MAX];

    if (place->of_devices || !place->real_root[0] || strlen(path) >= sizeof(above))
        return false;
    strcpy(above, path);
    for (char *slash = above; *slash; ) {
        const struct mount *mount;
        char kept;

        slash += 1 + strcspn(slash + 1, "/");
        kept = *slash;
        *slash = '\0';
        mount = path_is_below(place->real_root, above) ? NULL : mount_table_at(mounts, above);
        *slash = kept;
        if (mount && mount_type_is_remote(mount->type))
            return true;
    }
    return false;
}

/* Is path a link to a device, and followed? Then *ret_device is which. */
static bool is_followed(const struct place *place, const char *path, dev_t *ret_device)
{
    _cleanup_(mount_table_done) struct mount_table mounts = {0};
    char name[PATH_MAX];
    struct stat st;

    if (place->n_follow == 0 ||
        fstatat(AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) < 0 ||
        !S_ISLNK(st.st_mode) || mount_table_read(place->mountinfo_fd, &mounts) < 0 ||
        link_look(place, &mounts, path, name) != FILES_LEFT_NONE || stat(name, &st) < 0 ||
        !S_ISBLK(st.st_mode))
        return false;
    *ret_device = st.st_rdev;
    return true;
}

int place_find(struct place *place, const char *path, char *real, int *ret_fd)
{
    dev_t followed = 0;
    bool follow = is_followed(place, path, &followed);
    _cleanup_close_ int fd = open(path, O_PATH | O_CLOEXEC);
    struct stat st;
    int r;

    if (fd < 0)
        return open_error(-errno);
    r = real_path(fd, real);
    if (r < 0)
        return r;
    if (fstatat(fd, "", &st, AT_EMPTY_PATH) < 0)
        return -errno;
    if (follow && S_ISBLK(st.st_mode) && st.st_rdev == followed) {
        strcpy(real, path);     /* the link: it is what the datastore has of it */
    } else if (is_device(place, path)) {
        if (!S_ISBLK(st.st_mode))
            return -EMEDIUMTYPE;
        strcpy(real, path);     /* its name: what it is a link to now is nobody's */
    } else if (!is_allowed(place, real))
        return -EPERM;
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return -EMEDIUMTYPE;
    *ret_fd = TAKE_FD(fd);
    return 0;
}

int place_look(struct place *place, const char *path, char *real, int *ret_fd)
{
    _cleanup_(mount_table_done) struct mount_table mounts = {0};
    char by_text[PATH_MAX];
    int r = mount_table_read(place->mountinfo_fd, &mounts);

    if (r == 0)
        r = path_resolve(&mounts, path, by_text);
    if (r < 0)
        return r;
    return leads_away(place, &mounts, by_text) ? -EXDEV : place_find(place, path, real, ret_fd);
}

/* Says a real path below the root as the root was given. */
static void path_as_given(const struct place *place, char *path)
{
    char given[PATH_MAX];
    size_t n = strlen(place->real_root);

    if (place->of_devices || n <= 1 || !path_is_below(path, place->real_root))
        return;
    if (snprintf(given, sizeof(given), "%s%s", place->root, path + n) < (int)sizeof(given))
        strcpy(path, given);
}

/* The directory in which the image really lies, without a slash at its end. */
static int image_directory(const struct place *place, const char *image_path, char *ret_path)
{
    _cleanup_close_ int fd = -1;
    int r;

    if (is_device(place, image_path)) {
        strcpy(ret_path, image_path);
        *strrchr(ret_path, '/') = '\0';
        return 0;
    }
    fd = open(image_path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return open_error(-errno);
    r = real_path(fd, ret_path);
    if (r == 0)
        *strrchr(ret_path, '/') = '\0';
    return r;
}

int place_resolve(struct place *place, const char *image_path, const char *reference, char *real,
                  int *ret_fd)
{
    _cleanup_(mount_table_done) struct mount_table mounts = {0};
    char directory[PATH_MAX] = "", path[PATH_MAX], by_text[PATH_MAX];
    int r = 0;

    if (reference[0] != '/')
        r = image_directory(place, image_path, directory);
    if (r == 0 && snprintf(path, sizeof(path), "%s%s%s", directory, reference[0] == '/' ? "" : "/",
                           reference) >= (int)sizeof(path))
        r = -ENAMETOOLONG;
    if (r == 0 && mount_table_read(place->mountinfo_fd, &mounts) < 0)
        r = -EAGAIN;            /* whatever it was: not the reference's */
    if (r == 0)
        r = path_resolve(&mounts, path, by_text);
    if (r < 0)
        return r;
    /* the text of an image alone must not make anybody touch an automounter or somebody's dead
     * server */
    if (!is_allowed(place, by_text) && !is_device(place, path) &&
        (place->of_devices || !path_is_below(by_text, place->root))) {
        strcpy(real, by_text);
        return -EPERM;
    }
    if (leads_away(place, &mounts, by_text)) {
        strcpy(real, by_text);
        return -EXDEV;
    }
    r = place_find(place, path, real, ret_fd);
    if (r == 0 || r == -EPERM || r == -EMEDIUMTYPE)
        path_as_given(place, real);
    return r;
}

/* Is the byte locked? Where locks cannot be asked about, nothing may be taken for granted. */
static bool byte_is_locked(int fd, off_t byte)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

    return fcntl(fd, F_OFD_GETLK, &lock) < 0 || lock.l_type != F_UNLCK;
}

/* Alignment for O_DIRECT (Linux 6.1 tells). */
static uint32_t direct_alignment(int fd)
{
#ifdef STATX_DIOALIGN
    struct statx x;
    uint32_t alignment;

    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &x) < 0 || !(x.stx_mask & STATX_DIOALIGN))
        return 0;
    alignment = x.stx_dio_offset_align > x.stx_dio_mem_align
                    ? x.stx_dio_offset_align : x.stx_dio_mem_align;
    return x.stx_dio_offset_align > 0 && (alignment & (alignment - 1)) == 0
               ? alignment : UINT32_MAX;
#else
    return 0;
#endif
}

/* The kernel's own digest of a file that it lets nobody write any more. */
static void measure_verity(int fd, struct files_stat *stat)
{
    /* A structure that ends in the digest, and room for it. */
    union {
        struct fsverity_digest head;
        uint8_t bytes[sizeof(struct fsverity_digest) + FILES_VERITY_MAX];
    } measure = { .head = { .digest_size = FILES_VERITY_MAX } };
    struct statx x;

    if (stat->type != FILES_REGULAR || statx(fd, "", AT_EMPTY_PATH, 0, &x) < 0 ||
        !(x.stx_attributes & STATX_ATTR_VERITY) || ioctl(fd, FS_IOC_MEASURE_VERITY, &measure) < 0 ||
        measure.head.digest_size > FILES_VERITY_MAX || measure.head.digest_algorithm == 0)
        return;
    stat->verity_algorithm = measure.head.digest_algorithm;
    stat->verity_size = measure.head.digest_size;
    memcpy(stat->verity, measure.bytes + sizeof(measure.head), measure.head.digest_size);
}

int place_reopen(struct place *place, int path_fd, int *ret_fd, struct files_stat *ret_stat,
                 enum files_use *ret_use)
{
    char link[sizeof("/proc/self/fd/") + 10];
    _cleanup_close_ int fd = -1;
    int r;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", path_fd);
    r = open_unnoticed(AT_FDCWD, link, 0, &fd);
    if (r < 0)
        return open_error(r);
    r = place_stat(place, fd, "", AT_EMPTY_PATH, ret_stat, NULL);
    if (r < 0)
        return r;
    if (ret_stat->type == FILES_BLOCK) {
        off_t end = lseek(fd, 0, SEEK_END);

        if (end < 0)
            return -errno;
        ret_stat->size = (uint64_t)end;
    }
    ret_stat->alignment = direct_alignment(fd);
    measure_verity(fd, ret_stat);
    *ret_use = byte_is_locked(fd, LOCK_WRITES) ? FILES_WRITER :
               byte_is_locked(fd, LOCK_UNSHARED_WRITE) ? FILES_FROZEN : FILES_UNUSED;
    *ret_fd = TAKE_FD(fd);
    return 0;
}
