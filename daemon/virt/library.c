/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finds the functions of libvirt and libxml2 in the libraries of this host, and begins with
 * them. */
#include "daemon/virt/library.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "build-config.h"
#include "lib/cleanup.h"

#define FUNCTION(name) __typeof__(name) *sym_##name;
#include "daemon/virt/library-libvirt.def"
#include "daemon/virt/library-libxml.def"
#undef FUNCTION

/* The variable for a function's address. */
struct symbol {
    const char *name;
    void **address;
};

#define FUNCTION(name) { #name, (void **)&sym_##name },
static const struct symbol libvirt_symbols[] = {
#include "daemon/virt/library-libvirt.def"
};
static const struct symbol libxml_symbols[] = {
#include "daemon/virt/library-libxml.def"
};
#undef FUNCTION

__attribute__((format(printf, 3, 4)))
static int fail(char **ret_reason, int error, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    if (vasprintf(ret_reason, format, ap) < 0)
        *ret_reason = NULL;
    va_end(ap);
    return error;
}

/* A library stays loaded: threads run in libvirt until the process ends. */
static int library_open(const char *library, const struct symbol symbols[], size_t n,
                        char **ret_reason)
{
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);

    if (!handle)        /* dlerror() begins with the library's name */
        return fail(ret_reason, -ENOENT, "cannot load %s", dlerror());
    for (size_t i = 0; i < n; i++) {
        void *address = dlsym(handle, symbols[i].name);

        if (!address)
            return fail(ret_reason, -ENOSYS, "%s is too old: it lacks %s()", library,
                        symbols[i].name);
        *symbols[i].address = address;
    }
    return 0;
}

static void *run_events(void *userdata)
{
    for (;;)
        if (sym_virEventRunDefaultImpl() < 0)
            usleep(100 * 1000);
    return NULL;
}

static void ignore_error(void *userdata, virErrorPtr error)
{
    /* each is looked at where it happens; libvirt would print it */
}

static int libvirt_begin(char **ret_reason)
{
    pthread_attr_t attributes;
    pthread_t thread;
    int r;

    if (sym_virInitialize() < 0 || sym_virEventRegisterDefaultImpl() < 0)
        return fail(ret_reason, -EIO, "%s does not begin: %s", LIBVIRT_SONAME,
                    sym_virGetLastErrorMessage());
    sym_virSetErrorFunc(NULL, ignore_error);
    r = -pthread_attr_init(&attributes);
    if (r < 0)
        return r;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    r = -pthread_create(&thread, &attributes, run_events, NULL);
    pthread_attr_destroy(&attributes);
    return r;
}

int virt_library_load_xml(char **ret_reason)
{
    return library_open(LIBXML2_SONAME, libxml_symbols, ELEMENTSOF(libxml_symbols), ret_reason);
}

int virt_library_load(char **ret_reason)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static bool loaded;
    int r = 0;

    pthread_mutex_lock(&lock);
    if (!loaded) {
        r = library_open(LIBVIRT_SONAME, libvirt_symbols, ELEMENTSOF(libvirt_symbols), ret_reason);
        if (r >= 0)
            r = virt_library_load_xml(ret_reason);
        if (r >= 0)
            r = libvirt_begin(ret_reason);
        loaded = r >= 0;
    }
    pthread_mutex_unlock(&lock);
    return r;
}
