#!/bin/bash
# Figures of `make bench`: each line is measured within this run, on this machine, against what a user would pick instead.
#   bench NAME RATIO GOAL ok|short
# BENCH_SECONDS (default 8) for each load. Raw figures go to stderr.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${BUILD:-build}
seconds=${BENCH_SECONDS:-8}
work=$(mktemp -d /tmp/stpg-bench-XXXXXX)
chmod 711 "$work"
pgbin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)
client=$build/tests/tools/client
host_pid=
cleanup() { [ -z "$host_pid" ] || { kill -TERM "$host_pid" 2>/dev/null; wait "$host_pid" 2>/dev/null; } || true; rm -rf "$work"; }
trap cleanup EXIT
start_host() {
  "$build/bin/spacetimedb-host" start --data-dir "$work/data" --listen-addr 127.0.0.1:0 >"$work/host.log" 2>&1 &
  host_pid=$!
  for ((i = 0; i < 600; i++)); do
    port=$(sed -n 's/.*listening on .*:\([0-9]*\)$/\1/p' "$work/host.log")
    [ -z "$port" ] || break
    sleep 0.1
  done
  [ -n "$port" ] || { cat "$work/host.log" >&2; exit 1; }
  url=http://127.0.0.1:$port
}
stop_host() { kill -TERM "$host_pid"; wait "$host_pid"; host_pid=; }
note() { printf '  %s\n' "$*" >&2; }
# figure NAME MEASURED BASE GOAL at-least|at-most
figure() {
  awk -v name="$1" -v a="$2" -v b="$3" -v goal="$4" -v kind="$5" 'BEGIN { r = a / b; good = kind == "at-least" ? r >= goal : r <= goal;
    printf "bench %-28s %8.2f %s %-5g %s\n", name, r, kind == "at-least" ? ">=" : "<=", goal, good ? "ok" : "short" }'
}
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

cc -std=c11 -O2 -g -fPIC -shared -fvisibility=hidden -I sdk plugins/ledger/ledger.c -o "$work/ledger.so"
start_host
token=$(curl -sf -X POST "$url/v1/identity" | sed 's/.*"token":"\([^"]*\)".*/\1/')
auth=(-H "Authorization: Bearer $token")
publish() { curl -sf "${auth[@]}" -X PUT --data-binary @"$work/ledger.so" "$url/v1/database/$1" >/dev/null; }
call() { curl -sf "${auth[@]}" -H 'content-type: application/json' -d "$3" "$url/v1/database/$1/call/$2" >/dev/null; }
conninfo=$(cat "$work/data/pg.conninfo")
pg() { psql "$conninfo" -X -q -A -t "$@"; }
publish ledger
call ledger seed '[100000, 1000000]'
pg -c "select spacetime.settle('ledger')" >/dev/null

# The same transfer as a user would write it in PostgreSQL, on the same server with the same settings.
pg <<'SQL'
create schema bench;
create table bench.accounts (id bigint primary key, balance bigint not null);
insert into bench.accounts select i, 1000000 from generate_series(0, 99999) i;
create function bench.transfer(payer bigint, payee bigint, amount bigint) returns void language plpgsql as $$
declare low bigint := least(payer, payee); high bigint := greatest(payer, payee); funds bigint;
begin
  if payer = payee then raise exception 'same_account'; end if;
  if amount <= 0 then raise exception 'non_positive_amount'; end if;
  perform 1 from bench.accounts where id = low for update;
  if not found then raise exception 'account_missing'; end if;
  perform 1 from bench.accounts where id = high for update;
  if not found then raise exception 'account_missing'; end if;
  select balance into funds from bench.accounts where id = payer;
  if funds < amount then raise exception 'insufficient_funds'; end if;
  update bench.accounts set balance = balance - amount where id = payer;
  update bench.accounts set balance = balance + amount where id = payee;
end $$;
vacuum analyze bench.accounts;
SQL
cat >"$work/uniform.sql" <<'SQL'
\set a random(0, 99999)
\set b (:a + random(1, 99999)) % 100000
select bench.transfer(:a, :b, 1);
SQL
cat >"$work/zipf.sql" <<'SQL'
\set a random_zipfian(1, 100000, 1.5) - 1
\set b random_zipfian(1, 100000, 1.5) - 1
\if :a = :b
\set b (:b + 1) % 100000
\endif
select bench.transfer(:a, :b, 1);
SQL
bench_pg() { "$pgbin/pgbench" -d "$conninfo" -n -M prepared -c "$1" -j "$(( $1 < 2 ? 1 : 2 ))" -T "$seconds" -f "$work/$2.sql" 2>/dev/null; }
lag_watch() { # the worst lag of the materialiser while a load runs, in milliseconds
  echo 0 >"$work/lag"
  while [ -e "$work/watching" ]; do
    curl -sf "$url/v1/server/status" | grep -o '"lag_us":[0-9]*' | head -1 | awk -F: '{ print $2 / 1000 }' >>"$work/lag" || true
    sleep 0.1
  done
}
for kind in uniform zipf; do
  theirs=$(bench_pg 16 $kind | sed -n 's/^tps = \([0-9.]*\).*/\1/p')
  touch "$work/watching"
  lag_watch &
  watcher=$!
  read -r rate bad p50 p99 _ < <("$client" load "$port" ledger 32 40 "$seconds" 100000 $([ $kind = zipf ] && echo 1.5 || echo uniform))
  rm "$work/watching"
  wait $watcher || true
  note "$kind: PL/pgSQL $theirs/s; confirmed reducer calls $rate/s ($bad refused, median $p50 us, p99 $p99 us); worst materialiser lag $(sort -g "$work/lag" | tail -1) ms"
  pg -c "select spacetime.settle('ledger')" >/dev/null
  [ "$(pg -c 'select sum(balance) from ledger.accounts')" = 100000000000 ] || { echo "the sum of balances is wrong" >&2; exit 1; }
  figure "materialiser_lag_$kind" "$(sort -g "$work/lag" | tail -1)" 1000 1 at-most
  figure "transfers_$kind" "$rate" "$theirs" $([ $kind = zipf ] && echo 60 || echo 15) at-least
