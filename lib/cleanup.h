/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Scope-bound destruction: _cleanup_(fn) runs fn on the variable's address when it leaves its
 * scope. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(fn) __attribute__((cleanup(fn)))

/* Defines fn##p for use with _cleanup_: struct foo *x is destroyed by fn(x). */
#define DEFINE_CLEANUP(type, fn)                                                                   \
    static inline __attribute__((unused)) void fn##p(type *pointer) { fn(*pointer); }

static inline __attribute__((unused)) void freep(void *pointer)
{
    free(*(void **)pointer);
}

static inline __attribute__((unused)) void closep(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static inline __attribute__((unused)) void fclosep(FILE **file)
{
    if (*file)
        fclose(*file);
}

#define _cleanup_free_ _cleanup_(freep)
#define _cleanup_close_ _cleanup_(closep)
#define _cleanup_fclose_ _cleanup_(fclosep)

/* Hands a pointer on: evaluates to its value and clears the variable. */
#define TAKE_PTR(pointer)                                                                          \
    ({                                                                                             \
        __typeof__(pointer) _taken = (pointer);                                                    \
        (pointer) = NULL;                                                                          \
        _taken;                                                                                    \
    })
#define TAKE_FD(fd)                                                                                \
    ({                                                                                             \
        int _taken = (fd);                                                                         \
        (fd) = -1;                                                                                 \
        _taken;                                                                                    \
    })

#define ELEMENTSOF(array) (sizeof(array) / sizeof((array)[0]))
