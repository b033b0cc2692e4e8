/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Families: each example of the installed file, folders, what is ambiguous, parts of versions, and
 * every class of mistake with its place. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "provenance/family.h"
#include "provenance/pattern.h"

struct said {
    char text[32768];
    unsigned n;
};

static void note(void *userdata, const char *file, unsigned line, unsigned column,
                 const char *message)
{
    struct said *said = userdata;
    size_t length = strlen(said->text);

    snprintf(said->text + length, sizeof(said->text) - length, "%u:%u: %s\n", line, column,
             message);
    said->n++;
}

static struct families *parse(const char *text)
{
    struct families *families = NULL;
    struct said said = { 0 };
    int r = families_parse("a.yaml", text, strlen(text), note, &said, &families);

    assert_string_equal(said.text, "");
    assert_int_equal(r, 0);
    return families;
}

static struct families *installed(void)
{
    const char *top = getenv("top_srcdir");
    struct families *families = NULL;
    struct said said = { 0 };
    char file[4096];

    assert_non_null(top);
    snprintf(file, sizeof(file), "%s/conf/families.yaml", top);
    int r = families_load(file, NULL, note, &said, &families);
    assert_string_equal(said.text, "");
    assert_int_equal(r, 0);
    return families;
}

/* ---- the installed file --------------------------------------------------------------------- */

static void every_example_is_of_its_family_alone(void **state)
{
    _cleanup_(families_freep) struct families *families = installed();
    size_t n = 0;

    assert_true(families->n >= 84);
    for (size_t i = 0; i < families->n; i++) {
        const struct family *family = families->items[i];

        assert_true(family->n_examples > 0);
        assert_true(family->minimum_memory >= 64 * 1024 * 1024);
        for (size_t j = 0; j < family->n_examples; j++, n++) {
            struct family_match match;

            family_identify(families, family->examples[j].file, &match);
            if (match.verdict != FAMILY_KNOWN || match.families[0] != family ||
                strcmp(match.version, family->examples[j].version) != 0)
                fail_msg("%s: %s", family->examples[j].file, match.version);
            assert_false(match.by_folder);
            assert_non_null(match.scheme);
        }
    }
    assert_true(n >= 290);
}

/* A path, its family ("": unknown, "?": ambiguous) and version. */
struct name_case {
    const char *path, *family, *version;
};

static void expect(const struct families *families, const struct name_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct family_match match;

        family_identify(families, cases[i].path, &match);
        const char *family = match.verdict == FAMILY_UNKNOWN     ? ""
                             : match.verdict == FAMILY_AMBIGUOUS ? "?"
                                                                 : match.families[0]->name;
        if (strcmp(family, cases[i].family) != 0 || strcmp(match.version, cases[i].version) != 0)
            fail_msg("%s: %s, %s", cases[i].path, family, match.version);
    }
}

static void names(void **state)
{
    _cleanup_(families_freep) struct families *families = installed();
    static const struct name_case cases[] = {
        { "/srv/a/csr1000v-ucmk9.16.12.1b-serial.qcow2", "cisco-csr1000v", "16.12.1b" },
        { "CSR1000V-UCMK9.16.12.1B-SERIAL.QCOW2", "cisco-csr1000v", "16.12.1B" },
        { "nxosv9k-7.0.3.I7.4.qcow2", "cisco-nxosv9k", "7.0(3)I7(4)" },
        { "nxosv9k-7.0.3.I7.4", "cisco-nxosv9k", "7.0(3)I7(4)" },
        { "nxosv9k-7.0.3.I7.4.qcow2.xz", "cisco-nxosv9k", "7.0(3)I7(4)" },
        /* one suffix of each kind, not two */
        { "nxosv9k-7.0.3.I7.4.qcow2.qcow2", "", "" },
        { "vios-adventerprisek9-m.SPA.157-3.M3", "cisco-iosv", "15.7(3)M3" },
        { "jammy-server-cloudimg-amd64.img", "ubuntu-cloud", "22.04" },
        { "web.qcow2", "", "" },
        { "xcsr1000v-ucmk9.16.12.1b-serial.qcow2", "", "" },
        { "csr1000v-ucmk9.16.12.1b-serial.qcow2.bak", "", "" },
        { ".qcow2", "", "" },
        { "", "", "" },
        { "/", "", "" },
        { "..", "", "" },
        { "a/../", "", "" },
        { "\xff\xfe.qcow2", "", "" },
    };

    expect(families, cases, ELEMENTSOF(cases));
}

