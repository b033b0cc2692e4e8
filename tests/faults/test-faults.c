/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What reads strangers' bytes, while the n-th allocation or read fails, for every n: it says that
 * it could not, or the same as undisturbed.
 *
 * FAULT_STRIDE is the distance of the n that are tried (default 97: a sample; 1: all of them),
 * FAULT_FILES that of the files of the corpora, FAULT_TEST one test alone. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../unit/store-kit.h"
#include "daemon/config/config.h"
#include "daemon/contents/baseline.h"
#include "daemon/contents/ledger.h"
#include "daemon/store/report.h"
#include "daemon/virt/library.h"
#include "daemon/virt/xml.h"
#include "fault.h"
#include "qcaudit/qcaudit.h"

DEFINE_CLEANUP(struct qca_io *, qca_io_free)
DEFINE_CLEANUP(struct qca_image *, qca_image_free)
DEFINE_CLEANUP(struct config *, config_free)
DEFINE_CLEANUP(struct audit_report *, audit_report_free)
DEFINE_CLEANUP(json_object *, json_object_put)

/* What one run says: an error, or some numbers and what they are. */
struct outcome {
    int error;
    uint64_t number[4];
};

typedef void (*run_fn)(const char *path, struct outcome *ret_outcome);

static unsigned distance(const char *variable, unsigned usual)
{
    const char *text = getenv(variable);
    unsigned long n = text ? strtoul(text, NULL, 10) : 0;

    return n > 0 && n < UINT_MAX ? (unsigned)n : usual;
}

/* Every stride-th n, until one is not reached any more. The number of faults. */
static unsigned long disturb(run_fn run, const char *path, enum fault_kind kind, unsigned *offset)
{
    unsigned stride = distance("FAULT_STRIDE", 97);
    struct outcome calm = { .error = 0 }, disturbed;
    unsigned long n_faults = 0;

    run(path, &calm);
    for (uint64_t n = 1 + (*offset)++ % stride;; n += stride) {
        uint64_t fired;

        disturbed = (struct outcome){ .error = 0 };
        fault_arm(kind, n, false);
        run(path, &disturbed);
        fired = fault_disarm();
        if (fired == 0)
            return n_faults;
        n_faults++;
        if (disturbed.error == 0 &&
            memcmp(&disturbed, &calm, sizeof(calm)) != 0) {
            fault_show();
            fail_msg("%s: call %llu of kind %d fails, and is not said: %d %llu %llu %llu %llu "
                     "instead of %d %llu %llu %llu %llu", path,
                     (unsigned long long)n, (int)kind, disturbed.error,
                     (unsigned long long)disturbed.number[0],
                     (unsigned long long)disturbed.number[1],
                     (unsigned long long)disturbed.number[2],
                     (unsigned long long)disturbed.number[3], calm.error,
                     (unsigned long long)calm.number[0], (unsigned long long)calm.number[1],
                     (unsigned long long)calm.number[2], (unsigned long long)calm.number[3]);
        }
    }
}

static void each_file(const char *folder, run_fn run, enum fault_kind kind)
{
    unsigned every = distance("FAULT_FILES", 23), i = 0, offset = 0;
    const char *top = getenv("top_srcdir");
    unsigned long n_faults = 0;
    char path[PATH_MAX];
    DIR *dir;

    snprintf(path, sizeof(path), "%s/tests/fuzz/corpus/%s", top ? top : ".", folder);
    dir = opendir(path);
    if (!dir)
        skip();
    for (struct dirent *entry; (entry = readdir(dir));) {
        char file[PATH_MAX + 256];

        if (entry->d_name[0] == '.' || i++ % every != 0)
            continue;
        snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
        n_faults += disturb(run, file, kind, &offset);
    }
    closedir(dir);
    assert_true(i > 0);
    print_message("%lu faults in %s\n", n_faults, folder);
}

static char *bytes_of(const char *path, size_t *ret_size)
{
    FILE *file = fopen(path, "re");
    struct stat st;
    char *bytes = NULL;

    if (file && fstat(fileno(file), &st) == 0)
        bytes = malloc((size_t)st.st_size + 1);
    if (bytes && fread(bytes, 1, (size_t)st.st_size, file) == (size_t)st.st_size) {
        *ret_size = (size_t)st.st_size;
        bytes[st.st_size] = '\0';
    } else if (bytes) {
        free(bytes);
        bytes = NULL;
    }
    if (file)
        fclose(file);
    return bytes;
}

/* ---- images ---------------------------------------------------------------------------------- */

static void run_image(const char *path, struct outcome *ret_outcome)
{
    const struct qca_check_options options = { .deep = true, .max_issues = 50 };
    _cleanup_(qca_check_result_done) struct qca_check_result result = { 0 };
    _cleanup_(qca_image_freep) struct qca_image *image = NULL;
    _cleanup_(qca_io_freep) struct qca_io *io = NULL;
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct qca_error error;
    int r = fd < 0 ? -errno : qca_io_new_fd(fd, &io);

    if (r == 0) {
        r = qca_image_open(io, NULL, &error, &image);
        if (r == 0 || image)
            TAKE_PTR(io);
    }
    if (r == 0)
        r = qca_check(image, &options, &result);
    if (r == 0 && !result.finished)
        r = -EIO;
    *ret_outcome = (struct outcome){ r < 0 ? r : 0, { result.corruptions, result.leaks,
                                                      result.check_errors, result.n_issues } };
}

static void images_without_memory(void **state)
{
    each_file("image", run_image, FAULT_MEMORY);
}

static void images_that_cannot_be_read(void **state)
{
    each_file("image", run_image, FAULT_READ);
}

