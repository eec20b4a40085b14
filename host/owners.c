/* owners.c - see owners.h. */
#include "host/owners.h"
#include "host/wire/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static Status read_text(const char *list, Buf *out, Error *err)
{
    if (list[0] != '@') {
        buf_put_text(out, list);
        return S_OK;
    }
    OWN(fd) int fd = open(list + 1, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return FAIL(err, S_IO, "the list of owners %s: %s", list + 1, strerror(errno));
    for (;;) {
        if (!buf_reserve(out, 4096))
            return FAIL(err, S_TOO_LARGE, "the list of owners %s has more than %d bytes", list + 1, OWNERS_BYTES_MAX);
        ssize_t n = read(fd, out->ptr + out->len, 4096);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return FAIL(err, S_IO, "the list of owners %s: %s", list + 1, strerror(errno));
        if (n == 0)
            return S_OK;
        out->len += (size_t)n;
    }
}

static bool separates(char c) { return c == ',' || c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

/* All words; `wanted` NULL: only look whether they are identities. */
static Status walk(Str text, const uint8_t *wanted, bool *ret_found, Error *err)
{
    *ret_found = false;
    for (size_t i = 0; i < text.len;) {
        if (separates(text.ptr[i])) {
            i++;
            continue;
        }
        size_t start = i;
        if (text.ptr[i] == '#') {
            while (i < text.len && text.ptr[i] != '\n')
                i++;
            continue;
        }
        while (i < text.len && !separates(text.ptr[i]) && text.ptr[i] != '#')
            i++;
        uint8_t identity[32];
        Str word = {text.ptr + start, i - start};
        if (word.len != 64 || !identity_from_hex(identity, word))
            return FAIL(err, S_INVALID,
                        "the list of owners: `%.*s` is not an identity (64 hex digits, as `spacetime login show` prints it)",
                        (int)MIN(word.len, (size_t)80), word.ptr);
        if (wanted && memcmp(identity, wanted, 32) == 0)
            *ret_found = true;
    }
    return S_OK;
}

Status owners_check(const char *list, Error *err)
{
    OWN(buf) Buf text = buf_with_max(OWNERS_BYTES_MAX);
    bool found;
    TRY(read_text(list, &text, err));
    return walk(buf_str(&text), NULL, &found, err);
}

Status owners_allow(const char *list, const uint8_t identity[32], Error *err)
{
    OWN(buf) Buf text = buf_with_max(OWNERS_BYTES_MAX);
    bool found;
    TRY(read_text(list, &text, err));
    TRY(walk(buf_str(&text), identity, &found, err));
    if (found)
        return S_OK;
    char hex[65];
    identity_to_hex(hex, identity);
    return FAIL(
        err, S_DENIED,
        "%s may not create databases on this host: its operator lists who may (--publish-owners); ask to be added, or log in as one of "
        "them",
        hex);
}