static void folders_of_eve(void **state)
{
    _cleanup_(families_freep) struct families *families = installed();
    static const struct name_case cases[] = {
        { "/opt/unetlab/addons/qemu/nxosv9k-7.0.3.I7.4/sataa.qcow2", "cisco-nxosv9k",
          "7.0(3)I7(4)" },
        { "veos-4.28.1.1F/hda.qcow2", "arista-veos", "4.28.1.1F" },
        { "veos-4.28.1.1F/", "arista-veos", "4.28.1.1F" },
        { "viosl2-adventerprisek9-m.SSA.high_iron_20200929/virtioa.qcow2", "cisco-iosvl2",
          "20200929" },
        { "vios-15.5.3M/virtioa.qcow2", "cisco-iosv", "15.5.3M" },
        { "titanium-7.3.0.D1.1/virtioa.qcow2", "cisco-nxosv", "7.3(0)D1(1)" },
        { "paloalto-10.2.3/virtioa.qcow2", "paloalto-pavm", "10.2.3" },
        { "mikrotik-7.8/hda.qcow2", "mikrotik-chr", "7.8" },
        { "xrv-k9-demo-6.1.3/hda.qcow2", "cisco-iosxrv", "6.1.3" },
        { "vsrxng-21.2R3-S4.9/virtioa.qcow2", "juniper-vsrx", "21.2R3-S4.9" },
        { "vsrx-12.1X47-D20.7/virtioa.qcow2", "juniper-vsrx-12", "12.1X47-D20.7" },
        { "vsrx-15.1X49-D60/virtioa.qcow2", "juniper-vsrx", "15.1X49-D60" },
        { "vsrx-mine/virtioa.qcow2", "?", "" },
        { "vmxvcp-20.2R1.10/virtiob.qcow2", "juniper-vmx-vcp", "20.2R1.10" },
        { "asav-9.22.1/virtioa.qcow2", "cisco-asav", "9.22.1" },
        /* 9.18.2 or 91.8.2: not guessed */
        { "asav-9182/virtioa.qcow2", "cisco-asav", "" },
        { "fortinet-FGT-v7.2.1/virtioa.qcow2", "fortinet-fortigate", "7.2.1" },
        { "fortinet-7.2.1/virtioa.qcow2", "?", "" },
        { "firepower6-FTD-6.2.3/virtioa.qcow2", "cisco-ftdv", "6.2.3" },
        { "firepower6-6.2.3/virtioa.qcow2", "?", "" },
        { "timos-13.0.R4/virtidea.qcow2", "?", "" },
        { "linux-ubuntu-22.04/virtioa.qcow2", "ubuntu-cloud", "" },
        { "linux-mine/virtioa.qcow2", "?", "" },
        { "acs-5.8/hda.qcow2", "", "" },
        { "virtioa.qcow2", "", "" },
        { "./virtioa.qcow2", "", "" },
        { "/virtioa.qcow2", "", "" },
        /* no disk of EVE's: its own name counts */
        { "veos-4.28.1.1F/virtio.qcow2", "", "" },
        { "veos-4.28.1.1F/vEOS-lab-4.31.6M.vmdk", "arista-veos", "4.31.6M" },
    };

    expect(families, cases, ELEMENTSOF(cases));
}

