/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Catalogues: each form, sound and hostile; what is refused, with its line; two records compared;
 * how long large ones take. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "helpers/hex.h"
#include "provenance/catalogue.h"
#include "provenance/own-json.h"

DEFINE_CLEANUP(json_object *, json_object_put)

#define SHA256_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define SHA256_B "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB"
#define MD5_A "cccccccccccccccccccccccccccccccc"
#define MD5_B "dddddddddddddddddddddddddddddddd"
#define OWN(records) "{\"format\": \"qcaudit-catalogue-1\", \"records\": [" records "]}"

static struct catalogue_problem problem;

static int read_text(const char *text, struct catalogue *ret)
{
    problem = (struct catalogue_problem){ .line = 0 };
    return catalogue_read(text, strlen(text), NULL, CATALOGUE_PINNED, ret, &problem);
}

/* It is read, and has so many records. */
static void good(const char *text, size_t n, struct catalogue *ret)
{
    int r = read_text(text, ret);

    if (r < 0)
        print_error("%zu: %s\n", problem.line, problem.reason);
    assert_int_equal(r, 0);
    assert_int_equal(ret->n, n);
}

static void refused_bytes(const char *text, size_t size, size_t line, const char *reason)
{
    struct catalogue catalogue = { .n = 4711 };
    int r = catalogue_read(text, size, NULL, CATALOGUE_SIGNED, &catalogue, &problem);

    assert_int_equal(r, -EBADMSG);
    assert_int_equal(catalogue.n, 4711);    /* nothing of it was taken over */
    if (!strstr(problem.reason, reason) || problem.line != line)
        print_error("%zu: %s\n", problem.line, problem.reason);
    assert_non_null(strstr(problem.reason, reason));
    assert_int_equal(problem.line, line);
}

static void refused(const char *text, size_t line, const char *reason)
{
    refused_bytes(text, strlen(text), line, reason);
}

static void digest_is(const struct catalogue_record *record, enum catalogue_algorithm algorithm,
                      const char *digits)
{
    const uint8_t *digest = catalogue_digest(record, algorithm);
    char hex[2 * CATALOGUE_DIGEST_MAX + 1];

    assert_non_null(digest);
    hex_encode(digest, catalogue_algorithm_size(algorithm), hex);
    assert_string_equal(hex, digits);
}

/* ---- lists of sums --------------------------------------------------------------------------- */

static void test_sums(void **state)
{
    struct catalogue catalogue;

    good(SHA256_A "  two blanks\n" SHA256_A " *binary\n" SHA256_A " one blank\r\n"
         "\n# a comment\n\\" SHA256_A "  back\\\\slash\nSHA256 (bsd (1)) = " SHA256_B "\n"
         "SHA2-256(openssl)= " SHA256_B "\n# sized: 123 bytes\nSHA256 (sized) = " SHA256_B "\n"
         "MD5 (sized) = " MD5_A, 7, &catalogue);
    assert_string_equal(catalogue.form, "sums");
    assert_string_equal(catalogue.records[0].name, "two blanks");
    assert_string_equal(catalogue.records[1].name, "binary");
    assert_string_equal(catalogue.records[2].name, "one blank");
    assert_string_equal(catalogue.records[3].name, "back\\slash");
    assert_string_equal(catalogue.records[4].name, "bsd (1)");
    assert_string_equal(catalogue.records[5].name, "openssl");
    assert_int_equal(catalogue.records[5].size, CATALOGUE_SIZE_UNKNOWN);
    digest_is(&catalogue.records[5], CATALOGUE_SHA256,
              "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb");
    assert_int_equal(catalogue.records[6].size, 123);
    digest_is(&catalogue.records[6], CATALOGUE_MD5, MD5_A);
    assert_false(catalogue.records[6].weak);
    assert_ptr_equal(catalogue_find_name(&catalogue, "sized"), &catalogue.records[6]);
    assert_null(catalogue_find_name(&catalogue, "size"));
    catalogue_done(&catalogue);
}

