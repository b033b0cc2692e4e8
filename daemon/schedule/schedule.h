/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which image is audited or read next, and when others go first. */
#pragma once

#include "daemon/schedule/audits.h"
#include "daemon/schedule/pressure.h"
#include "daemon/schedule/scrub.h"
