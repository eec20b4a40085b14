/* logs_test.c - a database's log: rotation, tails across files, followers, and the module's rate by a clock of our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/logs.h"

static char dir[64];

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/logs-test-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    char command[100];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

static Logs *open_with(LogsLimits limits) { return logs_open(dir, "ab", &limits); }

static void say(Logs *l, uint32_t n)
{
    char text[64];
    snprintf(text, sizeof text, "line %06u, and some more words", n);
    logs_write(l, 2, n, STR("f"), STR("m.c"), n, str_of(text));
}

/* The `ts` of each line of a tail: what `say` numbered. */
static uint32_t numbers(Logs *l, uint32_t lines, uint32_t *first, uint32_t *last)
{
    OWN(buf) Buf out = {0};
    logs_tail(l, lines, &out);
    uint32_t n = 0, before = 0;
    char *text = buf_cstr(&out);
    for (char *p = text; (p = strstr(p, "\"ts\":")) != NULL; n++) {
        uint32_t at = (uint32_t)strtoul(p + 5, NULL, 10);
        if (n == 0)
            *first = at;
        else
            assert_int_equal(at, before + 1); /* oldest first, none missing, none twice */
        before = *last = at;
        p += 5;
    }
    return n;
}

static void a_tail_reads_across_rotated_files(void **state)
{
    (void)state;
    Logs *l = open_with((LogsLimits){.file_bytes = 4096, .files = 3});
    for (uint32_t i = 1; i <= 100; i++)
        say(l, i);
    uint32_t first = 0, last = 0;
    assert_int_equal(numbers(l, UINT32_MAX, &first, &last), 100);
    assert_int_equal(first, 1);
    for (uint32_t want = 1; want <= 100; want += 7) {
        assert_int_equal(numbers(l, want, &first, &last), want);
        assert_int_equal(last, 100);
    }
    assert_int_equal(numbers(l, 1000, &first, &last), 100);
    assert_int_equal(numbers(l, 0, &first, &last), 0);
    logs_close(l);
}

static void old_files_go_and_space_is_bounded(void **state)
{
    (void)state;
    Logs *l = open_with((LogsLimits){.file_bytes = 4096, .files = 2});
    for (uint32_t i = 101; i <= 3000; i++)
        say(l, i);
    uint32_t first = 0, last = 0, n = numbers(l, UINT32_MAX, &first, &last);
    assert_int_equal(last, 3000);
    assert_in_range(n, 50, 140);
    char path[160];
    struct stat st;
    for (int i = 0; i <= 4; i++) {
        snprintf(path, sizeof path, "%s/logs/ab.log", dir);
        if (i)
            snprintf(path + strlen(path), sizeof path - strlen(path), ".%d", i);
        bool there = stat(path, &st) == 0;
        assert_int_equal(there, i <= 2);
        if (i <= 2)
            assert_in_range(st.st_size, 0, 4096 + 200);
    }
    logs_close(l);
    l = open_with((LogsLimits){.file_bytes = 4096, .files = 2}); /* a host started again goes on */
    say(l, 3001);
    assert_int_equal(numbers(l, 2, &first, &last), 2);
    assert_int_equal(first, 3000);
    logs_clear(l);
    assert_int_equal(numbers(l, UINT32_MAX, &first, &last), 0);
    logs_close(l);
}

static uint32_t followed;
static bool follow(void *user, Bytes line)
{
    (void)user, (void)line;
    followed++;
    return true;
}

static void a_follower_goes_on_over_a_rotation(void **state)
{
    (void)state;
    Logs *l = open_with((LogsLimits){.file_bytes = 4096, .files = 1});
    followed = 0;
    logs_follow(l, 0, follow, NULL);
    for (uint32_t i = 1; i <= 500; i++)
        say(l, i);
    assert_int_equal(followed, 500);
    logs_unfollow(l, NULL);
    logs_clear(l);
    logs_close(l);
}

static bool module_says(Logs *l, uint64_t now_ns, uint8_t level)
{
    return logs_write_module(l, now_ns, level, 1, STR("f"), STR(""), 0, STR("talk"));
}

static bool tells(Logs *l, const char *text)
{
    OWN(buf) Buf out = {0};
    logs_tail(l, UINT32_MAX, &out);
    return strstr(buf_cstr(&out), text) != NULL;
}

static void a_module_that_logs_too_much_is_cut_and_told(void **state)
{
    (void)state;
    const uint64_t second = 1000000000;
    Logs *l = open_with((LogsLimits){.file_bytes = 1 << 20, .files = 1, .lines_per_second = 10});
    uint64_t now = 5 * second;
    uint32_t good = 0;
    for (int i = 0; i < 250; i++)
        good += module_says(l, now, 2);
    assert_int_equal(good, 100);           /* ten seconds' worth */
    assert_true(module_says(l, now, 101)); /* a panic always */
    assert_true(tells(l, "150 log lines were dropped: the module logs more than 10 lines a second (--log-rate)"));
    assert_false(module_says(l, now, 2));
    logs_tick(l, now + second / 2);
    assert_false(tells(l, "\"1 log lines"));
    logs_tick(l, now + second); /* without another line of the module */
    assert_true(tells(l, "\"1 log lines"));
    now += second; /* ten more */
    good = 0;
    for (int i = 0; i < 30; i++)
        good += module_says(l, now, 2);
    assert_int_equal(good, 10);
    now += 1000 * second; /* never more than ten seconds' worth */
    good = 0;
    for (int i = 0; i < 300; i++)
        good += module_says(l, now, 2);
    assert_int_equal(good, 100);
    logs_clear(l);
    logs_close(l);
    l = open_with((LogsLimits){.file_bytes = 1 << 20, .files = 1, .lines_per_second = 0});
    for (int i = 0; i < 5000; i++)
        assert_true(module_says(l, now, 2));
    logs_clear(l);
    logs_close(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tail_reads_across_rotated_files),
        cmocka_unit_test(old_files_go_and_space_is_bounded),
        cmocka_unit_test(a_follower_goes_on_over_a_rotation),
        cmocka_unit_test(a_module_that_logs_too_much_is_cut_and_told),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
