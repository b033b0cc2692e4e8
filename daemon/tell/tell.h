/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The outputs: alerts and metrics. */
#pragma once

#include "daemon/tell/alert.h"
#include "daemon/tell/metrics.h"
#include "daemon/tell/notify.h"
