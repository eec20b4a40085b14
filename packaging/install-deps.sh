#!/bin/bash
# Installs the Debian packages that are missing, and says so. Usage: install-deps.sh build [run] [test]
# Works as root or through sudo, with or without a terminal. Does nothing when everything is there.
set -euo pipefail

build_packages="gcc make pkg-config libc6-dev libuv1-dev libwslay-dev libmicrohttpd-dev libjansson-dev libcurl4-openssl-dev
  libpq-dev libssl-dev libseccomp-dev zlib1g-dev libedit-dev"
run_packages="curl ca-certificates"
test_packages="libcmocka-dev g++ clang lld clang-tidy clang-format procps git"

wanted=""
for part in "$@"; do
  case $part in
    build) wanted="$wanted $build_packages" ;;
    run) wanted="$wanted $run_packages" ;;
    test) wanted="$wanted $test_packages" ;;
    *) echo "install-deps.sh: unknown part '$part' (build, run, test)" >&2; exit 2 ;;
  esac
done

missing=""
for package in $wanted; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing="$missing $package"
done
# Any PostgreSQL server will do for the embedded cluster; the metapackage brings the release's own.
case " $* " in *" run "* | *" test "*)
  ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql postgresql-client" ;;
esac
# The sanitizer and fuzzer runtime of whatever clang this release has; when clang is still to come, apt knows which that will be.
clang_runtime() {
  local major
  major=$(clang --version 2>/dev/null | sed -n 's/.*clang version \([0-9]*\).*/\1/p') || true
  [ -n "$major" ] || major=$(apt-cache depends clang 2>/dev/null | sed -n 's/.*Depends: clang-\([0-9]*\).*/\1/p' | head -1) || true
  echo "libclang-rt-${major:-14}-dev"
}
runtime=
case " $* " in *" test "*)
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$(clang_runtime)" 2>/dev/null)" = installed ] || runtime=missing ;;
esac
# Node.js runs the official client SDK in the tests; any version from 18 on will do, wherever it came from.
case " $* " in *" test "*)
  if ! node -e 'process.exit(parseInt(process.versions.node) >= 18 ? 0 : 1)' 2>/dev/null || ! npm --version >/dev/null 2>&1; then
    missing="$missing nodejs npm"
  fi ;;
esac
[ -n "$missing$runtime" ] || exit 0

run_as_root=""
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || {
    echo "These packages are missing, and installing them needs root or sudo. Let somebody who may run:" >&2
    echo "  apt-get install --no-install-recommends$missing${runtime:+ $(clang_runtime)}" >&2
    exit 1
  }
  run_as_root="sudo"
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() {
  $run_as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing >"$log" 2>&1
}
# The package lists may be old or empty on a fresh machine: refresh them first.
echo "Refreshing the package lists"
$run_as_root apt-get update >"$log" 2>&1 || { echo "apt-get update failed:" >&2; tail -5 "$log" >&2; exit 1; }
[ -z "$runtime" ] || missing="$missing $(clang_runtime)"
echo "Installing missing packages:$missing"
install || { echo "apt-get install failed:" >&2; tail -15 "$log" >&2; exit 1; }
# PostgreSQL's package starts a cluster of its own; the host makes its own and leaves that one alone.
echo "Packages installed."