static void parts_of_versions(void **state)
{
    _cleanup_(families_freep) struct families *families = installed();
    static const struct { const char *file, *parts; } cases[] = {
        { "nxosv9k-7.0.3.I7.4.qcow2", "release 7.0(3), train I7, rebuild 4" },
        { "nexus9300v64.10.5.5.M.qcow2", "release 10.5, rebuild 5, kind maintenance" },
        { "nexus9500v64.10.3.1.F.qcow2", "release 10.3, rebuild 1, kind feature" },
        { "nexus9300v.10.1.1.qcow2", "release 10.1, rebuild 1" },
        { "csr1000v-ucmk9.16.12.1b-serial.qcow2", "release 16.12, rebuild 1b" },
        { "csr1000v-universalk9.03.17.03.S.156-1.S3-std.qcow2",
          "release 3.17, train S, rebuild 03" },
        { "c8000v-universalk9_8G_serial.17.15.01a.qcow2", "release 17.15, rebuild 01a" },
        { "vios-adventerprisek9-m.spa.159-3.m10.qcow2", "release 15.9(3), train m, rebuild 10" },
        { "asav9-22-1-1.qcow2", "release 9.22, maintenance 1, interim 1" },
        { "asav9-12-2.qcow2", "release 9.12, maintenance 2" },
        { "junos-vsrx3-x86-64-21.2R3-S4.9.qcow2",
          "release 21.2, maintenance R3, service S4, spin 9" },
        { "vJunos-router-23.2R1.15.qcow2", "release 23.2, maintenance R1, spin 15" },
        { "media-vsrx-vmdisk-15.1X49-D120.3.qcow2",
          "release 15.1, train X49, rebuild D120, spin 3" },
        { "vEOS-lab-4.28.1.1F.vmdk", "release 4.28, maintenance 1, rebuild 1, kind feature" },
        { "vEOS64-lab-4.31.6M.qcow2", "release 4.31, maintenance 6, kind maintenance" },
        { "FGT_VM64_KVM-v7.4.7.M-build2731-FORTINET.out.kvm.qcow2",
          "release 7.4, patch 7, build 2731" },
        { "FGT_VM64_KVM-v6-build0272-FORTINET.out.kvm.qcow2", "release 6, build 0272" },
        { "PA-VM-KVM-10.2.3-h4.qcow2", "release 10.2, maintenance 3, hotfix 4" },
        { "Cisco_Firepower_Threat_Defense_Virtual-6.2.0-363.qcow2", "release 6.2.0, build 363" },
        { "debian-12-genericcloud-amd64-20240717-1811.qcow2",
          "release 12, built 2024-07-17, serial 1811" },
        { "ise-2.7.0.356.SPA.x86_64.iso", "" },
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        struct family_part parts[FAMILY_PARTS_MAX];
        struct family_match match;
        char text[1024] = "";

        family_identify(families, cases[i].file, &match);
        assert_int_equal(match.verdict, FAMILY_KNOWN);
        size_t n = family_decode(match.families[0], match.version, parts);
        for (size_t j = 0; j < n; j++)
            snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s %s",
                     j > 0 ? ", " : "", parts[j].name, parts[j].text);
        assert_string_equal(text, cases[i].parts);
    }
}

static void versions_of_names_compare(void **state)
{
    _cleanup_(families_freep) struct families *families = installed();
    static const struct { const char *a, *b; enum version_result result; } cases[] = {
        { "csr1000v-ucmk9.16.12.1b-serial.qcow2", "csr1000v-universalk9.17.03.06-serial.qcow2",
          VERSION_OLDER },
        { "junos-vsrx3-x86-64-21.2R3-S4.8.qcow2", "junos-vsrx3-x86-64-21.2R3.9.qcow2",
          VERSION_NEWER },
        { "vios-15.9.3M2/virtioa.qcow2", "vios-adventerprisek9-m.spa.159-3.m2.qcow2",
          VERSION_SAME },
        { "FGT_VM64_KVM-v6-build0272-FORTINET.out.kvm.qcow2",
          "FGT_VM64_KVM-v6-build1234-FORTINET.out.kvm.qcow2", VERSION_INCOMPARABLE },
        { "vFPC-20200526.img", "vfpc_16.1R4.7-disk1.vmdk", VERSION_INCOMPARABLE },
        { "TrueNAS-13.3-RELEASE.iso", "TrueNAS-SCALE-24.04.2.2.iso", VERSION_INCOMPARABLE },
        { "asav-9182/virtioa.qcow2", "asav9-12-2.qcow2", VERSION_INCOMPARABLE },
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        struct family_match a, b;

        family_identify(families, cases[i].a, &a);
        family_identify(families, cases[i].b, &b);
        struct version left = family_match_version(&a), right = family_match_version(&b);
        if (version_compare(&left, &right) != cases[i].result)
            fail_msg("%s, %s", cases[i].a, cases[i].b);
    }
}

