/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libvirt and libxml2, loaded when the first connection is opened: a host without libvirt needs
 * neither of them, nor what they depend on.
 *
 * sym_NAME is the library's function NAME. It may be called after virt_library_load() succeeded in
 * any thread, and is NULL before. */
#pragma once

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <libxml/parser.h>

#define FUNCTION(name) extern __typeof__(name) *sym_##name;
#include "daemon/virt/library-libvirt.def"
#include "daemon/virt/library-libxml.def"
#undef FUNCTION

/* Loads both, and starts libvirt's loop of events in a thread of its own, once for the process. To
 * be called with all signals blocked, in any thread. -ENOENT (a library cannot be loaded), -ENOSYS
 * (it lacks a function), -EIO (libvirt does not begin), -EAGAIN (no thread): *ret_reason says it
 * then, and is the caller's to free, NULL without memory; the next call tries again. */
int virt_library_load(char **ret_reason);
/* libxml2 alone, the rest as above. Not in two threads at once. */
int virt_library_load_xml(char **ret_reason);
