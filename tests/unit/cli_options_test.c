/* The command line: options against their table, and the tips. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cli/suggest.c"
#include "cli/options.c"

#define TEST(name) static void name(void **state __attribute__((unused)))

static const Option options[] = {
    {"server", 's', "SERVER", false, "which"},
    {"yes", 'y', "all,remote", true, "no questions"},
    {"follow", 'f', NULL, false, "go on"},
    {"num-lines", 'n', "N", false, "how many"},
};
const Command cli_commands[] = {{.name = "logs", .args = "[DB]", .group = "Operate", .summary = "Logs", .options = options, .noptions = 4}};
const size_t cli_ncommands = 1;
static Arena arena;

static Args read_words(int n, const char **words)
{
    Args a;
    Error err = {0};
    if (args_read(&a, cli_commands, "logs", n, (char **)words, &arena, &err) != S_OK)
        fail_msg("%s", err.text);
    return a;
}
#define READ(...) read_words((int)COUNT_OF(((const char *[]){__VA_ARGS__})), (const char *[]){__VA_ARGS__})
static const char *refusal(const char *word)
{
    Args a;
    Error err = {0};
    char *words[] = {(char *)word};
    assert_int_equal(args_read(&a, cli_commands, "logs", 1, words, &arena, &err), S_INVALID);
    return arena_str(&arena, str_of(err.text)).ptr;
}

TEST(options_stand_anywhere_and_end_at_two_dashes)
{
    Args a = READ("db", "-fn", "3", "--server=local", "f", "--", "-5");
    assert_int_equal(a.n, 3);
    assert_string_equal(a.v[0], "db");
    assert_string_equal(a.v[2], "-5");
    assert_true(arg_given(&a, "follow"));
    assert_string_equal(arg_value(&a, "num-lines"), "3");
    assert_string_equal(arg_value(&a, "server"), "local");
    assert_false(arg_given(&a, "yes"));
    assert_string_equal(arg_value(&(Args){.command = cli_commands, .given = {true}, .value = {"x"}}, "server"), "x");
}

TEST(an_optional_value_needs_the_equals_sign)
{
    Args a = READ("--yes", "my-db");
    assert_int_equal(a.n, 1);
    assert_true(arg_yes(&a, "remote"));
    a = READ("--yes=remote", "--yes=migrate");
    assert_true(arg_yes(&a, "remote"));
    assert_true(arg_yes(&a, "migrate"));
    assert_false(arg_yes(&a, "delete-data"));
    a = READ("-y", "--yes=remote");
    assert_true(arg_yes(&a, "delete-data"));
    a = READ("--yes=all");
    assert_true(arg_yes(&a, "delete-data"));
}

TEST(a_wrong_option_gets_a_tip)
{
    assert_string_equal(refusal("--sever"), "unexpected argument '--sever' found\n\n  tip: a similar argument exists: '--server'");
    assert_string_equal(refusal("-5"), "unexpected argument '-5' found\n\n  tip: to pass '-5' as a value, use '-- -5'");
    assert_string_equal(refusal("--zzz"), "unexpected argument '--zzz' found");
    assert_string_equal(refusal("--server"), "a value is required for '--server <SERVER>' but none was supplied");
    assert_string_equal(refusal("--follow=x"), "option '--follow' takes no value, but 'x' was given");
}

TEST(the_distance_counts_swaps_once)
{
    assert_int_equal(edit_distance("publish", "pubilsh", 5), 1);
    assert_int_equal(edit_distance("kitten", "sitting", 5), 3);
    assert_int_equal(edit_distance("", "abc", 5), 3);
    assert_int_equal(edit_distance("abc", "ABC", 5), 0);
    assert_int_equal(edit_distance("abcdef", "uvwxyz", 2), 3); /* more than the limit */
}

TEST(suggestions_are_near_or_the_same_words)
{
    static const char *const names[] = {"add_person", "say_hello", "remove"};
    assert_string_equal(suggest("Say_Hello", names, 3), "say_hello");
    assert_string_equal(suggest("sayhello", names, 3), "say_hello");
    assert_string_equal(suggest("person_add", names, 3), "add_person");
    assert_null(suggest("publish", names, 3));
    char big[400];
    memset(big, 'a', sizeof big - 1);
    big[sizeof big - 1] = 0;
    assert_null(suggest(big, names, 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_stand_anywhere_and_end_at_two_dashes),
        cmocka_unit_test(an_optional_value_needs_the_equals_sign),
        cmocka_unit_test(a_wrong_option_gets_a_tip),
        cmocka_unit_test(the_distance_counts_swaps_once),
        cmocka_unit_test(suggestions_are_near_or_the_same_words),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_done(&arena);
    return failed;
}
