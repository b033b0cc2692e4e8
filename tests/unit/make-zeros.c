/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writes lib/generated/digest-zeros.c: make-zeros >digest-zeros.c. Takes minutes, as it hashes the
 * digests of 1 PiB of zeros. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <inttypes.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

#define UNIT (UINT64_C(1) << 16)            /* blocks: 4 GiB */
#define END (UNIT << 18)                    /* 1 PiB */

enum { STEPS = 64, REPEATED = 4096 };       /* states from one power of two to the next */

/* The number of blocks behind n that a state is wanted for. */
static uint64_t next_after(uint64_t n)
{
    uint64_t step = UNIT;

    while (step * 2 * STEPS <= n)
        step *= 2;
    return n + step;
}

int main(void)
{
    static const uint8_t zeros[65536];
    static uint8_t digests[REPEATED][32];
    SHA256_CTX context;

    SHA256(zeros, sizeof(zeros), digests[0]);
    for (int i = 1; i < REPEATED; i++)
        memcpy(digests[i], digests[0], sizeof(digests[0]));
    SHA256_Init(&context);
    puts("/* SPDX-License-Identifier: LGPL-2.1-or-later */\n"
         "/* States of SHA-256 behind the digests of so many zero blocks; written by "
         "tests/unit/make-zeros. */\n"
         "#include \"lib/digest-outer.h\"\n\n"
         "static const struct zeros_state states[] = {");
    for (uint64_t n = 0, next; n < END; n = next) {
        next = next_after(n);
        for (uint64_t at = n; at < next; at += REPEATED)
            SHA256_Update(&context, digests, sizeof(digests));
        printf("    { %" PRIu64 ",\n      {", next);
        for (int i = 0; i < 8; i++)
            printf("%s0x%08x", i > 0 ? "," : "", context.h[i]);
        puts("} },");
        fflush(stdout);
    }
    puts("};\n\n"
         "const struct zeros_state *zeros_states(size_t *ret_n)\n"
         "{\n"
         "    *ret_n = sizeof(states) / sizeof(*states);\n"
         "    return states;\n"
         "}");
    return 0;
}