static void test_sums_of_sizes(void **state)
{
    static const char *const comments[] = {
        "# x: 999999999999999999999999999999 bytes", "# x:1 bytes", "# x: -1 bytes", "# x: bytes",
        "#: 1 bytes", "# y: 1 bytes", "#  bytes", "# bytes", "# x: 1 bytes more",
    };
    struct catalogue catalogue;
    char text[256];

    for (size_t i = 0; i < ELEMENTSOF(comments); i++) {
        (void)snprintf(text, sizeof(text), "%s\nSHA256 (x) = " SHA256_A, comments[i]);
        good(text, 1, &catalogue);
        assert_int_equal(catalogue.records[0].size, CATALOGUE_SIZE_UNKNOWN);
        catalogue_done(&catalogue);
    }
}

static void test_sums_refused(void **state)
{
    char name[CATALOGUE_LINE_MAX + 100];
    struct catalogue catalogue;

    refused("", 0, "no file");
    refused("# nothing\n", 0, "no file");
    refused(SHA256_A "  x\n" SHA256_B "  x\n", 2, "listed twice");
    refused(SHA256_A "  x\n" SHA256_A "  a/x\n", 2, "leads into a folder");
    refused(SHA256_A "  ..\n", 1, "leads into a folder");
    refused(SHA256_A "  .\n", 1, "leads into a folder");
    refused(SHA256_A "  \n", 1, "no name");
    refused(SHA256_A "\n", 1, "no name follows");
    refused(SHA256_A "a  x\n", 1, "65 digits");
    refused("aaaaaaaa  x\n", 1, "8 digits");
    refused(SHA256_A "  \xff\n", 1, "UTF-8");
    refused(SHA256_A "  a\tb\n", 1, "control characters");
    refused(SHA256_A "  a\xe2\x80\xae" "b\n", 1, "control characters");     /* U+202E */
    refused("\\" SHA256_A "  a\\nb\n", 1, "control characters");
    refused("\\" SHA256_A "  a\\xb\n", 1, "wrongly escaped");
    refused("\\" SHA256_A "  a\\\n", 1, "wrongly escaped");
    refused("SHA256 (x) = " MD5_A "\n", 1, "64 hexadecimal");
    refused("SHA256 (x) = " SHA256_A "0\n", 1, "64 hexadecimal");
    refused("SHA256 (x) = \n", 1, "no digest with its name");
    refused("SHA999 (x) = " SHA256_A "\n", 1, "algorithm is not known");
    refused(" (x) = " SHA256_A "\n", 1, "algorithm is not known");
    refused("(\n", 1, "no digest with its name");
    refused("a) = b\n", 1, "no digest with its name");
    refused(") = (\n", 1, "no digest with its name");
    refused("<html>\n", 0, "known forms");
    refused("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n" SHA256_A "  x\n", 1,
            "signed within");
    refused_bytes(SHA256_A "  x\0y\n", sizeof(SHA256_A "  x\0y\n") - 1, 1, "NUL");
    memset(name, 'x', sizeof(name));
    memcpy(name, SHA256_A "  ", 66);
    name[66 + CATALOGUE_NAME_MAX] = '\0';
    good(name, 1, &catalogue);
    catalogue_done(&catalogue);
    name[66 + CATALOGUE_NAME_MAX] = 'x';
    name[67 + CATALOGUE_NAME_MAX] = '\0';
    refused(name, 1, "longer than 255");
    name[67 + CATALOGUE_NAME_MAX] = 'x';
    name[CATALOGUE_LINE_MAX + 1] = '\0';
    refused(name, 1, "a line is longer");
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void test_json_refused(void **state)
{
    char deep[1000];

    refused("{", 0, "known forms");
    refused("{\"format\": \"qcaudit-catalogue-1\",\n \"records\": [}]}", 2, "no JSON");
    refused("{\"format\": \"qcaudit-catalogue-1\",\n \"records\": []} 1", 2, "something follows");
    refused("{\"format\": \"qcaudit-catalogue-1\",\n \"x\": \"\\u12\"}", 2, "no JSON");
    refused("{\"format\": \"qcaudit-catalogue-1\",\n \"x\": 01}", 2, "no JSON");
    refused("{\"format\": \"qcaudit-catalogue-1\",\n \"x\": \"a\nb\"}", 2, "no JSON");
    refused("{\"format\": \"qcaudit-catalogue-1\", \"x\": \"\xff\"}", 0, "UTF-8");
    refused("{\"format\": \"qcaudit-catalogue-1\"}", 0, "no list of records");
    refused("{\"format\": \"qcaudit-catalogue-2\", \"records\": []}", 0, "its format");
    refused(OWN(""), 0, "no file");
    refused(OWN("[]"), 1, "an object is needed");
    refused(OWN("null"), 1, "an object is needed");
    refused(OWN("{}"), 1, "no name");
    refused(OWN("{\"name\": \"x\"}"), 1, "no digest");
    refused(OWN("{\"name\": 1, \"md5\": \"" MD5_A "\"}"), 1, "name is no text");
    refused(OWN("{\"name\": \"x\\u0000y\", \"md5\": \"" MD5_A "\"}"), 1, "name is no text");
    refused(OWN("{\"name\": \"x\", \"md5\": [\"" MD5_A "\"]}"), 1, "md5 is no text");
    refused(OWN("{\"name\": \"x\", \"md5\": \"" SHA256_A "\"}"), 1, "32 hexadecimal");
    refused(OWN("{\"name\": \"x\", \"md5\": \"" MD5_A "\", \"size\": -1}"), 1, "size is no number");
    refused(OWN("{\"name\": \"x\", \"md5\": \"" MD5_A "\", \"size\": \"1\"}"), 1, "size is no");
    refused(OWN("{\"name\": \"x\", \"family\": \"\\u001b\", \"md5\": \"" MD5_A "\"}"), 1,
            "cannot be printed");
    refused(OWN("\n{\"name\": \"x\", \"md5\": \"" MD5_A "\"},\n{\"name\": \"x\", \"md5\": \"" MD5_B
                "\"}"), 3, "listed twice");
    refused(OWN("{\"name\": \"x\", \"size\": 1, \"md5\": \"" MD5_A "\"}, {\"name\": \"x\", "
                "\"size\": 2, \"md5\": \"" MD5_A "\"}"), 1, "another size");
    memset(deep, '[', sizeof(deep) - 1);
    memcpy(deep, "{\"qcaudit-catalogue-1\":", 23);
    deep[sizeof(deep) - 1] = '\0';
    refused(deep, 1, "nested deeper");
}

static void test_own(void **state)
{
    _cleanup_(json_object_putp) json_object *object = NULL;
    struct catalogue once, twice;
    const char *text;

    good(OWN("{\"name\": \"x\", \"size\": 18446744073709551614, \"family\": \"f\", \"version\": "
             "\"1\", \"title\": \"\xc3\xa4\", \"sha256\": \"" SHA256_A "\", \"level\": \"signed\", "
             "\"unknown\": {\"a\": [1.5e3, true, null]}}, {\"name\": \"y\", \"md5\": \"" MD5_A
             "\", \"version\": \"\"}"), 2, &once);
    assert_int_equal(once.records[0].level, CATALOGUE_PINNED);
    assert_int_equal(once.records[0].size, UINT64_MAX - 1);
    assert_int_equal(once.records[1].level, CATALOGUE_CLAIM);
    assert_true(once.records[1].weak);
    assert_null(once.records[1].version);
    assert_int_equal(catalogue_to_json(&once, &object), 0);
    text = json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN);
    good(text, 2, &twice);
    for (size_t i = 0; i < 2; i++) {
        assert_string_equal(once.records[i].name, twice.records[i].name);
        assert_int_equal(once.records[i].size, twice.records[i].size);
        assert_int_equal(once.records[i].algorithms, twice.records[i].algorithms);
        assert_int_equal(catalogue_compare(&once.records[i], &twice.records[i]), CATALOGUE_SAME);
    }
    assert_string_equal(twice.records[0].title, "\xc3\xa4");
    catalogue_done(&once);
    catalogue_done(&twice);
}

