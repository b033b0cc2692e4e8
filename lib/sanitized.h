/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Is this built with AddressSanitizer? Its shadow memory is larger than any limit. gcc and clang
 * say so differently. */
#pragma once

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif
