#!/bin/bash
# run.sh - tests of the module SDK: good modules compile without a word and work, wrong ones fail with advice.
# Output is TAP. Needs gcc, g++, clang, clang++, nm, readelf, gold, lld. Usage: tests/sdk/run.sh; CASE=regex runs only matching names.
cd "$(dirname "$0")" || exit 1
export LC_ALL=C ASAN_OPTIONS=detect_leaks=0
root=../..
sdk=$root/sdk
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT

strict="-Wall -Wextra -Werror -pedantic"
build="-O2 -g -fPIC -shared -fvisibility=hidden -fstack-clash-protection -I $sdk"
gcc_flags="-fno-gnu-unique -ftrack-macro-expansion=0 -fmax-errors=3"
clang_flags="-fmacro-backtrace-limit=1 -ferror-limit=3"

count=0 failed=0
# check NAME STATUS [FILE]: one TAP line; on failure FILE is shown.
check() {
    count=$((count + 1))
    if [ "$2" -eq 0 ]; then
        echo "ok $count - $1"
    else
        failed=$((failed + 1))
        echo "not ok $count - $1"
        [ -n "$3" ] && [ -f "$3" ] && head -20 "$3" | sed 's/^/# /'
    fi
}
wanted() { [[ $1 =~ ${CASE:-.} ]]; }
flags_of() { if [ "$1" = gcc ] || [ "$1" = g++ ]; then echo "$gcc_flags"; else echo "$clang_flags"; fi; }

for tool in gcc g++ clang clang++ nm readelf ld.gold ld.lld; do
    command -v $tool >/dev/null
    check "$tool is installed" $?
done

# compile NAME CC STD OUT FILES...: succeeds only if there is not a single diagnostic.
compile() {
    local name=$1 cc=$2 std=$3 out=$4
    shift 4
    # shellcheck disable=SC2046,SC2086
    $cc -std=$std $strict $build $(flags_of $cc) "$@" -o "$out" >"$tmp/log" 2>&1 && [ ! -s "$tmp/log" ]
    check "$name" $? "$tmp/log"
}

gcc -std=gnu11 -Wall -Wextra -Werror -O1 -g -fsanitize=address,undefined -I $sdk mockhost.c -o "$tmp/mockhost" -ldl >"$tmp/log" 2>&1
check "the mock host builds" $? "$tmp/log"

for cc in gcc clang; do
    $cc -std=gnu11 -Wall -Wextra -Werror -I $sdk -c abi.c -o "$tmp/abi.o" >"$tmp/log" 2>&1
    check "the binary interface is what it was, $cc" $? "$tmp/log"
done

# The program in the header's own tour.
sed -n '/^ \*   \[tour\]/,/^ \*   \[\/tour\]/p' $sdk/spacetimedb.h | sed -e '1d;$d' -e 's/^ \*   //' -e 's/^ \*$//' >"$tmp/tour.c"
[ "$(grep -c ST_REDUCER "$tmp/tour.c")" -ge 2 ]
check "the header has a tour with a module in it" $?

modules="$(find $root/plugins modules -name '*.c' ! -name no_module.c | sort) $tmp/tour.c"
for cc in gcc clang; do
    for std in c11 gnu11; do
        for file in $modules; do
            name="${file#"$root"/}"; name="${name#"$tmp"/}"
            wanted "$name" || continue
            so=$tmp/m.so
            rm -f "$so"
            compile "$name compiles without a diagnostic, $cc -std=$std" $cc $std "$so" "$file"
            "$tmp/mockhost" "$so" >"$tmp/log" 2>&1
            check "$name runs, $cc -std=$std" $? "$tmp/log"
            # ld also lists the section's hidden bounds, which nobody outside can bind to
            [ "$(readelf -W --dyn-syms "$so" 2>/dev/null | awk '$6 == "DEFAULT" && $5 != "LOCAL" && $7 != "UND" { print $8 }')" = st_module ]
            check "$name exports st_module and nothing else, $cc -std=$std" $?
            # what is undefined must be libc's, not the host's
            ! nm -D --undefined-only "$so" 2>/dev/null | grep -v -E ' (w .*|U (mem(cpy|set|cmp|move)|__stack_chk_fail)@.*)$' >"$tmp/log"
            check "$name needs memcpy and its like only, $cc -std=$std" $? "$tmp/log"
        done
    done
done

