/* Bytes as a module definition. Whatever is accepted must print, plan against itself without steps but for views, and
 * plan from nothing without objections. */
#include "host/schema/diff.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ModuleDef *def;
    Error err;
    Buf text = {0};
    if (module_def_from_bsatn_full(&def, bytes_of(data, size), &text, &err) != S_OK) {
        ASSERT(err.text[0]);
        buf_done(&text);
        return 0;
    }
    module_def_to_json(&text, def, 9);
    module_def_to_json(&text, def, 10);
    ASSERT(utf8_valid(buf_str(&text)));
    ModuleDef *none = module_def_empty();
    Plan same, first, last;
    plan_make(&same, def, def, NULL);
    plan_make(&first, none, def, NULL);
    plan_make(&last, def, none, NULL);
    ASSERT(same.forbidden.len == 0);
    for (uint32_t i = 0; i < same.nsteps; i++) /* views are computed again whatever happens */
        ASSERT(same.steps[i].kind == STEP_UPDATE_VIEW);
    ASSERT(first.forbidden.len == 0);
    plan_print(&text, &first, true);
    plan_print(&text, &last, false);
    plan_done(&same);
    plan_done(&first);
    plan_done(&last);
    module_def_unref(none);
    module_def_unref(def);
    buf_done(&text);
    return 0;
}
