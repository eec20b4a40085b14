#!/bin/bash
# Both compilers over every file, every header alone, the include rules of the rooms, the static analyzer. Prints what it looks at, and what is wrong.
set -u
cd "$(dirname "$0")/.."
bad=0
log=${BUILD:-build}/lint-analyzer.log
mkdir -p "$(dirname "$log")"
complain() { echo "$*"; bad=1; }
flags="-std=gnu11 -D_GNU_SOURCE -DSPACETIME_VERSION=\"0\" -I. -I/usr/include/postgresql -Wall -Wextra -Werror -Wstrict-prototypes -Wmissing-prototypes -Wno-unused-parameter"
sources=$(git ls-files 'host/*.c' 'cli/*.c' 'tests/unit/*.c' 'tests/sim/*.c' 'tests/bench/*.c' 'tests/fuzz/*.c' | grep -v tests/sim/parts)
headers=$(git ls-files 'host/*.h' 'cli/*.h')

jobs=$(nproc)
export flags
# each FILES COMMAND: the command for every file ($f), on all cores; false when one failed
each() { printf '%s\n' $1 | xargs -P "$jobs" -n 1 bash -c "f=\$0; $2"; }

echo "both compilers"
each "$sources" 'gcc $flags -Wno-format-truncation -fsyntax-only "$f"' || bad=1
each "$sources" 'clang $flags -fsyntax-only "$f"' || bad=1
echo "headers alone"
each "$headers" 'echo "#include \"$f\"" | gcc $flags -Wno-unused -x c -fsyntax-only - || { echo "$f does not compile alone"; exit 1; }' || bad=1

echo "include rules"
# room -> rooms it may include besides itself and base
declare -A may=(
  [base]="" [schema]="sdk" [engine]="sdk schema" [query]="sdk schema engine" [worker]="sdk schema engine query"
  [storage]="schema" [wire]="sdk schema" [net]="schema wire"
)
for room in "${!may[@]}"; do
  for f in $(git ls-files "host/$room/*.[ch]"); do
    while read -r include; do
      target=${include#host/}
      target=${target%%/*}
      [[ $include == sdk/* ]] && target=sdk
      [ "$target" = base ] || [ "$target" = "$room" ] || [[ " ${may[$room]} " == *" $target "* ]] || complain "$f includes $include: host/$room may only include ${may[$room]:-nothing}"
    done < <(sed -n 's/^#include "\(host\/[^"]*\|sdk\/[^"]*\|cli\/[^"]*\)".*/\1/p' "$f")
  done
done
for f in $(git ls-files 'cli/*.[ch]'); do
  grep -nE '#include "host/(engine|query|worker|storage|net)/' "$f" && complain "$f: cli may include sdk, host/schema, host/wire and host/base"
done
# each third-party header has its home
home() { # HEADER-PATTERN ALLOWED-PATTERN
  for f in $(git grep -lE "#include <($1)" -- 'host/*.[ch]'); do [[ $f =~ $2 ]] || complain "$f includes $1, whose home is $2"; done
}
home 'libpq-fe.h' '^host/storage/'
home 'uv.h' '^host/(net/|[a-z]*\.)'
home 'microhttpd.h|wslay' '^host/net/'
home 'seccomp.h|dlfcn.h' '^host/worker/'

echo "static analyzer"
analyzer='clang $flags --analyze -Xclang -analyzer-output=text -Xclang -analyzer-disable-checker=deadcode.DeadStores,security.insecureAPI.DeprecatedOrUnsafeBufferHandling'
each "$(git ls-files 'host/*.c' 'cli/*.c')" "$analyzer"' -o /dev/null "$f" 2>&1; true' >"$log"
grep -E 'warning:|error:' "$log" && bad=1 # the paths that lead there are in the log
[ $bad = 0 ] && echo "clean" || echo "the analyzer's log: $log"
exit $bad
