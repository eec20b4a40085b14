/* page.c - fixed slots in pages, the free list, heap blocks; every byte is counted in Engine.bytes. */
#include "host/engine/engine_int.h"

void *engine_alloc(Engine *e, uint64_t bytes)
{
    e->bytes += bytes;
    return x_alloc(bytes);
}

void engine_release(Engine *e, void *ptr, uint64_t bytes)
{
    if (!ptr)
        return;
    ASSERT(e->bytes >= bytes);
    e->bytes -= bytes;
    free(ptr);
}

uint64_t page_growth(const Table *t) { return t->free || t->fresh_page < t->npages ? 0 : t->shape->page_bytes; }

RowHeader *page_take_slot(Table *t)
{
    RowHeader *h = t->free;
    if (h) {
        t->free = h->next_free;
    } else {
        if (t->fresh_page == t->npages) {
            if (t->npages == t->pages_cap) {
                uint32_t cap = t->pages_cap ? t->pages_cap * 2 : 4;
                t->pages = x_realloc(t->pages, cap * sizeof *t->pages);
                t->engine->bytes += (cap - t->pages_cap) * sizeof *t->pages;
                t->pages_cap = cap;
            }
            t->pages[t->npages++] = engine_alloc(t->engine, t->shape->page_bytes);
        }
        h = page_slot(t, t->fresh_page, t->fresh_slot);
        if (++t->fresh_slot == t->shape->slots_per_page)
            t->fresh_page++, t->fresh_slot = 0;
    }
    h->heap = NULL;
    return h;
}

void page_give_slot(Table *t, RowHeader *h)
{
    if (h->heap)
        engine_release(t->engine, h->heap, h->heap->bytes);
    h->birth = STAMP_FREE;
    h->death = 0;
    h->next_free = t->free;
    t->free = h;
}

/* A row that was never placed again keeps no heap block, so walking the used slots finds them all. */
void page_free_one(Table *t, uint32_t page)
{
    for (uint32_t s = 0, n = t->shape->def->row->has_pointers ? page_used(t, page) : 0; s < n; s++) {
        RowHeader *h = page_slot(t, page, s);
        if (h->birth != STAMP_FREE && h->heap)
            engine_release(t->engine, h->heap, h->heap->bytes);
    }
    engine_release(t->engine, t->pages[page], t->shape->page_bytes);
    t->pages[page] = NULL;
}

void page_free_all(Table *t)
{
    for (uint32_t p = 0; p < t->npages; p++)
        page_free_one(t, p);
    engine_release(t->engine, t->pages, t->pages_cap * sizeof *t->pages);
    t->pages = NULL;
    t->npages = t->pages_cap = t->fresh_page = t->fresh_slot = 0;
    t->free = NULL;
}

void page_reset(Table *t)
{
    for (uint32_t p = 1; p < t->npages; p++)
        engine_release(t->engine, t->pages[p], t->shape->page_bytes);
    t->npages = MIN(t->npages, 1);
    t->fresh_page = t->fresh_slot = 0;
    t->free = NULL;
}

HeapBlock *heap_new(Engine *e, uint64_t bytes)
{
    uint64_t total = sizeof(HeapBlock) + bytes;
    e->bytes += total;
    HeapBlock *b = malloc(total);
    if (UNLIKELY(!b))
        BUG("out of memory: a heap block of %llu bytes", (unsigned long long)total);
    b->bytes = total;
    b->unused = 0;
    return b;
}

RowHeader *walk_next(const Table *t, RowWalk *w)
{
    for (; w->page < t->npages; w->page++, w->slot = 0)
        for (uint32_t n = page_used(t, w->page); w->slot < n;) {
            RowHeader *h = page_slot(t, w->page, w->slot++);
            if (h->death == STAMP_ALIVE)
                return h;
        }
    return NULL;
}
