#!/usr/bin/env bash
# Everything the tests need, from the distribution, then the tests. The last line says "N passed, N failed".
# Needs the .NET 10 SDK. Installs (as root or through sudo, where missing): Chromium, python3-jwt, curl, PostgreSQL, HAProxy, PgBouncer, sqlite3, git, git-secrets, RE2, Hyperscan, and npm with Node.js 20 or newer.
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
[ -x /usr/sbin/postfix ] || packages+=(postfix)
command -v sqlite3 >/dev/null || packages+=(sqlite3)
# What other scanners search with: git-secrets itself, RE2 (gitleaks), Hyperscan (GitHub).
command -v git >/dev/null || packages+=(git)
command -v git-secrets >/dev/null || packages+=(git-secrets)
perl -Mre::engine::RE2 -e1 2>/dev/null || packages+=(libre-engine-re2-perl)
ldconfig -p | grep -q 'libhs\.so\.5' || packages+=(libhyperscan5)
# The libraries with which receivers verify webhooks are from npm: tests/package.json.
command -v npm >/dev/null || packages+=(nodejs npm)
if [ ${#packages[@]} -gt 0 ]; then
  as_root=(); [ "$(id -u)" = 0 ] || as_root=(sudo)
  echo "Installing ${packages[*]}"
  # The tests make and remove their own PostgreSQL: Debian's package is not to start one of its own.
  [ -e /etc/postgresql-common/createcluster.conf ] || {
    "${as_root[@]}" mkdir -p /etc/postgresql-common &&
      echo "create_main_cluster = false" | "${as_root[@]}" tee /etc/postgresql-common/createcluster.conf >/dev/null
  }
  "${as_root[@]}" apt-get update -qq &&
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends -o Dpkg::Options::=--force-confold "${packages[@]}" >/dev/null ||
    { echo "Could not install ${packages[*]}; install them by hand and start again."; exit 1; }
fi

# Servers and libraries that nobody here wrote, as the lock files name them; none of their install scripts runs.
for folder in tests tests/node; do
  npm ci --prefix $folder --ignore-scripts --no-audit --no-fund --silent || { echo "npm could not restore $folder/package-lock.json."; echo "0 passed, 1 failed"; exit 1; }
done

dotnet build Pakhouse.slnx -v quiet || { echo "The build failed."; echo "0 passed, 1 failed"; exit 1; }

# The table of permissions stands in columns, which the formatter would pull apart.
format=(dotnet format whitespace . --folder --exclude src/Pakhouse.Server/Authorization/Permissions.cs tests/node/node_modules)
"${format[@]}" --verify-no-changes || { echo "Run: ${format[*]}"; echo "0 passed, 1 failed"; exit 1; }

# An unprivileged PostgreSQL of our own, on a free loopback port, in a temporary folder; in memory where there is room, because it makes
# more than a thousand databases. fsync is off: what is tested on it is not durability. No statement is long enough for its compiler, no
# database old enough for its vacuum.
postgres_bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)
memory=$(df --output=avail -k /dev/shm 2>/dev/null | tail -1)
postgres_folder=$([ "${memory:-0}" -gt 2000000 ] && mktemp -d -p /dev/shm || mktemp -d)
as_postgres=(); [ "$(id -u)" = 0 ] && { chown postgres "$postgres_folder"; as_postgres=(runuser -u postgres --); }
stop_postgres() { "${as_postgres[@]}" "$postgres_bin/pg_ctl" -D "$postgres_folder/data" -m immediate stop >/dev/null 2>&1; rm -rf "$postgres_folder"; }
trap stop_postgres EXIT
port=$(/usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
(cd / && "${as_postgres[@]}" "$postgres_bin/initdb" -D "$postgres_folder/data" -U pakhouse -A trust -E UTF8 --no-sync >/dev/null &&
  "${as_postgres[@]}" "$postgres_bin/pg_ctl" -D "$postgres_folder/data" -l "$postgres_folder/log" -w start \
    -o "-p $port -k $postgres_folder -c listen_addresses=127.0.0.1 -c max_connections=500 -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c autovacuum=off -c jit=off" >/dev/null) ||
  { echo "PostgreSQL could not be started:"; cat "$postgres_folder/log" 2>/dev/null; echo "0 passed, 1 failed"; exit 1; }

passed=0 failed=0
# run PROJECT [ARGUMENT …]: adds its tests to the sums. A test that is skipped or not run has not passed.
run() {
  local project=$1 output; shift
  output=$(mktemp)
  dotnet "tests/$project/bin/Debug/net10.0/$project.dll" -noColor "$@" | tee "$output"
  local status=${PIPESTATUS[0]} total errors failures skipped notrun
  read -r total errors failures skipped notrun < <(sed -nE 's/.*Total: ([0-9]+), Errors: ([0-9]+), Failed: ([0-9]+), Skipped: ([0-9]+), Not Run: ([0-9]+).*/\1 \2 \3 \4 \5/p' "$output" | tail -1)
  local bad=$(( ${errors:-0} + ${failures:-0} + ${skipped:-0} + ${notrun:-0} ))
  [ "$status" -ne 0 ] && [ "$bad" -eq 0 ] && bad=1 # it ended without a summary, or refused to start
  passed=$(( passed + ${total:-0} - ${failures:-0} - ${skipped:-0} - ${notrun:-0} ))
  failed=$(( failed + bad ))
  rm -f "$output"
}

# The package is tested beside the quickest part.
package=$(mktemp)
tests/package.sh > "$package" 2>&1 & package_test=$!

echo "== on SQLite"
run Pakhouse.Tests -trait- only=postgres "$@"
echo "== on PostgreSQL"
PAKHOUSE_TEST_POSTGRES="Host=127.0.0.1;Port=$port;Database=postgres;Username=pakhouse" run Pakhouse.Tests -trait- only=sqlite "$@"
echo "== the program itself"
run Pakhouse.SystemTests "$@"
echo "== the package"
if wait "$package_test"; then passed=$(( passed + 1 )); else failed=$(( failed + 1 )); fi
cat "$package"; rm -f "$package"

echo
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
