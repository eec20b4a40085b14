/* suggest.c - "did you mean": the one routine behind every tip. */
#include "cli/cli.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>

enum { WORD_BYTES_MAX = 96 };

unsigned edit_distance(const char *x, const char *y, unsigned limit)
{
    size_t n = strlen(x), m = strlen(y);
    if (n > WORD_BYTES_MAX || m > WORD_BYTES_MAX || (n > m ? n - m : m - n) > limit)
        return limit + 1;
    unsigned row[3][WORD_BYTES_MAX + 1]; /* two rows back, one back, this one */
    unsigned *before = row[0], *last = row[1], *now = row[2];
    for (size_t j = 0; j <= m; j++)
        last[j] = (unsigned)j;
    for (size_t i = 1; i <= n; i++) {
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= m; j++) {
            int a = tolower((unsigned char)x[i - 1]), b = tolower((unsigned char)y[j - 1]);
            unsigned best = last[j - 1] + (a != b);
            best = MIN(best, last[j] + 1);
            best = MIN(best, now[j - 1] + 1);
            if (i > 1 && j > 1 && a == tolower((unsigned char)y[j - 2]) && tolower((unsigned char)x[i - 2]) == b)
                best = MIN(best, before[j - 2] + 1);
            now[j] = best;
        }
        unsigned *spare = before;
        before = last;
        last = now;
        now = spare;
    }
    return MIN(last[m], limit + 1);
}

/* Do both hold the same words between underscores, in any order? */
static bool same_words(const char *x, const char *y)
{
    if (strlen(x) != strlen(y))
        return false;
    char hay[WORD_BYTES_MAX + 3], word[WORD_BYTES_MAX + 3];
    if (snprintf(hay, sizeof hay, "_%s_", y) >= (int)sizeof hay)
        return false;
    for (const char *p = x; *p;) {
        size_t n = strcspn(p, "_");
        snprintf(word, sizeof word, "_%.*s_", (int)n, p);
        if (n && !strcasestr(hay, word))
            return false;
        p += n + (p[n] == '_');
    }
    return true;
}

const char *suggest(const char *word, const char *const *candidates, size_t n)
{
    const char *best = NULL;
    unsigned limit = (unsigned)(MAX(strlen(word), (size_t)3) / 3), best_distance = limit + 1;
    for (size_t i = 0; i < n; i++) {
        if (strcasecmp(word, candidates[i]) == 0)
            return candidates[i];
        unsigned d = edit_distance(word, candidates[i], limit);
        if (d < best_distance) {
            best = candidates[i];
            best_distance = d;
        }
    }
    for (size_t i = 0; !best && i < n; i++) {
        if (same_words(word, candidates[i]))
            best = candidates[i];
    }
    return best;
}