/* ---- the other forms ------------------------------------------------------------------------- */

static void test_gns3a(void **state)
{
    struct catalogue catalogue;

    good("{\"name\": \"ASAv\", \"registry_version\": 8, \"images\": [{\"filename\": "
         "\"asav.qcow2\", \"version\": \"9.1\", \"md5sum\": \"" MD5_A "\", \"filesize\": 5}, "
         "{\"filename\": \"asav.qcow2\", \"version\": \"9.1\", \"md5sum\": \"" MD5_B "\", "
         "\"filesize\": 5}, {\"filename\": \"new.qcow2\", \"checksum\": \"" MD5_A "\", "
         "\"checksum_type\": \"md5\"}, "
         "{\"filename\": \"OVMF-edk2.fd\", \"md5sum\": \"" MD5_A "\"}, {\"filename\": "
         "\"empty100G.qcow2\", \"md5sum\": \"" MD5_A "\"}]}", 3, &catalogue);
    assert_string_equal(catalogue.form, "gns3a");
    assert_string_equal(catalogue.records[0].family, "ASAv");
    /* A name is a hint there: it stands for two files. */
    assert_string_equal(catalogue.records[1].name, "asav.qcow2");
    assert_int_equal(catalogue.records[0].level, CATALOGUE_CLAIM);
    assert_int_equal(catalogue.passed_over, 2);
    catalogue_done(&catalogue);
    refused("{\"registry_version\": 8, \"images\": [{\"filename\": \"x\", \"checksum\": \"" MD5_A
            "\", \"checksum_type\": \"crc\"}]}", 1, "algorithm is not known");
    refused("{\"registry_version\": 8, \"images\": [{\"md5sum\": \"" MD5_A "\"}]}", 1,
            "no filename");
    refused("{\"registry_version\": 8, \"images\": 1}", 0, "no list of images");
}