# Other ways to build that must give the same module.
for way in "gcc -O0" "clang -O0" "gcc -O3 -flto" "gcc -Os -ffunction-sections -fdata-sections -Wl,--gc-sections" \
           "gcc -fuse-ld=gold" "clang -fuse-ld=lld" "gcc -std=gnu2x" "clang -std=c2x" "gcc -fshort-enums" "gcc -s"; do
    name="modules/full.c works when built with $way"
    wanted "$name" || continue
    # shellcheck disable=SC2086
    ${way%% *} -std=c11 $build ${way#* } modules/full.c -o "$tmp/m.so" >"$tmp/log" 2>&1 && "$tmp/mockhost" "$tmp/m.so" >>"$tmp/log" 2>&1
    check "$name" $? "$tmp/log"
done

# refuses NAME REGEX FILE FLAGS...: it builds, and loading it fails with this message.
refuses() {
    local name=$1 regex=$2 file=$3
    shift 3
    wanted "$name" || return
    # shellcheck disable=SC2086
    if gcc -std=c11 $build "$@" "$file" -o "$tmp/m.so" >"$tmp/log" 2>&1; then
        "$tmp/mockhost" "$tmp/m.so" >"$tmp/log" 2>&1
        [ $? -eq 1 ] && grep -qE "$regex" "$tmp/log"
        check "$name" $? "$tmp/log"
    else
        check "$name" 1 "$tmp/log"
    fi
}
refuses "a module without ST_MODULE is refused" "is ST_MODULE\(...\) missing" modules/no_module.c
refuses "a module built with -fpack-struct is refused" "refused: .*offset|refused: .*size|failed: m->" $root/plugins/kitchen/kitchen.c -fpack-struct

# Several files.
for cc in gcc clang; do
    wanted "several files, $cc" || continue
    compile "two files share a table, $cc" $cc c11 "$tmp/m.so" link/one.c link/two.c
    "$tmp/mockhost" "$tmp/m.so" >"$tmp/log" 2>&1
    check "two files with one table load, $cc" $? "$tmp/log"
    # shellcheck disable=SC2086
    ! $cc -std=c11 $build link/one.c link/again.c -o "$tmp/m.so" >"$tmp/log" 2>&1 && grep -q 'st_defined_once_add_note' "$tmp/log"
    check "a reducer defined in two files does not link, $cc" $? "$tmp/log"
    # shellcheck disable=SC2086
    ! $cc -std=c11 $build link/one.c link/module_again.c -o "$tmp/m.so" >"$tmp/log" 2>&1 && grep -q 'multiple definition of .st_module' "$tmp/log"
    check "ST_MODULE in two files does not link, $cc" $? "$tmp/log"
done

# In C++.
cpp_flags="-fno-exceptions -fno-rtti -fno-threadsafe-statics -Wl,--as-needed"
for cc in g++ clang++; do
    for std in c++17 c++20; do
        for level in -O0 -O2; do
            name="cpp/guest.cc, $cc -std=$std $level"
            wanted "$name" || continue
            so=$tmp/m.so
            rm -f "$so"
            # shellcheck disable=SC2086
            compile "$name compiles without a diagnostic" $cc $std "$so" $cpp_flags $level cpp/guest.cc
            "$tmp/mockhost" "$so" >"$tmp/log" 2>&1
            check "$name runs" $? "$tmp/log"
            [ "$(readelf -W --dyn-syms "$so" 2>/dev/null | awk '$6 == "DEFAULT" && $5 != "LOCAL" && $7 != "UND" { print $8 }')" = st_module ]
            check "$name exports st_module and nothing else" $?
            ! nm -D --undefined-only "$so" 2>/dev/null | grep -v -E ' (w .*|U (mem(cpy|set|cmp|move)|__stack_chk_fail)@.*)$' >"$tmp/log"
            check "$name needs memcpy and its like only" $? "$tmp/log"
        done
    done
done
for file in cpp/wrong/[0-9]*.cc; do
    for cc in g++ clang++; do
        name="$file is refused with advice, $cc"
        wanted "$name" || continue
        std=$(sed -n 's,^// std: ,,p' "$file")
        # shellcheck disable=SC2046,SC2086
        ! $cc -std=${std:-c++20} -Wall -Wextra $build $cpp_flags $(flags_of $cc) "$file" -o "$tmp/m.so" >"$tmp/log" 2>&1 &&
            grep -E ' (fatal )?error: ' "$tmp/log" | head -2 | grep -qE "$(sed -n 's,^// says: ,,p' "$file")"
        check "$name" $? "$tmp/log"
    done
done

# Wrong modules: each fails, and one of its first two errors says what its first lines ask for.
for file in wrong/[0-9]*.c; do
    for cc in gcc clang; do
        name="$file is refused with advice, $cc"
        wanted "$name" || continue
        regex=$(sed -n "s,^// $cc: ,,p" "$file")
        # shellcheck disable=SC2046,SC2086
        if $cc -std=c11 -Wall -Wextra $build $(flags_of $cc) "$file" -o "$tmp/m.so" >"$tmp/log" 2>&1; then
            echo "# it compiled" >>"$tmp/log"
            check "$name" 1 "$tmp/log"
        else
            [ -n "$regex" ] && grep -E ' (fatal )?error: ' "$tmp/log" | head -2 | grep -qE "$regex"
            check "$name" $? "$tmp/log"
        fi
    done
done

echo "1..$count"
[ $failed -eq 0 ]