/* A minimum is of releases where there are any, and of their newest numbering. */
static void minimums_have_a_scheme(void **state)
{
    struct families *families = parse(
        "families:\n"
        "- {family: a, vendor: A, product: A, order: junos, names: [\n"
        "   {match: '^a-d(.*)$', version: '\\1', scheme: date},\n"
        "   {match: '^a-o(.*)$', version: '\\1', epoch: 1},\n"
        "   {match: '^a-n(.*)$', version: '\\1', epoch: 2}]}\n"
        "- {family: b, vendor: B, product: B, names: [\n"
        "   {match: '^b-m(.*)$', version: '\\1', order: none},\n"
        "   {match: '^b-(.*)$', version: '\\1', scheme: core},\n"
        "   {match: '^b:(.*)$', version: '\\1', scheme: scale}]}\n"
        "- {family: c, vendor: C, product: C, order: none, names: [\n"
        "   {match: '^c-(.*)$', version: '\\1'}]}\n");
    static const struct { const char *family, *file; enum version_result result; } cases[] = {
        { "a", "a-d5", VERSION_INCOMPARABLE }, { "a", "a-o9", VERSION_OLDER },
        { "a", "a-n5", VERSION_OLDER },        { "a", "a-n6", VERSION_SAME },
        { "a", "a-n7", VERSION_NEWER },        { "b", "b-m5", VERSION_INCOMPARABLE },
        { "b", "b-5", VERSION_OLDER },         { "b", "b:5", VERSION_INCOMPARABLE },
        { "c", "c-5", VERSION_INCOMPARABLE },  { "c", "c-6", VERSION_INCOMPARABLE },
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        struct version minimum = family_minimum_version(families_find(families, cases[i].family),
                                                        "6");
        struct family_match match;

        family_identify(families, cases[i].file, &match);
        struct version version = family_match_version(&match);
        assert_int_equal(version_compare(&version, &minimum), cases[i].result);
    }
    families_free(families);
}

static void a_name_of_any_length(void **state)
{
    _cleanup_(families_freep) struct families *families = parse(
        "families:\n- {family: a, vendor: A, product: A, eve-prefix: [p], eve-stem: {p: aa}, "
        "names: [{match: '^(a+)$', version: 'x\\1'}]}\n");
    struct family_match match;
    char name[4096];

    for (size_t length = 1; length < 600; length++) {
        memset(name, 'a', length);
        name[length] = 0;
        family_identify(families, name, &match);
        assert_int_equal(match.verdict, length <= 255 ? FAMILY_KNOWN : FAMILY_UNKNOWN);
        /* a version that does not fit is none */
        assert_int_equal(strlen(match.version), length < 255 ? length + 1 : 0);
        snprintf(name, 3, "p-");
        memset(name + 2, 'a', length);
        snprintf(name + 2 + length, 2, "/");
        family_identify(families, name, &match);
        assert_int_equal(match.verdict, length + 2 <= 255 ? FAMILY_KNOWN : FAMILY_UNKNOWN);
    }
}

/* ---- several families ----------------------------------------------------------------------- */

static void what_fits_two_products_is_ambiguous(void **state)
{
    _cleanup_(families_freep) struct families *families = parse(
        "families:\n"
        "- {family: a, vendor: A, product: P, names: [{match: '^a-(.*)$', version: '\\1'}]}\n"
        "- {family: b, vendor: A, product: P, names: [{match: '^[ab]-(1.*)$', version: '9\\1'}]}\n"
        "- {family: c, vendor: C, product: P, names: [{match: '^[ac]-3', version: '3'},\n"
        "   {match: '^c-(.*)$', version: '\\1', scheme: other}]}\n");
    static const struct name_case cases[] = {
        { "a-2", "a", "2" },
        { "a-1", "a", "1" },            /* the same product: the first holds */
        { "b-1", "b", "91" },
        { "a-3", "?", "" },
        { "c-3", "c", "3" },            /* within a family, the first name holds */
        { "c-4", "c", "4" },
    };
    struct family_match match;

    expect(families, cases, ELEMENTSOF(cases));
    family_identify(families, "a-3", &match);
    assert_int_equal(match.n_families, 2);
    assert_string_equal(match.families[0]->name, "a");
    assert_string_equal(match.families[1]->name, "c");
    assert_null(match.scheme);
}