static void test_simplestreams(void **state)
{
    struct catalogue catalogue;

    good("{\"format\": \"products:1.0\", \"products\": {\"p\": {\"versions\": {\"1\": {\"items\": "
         "{\"a\": {\"ftype\": \"disk1.img\", \"path\": \"a/b/c.img\", \"sha256\": \"" SHA256_A
         "\"}, \"b\": {\"ftype\": \"disk1.img\", \"path\": \"no-digest.img\"}}}, \"2\": "
         "{\"items\": {\"a\": {\"ftype\": \"disk1.img\", \"path\": \"c.img\", \"sha256\": \""
         SHA256_B "\"}}}}}}}", 2, &catalogue);
    assert_string_equal(catalogue.records[0].name, "c.img");
    assert_string_equal(catalogue.records[1].version, "2");
    assert_string_equal(catalogue.records[1].family, "p");
    assert_int_equal(catalogue.passed_over, 1);
    catalogue_done(&catalogue);
    refused("{\"format\": \"index:1.0\", \"index\": {}}", 0, "no products");
    refused("{\"format\": \"products:1.0\", \"products\": {\"p\": {\"versions\": {\"1\": "
            "{\"items\": {\"a\": {\"ftype\": \"disk1.img\", \"path\": \"a/..\", \"sha256\": \""
            SHA256_A "\"}}}}}}}", 1, "leads into a folder");
}

static void test_kgv(void **state)
{
    struct catalogue catalogue;

    good("{\"header\": {\"version\": \"KGV_format_2.0\"}, \"products\": [{\"product\": \"P\", "
         "\"bootLoaderVersions\": [{\"version\": \"0\", \"entries\": [{\"filename\": \"boot\", "
         "\"sha256\": \"" SHA256_B "\"}]}], \"osImageVersions\": [{\"version\": \"17\", "
         "\"entries\": [{\"filename\": \"x.bin\", \"sha256\": \"" SHA256_A "\", \"md5\": \"\"}, "
         "{\"filename\": \"none.bin\"}]}]}]}", 1, &catalogue);
    assert_string_equal(catalogue.records[0].family, "P");
    assert_string_equal(catalogue.records[0].version, "17");
    assert_int_equal(catalogue.passed_over, 1);
    catalogue_done(&catalogue);
    refused("{\"header\": {\"version\": \"KGV_format_2.0\"}, \"products\": {}}", 0,
            "no list of products");
}

static void test_glance(void **state)
{
    struct catalogue catalogue;

    good("{\"images\": [{\"id\": \"u\", \"name\": \"n\", \"size\": 1, \"os_hash_algo\": "
         "\"sha256\", \"os_hash_value\": \"" SHA256_A "\", \"checksum\": \"" MD5_A "\"}, "
         "{\"id\": \"v\", \"checksum\": null}]}", 1, &catalogue);
    assert_string_equal(catalogue.records[0].title, "n");
    assert_int_equal(catalogue.records[0].level, CATALOGUE_PINNED);
    assert_int_equal(catalogue.passed_over, 1);
    catalogue_done(&catalogue);
    good("{\"id\": \"u\", \"checksum\": \"" MD5_A "\"}", 1, &catalogue);
    catalogue_done(&catalogue);
    refused("[{\"id\": \"u\", \"os_hash_algo\": \"md6\", \"os_hash_value\": \"00\"}]", 1,
            "algorithm is not known");
    refused("[{\"checksum\": \"" MD5_A "\", \"name\": {\"id\": \"u\"}}]", 1, "no ID");
}

