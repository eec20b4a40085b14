#!/bin/bash
# The show: build a module, publish it, let two clients talk, republish a changed one, look into PostgreSQL.
# Usage: demo.sh run (stays up at the end) | demo.sh demo (stops everything, status 0 only when every step did what it says).
set -euo pipefail
cd "$(dirname "$0")/.."
mode=${1:-demo}
bin=$PWD/${BUILD:-build}/bin
taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
# The demo takes any free port; what stays up takes 3000, or the next one that is free.
port=0
if [ "$mode" = run ]; then
  port=3000
  while taken $port && [ $port -lt 3020 ]; do port=$((port + 1)); done
fi
listen=${LISTEN:-127.0.0.1:$port}
# Not in the tree: as root the embedded PostgreSQL runs as another user, which must reach its files.
work=$(mktemp -d /tmp/spacetime-demo-XXXXXX)
chmod 711 "$work"
log=$work/host.log
config=$work/cli.toml
host_pid=
keep= # set when something failed and the files tell why
up=   # set when the host stays up
step() { printf '\n== %s\n' "$*"; }
fail() {
  printf 'FAILED: %s\n' "$*" >&2
  [ ! -f "$log" ] || { echo "--- $log ends:" >&2; tail -15 "$log" >&2; }
  keep=1
  exit 1
}
stop_all() {
  status=$?
  trap '' INT TERM # once is enough: the host stores what is complete, and ends
  [ -z "${watcher:-}" ] || kill "$watcher" 2>/dev/null || true
  if [ -n "$host_pid" ] && kill -0 "$host_pid" 2>/dev/null; then
    kill -TERM "$host_pid"
    wait "$host_pid" 2>/dev/null || true
  fi
  # initdb, when it was interrupted, may still be writing
  [ -n "$keep" ] || rm -rf "$work" 2>/dev/null || { sleep 1; rm -rf "$work"; }
  [ -z "$up" ] || echo "Stopped."
  exit $status
}
trap stop_all EXIT
trap 'echo; exit ${up:-130}' INT TERM
spacetime() { "$bin/spacetime" --config-path "$config" "$@"; }
expect() { # expect TITLE PATTERN COMMAND...: runs, shows what it prints, and insists on the pattern
  local title=$1 pattern=$2 out word
  shift 2
  printf '$'
  for word in "$@"; do
    case $word in *\'*) printf ' "%s"' "$word" ;; *[!A-Za-z0-9_./:=-]*) printf " '%s'" "$word" ;; *) printf ' %s' "$word" ;; esac
  done
  echo
  out=$("$@" 2>&1) || { printf '%s\n' "$out"; fail "$title"; }
  [ -z "$out" ] || printf '%s\n' "$out" | sed 's/^/  /'
  grep -qE -- "$pattern" <<<"$out" || fail "$title: expected $pattern"
}

step "Starting a host with its own PostgreSQL in $work/data"
[ "$mode" != run ] || [ "$port" = 3000 ] || [ -n "${LISTEN:-}" ] || echo "  port 3000 is taken; taking $port (LISTEN=address:port chooses)"
"$bin/spacetimedb-host" start --data-dir "$work/data" --listen-addr "$listen" >"$log" 2>&1 &
host_pid=$!
for ((i = 0; i < 600; i++)); do
  address=$(sed -n 's/.*listening on \(.*\)$/\1/p' "$log")
  [ -z "$address" ] || break
  kill -0 "$host_pid" 2>/dev/null || fail "the host ended"
  [ $((i % 20)) != 19 ] || printf '  ... %s\n' "$(tail -1 "$log")"
  sleep 0.1
done
[ -n "$address" ] || fail "the host did not start within a minute"
url=http://$address
echo "  listening on $url"
printf 'default_server = "local"\n[[server_configs]]\nnickname = "local"\nhost = "%s"\nprotocol = "http"\n' "$address" >"$config"

step "Building and publishing plugins/chat"
expect "login" "Logged in" spacetime login --server-issued-login local
expect "publish" "Created new database with name: chat" spacetime publish chat -p plugins/chat --yes

step "Two clients talk: one watches, one writes"
updates=$work/updates
"$bin/spacetime" --config-path "$config" subscribe chat "SELECT * FROM message" --print-initial-update >"$updates" 2>/dev/null &
watcher=$!
for ((i = 0; i < 100; i++)); do [ -s "$updates" ] && break; sleep 0.1; done
[ -s "$updates" ] || fail "the watcher got no initial rows"
expect "call" "" spacetime call chat send_message "Hello from the first client"
for ((i = 0; i < 100; i++)); do grep -q "Hello from" "$updates" && break; sleep 0.1; done
grep -q "Hello from the first client" "$updates" || fail "the watcher did not see the message"
echo "  the watcher received:"
grep "Hello from" "$updates" | sed 's/^/  /'
if spacetime call chat send_message "" >"$work/error" 2>&1; then fail "an empty message must be refused"; fi
echo "  and an empty message is refused: $(grep -o 'messages must not be empty' "$work/error" | head -1)"

step "Republishing a changed module (a defaulted column, a new table) while the watcher stays connected"
expect "republish" "Updated database with name: chat" spacetime publish chat -p plugins/chat/v2 --yes
expect "create_room" "" spacetime call chat create_room lobby
expect "send_to_room" "" spacetime call chat send_to_room 1 "Hello, lobby"
for ((i = 0; i < 100; i++)); do grep -q "Hello, lobby" "$updates" && break; sleep 0.1; done
grep -q "Hello, lobby" "$updates" || fail "the watcher lost its connection in the republish"
echo "  the watcher, connected since before the republish, received:"
grep "Hello, lobby" "$updates" | sed 's/^/  /'
expect "sql" "Hello, lobby" spacetime sql chat "SELECT id, text, room FROM message"

step "What PostgreSQL holds: ordinary typed tables"
export PGOPTIONS=
conninfo=$(cat "$work/data/pg.conninfo")
expect "settle" "" psql "$conninfo" -X -q -A -t -c "select spacetime.settle('chat')"
expect "psql" "Hello, lobby" psql "$conninfo" -X -c 'select m.id, m.text, coalesce(r.name, $$-$$) as room from chat.message m left join chat.room r on r.id = m.room order by m.id'
expect "columns" "timestamp with time zone" psql "$conninfo" -X -c '\d chat.message'
kill "$watcher" 2>/dev/null || true
watcher=

if [ "$mode" = demo ]; then
  step "Stopping the host"
  kill -TERM "$host_pid"
  wait "$host_pid" || fail "the host did not stop cleanly"
  host_pid=
  echo
  echo "Every step did what it says."
  exit 0
fi
up=0
cat <<EOT

The host is up at $url. Ctrl-C stops it and removes $work. Try, in another terminal:

  export PATH=$bin:\$PATH SPACETIME_CONFIG=$config
  spacetime call chat send_message "Hi"
  spacetime sql chat "SELECT * FROM message"
  spacetime logs chat -f
  psql "\$(cat $work/data/pg.conninfo)"
  spacetime init --lang c my-app && cd my-app && spacetime publish my-app

EOT
wait "$host_pid" || true
host_pid=
fail "the host ended"
