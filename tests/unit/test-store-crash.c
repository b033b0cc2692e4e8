/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The store killed at any moment, and on a full disk: what is there is whole and in order, what
 * waits is not lost. */
#include "store-kit.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "helpers/clock.h"

#define ROUNDS 30

static struct store_batch *new_batch(void)
{
    struct store_batch *batch;

    assert_int_equal(store_batch_new(&batch), 0);
    return batch;
}

/* Number i of the batches: an image, its audit, a finding and three events, all of which say i. */
static struct store_batch *numbered_batch(struct kit *kit, unsigned i)
{
    struct image image = kit_make_image("/srv/vms/a");
    struct layer_report layer = { .info = { .format = QCA_FORMAT_RAW } };
    struct audit_report report = { .layers = &layer, .n_layers = 1 };
    struct audit audit = kit_make_audit(KIT_NOW + i, &report);
    struct store_batch *batch = new_batch();
    struct finding finding;

    finding = kit_make_finding(kit, FINDING_CHAIN_DEEP, "/srv/vms/a");
    finding.count = i;
    image.walk = i;
    assert_int_equal(store_batch_image(batch, &image), 0);
    assert_int_equal(store_batch_audit(batch, &image, &audit), 0);
    for (unsigned j = 0; j < 3; j++) {
        struct event event = kit_make_event(&finding, EVENT_OPENED, KIT_NOW + i);

        assert_int_equal(store_batch_event(batch, &event), 0);
    }
    assert_int_equal(store_batch_finding(batch, &finding), 0);
    return batch;
}

/* The database holds batches 1 to n whole, n being returned, and nothing of any other. */
static int64_t whole_batches(struct kit *kit)
{
    int64_t n = kit_sql(kit, "SELECT count(DISTINCT at) FROM event");

    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM event"), 3 * n);
    assert_int_equal(
        kit_sql(kit,
                "SELECT count(*) FROM (SELECT at FROM event GROUP BY at HAVING count(*) <> 3)"),
        0);
    assert_int_equal(
        kit_sql(kit,
                "SELECT count(*) FROM (SELECT at, lag(at) OVER (ORDER BY seq) AS before FROM event)"
                " WHERE at < before"),
        0);
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM audit"), n);
    if (n > 0) {
        assert_int_equal(kit_sql(kit, "SELECT max(at) FROM event"), KIT_NOW + (uint64_t)n);
        assert_int_equal(kit_sql(kit, "SELECT walk FROM image"), n);
        assert_int_equal(kit_sql(kit, "SELECT count FROM finding"), n);
        assert_int_equal(kit_sql(kit,
                                 "SELECT started FROM audit JOIN image ON image.audit = audit.id"),
                         KIT_NOW + (uint64_t)n);
    }
    return n;
}

static void count_committed(void *userdata, int error)
{
    volatile unsigned *committed = userdata;

    if (error == 0)
        ++*committed;
}

/* Writes batches from number first on until it is killed; *committed counts the answers. */
static void write_until_killed(struct kit *kit, unsigned first, volatile unsigned *committed)
{
    if (sd_event_new(&kit->event) < 0 || kit_try_open(kit) < 0)
        _exit(1);
    for (unsigned i = first;; i++) {
        if (store_commit(kit->store, numbered_batch(kit, i), count_committed,
                         (void *)(uintptr_t)committed) < 0)
            _exit(1);
        while (store_waiting(kit->store) > 20)
            sd_event_run(kit->event, USEC_PER_SEC);
        sd_event_run(kit->event, 0);
    }
}

static bool check_owed(struct store *store)
{
    bool owed;

    pthread_mutex_lock(&store->lock);
    owed = store->check_owed;
    pthread_mutex_unlock(&store->lock);
    return owed;
}

static void killed(void **state)
{
    struct kit *kit = *state;
    volatile unsigned *committed;
    unsigned seed = 1;
    int64_t n = 0;

    kit->audits_kept = 1000000;
    committed = mmap(NULL, sizeof(*committed), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                     -1, 0);
    assert_true(committed != MAP_FAILED);
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned enough = *committed + (unsigned)rand_r(&seed) % 40;
        int status;
        pid_t child = fork();

        assert_true(child >= 0);
        if (child == 0)
            write_until_killed(kit, (unsigned)n + 1, committed);
        /* Killed somewhere between two answers, wherever that is. */
        while (*committed < enough && waitpid(child, &status, WNOHANG) == 0)
            usleep(200);
        usleep((useconds_t)(rand_r(&seed) % 3000));
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        kit_open(kit);
        assert_null(kit->aside);
        n = whole_batches(kit);
        /* Answered is stored; of round 0 nothing may have been. */
        assert_true(n >= *committed);
        *committed = (unsigned)n;
        assert_int_equal(check_owed(kit->store), n > 0);
        kit_load(kit);
        assert_int_equal(kit->n_events, 3 * n);
        /* Not closed cleanly either: the next child finds it as the last one left it. */
        if (round + 1 < ROUNDS) {
            kit_close(kit);
            if (n > 0)
                assert_int_equal(kit_sql(kit, "SELECT clean FROM state"), 0);
        }
    }
    assert_true(n > 0);
    assert_int_equal(store_quick_check(kit->store), 0);
    for (unsigned i = 0; i < 3000 && check_owed(kit->store); i++)
        usleep(10000);
    assert_false(check_owed(kit->store));
    kit_close(kit);
    assert_int_equal(kit->n_damaged, 0);
    assert_int_equal(kit_sql(kit, "SELECT clean FROM state"), 1);
    assert_true(kit_sql(kit, "SELECT checked FROM state") > 0);
    kit_open(kit);
    assert_false(check_owed(kit->store));
    munmap((void *)(uintptr_t)committed, sizeof(*committed));
}