static void test_virt_builder(void **state)
{
    struct catalogue catalogue;

    good("\n# comment\n[one-1]\nname=One\nname[de]=Eins\nfile=a/one.xz\nchecksum[sha256]=" SHA256_A
         "\ncompressed_size=12\nnotes=x\n [evil]\n file=evil\n\n[two-2]\nfile=two.xz\n", 1,
         &catalogue);
    assert_string_equal(catalogue.form, "virt-builder");
    assert_string_equal(catalogue.records[0].name, "one.xz");
    assert_string_equal(catalogue.records[0].family, "one-1");
    assert_string_equal(catalogue.records[0].title, "One");
    assert_int_equal(catalogue.records[0].size, 12);
    assert_int_equal(catalogue.passed_over, 1);
    catalogue_done(&catalogue);
    refused("[a]\nfile=x\nchecksum=" SHA256_A "\n", 3, "128 hexadecimal");
    refused("[a]\nfile=x\nchecksum[md6]=" SHA256_A "\n", 3, "algorithm is not known");
    refused("[a]\nfile=x\nchecksum[=" SHA256_A "\n", 3, "algorithm is not known");
    refused("[a]\nchecksum[sha256]=" SHA256_A "\n", 1, "names no file");
    refused("[a]\nfile=x\ncompressed_size=1k\n", 3, "size is no number");
    refused("[a]\nnonsense\n", 2, "no key");
    refused("[a]\nfile=x\n[b\n", 3, "no section");
    refused("[a]\nfile=x/\nchecksum[sha256]=" SHA256_A "\n", 1, "no name");
}

/* ---- records and levels ---------------------------------------------------------------------- */

static void test_levels(void **state)
{
    struct catalogue catalogue;
    static const char text[] = SHA256_A "  x\n" MD5_A "  weak\n";

    assert_int_equal(catalogue_read(text, strlen(text), NULL, CATALOGUE_SIGNED, &catalogue,
                                    &problem), 0);
    assert_int_equal(catalogue.records[0].level, CATALOGUE_SIGNED);
    assert_int_equal(catalogue.records[1].level, CATALOGUE_CLAIM);
    catalogue_done(&catalogue);
    assert_int_equal(catalogue_read(text, strlen(text), "sums", CATALOGUE_CLAIM, &catalogue,
                                    &problem), 0);
    assert_int_equal(catalogue.records[0].level, CATALOGUE_CLAIM);
    catalogue_done(&catalogue);
    assert_int_equal(catalogue_read(text, strlen(text), "kgv", CATALOGUE_CLAIM, &catalogue,
                                    &problem), -EBADMSG);
}

static void test_compare(void **state)
{
    struct catalogue_record a = {
        .name = (char *)(uintptr_t)"x", .size = CATALOGUE_SIZE_UNKNOWN, .level = CATALOGUE_SIGNED,
        .algorithms = 1 << CATALOGUE_SHA256 | 1 << CATALOGUE_MD5,
    }, b = a;

    assert_int_equal(catalogue_compare(&a, &b), CATALOGUE_SAME);
    /* The strongest that both have decides. */
    b.md5[0] = 1;
    assert_int_equal(catalogue_compare(&a, &b), CATALOGUE_SAME);
    b.sha256[0] = 1;
    assert_int_equal(catalogue_compare(&a, &b), CATALOGUE_CONTRADICTION);
    b.version = (char *)(uintptr_t)"2";
    assert_int_equal(catalogue_compare(&a, &b), CATALOGUE_APART);
    b = a;
    b.algorithms = 1 << CATALOGUE_SHA512;
    assert_int_equal(catalogue_compare(&a, &b), CATALOGUE_APART);
    b = a;
    a.size = 1;
    b.size = 2;
    assert_int_equal(catalogue_compare(&a, &b), CATALOGUE_CONTRADICTION);
    b.name = (char *)(uintptr_t)"y";
    b.size = 1;
    assert_int_equal(catalogue_compare(&a, &b), CATALOGUE_SAME);    /* renamed */
    b.level = CATALOGUE_PINNED;
    assert_false(catalogue_overrides(&b, &a));
    assert_true(catalogue_overrides(&a, &b));
    assert_true(catalogue_overrides(&a, &a));
}

