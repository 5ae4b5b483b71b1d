#!/usr/bin/env bash
# Everything the tests need, from the distribution, then the tests. The last line says "N passed, N failed".
# Needs the .NET 10 SDK. Installs (as root or through sudo, where missing): Chromium, python3-jwt, curl, PostgreSQL, HAProxy, PgBouncer, sqlite3.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
export DOTNET_NOLOGO=1 DOTNET_CLI_TELEMETRY_OPTOUT=1

command -v dotnet >/dev/null || { echo "The .NET 10 SDK is missing: https://dotnet.microsoft.com/download"; exit 1; }

packages=()
command -v chromium >/dev/null || packages+=(chromium)
[ -x /usr/bin/python3 ] && /usr/bin/python3 -c 'import jwt, cryptography' 2>/dev/null || packages+=(python3-jwt python3-cryptography)
command -v curl >/dev/null || packages+=(curl)
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || packages+=(postgresql)
[ -x /usr/sbin/haproxy ] || packages+=(haproxy)
[ -x /usr/sbin/pgbouncer ] || packages+=(pgbouncer)
command -v sqlite3 >/dev/null || packages+=(sqlite3)
if [ ${#packages[@]} -gt 0 ]; then
  as_root=(); [ "$(id -u)" = 0 ] || as_root=(sudo)
  echo "Installing ${packages[*]}"
  # The tests make and remove their own PostgreSQL: Debian's package is not to start one of its own.
  [ -e /etc/postgresql-common/createcluster.conf ] || {
    "${as_root[@]}" mkdir -p /etc/postgresql-common &&
      echo "create_main_cluster = false" | "${as_root[@]}" tee /etc/postgresql-common/createcluster.conf >/dev/null
  }
  "${as_root[@]}" apt-get update -qq &&
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null ||
    { echo "Could not install ${packages[*]}; install them by hand and start again."; exit 1; }
fi

dotnet build Pakhouse.slnx -v quiet || { echo "The build failed."; echo "0 passed, 1 failed"; exit 1; }

passed=0 failed=0
for project in Pakhouse.Tests Pakhouse.SystemTests; do
  output=$(mktemp)
  dotnet "tests/$project/bin/Debug/net10.0/$project.dll" -noColor "$@" | tee "$output"
  status=${PIPESTATUS[0]}
  # A test that is skipped or not run has not passed.
  read -r total errors failures skipped notrun < <(sed -nE 's/.*Total: ([0-9]+), Errors: ([0-9]+), Failed: ([0-9]+), Skipped: ([0-9]+), Not Run: ([0-9]+).*/\1 \2 \3 \4 \5/p' "$output" | tail -1)
  bad=$(( ${errors:-0} + ${failures:-0} + ${skipped:-0} + ${notrun:-0} ))
  [ "$status" -ne 0 ] && [ "$bad" -eq 0 ] && bad=1 # it ended without a summary, or refused to start
  passed=$(( passed + ${total:-0} - ${failures:-0} - ${skipped:-0} - ${notrun:-0} ))
  failed=$(( failed + bad ))
  rm -f "$output"
done

echo
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