static void write_file(const char *folder, const char *name, const char *text)
{
    char path[4096];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static void a_sites_own_replace_by_name(void **state)
{
    char folder[] = "/tmp/qcaudit-families-XXXXXX", file[4096], below[4096];
    _cleanup_(families_freep) struct families *families = NULL;
    struct said said = { 0 };

    assert_non_null(mkdtemp(folder));
    snprintf(file, sizeof(file), "%s/families.yaml", folder);
    snprintf(below, sizeof(below), "%s/families.d", folder);
    write_file(folder, "families.yaml",
               "decodings: {d: [{match: '^(.)', parts: {first: '\\1'}}]}\n"
               "families:\n- {family: a, vendor: A, product: A, names: [{match: '^a'}]}\n"
               "- {family: b, vendor: B, product: B, names: [{match: '^b'}]}\n");
    assert_int_equal(families_load(file, below, note, &said, &families), 0);
    assert_int_equal(families->n, 2);
    families = families_free(families);

    assert_int_equal(mkdir(below, 0755), 0);
    write_file(below, "20.yaml", "families:\n- {family: a, vendor: Z, product: Z, decoding: d, "
                                 "names: [{match: '^[az](.*)', version: '\\1'}]}\n");
    write_file(below, "10.yaml", "families:\n- {family: c, vendor: C, product: C, "
                                 "names: [{match: '^c'}]}\n");
    write_file(below, "ignored.txt", "nonsense: [\n");
    assert_int_equal(families_load(file, below, note, &said, &families), 0);
    static const struct name_case cases[] = {
        { "z5", "a", "5" }, { "b", "b", "" }, { "c", "c", "" }, { "a1", "a", "1" }
    };
    expect(families, cases, ELEMENTSOF(cases));
    assert_int_equal(families->n, 3);
    assert_string_equal(families_find(families, "a")->vendor, "Z");
    assert_null(families_find(families, "d"));
    struct family_place place = family_place_of(families, families_find(families, "a"));
    assert_non_null(strstr(place.file, "/families.d/20.yaml"));
    assert_int_equal(place.line, 2);
    families = families_free(families);

    /* a mistake in one: nothing is taken */
    write_file(below, "30.yaml", "families:\n- {family: x}\n");
    assert_int_equal(families_load(file, below, note, &said, &families), -EINVAL);
    assert_null(families);
    assert_string_equal(said.text, "2:3: families[]: without vendor\n"
                                   "2:3: families[]: without product\n"
                                   "2:3: families[]: without names\n");
    char command[5000];
    snprintf(command, sizeof(command), "%s/30.yaml", below);
    assert_int_equal(unlink(command), 0);
    static const char *const left[] = { "20.yaml", "10.yaml", "ignored.txt", "" };
    for (size_t i = 0; i < ELEMENTSOF(left); i++) {
        snprintf(command, sizeof(command), "%s/%s", below, left[i]);
        assert_int_equal(remove(command), 0);
    }
    assert_int_equal(unlink(file), 0);
    assert_int_equal(rmdir(folder), 0);
}

/* ---- mistakes ------------------------------------------------------------------------------- */

#define FAMILY(rest) "families:\n- {family: a, vendor: A, product: A, " rest "}\n"
#define NAME(rest) FAMILY("names: [{match: '^a(.*)$'" rest "}]")
#define PATTERN(text) FAMILY("names: [{match: '" text "'}]")

static void mistakes(void **state)
{
    static const struct {
        const char *text, *said;
    } cases[] = {
        { "famillies: []\n",
          "1:1: unknown key \"famillies\" in the file; did you mean \"families\"?\n" },
        { "x: []\n", "1:1: unknown key \"x\" in the file; known are: schema, decodings, "
                     "families\n" },
        { "- a\n", "1:1: the file: expected a mapping, found a list\n" },
        { "schema: 2\n", "1:9: schema: \"2\": this version of qcaudit reads schema 1\n" },
        { "families: {}\n", "1:11: families: expected a list, found a mapping\n" },
        { "families: [5]\n", "1:12: families[]: expected a mapping, found text\n" },
        { "families: []\nfamilies: []\n",
          "2:1: duplicate key \"families\", first given on line 1\n" },
        { FAMILY("names: []") "- {family: a, vendor: A, product: A, names: []}\n",
          "3:3: family: a second \"a\", first given on line 2\n" },
        { "families:\n- {family: 'a b', vendor: A, product: A, names: []}\n",
          "2:12: family: \"a b\": a name has 1 to 64 letters, digits, points, dashes and _\n" },
        { "families:\n- {family: a, vendor: [A], product: \"A\\e[31m\", names: []}\n",
          "2:23: vendor: expected text, found a list\n"
          "2:37: product: \"A\\x1b[31m\": a sign that cannot be printed\n" },
        { FAMILY("names: [], order: junoss"),
          "2:56: order: \"junoss\": not one of generic, junos, none\n" },
        { FAMILY("names: [], kind: odd"),
          "2:55: kind: \"odd\": not one of appliance, system\n" },
        { FAMILY("names: [], minimum-memory: much"),
          "2:65: minimum-memory: \"much\": not a size such as 512MiB or 1GiB\n" },
        { FAMILY("names: [], decoding: d"),
          "2:59: decoding: \"d\": there is none of this name below decodings\n" },
        { FAMILY("names: [], namess: 1"),
          "2:49: unknown key \"namess\" in families[]; did you mean \"names\"?\n" },
        { NAME(", version: '\\2'"), "2:74: names[].version: \"\\\\2\": the pattern has fewer "
                                    "pairs of brackets\n" },
        { NAME(", version: 'x\\'"), "2:74: names[].version: \"x\\\\\": a backslash without the "
                                    "number of a pair of brackets\n" },
        { NAME(", epoch: -1"), "2:72: names[].epoch: \"-1\": not a whole number\n" },
        { NAME(", epoch: 2000000"), "2:72: names[].epoch: \"2000000\": more than 1000000\n" },
        { NAME(", map: {a: 1, a: 2}"), "2:77: duplicate key \"a\", first given on line 2\n" },
        { FAMILY("names: [{version: '1'}]"), "2:46: names[]: without match\n" },
        { "decodings: {d: [{match: '^a', parts: {p: '\\1'}}]}\n",
          "1:42: decodings.*[].parts: \"\\\\1\": the pattern has fewer pairs of brackets\n" },
        { "decodings: {d: [{match: '^a'}]}\n", "1:17: decodings.*[]: without parts\n" },
        /* examples are held against the names */
        { FAMILY("names: [{match: '^a(.*)$', version: '\\1'}], examples: [{file: a1.img, "
                 "version: '2'}, {file: b}]"),
          "2:93: examples[]: \"a1.img\" is version \"1\" by the names\n"
          "2:123: examples[]: no name of the family fits \"b\"\n" },
        /* patterns */
        { PATTERN("(a)\\1"), "2:54: names[].match: \"(a)\\\\1\": back-references (\\1) may take "
                             "for ever, and are not taken\n" },
        { PATTERN("a\\w"), "2:54: names[].match: \"a\\\\w\": a backslash before what needs "
                           "none\n" },
        { PATTERN("a\\"), "2:54: names[].match: \"a\\\\\": a backslash before what needs none\n" },
        { PATTERN("(a"), "2:54: names[].match: \"(a\": ( without )\n" },
        { PATTERN("a)"), "2:54: names[].match: \"a)\": ) without (\n" },
        { PATTERN("[a"), "2:54: names[].match: \"[a\": [ without ]\n" },
        { PATTERN("[[:a]"), "2:54: names[].match: \"[[:a]\": [: without :]\n" },
        { PATTERN("[[:foo:]]"), "2:54: names[].match: \"[[:foo:]]\": Invalid character class "
                                "name\n" },
        { PATTERN("[[.a.]]"), "2:54: names[].match: \"[[.a.]]\": [. .] and [= =] depend on the "
                              "locale, and are not taken\n" },
        { PATTERN("[z-a]"), "2:54: names[].match: \"[z-a]\": Invalid range end\n" },
        { PATTERN("a{x}"), "2:54: names[].match: \"a{x}\": { without a number; as a sign of a "
                           "name it is [{]\n" },
        { PATTERN("a{2"), "2:54: names[].match: \"a{2\": { without }\n" },
        { PATTERN("a{3,2}"), "2:54: names[].match: \"a{3,2}\": Invalid content of \\{\\}\n" },
        { PATTERN("*a"), "2:54: names[].match: \"*a\": a repetition of nothing\n" },
        { PATTERN("a{257}"), "2:54: names[].match: \"a{257}\": repeats more often than 256 "
                             "times\n" },
        { PATTERN("a{99999999999999999999}"),
          "2:54: names[].match: \"a{99999999999999999999}\": repeats more often than 256 "
          "times\n" },
        { PATTERN("((a{16}){16}){2}"),
          "2:54: names[].match: \"((a{16}){16}){2}\": too large: more than 256 signs, each "
          "counted as often as it is repeated\n" },
        { PATTERN("^(a{0,9}){0,8}b"),
          "2:54: names[].match: \"^(a{0,9}){0,8}b\": too many choices: more than 64 of ? * + | ^ "
          "and {}, each as often as it comes\n" },
        { PATTERN("a*"), "2:54: names[].match: \"a*\": it fits what has no characters at all\n" },
        { PATTERN("x|"), "2:54: names[].match: \"x|\": it fits what has no characters at all\n" },
        { PATTERN("((((((((((((((((((a))))))))))))))))))"),
          "2:54: names[].match: \"((((((((((((((((((a))))))))))))))))))\": more than 16 brackets "
          "in each other\n" },
        { FAMILY("names: [{match: [a]}]"), "2:54: names[].match: expected text, found a list\n" },
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        struct families *families = NULL;
        struct said said = { 0 };
        int r = families_parse("a.yaml", cases[i].text, strlen(cases[i].text), note, &said,
                               &families);

        if (r != -EINVAL || families || strcmp(said.text, cases[i].said) != 0)
            fail_msg("%d of\n%s%s", r, cases[i].text, said.text);
    }
}

/* Something of n bytes that is refused with the message. */
static void expect_refused(const char *text, size_t n, const char *message)
{
    struct families *families = NULL;
    struct said said = { 0 };

    assert_int_equal(families_parse("a.yaml", text, n, note, &said, &families), -EINVAL);
    assert_null(families);
    if (!strstr(said.text, message))
        fail_msg("%s", said.text);
}

static void hostile_files(void **state)
{
    enum { SIZE = 1024 * 1024 + 1 };
    char *text = malloc(SIZE + 1);

    assert_non_null(text);
    memset(text, '[', 1000);
    expect_refused(text, 1000, "nested too deeply");
    memset(text, '#', SIZE);
    expect_refused(text, SIZE, "larger than 1 MiB");
    size_t n = (size_t)sprintf(text, "families:\n");
    while (n + 64 < SIZE && n < 600000)
        n += (size_t)sprintf(text + n, "- {family: f%zu}\n", n);
    expect_refused(text, n, "more than 4096 entries");
    n = (size_t)sprintf(text, "families:\n");
    for (unsigned i = 0; i < 200; i++)
        n += (size_t)sprintf(text + n,
                             "- {family: f%u, vendor: A, product: A, names: [{match: 'a{255}'}]}\n",
                             i);
    expect_refused(text, n, "all patterns together are too large");
    n = (size_t)sprintf(text, "families:\n- {family: a, vendor: A, product: A, names: [{match: '");
    memset(text + n, 'a', 513);
    n += 513;
    n += (size_t)sprintf(text + n, "'}]}\n");
    expect_refused(text, n, "longer than 512 bytes");
    expect_refused("a: \0b\n", 6, "a control character");
    expect_refused("families: &a [*a]\n", 18, "anchors");
    free(text);
}

/* ---- with what a name begins ---------------------------------------------------------------- */

/* What is left out before the pattern is tried must not fit it. */
static void no_name_that_fits_is_left_out(void **state)
{
    static const char *const patterns[] = {
        "^abc", "^(a|b)c", "^(a|b)?c", "^(a|b){0,2}c", "^(a|b)*c", "^a?b", "^a*b", "^a{0,3}b",
        "^a+b", "^(a?|b)c", "^(a|bc?)", "^a|c", "^(a|b)|c", "^(a|(b|c)d)c", "^((a|b)|c)c", "a",
        "(^a|c)", "^[|)]b|c", "^([]|)]|c)b", "^(a|[(]b)c", "^(a|[^]c]b)c", "^(a[[:digit:]|]|b)c",
        "^(a\\)|b)c", "^(a\\||b)c", "^\\.a", "^.a", "^(a(b|c)?|c)", "^(|a)c", "^A1", "^(1|2)a",
        "^a[]|]|b", "^a[^]|]|b", "^(a)(|b)c", "^(a)|(b)",
        "^a[[:digit:](]|b", "^(a[[:digit:])]|b)c", "^ab|c", "^ab?c", "^abc*", "^ab{0,1}c", "^ab+",
        "^a1[)]b", "^aB(c|d)", "^(ab|cd)1?",
    };
    static const char signs[] = "aAbBcCdD1|).([]";
    locale_t locale = pattern_locale_new();
    size_t n_fit = 0;

    for (size_t i = 0; i < ELEMENTSOF(patterns); i++) {
        char reason[PATTERN_REASON_MAX];
        struct pattern pattern;

        if (pattern_compile(patterns[i], locale, &pattern, reason) < 0)
            fail_msg("%s: %s", patterns[i], reason);
        for (size_t j = 0; j < 15 * 15 * 15 * 15; j++) {
            const char name[] = { signs[j % 15], signs[j / 15 % 15], signs[j / 15 / 15 % 15],
                                  signs[j / 15 / 15 / 15], 0 };
            regmatch_t matches[PATTERN_GROUPS];
            bool fits = regexec(&pattern.regex, name, 0, NULL, 0) == 0;

            if (pattern_match(&pattern, name, matches) != fits)
                fail_msg("%s, %s", patterns[i], name);
            n_fit += fits;
        }
        pattern_done(&pattern);
    }
    assert_true(n_fit > 10000);
    freelocale(locale);
}

/* ---- time ----------------------------------------------------------------------------------- */

static double cpu_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Patterns that are as bad as is taken, and names that they nearly fit: each at most a second, a
 * hundred times of what it takes. */
static void hostile_patterns_end(void **state)
{
    static const char *const patterns[] = {
        "^(a+)+!$", "^(a*)*b$", "^(a|a)*!$", "^(a|aa)+!$", "^((a*)*)*!$", "(x+x+)+y",
        "^(.|.|.|.|.|.|.)*!$", "^((.*,)*)*1$", "(((.*)(.*))*((.*)(.*))*)*!",
        "(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)x", "^((a?){7}){8}!$", "(a?){32}(a?){32}b",
        "(a{0,7}){0,8}b", "((.?){8}){8}z", "((a|b|ab|ba){3}){7}c",
        "(((((a+)+)+)+)+)!", "^(a?){60}a{120}$", "([^b]{1,8}){1,8}$",
        "((^|.)(^|.)){16}!", "(()*a)*!",
    };
    static const char *const fillings[] = { "a", "ab", "1.", "x", "\xff", "a1-" };
    locale_t locale = pattern_locale_new();
    size_t n_taken = 0;

    for (size_t i = 0; i < ELEMENTSOF(patterns); i++) {
        char reason[PATTERN_REASON_MAX], name[PATTERN_NAME_MAX + 1];
        struct pattern pattern;
        double begin = cpu_seconds();

        if (pattern_compile(patterns[i], locale, &pattern, reason) < 0)
            fail_msg("%s: %s", patterns[i], reason);
        n_taken++;
        for (size_t j = 0; j < ELEMENTSOF(fillings); j++) {
            regmatch_t matches[PATTERN_GROUPS];

            for (size_t k = 0; k < PATTERN_NAME_MAX; k++)
                name[k] = fillings[j][k % strlen(fillings[j])];
            name[PATTERN_NAME_MAX] = 0;
            pattern_match(&pattern, name, matches);
        }
        pattern_done(&pattern);
        if (cpu_seconds() - begin > 1 * (double)ELEMENTSOF(fillings))
            fail_msg("%s: %f s", patterns[i], cpu_seconds() - begin);
    }
    assert_int_equal(n_taken, ELEMENTSOF(patterns));
    freelocale(locale);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_example_is_of_its_family_alone),
        cmocka_unit_test(names),
        cmocka_unit_test(folders_of_eve),
        cmocka_unit_test(parts_of_versions),
        cmocka_unit_test(versions_of_names_compare),
        cmocka_unit_test(minimums_have_a_scheme),
        cmocka_unit_test(a_name_of_any_length),
        cmocka_unit_test(what_fits_two_products_is_ambiguous),
        cmocka_unit_test(a_sites_own_replace_by_name),
        cmocka_unit_test(mistakes),
        cmocka_unit_test(hostile_files),
        cmocka_unit_test(no_name_that_fits_is_left_out),
        cmocka_unit_test(hostile_patterns_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