done

# One call in flight: medians.
(cd "$work" && "$pgbin/pgbench" -d "$conninfo" -n -M prepared -c 1 -j 1 -T "$seconds" -l --log-prefix=latency -f uniform.sql >/dev/null 2>&1)
theirs=$(awk '{ print $3 }' "$work"/latency.* | median)
read -r rate bad p50 p99 _ < <("$client" load "$port" ledger 1 1 "$seconds" 100000 uniform)
note "one in flight: PL/pgSQL median $theirs us; confirmed call median $p50 us"
figure latency_one_in_flight "$p50" "$theirs" 1.5 at-most

# One write seen by 1,000 subscribers.
read -r ours bare < <("$client" fanout "$port" ledger 1000 200)
note "fan-out to 1,000: $ours us; the same bytes to 1,000 sockets: $bare us"
figure fanout_1000 "$ours" "$bare" 1.5 at-most

# Loading a million rows at start.
call ledger seed '[1000000, 1]'
pg -c "select spacetime.settle('ledger')" >/dev/null
for i in 1 2 3 4 5; do
  t0=$(date +%s%N)
  pg -c "copy ledger.accounts to stdout (format binary)" >/dev/null
  echo $((($(date +%s%N) - t0) / 1000))
done >"$work/copy"
for i in 1 2 3; do
  stop_host
  start_host
  t0=$(date +%s%N)
  curl -sf "$url/v1/database/ledger/schema?version=10" >/dev/null
  echo $((($(date +%s%N) - t0) / 1000))
done >"$work/load"
note "a million rows: opened in $(median <"$work/load") us; COPY binary takes $(median <"$work/copy") us"
figure load_1000000_rows "$(median <"$work/load")" "$(median <"$work/copy")" 3 at-most

# The worker of the same million rows is killed: until a call is answered again; against the same after a cold start.
from=0
answered_call() { from=$((from + 2)) && call ledger transfer "[$from, $((from + 1)), 1]"; } # each account has 1
for i in 1 2 3; do
  stop_host
  start_host
  t0=$(date +%s%N)
  answered_call
  echo $((($(date +%s%N) - t0) / 1000)) >>"$work/cold"
  sleep 12 # a worker that lived this long did not die at once: no pause before the next
  t0=$(date +%s%N)
  pkill -KILL -P "$host_pid" -f 'spacetimedb-worker ledger$'
  answered_call
  echo $((($(date +%s%N) - t0) / 1000)) >>"$work/crash"
done
note "a million rows: a call answered $(median <"$work/crash") us after its worker was killed; $(median <"$work/cold") us after a cold start"
figure restart_after_crash "$(median <"$work/crash")" "$(median <"$work/cold")" 1.2 at-most

# Scheduled rows that are due, against calls of the same function by clients.
cat >"$work/clock.c" <<'C'
#include "spacetimedb.h"
ST_MODULE(clock, "1.0.0");
ST_TABLE(count, PUBLIC, (uint32_t, id, PK), (uint64_t, n));
ST_TABLE(job, PRIVATE, (uint64_t, id, PK_AUTO), (st_schedule_at, at));
static st_status tick(st_reducer_ctx *ctx) {
    const count *old = count_find_by_id(ctx->db, 1);
    count c = { .id = 1, .n = old ? old->n + 1 : 1 };
    return old ? count_update_by_id(ctx->db, &c) : count_insert(ctx->db, &c);
}
ST_REDUCER(due, (job, row)) { (void)row; return tick(ctx); }
ST_SCHEDULE(job, at, due);
ST_REDUCER(transfer, (uint32_t, payer), (uint32_t, payee), (int64_t, amount)) { (void)payer; (void)payee; (void)amount; return tick(ctx); }
ST_REDUCER(fill, (uint32_t, n)) {
    for (uint32_t i = 0; i < n; i++) { job j = { .at = st_at(ctx->timestamp) }; st_status s = job_insert(ctx->db, &j); if (s) return s; }
    count_clear(ctx->db);
    return ST_OK;
}
C
cc -std=c11 -O2 -g -fPIC -shared -fvisibility=hidden -I sdk "$work/clock.c" -o "$work/clock.so"
curl -sf "${auth[@]}" -X PUT --data-binary @"$work/clock.so" "$url/v1/database/clock" >/dev/null
rows=200000
call clock fill "[$rows]"
t0=$(date +%s%N)
until curl -sf "${auth[@]}" -d 'SELECT n FROM count' "$url/v1/database/clock/sql" | grep -q "\[$rows\]"; do sleep 0.02; done
scheduled=$(awk -v n=$rows -v ns=$(($(date +%s%N) - t0)) 'BEGIN { print n / ns * 1e9 }')
read -r direct _ < <("$client" load "$port" clock 32 40 "$seconds" 100000 uniform)
note "scheduled reducers $scheduled/s; the same function called by clients $direct/s"
figure scheduled_against_calls "$scheduled" "$direct" 0.5 at-least

