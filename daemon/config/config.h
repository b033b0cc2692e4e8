/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The configuration: its files read into one checked struct, the table of its keys, and whether
 * others may change what the daemon relies upon. */
#pragma once

#include "daemon/config/keys.h"
#include "daemon/config/origin.h"
#include "daemon/config/settings.h"
#include "helpers/trust.h"