static void test_algorithms(void **state)
{
    static const struct { const char *name; int algorithm; } names[] = {
        { "md5", CATALOGUE_MD5 }, { "SHA-1", CATALOGUE_SHA1 }, { "SHA2-256", CATALOGUE_SHA256 },
        { "sha-384", CATALOGUE_SHA384 }, { "SHA512", CATALOGUE_SHA512 }, { "sha", -1 },
        { "sha2-", -1 }, { "", -1 }, { "sha256sha256sha256sha256", -1 }, { "sha224", -1 },
    };

    for (size_t i = 0; i < ELEMENTSOF(names); i++) {
        enum catalogue_algorithm algorithm;
        int r = catalogue_algorithm_parse(names[i].name, strlen(names[i].name), &algorithm);

        assert_int_equal(r < 0 ? -1 : (int)algorithm, names[i].algorithm);
    }
}

/* ---- large ones ------------------------------------------------------------------------------ */

static double seconds_of(const char *text, size_t size, int expected)
{
    struct catalogue catalogue;
    clock_t begun = clock();
    int r = catalogue_read(text, size, NULL, CATALOGUE_PINNED, &catalogue, &problem);
    double seconds = (double)(clock() - begun) / CLOCKS_PER_SEC;

    assert_int_equal(r, expected);
    if (r >= 0)
        catalogue_done(&catalogue);
    return seconds;
}

/* So many records in the form that printf makes of two numbers. */
static char *many(size_t n, const char *before, const char *format, const char *after,
                  size_t *ret_size)
{
    char *text = NULL;
    FILE *file = open_memstream(&text, ret_size);

    assert_non_null(file);
    (void)fputs(before, file);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && format[0] == '{')
            (void)fputc(',', file);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        (void)fprintf(file, format, i, i);
#pragma GCC diagnostic pop
    }
    (void)fputs(after, file);
    (void)fclose(file);
    return text;
}

static void test_large(void **state)
{
    static const struct {
        size_t n;
        int expected;
        const char *before, *format, *after;
    } cases[] = {
        { 100000, 0, "", "%064zx  image-%zu.qcow2\n", "" },
        { 100001, -EBADMSG, "", "%064zx  image-%zu.qcow2\n", "" },
        { 800000, -EBADMSG, "", "%064zx  i%zu\n", "" },             /* within 64 MiB */
        { 600000, -EBADMSG, "", "#\n", "" },
        { 100000, 0, "{\"format\":\"qcaudit-catalogue-1\",\"records\":[",
          "{\"sha256\":\"%064zx\",\"name\":\"i%zu\"}", "]}" },
        /* what would take gigabytes as objects of json-c */
        { 3000000, -EBADMSG, "{\"format\":\"qcaudit-catalogue-1\",\"records\":[{}],\"x\":[{}",
          ",[],[],[]", "]}" },
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        size_t size;
        _cleanup_free_ char *text = many(cases[i].n, cases[i].before, cases[i].format,
                                         cases[i].after, &size);
        double seconds = seconds_of(text, size, cases[i].expected);

        if (seconds > 3)
            print_error("case %zu: %.1f s\n", i, seconds);
        assert_true(seconds <= 3 * 10);     /* a sanitizer's, or a busy machine's */
    }
}

/* Names that all have the same hash cost no more than others: there is an end to a chain. */
static void test_alike(void **state)
{
    size_t size;
    _cleanup_free_ char *text = many(2000, "{\"format\":\"qcaudit-catalogue-1\",\"records\":[",
                                     "{\"sha256\":\"%064zx\",\"version\":\"%zu\",\"name\":\"x\"}",
                                     "]}", &size);

    refused_bytes(text, size, 1, "named alike");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_sums_of_sizes),
        cmocka_unit_test(test_sums_refused),
        cmocka_unit_test(test_json_refused),
        cmocka_unit_test(test_own),
        cmocka_unit_test(test_gns3a),
        cmocka_unit_test(test_simplestreams),
        cmocka_unit_test(test_kgv),
        cmocka_unit_test(test_glance),
        cmocka_unit_test(test_virt_builder),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_compare),
        cmocka_unit_test(test_algorithms),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_alike),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
