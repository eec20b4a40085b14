/* lexer.c - SQL text into tokens (spec sql-and-subscriptions.md 1.4). Iterative; one pass. */
#include "host/query/query_int.h"

#include <stdio.h>

Str sql_clip(Str s, size_t max)
{
    if (s.len <= max)
        return s;
    while (max > 0 && ((uint8_t)s.ptr[max] & 0xc0) == 0x80)
        max--;
    return (Str){s.ptr, max};
}

static void position_of(Str text, size_t at, uint32_t *ret_line, uint32_t *ret_column)
{
    uint32_t line = 1, column = 1;
    for (size_t i = 0; i < at && i < text.len; i++) {
        if (text.ptr[i] == '\n')
            line++, column = 1;
        else if (((uint8_t)text.ptr[i] & 0xc0) != 0x80)
            column++;
    }
    *ret_line = line;
    *ret_column = column;
}

Status sql_syntax_error(Error *err, Str text, size_t at, const char *expected, Str found)
{
    uint32_t line, column;
    position_of(text, at, &line, &column);
    found = sql_clip(found, SQL_FRAGMENT_BYTES_MAX);
    if (at >= text.len)
        return FAIL(err, S_INVALID, "SQL syntax error: expected %s, found the end of the text at line %u, column %u", expected, line,
                    column);
    return FAIL(err, S_INVALID, "SQL syntax error: expected %s, found `%.*s` at line %u, column %u", expected, STR_FMT(found), line,
                column);
}

Status sql_unsupported(Error *err, const char *kind, Str fragment)
{
    fragment = sql_clip(fragment, SQL_FRAGMENT_BYTES_MAX);
    return FAIL(err, S_INVALID, "unsupported %s: `%.*s`", kind, STR_FMT(fragment));
}

/* ---- characters ---- */

