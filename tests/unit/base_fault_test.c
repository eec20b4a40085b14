/* base_fault_test.c - fault points: armed by a file, counted, fired once, noted. */
#include "host/base/fault.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char path[64];

static void arm(const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    usleep(2000); /* the file's time tells that it changed */
}

static Status passes(const char *name, Error *err)
{
    FAULT_POINT(name, err);
    return S_OK;
}

static void nothing_happens_while_nothing_is_armed(void **state)
{
    (void)state;
    Error err;
    char line[100];
    assert_string_equal(fault_at("a"), "");
    assert_int_equal(passes("a", &err), S_OK);
    assert_false(fault_find("", line, sizeof line));
}

static void a_point_fires_at_its_passage_and_once(void **state)
{
    (void)state;
    Error err;
    char line[100], noted[100] = "";
    snprintf(path, sizeof path, "/tmp/fault-test-%d", (int)getpid());
    arm("# a comment\npublish.ddl 2 error\npublish.commit disconnect\nworker.swap crash\n");
    fault_file(path);
    assert_string_equal(fault_at("publish.ddl"), "");
    assert_string_equal(fault_at("publish.other"), "");
    assert_int_equal(passes("publish.ddl", &err), S_INTERNAL);
    assert_string_equal(err.text, "fault publish.ddl");
    assert_int_equal(passes("publish.ddl", &err), S_OK);
    assert_string_equal(fault_at("publish.commit"), "disconnect");
    assert_true(fault_find("worker.", line, sizeof line));
    assert_string_equal(line, "worker.swap 1 crash");
    snprintf(line, sizeof line, "%s.reached", path);
    FILE *f = fopen(line, "r");
    assert_non_null(f);
    size_t n = fread(noted, 1, sizeof noted - 1, f);
    fclose(f);
    noted[n] = 0;
    assert_string_equal(noted, "publish.ddl\npublish.commit\n");
    arm("publish.ddl error\n"); /* another file: counted anew */
    assert_int_equal(passes("publish.ddl", &err), S_INTERNAL);
    unlink(line);
    unlink(path);
    assert_int_equal(passes("publish.ddl", &err), S_OK);
    fault_file(NULL);
}

static void a_line_ends_the_process_that_passes_it(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        int signal;
    } cases[] = {{"worker.prepare 2 crash", SIGSEGV}, {"worker.prepare 2 kill", SIGKILL}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        pid_t pid = fork();
        if (pid == 0) {
            signal(SIGSEGV, SIG_DFL);
            fault_line(str_of(cases[i].line));
            fault_at("worker.prepare");
            fault_at("worker.pause");
            fault_at("worker.prepare");
            _exit(0);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), cases[i].signal);
    }
    fault_line(STR("x stop 1"));
    assert_string_equal(fault_at("x"), "");
    fault_line(STR(""));
    assert_false(fault_armed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_happens_while_nothing_is_armed),
        cmocka_unit_test(a_point_fires_at_its_passage_and_once),
        cmocka_unit_test(a_line_ends_the_process_that_passes_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
