/* cli.toml: what is read, and that an edit leaves everything else as it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cli/toml.c"

#define TEST(name) static void name(void **state __attribute__((unused)))

static Arena arena;

static Toml parsed(const char *text)
{
    Toml t;
    Error err = {0};
    if (toml_parse(&t, str_of(text), &arena, &err) != S_OK)
        fail_msg("%s", err.text);
    return t;
}
static const char *refusal(const char *text)
{
    Toml t;
    Error err = {0};
    assert_int_equal(toml_parse(&t, str_of(text), &arena, &err), S_INVALID);
    return arena_str(&arena, str_of(err.text)).ptr;
}
static const char *written(const Toml *t)
{
    OWN(buf) Buf out = {0};
    toml_write(&out, t);
    return arena_str(&arena, buf_str(&out)).ptr;
}
static const char *value(const Toml *t, size_t section, const char *key)
{
    const TomlLine *l = toml_find(t, section, key);
    return l ? arena_str(&arena, l->value).ptr : NULL;
}

static const char sample[] = "# mine\n"
                             "default_server = \"local\" # stays\n"
                             "odd = [1, \"]\", # x\n 2]\n"
                             "\n"
                             "[[server_configs]]\n"
                             "nickname = 'local'\n"
                             "host=\"127.0.0.1:3000\"\n"
                             "\n"
                             "# the other\n"
                             "[[server_configs]]\n"
                             "nickname = \"far\"\n"
                             "ecdsa_public_key = \"\"\"\nA\\tB\nC\"\"\"\n";

TEST(a_file_reads_back_as_it_was)
{
    Toml t = parsed(sample);
    assert_string_equal(written(&t), sample);
    assert_string_equal(value(&t, TOML_TOP, "default_server"), "local");
    assert_false(toml_find(&t, TOML_TOP, "odd")->is_string);
    size_t first = toml_next_section(&t, "server_configs", TOML_TOP), second = toml_next_section(&t, "server_configs", first);
    assert_string_equal(value(&t, first, "host"), "127.0.0.1:3000");
    assert_string_equal(value(&t, second, "nickname"), "far");
    assert_string_equal(value(&t, second, "ecdsa_public_key"), "A\tB\nC");
    assert_true(toml_next_section(&t, "server_configs", second) == TOML_TOP);
    assert_null(toml_find(&t, TOML_TOP, "nickname"));
}

TEST(an_edit_touches_one_line_only)
{
    Toml t = parsed(sample);
    toml_set(&t, TOML_TOP, "spacetimedb_token", STR("a\"b\\c\n"));
    toml_set(&t, TOML_TOP, "spacetimedb_token", STR("tok\"en"));
    size_t first = toml_next_section(&t, "server_configs", TOML_TOP);
    toml_set(&t, first, "host", STR("h:1"));
    toml_set(&t, first, "token", STR("t"));
    assert_string_equal(written(&t), "# mine\n"
                                     "default_server = \"local\" # stays\n"
                                     "odd = [1, \"]\", # x\n 2]\n"
                                     "spacetimedb_token = \"tok\\\"en\"\n"
                                     "\n"
                                     "[[server_configs]]\n"
                                     "nickname = 'local'\n"
                                     "host = \"h:1\"\n"
                                     "token = \"t\"\n"
                                     "\n"
                                     "# the other\n"
                                     "[[server_configs]]\n"
                                     "nickname = \"far\"\n"
                                     "ecdsa_public_key = \"\"\"\nA\\tB\nC\"\"\"\n");
    toml_remove_section(&t, toml_next_section(&t, "server_configs", TOML_TOP));
    toml_unset(&t, TOML_TOP, "spacetimedb_token");
    assert_string_equal(value(&t, toml_next_section(&t, "server_configs", TOML_TOP), "nickname"), "far");
    assert_null(toml_find(&t, TOML_TOP, "spacetimedb_token"));
}

TEST(what_is_written_is_read_again)
{
    Toml t = parsed("a = \"1\"");
    const char *nasty = "line\n\"quoted\" \\ \"\"\" tab\t and \x01";
    toml_set(&t, TOML_TOP, "b", str_of(nasty));
    size_t s = toml_add_section(&t, "server_configs");
    toml_set(&t, s, "host", STR("x"));
    Toml again = parsed(written(&t));
    assert_string_equal(value(&again, TOML_TOP, "a"), "1");
    assert_string_equal(value(&again, TOML_TOP, "b"), nasty);
    assert_string_equal(value(&again, toml_next_section(&again, "server_configs", TOML_TOP), "host"), "x");
}

TEST(a_broken_file_is_refused_with_its_line)
{
    assert_string_equal(refusal("a = \"1\"\nb \"2\"\n"), "line 2: expected `=` after the key");
    assert_string_equal(refusal("a = \"1\n"), "line 1: a string without its closing quote");
    assert_string_equal(refusal("a =\n"), "line 1: expected a value after `=`");
    assert_string_equal(refusal("[[x]\n"), "line 1: expected `]` after the table's name");
    assert_string_equal(refusal("a = \"\\q\"\n"), "line 1: unknown escape in a string");
    assert_string_equal(refusal("a = \"x\" y\n"), "line 1: expected the end of the line");
    assert_string_equal(refusal("\n\na = [1,\n"), "line 4: a bracket is not closed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_reads_back_as_it_was),
        cmocka_unit_test(an_edit_touches_one_line_only),
        cmocka_unit_test(what_is_written_is_read_again),
        cmocka_unit_test(a_broken_file_is_refused_with_its_line),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_done(&arena);
    return failed;
}
