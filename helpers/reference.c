/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Classifies a reference stored in an image, by its text alone and by QEMU's rules. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "helpers/client.h"
#include "helpers/path.h"
#include "lib/cleanup.h"

/* The absolute path with "//", "." and ".." taken out of its text. */
static char *path_normalize(const char *path)
{
    char *normal = malloc(strlen(path) + 2), *end = normal;

    if (!normal)
        return NULL;
    for (const char *p = path; *p;) {
        size_t n = strcspn(p, "/");

        if (n == 2 && p[0] == '.' && p[1] == '.') {
            while (end > normal && *--end != '/')
                ;
        } else if (n > 0 && !(n == 1 && p[0] == '.')) {
            *end++ = '/';
            memcpy(end, p, n);
            end += n;
        }
        p += n;
        p += strspn(p, "/");
    }
    if (end == normal)
        *end++ = '/';
    *end = '\0';
    return normal;
}

/* Is normal one of the kernel's own trees, or below? */
static bool path_is_kernels(const char *normal)
{
    static const char *const trees[] = {"/dev", "/proc", "/sys"};

    for (size_t i = 0; i < ELEMENTSOF(trees); i++)
        if (path_is_below(normal, trees[i]))
            return true;
    return false;
}

/* ESXi names files in other folders as /vmfs/volumes/DATASTORE/FOLDER/FILE. No other host has that
 * tree; what it has is a datastore with a folder for each virtual machine, so that FOLDER lies
 * beside the one that holds the image. -ENOMEM. */
static int path_from_vmfs(const char *path, char **ret_path)
{
    static const char volumes[] = "/vmfs/volumes/";
    const char *below = NULL;
    char *joined;

    if (strncmp(path, volumes, strlen(volumes)) == 0)
        below = strchr(path + strlen(volumes), '/');
    if (asprintf(&joined, "%s%s", below ? ".." : "", below ? below : path) < 0)
        return -ENOMEM;
    *ret_path = joined;
    return 0;
}

int reference_classify(const char *reference, enum reference_text *ret_class, char **ret_path)
{
    enum reference_text class = REFERENCE_LOCAL;
    const char *path = reference;
    _cleanup_free_ char *normal = NULL, *copy = NULL;

    /* path_has_protocol() of QEMU's block.c: a colon before any slash. "json:" is one of them */
    if (reference[strcspn(reference, ":/")] == ':') {
        if (strncmp(reference, "file:", 5) == 0) {
            path = reference + 5;
            /* not combined with the image's directory, so relative to wherever QEMU was started */
            if (path[0] != '/')
                class = REFERENCE_UNSAFE;
        } else if (strncmp(reference, "host_device:", 12) == 0 ||
                   strncmp(reference, "host_cdrom:", 11) == 0)
            class = REFERENCE_UNSAFE;
        else
            class = REFERENCE_REMOTE;
    } else if (reference[0] == '\0')
        class = REFERENCE_UNSAFE;

    if (class == REFERENCE_LOCAL && path[0] == '/') {
        normal = path_normalize(path);
        if (!normal)
            return -ENOMEM;
        if (path_is_kernels(normal))
            class = REFERENCE_UNSAFE;
    }
    if (ret_path && class == REFERENCE_LOCAL) {
        int r = path_from_vmfs(path, &copy);

        if (r < 0)
            return r;
    }
    *ret_class = class;
    if (ret_path)
        *ret_path = TAKE_PTR(copy);
    return 0;
}

int reference_lexical(const char *image_path, const char *reference, char **ret_path)
{
    _cleanup_free_ char *joined = NULL;
    size_t n_folder = (size_t)(strrchr(image_path, '/') - image_path);
    char *out;

    if (asprintf(&joined, "%.*s/%s", reference[0] == '/' ? 0 : (int)n_folder, image_path,
                 reference) < 0)
        return -ENOMEM;
    out = joined;
    for (const char *in = joined; *in;) {
        size_t n;

        in += strspn(in, "/");
        n = strcspn(in, "/");
        if (n == 2 && in[0] == '.' && in[1] == '.') {
            while (out > joined && *--out != '/')
                ;
        } else if (n > 0 && !(n == 1 && in[0] == '.')) {
            *out++ = '/';
            memmove(out, in, n);
            out += n;
        }
        in += n;
    }
    if (out == joined)
        *out++ = '/';
    *out = 0;
    *ret_path = TAKE_PTR(joined);
    return 0;
}
