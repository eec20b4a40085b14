#!/bin/bash
# Runs the suites and adds up what they say in TAP. Usage: tests/run.sh [SUITE] [NAME]
#   SUITE  sdk, unit, sim, integration, fault, hostile; none: all of them.  NAME: only tests whose file name contains it.
# The last line is "N passed, N failed".
set -u
cd "$(dirname "$0")/.."
build=${BUILD:-build}
suite=${1:-all}
name=${2:-}
case $suite in all | sdk | unit | sim | integration | fault | hostile) ;; *) name=$suite suite=all ;; esac
logs=$build/tests/logs
mkdir -p "$logs"
passed=0 failed=0
export BUILD=$build
# Sanitizers report into files: the workers' because nobody reads their descriptor 2 (host/worker/sandbox.c), the others' because a host
# that is killed has no exit status to tell by.
reports=/tmp/spacetimedb-worker-report
if [ -n "${SANITIZED:-}" ]; then
  rm -f "$reports".*
  export ASAN_OPTIONS=log_path=$reports UBSAN_OPTIONS=log_path=$reports:print_stacktrace=1 TSAN_OPTIONS=log_path=$reports
fi

# run TITLE LOGNAME COMMAND...: TAP lines are counted; a program that dies without them counts as one failure.
run() {
  local title=$1 log=$logs/$2.log start good bad status
  shift 2
  start=$(date +%s)
  CMOCKA_MESSAGE_OUTPUT=TAP timeout 1200 "$@" >"$log" 2>&1
  status=$?
  good=$(grep -cE '^ok ' "$log")
  bad=$(grep -E '^not ok ' "$log" | grep -vc '# SKIP')
  if [ -n "${SANITIZED:-}" ] && cat "$reports".* >>"$log" 2>/dev/null; then
    rm -f "$reports".*
    bad=$((bad + 1))
    echo "not ok - a sanitizer reported" >>"$log"
  fi
  if [ "$status" != 0 ] && [ "$bad" = 0 ]; then
    bad=1
    echo "not ok - $title ended with status $status" >>"$log"
  fi
  if [ "$good" = 0 ] && [ "$bad" = 0 ]; then
    bad=1
    echo "not ok - $title ran no test" >>"$log"
  fi
  passed=$((passed + good))
  failed=$((failed + bad))
  printf '%-44s %4d passed %3d failed  %3d s\n' "$title" "$good" "$bad" $(($(date +%s) - start))
  if [ "$bad" != 0 ]; then
    grep -E '^not ok' "$log" | grep -v '# SKIP' | head -20 | sed 's/^/    /'
    grep -vE '^ok ' "$log" | tail -40 | sed 's/^/    | /'
  fi
}
wants() { { [ "$suite" = all ] || [ "$suite" = "$1" ]; } && [[ $2 == *$name* ]]; }

wants sdk sdk && run "sdk: the header, right and wrong modules" sdk tests/sdk/run.sh
for test in "$build"/tests/*_test; do
  base=$(basename "$test")
  wants unit "$base" && run "unit: $base" "$base" "$test"
done
wants sim sim && run "sim: seeds against the model" sim "$build/tests/tools/sim" --tap --rounds "${SIM_ROUNDS:-3000}"
if wants integration "" || wants fault "" || wants hostile "" || [ -n "$name" ]; then
  if [ ! -d tests/clients/node_modules/spacetimedb ]; then
    echo "Installing the official client from the npm registry"
    (cd tests/clients && npm ci --no-audit --no-fund >"$PWD/../../$logs/npm.log" 2>&1) || {
      tail -5 "$logs/npm.log"
      failed=$((failed + 1))
    }
  fi
fi
for test in tests/integration/*_test.mjs; do
  base=$(basename "$test" .mjs)
  wants integration "$base" && run "integration: $base" "$base" node "$test"
done
for test in tests/fault/*_test.mjs; do
  base=$(basename "$test" .mjs)
  wants fault "$base" && run "fault: $base" "$base" node "$test"
done
wants hostile hostile_test && run "hostile: modules that attack" hostile_test node tests/hostile/hostile_test.mjs
echo
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