/* ---- texts ----------------------------------------------------------------------------------- */

static void mistake(void *userdata, const char *file, unsigned line, unsigned column,
                    const char *message)
{
    (*(uint64_t *)userdata)++;
}

static void run_config(const char *path, struct outcome *ret_outcome)
{
    _cleanup_(config_freep) struct config *config = NULL;
    uint64_t mistakes = 0;
    int r = config_load(path, mistake, &mistakes, &config);

    /* An error has its mistakes, or is one of the system's. */
    assert_true(r == 0 || r != -EINVAL || mistakes > 0);
    *ret_outcome = (struct outcome){ r, { config ? config->n_datastores : 0, mistakes } };
}

static void configurations(void **state)
{
    each_file("config", run_config, FAULT_MEMORY);
    each_file("config", run_config, FAULT_OPEN);
    each_file("config", run_config, FAULT_READ);
}

static int on_entry(void *userdata, json_object *entry)
{
    struct baseline *baseline = NULL;
    json_object *object;
    int r = json_object_object_get_ex(entry, "baseline", &object)
                ? baseline_from_json(object, &baseline) : 0;

    baseline_free(baseline);
    return r;
}

static void run_journal(const char *path, struct outcome *ret_outcome)
{
    struct ledger_report report = { .entries = 0 };
    FILE *file = state_file_open(path);
    int r = file ? ledger_read(file, on_entry, NULL, &report) : -errno;

    if (file)
        fclose(file);
    *ret_outcome = (struct outcome){ r, { report.entries, report.damaged, report.torn,
                                          report.end } };
}

static void journals(void **state)
{
    each_file("baseline", run_journal, FAULT_MEMORY);
    each_file("baseline", run_journal, FAULT_OPEN);
}

static void run_report(const char *path, struct outcome *ret_outcome)
{
    _cleanup_(audit_report_freep) struct audit_report *report = NULL;
    size_t size = 0;
    _cleanup_free_ char *bytes = bytes_of(path, &size);
    int r = bytes ? store_report_decode(bytes, size, STORE_REPORT_VERSION, &report) : -ENOMEM;

    *ret_outcome = (struct outcome){ r, { report ? report->n_layers : 0 } };
}

static void reports(void **state)
{
    each_file("report", run_report, FAULT_MEMORY);
}

static void run_domain(const char *path, struct outcome *ret_outcome)
{
    size_t size = 0;
    _cleanup_free_ char *bytes = bytes_of(path, &size);
    struct virt_body *body = NULL;
    int r = bytes && size > 0 ? virt_xml_body(bytes + 1, NULL, &body) : -ENOMEM;

    *ret_outcome = (struct outcome){ r, { body ? body->n_disks : 0 } };
    virt_body_unref(body);
}

static void domains(void **state)
{
    _cleanup_free_ char *reason = NULL;

    assert_int_equal(virt_library_load_xml(&reason), 0);
    each_file("virt", run_domain, FAULT_MEMORY);
}

/* ---- the database ---------------------------------------------------------------------------- */

static void old_database(struct kit *kit, unsigned version)
{
    char path[PATH_MAX];
    size_t size = 0;
    sqlite3 *sqlite = NULL;

    snprintf(path, sizeof(path), "%s/tests/fixtures/database-%u.sql", getenv("top_srcdir"),
             version);
    _cleanup_free_ char *text = bytes_of(path, &size);
    assert_non_null(text);
    (void)unlink(kit->database);
    for (unsigned i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "%s%s", kit->database, i ? "-wal" : "-shm");
        (void)unlink(path);
    }
    assert_int_equal(sqlite3_open(kit->database, &sqlite), SQLITE_OK);
    assert_int_equal(sqlite3_exec(sqlite, text, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(sqlite);
}

/* Opened and brought up to date: done, or not, and then done by the next one; never put aside. */
static void migrate(struct kit *kit, unsigned version, enum fault_kind kind)
{
    unsigned stride = distance("FAULT_STRIDE", 97);
    unsigned long n_faults = 0;

    for (uint64_t n = 1 + version % stride;; n += stride) {
        uint64_t fired;
        int r;

        old_database(kit, version);
        fault_arm(kind, n, false);
        r = kit_try_open(kit);
        fired = fault_disarm();
        if (r == 0)
            kit_close(kit);
        assert_null(kit->aside);
        kit_open(kit);
        kit_load(kit);
        assert_null(kit->aside);
        assert_int_equal(kit->n_findings, 2);
        assert_int_equal(kit->n_images, 4);
        assert_int_equal(kit_sql(kit, "SELECT count(*) FROM event"), 3);
        kit_close(kit);
        if (fired == 0)
            break;
        n_faults++;
    }
    print_message("%lu faults in the migration from version %u\n", n_faults, version);
}

static void migrations(void **state)
{
    static const enum fault_kind kinds[] = { FAULT_MEMORY, FAULT_OPEN, FAULT_READ, FAULT_WRITE,
                                             FAULT_SYNC };

    if (!getenv("top_srcdir"))
        skip();
    for (unsigned version = 1; version < CONTROL_DATABASE_VERSION; version++)
        for (size_t i = 0; i < ELEMENTSOF(kinds); i++)
            migrate(*state, version, kinds[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(images_without_memory),
        cmocka_unit_test(images_that_cannot_be_read),
        cmocka_unit_test(configurations),
        cmocka_unit_test(journals),
        cmocka_unit_test(reports),
        cmocka_unit_test(domains),
        cmocka_unit_test_setup_teardown(migrations, kit_setup, kit_teardown),
    };

    cmocka_set_test_filter(getenv("FAULT_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