# A write past 10,000 results of views that have not read it, against one past two.
for i in 1 2 3 4 5; do "$build/tests/query_views_test" 2>/dev/null; done |
  sed -n 's/^# a write past [0-9]* results of views: \([0-9]*\) ns; past two: \([0-9]*\) ns$/\1 \2/p' >"$work/views"
note "a write past 10,000 results of views: $(cut -d' ' -f1 <"$work/views" | median) ns; past two: $(cut -d' ' -f2 <"$work/views" | median) ns"
figure write_past_10000_views "$(cut -d' ' -f1 <"$work/views" | median)" "$(cut -d' ' -f2 <"$work/views" | median)" 1.1 at-most

# How long a caller waits while a publish adds a defaulted column, against that ALTER TABLE and an empty commit in psql; with 1,000,000 rows and with 10,000.
version_with() { # COLUMNS: the ledger with so many columns more
  local columns= defaults= i
  for ((i = 1; i <= $1; i++)); do columns+=", (uint32_t, extra$i)" defaults+="ST_DEFAULT(accounts, extra$i, $i);"; done
  sed "s/(int64_t,  balance));/(int64_t,  balance)$columns);\n$defaults/" plugins/ledger/ledger.c >"$work/ledger$1.c"
  cc -std=c11 -O2 -g -fPIC -shared -fvisibility=hidden -I sdk "$work/ledger$1.c" -o "$work/ledger$1.so"
}
versions=5
for ((v = 0; v <= versions; v++)); do version_with $v; done
put() { curl -sf "${auth[@]}" -X PUT --data-binary @"$work/ledger$2.so" "$url/v1/database/$1" >/dev/null; }
for rows in 1000000 10000; do
  db=pause$rows
  put $db 0
  call $db seed "[$rows, 1000000]"
  pg -c "select spacetime.settle('$db')" >/dev/null
  pg -c "create table bench.t$rows as select i::bigint id, 1000000::bigint balance from generate_series(1, $rows) i; alter table bench.t$rows add primary key (id); create table bench.empty$rows (a int)"
  : >"$work/pause$rows" >"$work/alter$rows" >"$work/publish$rows"
  for ((v = 1; v <= versions; v++)); do
    "$client" load "$port" $db 1 1 4 10000 uniform >"$work/gap" &
    caller=$!
    sleep 2
    t0=$(date +%s%N)
    put $db $v
    echo $((($(date +%s%N) - t0) / 1000)) >>"$work/publish$rows"
    wait $caller
    read -r _ _ _ _ longest <"$work/gap"
    echo "$longest" >>"$work/pause$rows"
    # `Time: 1.234 ms` of the ALTER, and of a transaction that commits nothing but itself
    pg -c '\timing on' -c "alter table bench.t$rows add column extra$v bigint not null default $v" -c "insert into bench.empty$rows values (1)" |
      awk '/^Time:/ { us += $2 * 1000 } END { print us }' >>"$work/alter$rows"
  done
  note "adding a column to $rows rows: the longest wait of a caller $(median <"$work/pause$rows") us (publish $(median <"$work/publish$rows") us); ALTER TABLE and an empty commit $(median <"$work/alter$rows") us"
  figure "publish_pause_$rows" "$(median <"$work/pause$rows")" "$(median <"$work/alter$rows")" 20 at-most
done
figure publish_pause_growth "$(median <"$work/pause1000000")" "$(median <"$work/pause10000")" 3 at-most

# The same module again: nothing to do.
for i in 1 2 3 4 5; do
  t0=$(date +%s%N)
  "$build/bin/spacetime" --config-path "$work/cli.toml" publish pause1000000 -b "$work/ledger$versions.so" -s "$url" --yes >/dev/null 2>&1 || put pause1000000 $versions
  echo $((($(date +%s%N) - t0) / 1000))
done >"$work/same"
note "publishing an unchanged module: $(median <"$work/same") us"
figure publish_unchanged_in_seconds "$(median <"$work/same")" 1000000 1 at-most
