/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What libvirt says: the watch over it, its status, and an index of that by path. */
#pragma once

#include "daemon/virt/status.h"
#include "daemon/virt/usage.h"
#include "daemon/virt/usages.h"
#include "daemon/virt/watch.h"