/* The text was checked: `at` is the start of a whole character. */
static uint32_t char_at(Str s, size_t at, uint32_t *ret_len)
{
    const uint8_t *p = (const uint8_t *)s.ptr + at;
    if (p[0] < 0x80)
        return *ret_len = 1, p[0];
    if (p[0] < 0xe0)
        return *ret_len = 2, (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu);
    if (p[0] < 0xf0)
        return *ret_len = 3, (p[0] & 0x0fu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
    return *ret_len = 4, (p[0] & 7u) << 18 | (p[1] & 0x3fu) << 12 | (p[2] & 0x3fu) << 6 | (p[3] & 0x3fu);
}

static bool is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
           c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

/* Letters by exclusion: above ASCII everything but controls, punctuation, symbols and private use. A superset of
 * the reference's rule; a name that does not exist is refused by name resolution. */
static bool is_name_start(uint32_t c)
{
    if (c < 0x80)
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    if (c < 0xc0)
        return c == 0xaa || c == 0xb5 || c == 0xba;
    if (c == 0xd7 || c == 0xf7 || is_space(c))
        return false;
    if ((c >= 0x2000 && c <= 0x20cf) || (c >= 0x2190 && c <= 0x2bff) ||
        (c >= 0x3000 && c <= 0x3020 && c != 0x3005 && c != 0x3006 && c != 0x3007))
        return false;
    if ((c >= 0xe000 && c <= 0xf8ff) || (c >= 0xfe00 && c <= 0xfe0f) || c == 0xfeff || (c >= 0xfff0 && c <= 0xffff))
        return false;
    return c < 0x1f000 || (c >= 0x20000 && c < 0xe0000);
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_hex_digit(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

/* ---- tokens ---- */

typedef struct Lexer {
    Arena *arena;
    Str text;
    size_t at;
    Token *tokens;
    uint32_t count;
    Error *err;
} Lexer;

static char peek(const Lexer *l, size_t ahead) { return l->at + ahead < l->text.len ? l->text.ptr[l->at + ahead] : 0; }

static void push(Lexer *l, TokenKind kind, size_t from, Str text)
{
    l->tokens[l->count++] = (Token){kind, (uint32_t)from, (uint32_t)l->at, text};
}

static bool name_starts_here(const Lexer *l)
{
    uint32_t len;
    return l->at < l->text.len && is_name_start(char_at(l->text, l->at, &len));
}

static bool name_continues_here(const Lexer *l, uint32_t *ret_len)
{
    if (l->at >= l->text.len)
        return false;
    uint32_t c = char_at(l->text, l->at, ret_len);
    return is_name_start(c) || (c >= '0' && c <= '9') || c == '$';
}

static Status lex_space(Lexer *l)
{
    while (l->at < l->text.len) {
        uint32_t len;
        if (is_space(char_at(l->text, l->at, &len))) {
            l->at += len;
        } else if (peek(l, 0) == '-' && peek(l, 1) == '-') {
            while (l->at < l->text.len && l->text.ptr[l->at] != '\n')
                l->at++;
        } else if (peek(l, 0) == '/' && peek(l, 1) == '*') {
            size_t from = l->at;
            uint32_t depth = 0;
            do {
                if (l->at >= l->text.len)
                    return sql_syntax_error(l->err, l->text, from, "the end of a comment (*/)", (Str){l->text.ptr + from, 2});
                if (peek(l, 0) == '/' && peek(l, 1) == '*')
                    depth++, l->at += 2;
                else if (peek(l, 0) == '*' && peek(l, 1) == '/')
                    depth--, l->at += 2;
                else
                    l->at++;
            } while (depth);
        } else {
            break;
        }
    }
    return S_OK;
}

/* 'text' or "name": two quotes in a row stand for one. */
static Status lex_quoted(Lexer *l, TokenKind kind, char quote)
{
    size_t from = l->at++;
    size_t first = l->at;
    uint32_t doubled = 0;
    for (;; l->at++) {
        const char *end = l->at < l->text.len ? memchr(l->text.ptr + l->at, quote, l->text.len - l->at) : NULL;
        if (!end)
            return sql_syntax_error(l->err, l->text, from, quote == '"' ? "a closing double quote" : "a closing single quote",
                                    (Str){l->text.ptr + from, l->text.len - from});
        l->at = (size_t)(end - l->text.ptr) + 1;
        if (peek(l, 0) != quote)
            break;
        doubled++;
    }
    Str s = {l->text.ptr + first, l->at - 1 - first};
    if (doubled) {
        char *copy = arena_alloc_raw(l->arena, s.len);
        size_t n = 0;
        for (size_t i = 0; i < s.len; i++) {
            copy[n++] = s.ptr[i];
            if (s.ptr[i] == quote)
                i++;
        }
        s = (Str){copy, n};
    }
    push(l, kind, from, s);
    return S_OK;
}

static Status lex_number(Lexer *l)
{
    size_t from = l->at;
    while (is_digit(peek(l, 0)))
        l->at++;
    if (peek(l, 0) == '.')
        l->at++;
    while (is_digit(peek(l, 0)))
        l->at++;
    if (peek(l, 0) == 'e' || peek(l, 0) == 'E') {
        size_t sign = peek(l, 1) == '+' || peek(l, 1) == '-';
        if (is_digit(peek(l, 1 + sign)))
            for (l->at += 1 + sign; is_digit(peek(l, 0));)
                l->at++;
    }
    if (name_starts_here(l))
        return sql_syntax_error(l->err, l->text, l->at, "the end of a number", (Str){l->text.ptr + l->at, l->text.len - l->at});
    push(l, TOK_NUMBER, from, (Str){l->text.ptr + from, l->at - from});
    return S_OK;
}

static Status lex_hex(Lexer *l)
{
    size_t from = l->at;
    l->at += 2;
    while (is_hex_digit(peek(l, 0)))
        l->at++;
    uint32_t len;
    if (name_continues_here(l, &len))
        return sql_syntax_error(l->err, l->text, l->at, "a hexadecimal digit", (Str){l->text.ptr + l->at, len});
    push(l, TOK_HEX, from, (Str){l->text.ptr + from + 2, l->at - from - 2});
    return S_OK;
}

/* ":sender", also with blanks or as a quoted name after the colon. */
static Status lex_parameter(Lexer *l)
{
    size_t from = l->at++;
    if (peek(l, 0) == ':')
        return sql_unsupported(l->err, "operator", STR("::"));
    TRY(lex_space(l));
    size_t name_from = l->at;
    Str name = {NULL, 0};
    if (peek(l, 0) == '"') {
        TRY(lex_quoted(l, TOK_QUOTED, '"'));
        name = l->tokens[--l->count].text;
    } else if (name_starts_here(l)) {
        uint32_t len;
        while (name_continues_here(l, &len))
            l->at += len;
        name = (Str){l->text.ptr + name_from, l->at - name_from};
    }
    if (!str_is(name, "sender"))
        return sql_unsupported(l->err, "parameter (the only one is :sender)", (Str){l->text.ptr + from, l->at - from});
    push(l, TOK_SENDER, from, name);
    return S_OK;
}

static Status lex_word(Lexer *l)
{
    size_t from = l->at;
    uint32_t len;
    while (name_continues_here(l, &len))
        l->at += len;
    Str word = {l->text.ptr + from, l->at - from};
    if (peek(l, 0) == '\'' && word.len == 1) {
        switch (word.ptr[0]) {
        case 'x':
        case 'X':
            TRY(lex_quoted(l, TOK_HEX, '\''));
            l->tokens[l->count - 1].at = (uint32_t)from;
            return S_OK;
        case 'e':
        case 'E':
        case 'n':
        case 'N': return sql_unsupported(l->err, "kind of string", (Str){word.ptr, l->text.len - from});
        case 'b':
        case 'B': return sql_syntax_error(l->err, l->text, from, "a value", (Str){word.ptr, 2});
        default: break;
        }
    }
    push(l, TOK_WORD, from, word);
    return S_OK;
}

static Status lex_symbol(Lexer *l)
{
    static const struct {
        char text[4];
        TokenKind kind;
    } symbols[] = {
        /* longest first */
        {"<=>", TOK_OPERATOR}, {"<>", TOK_NE},       {"!=", TOK_NE},       {"==", TOK_EQ},      {"<=", TOK_LE},      {">=", TOK_GE},
        {"||", TOK_OPERATOR},  {"->", TOK_OPERATOR}, {"<", TOK_LT},        {">", TOK_GT},       {"=", TOK_EQ},       {"(", TOK_LPAREN},
        {")", TOK_RPAREN},     {",", TOK_COMMA},     {";", TOK_SEMICOLON}, {".", TOK_DOT},      {"*", TOK_STAR},     {"+", TOK_PLUS},
        {"-", TOK_MINUS},      {"/", TOK_OPERATOR},  {"%", TOK_OPERATOR},  {"^", TOK_OPERATOR}, {"&", TOK_OPERATOR}, {"|", TOK_OPERATOR},
        {"~", TOK_OPERATOR},   {"!", TOK_OPERATOR},  {"#", TOK_OPERATOR},
    };
    size_t from = l->at, left = l->text.len - from;
    char c = peek(l, 0);
    if (c == '$' || c == '?' || c == '@')
        return sql_unsupported(l->err, c == '$' && !is_digit(peek(l, 1)) ? "kind of string" : "parameter (the only one is :sender)",
                               sql_clip((Str){l->text.ptr + from, left}, 20));
    for (size_t i = 0; i < COUNT_OF(symbols); i++) {
        size_t n = strlen(symbols[i].text);
        if (left >= n && memcmp(l->text.ptr + from, symbols[i].text, n) == 0) {
            l->at += n;
            push(l, symbols[i].kind, from, (Str){l->text.ptr + from, n});
            return S_OK;
        }
    }
    uint32_t len;
    uint32_t ch = char_at(l->text, from, &len);
    char name[16];
    snprintf(name, sizeof name, "U+%04X", ch);
    return sql_syntax_error(l->err, l->text, from, "SQL", ch < ' ' || ch > '~' ? str_of(name) : (Str){l->text.ptr + from, len});
}

Status sql_lex(Arena *a, Str text, const Token **ret, Error *err)
{
    if (text.len > SQL_TEXT_BYTES_MAX) {
        Str start = sql_clip(text, SQL_FRAGMENT_BYTES_MAX);
        return FAIL(err, S_TOO_LARGE, "SQL text of %zu bytes is over the limit of %d bytes; it begins with: %.*s", text.len,
                    SQL_TEXT_BYTES_MAX, STR_FMT(start));
    }
    if (!utf8_valid(text))
        return FAIL(err, S_INVALID, "SQL text is not valid UTF-8");
    Lexer l = {.arena = a, .text = text, .err = err};
    l.tokens = arena_alloc_raw(a, sizeof(Token) * (text.len + 1));
    for (;;) {
        TRY(lex_space(&l));
        if (l.at >= text.len)
            break;
        char c = peek(&l, 0);
        if (c == '\'')
            TRY(lex_quoted(&l, TOK_STRING, '\''));
        else if (c == '"')
            TRY(lex_quoted(&l, TOK_QUOTED, '"'));
        else if (c == '0' && peek(&l, 1) == 'x')
            TRY(lex_hex(&l));
        else if (is_digit(c) || (c == '.' && is_digit(peek(&l, 1))))
            TRY(lex_number(&l));
        else if (c == ':')
            TRY(lex_parameter(&l));
        else if (name_starts_here(&l))
            TRY(lex_word(&l));
        else
            TRY(lex_symbol(&l));
    }
    push(&l, TOK_END, text.len, (Str){NULL, 0});
    *ret = l.tokens;
    return S_OK;
}

bool sql_is_all_tables(Str text)
{
    static const char *const parts[] = {"SELECT", "*", "FROM", "*"};
    size_t at = 0;
    if (text.len > SQL_TEXT_BYTES_MAX || !utf8_valid(text))
        return false;
    for (size_t i = 0; i <= COUNT_OF(parts); i++) {
        uint32_t len;
        while (at < text.len && is_space(char_at(text, at, &len)))
            at += len;
        if (i == COUNT_OF(parts))
            break;
        for (const char *p = parts[i]; *p; p++, at++)
            if (at >= text.len || (text.ptr[at] & ~((*p >= 'A') << 5)) != *p)
                return false;
    }
    return at == text.len;
}