/* ---- no room --------------------------------------------------------------------------------- */

static void wait_for_trouble(struct kit *kit, unsigned n, int error)
{
    kit_wait(kit, &kit->n_trouble, n);
    assert_int_equal(kit->trouble, error);
    assert_int_equal(kit->n_trouble, n);
}

static void post_numbered(struct kit *kit, unsigned first, unsigned last)
{
    for (unsigned i = first; i <= last; i++)
        kit_post(kit, numbered_batch(kit, i));
}

/* Fills the file system to the last byte; the caller unlinks it. */
static void fill_disk(const char *path)
{
    static const char zeros[512];
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    while (write(fd, zeros, sizeof(zeros)) > 0)
        ;
    assert_int_equal(errno, ENOSPC);
    close(fd);
}

static void full_disk(void **state)
{
    struct kit *kit = *state;
    char filler[96];
    unsigned before;

    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("tmpfs", kit->directory, "tmpfs", 0, "size=8m") < 0)
        skip();
    snprintf(filler, sizeof(filler), "%s/filler", kit->directory);
    kit->audits_kept = 1000000;
    kit_open(kit);
    kit_commit(kit, numbered_batch(kit, 1));
    fill_disk(filler);
    post_numbered(kit, 2, 100);
    wait_for_trouble(kit, 1, -ENOSPC);
    before = kit->n_committed;
    assert_true(before < 100);
    assert_int_equal(store_waiting(kit->store), 100 - before);
    /* Reading goes on, of what is there. */
    kit_history(kit, NULL, NULL, 0, 0, NULL, 1000);
    assert_int_equal(json_object_array_length(kit->rows), 3 * before);
    post_numbered(kit, 101, 120);
    kit_history(kit, NULL, NULL, 0, 0, NULL, 1000);
    assert_int_equal(kit->n_committed, before);
    assert_int_equal(kit->n_trouble, 1);

    assert_int_equal(unlink(filler), 0);
    kit_wait(kit, &kit->n_committed, 120);
    wait_for_trouble(kit, 2, 0);
    assert_int_equal(kit->n_failed, 0);
    assert_int_equal(store_waiting(kit->store), 0);
    assert_int_equal(whole_batches(kit), 120);

    /* Stopped while it is full: what waits is given up and says so, what was stored stays. */
    fill_disk(filler);
    post_numbered(kit, 121, 300);
    wait_for_trouble(kit, 3, -ENOSPC);
    kit_close(kit);
    assert_int_equal(kit->n_committed, 300);
    assert_true(kit->n_failed > 0);
    assert_int_equal(kit->committed_error, -ECANCELED);
    assert_int_equal(unlink(filler), 0);
    kit_open(kit);
    assert_null(kit->aside);
    assert_int_equal(whole_batches(kit), 300 - kit->n_failed);
    kit_close(kit);
    umount2(kit->directory, MNT_DETACH);
}

static void limit_files(rlim_t size)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = size < limit.rlim_max ? size : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static size_t queued(struct store *store)
{
    size_t n;

    pthread_mutex_lock(&store->lock);
    n = store->n_queued;
    pthread_mutex_unlock(&store->lock);
    return n;
}

/* For very long: the queue stays short, every event is kept, every batch is answered. */
static void long_trouble(void **state)
{
    enum { N = STORE_QUEUE_MAX + 500 };
    struct kit *kit = *state;
    char wal[128];
    struct stat st;

    kit->audits_kept = 1000000;
    kit_open(kit);
    kit_commit(kit, numbered_batch(kit, 1));
    snprintf(wal, sizeof(wal), "%s-wal", kit->database);
    assert_int_equal(stat(wal, &st), 0);
    limit_files((rlim_t)st.st_size);
    post_numbered(kit, 2, 2);
    wait_for_trouble(kit, 1, -EFBIG);
    post_numbered(kit, 3, N);
    assert_true(queued(kit->store) < 1000);
    assert_int_equal(store_waiting(kit->store), N - 1);
    assert_int_equal(kit->n_committed, 1);
    limit_files(RLIM_INFINITY);
    kit_wait(kit, &kit->n_committed, N);
    wait_for_trouble(kit, 2, 0);
    assert_int_equal(kit->n_failed, 0);
    assert_int_equal(store_waiting(kit->store), 0);
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM event"), 3 * N);
    assert_int_equal(kit_sql(kit, "SELECT count(DISTINCT at) FROM event"), N);
    assert_int_equal(kit_sql(kit, "SELECT walk FROM image"), N);
    assert_int_equal(kit_sql(kit, "SELECT count FROM finding"), N);
    assert_true(kit_sql(kit, "SELECT count(*) FROM audit") < N / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(killed, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(full_disk, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(long_trouble, kit_setup, kit_teardown),
    };

    signal(SIGXFSZ, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
