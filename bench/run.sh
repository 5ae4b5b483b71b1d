#!/usr/bin/env bash
# The exchange under load, beside its floor: both in one run, in turns, on one core, with wrk on another.
#
#   bench/run.sh                    the server and the floor, on KEYS keys; and the floor with the server's own prepared read
#   bench/run.sh scale              the server on 10,000, 1,000,000 and 10,000,000 keys (SIZES)
#   bench/run.sh postgres           the same on PostgreSQL; ratios are to the floor with the same read
#   bench/run.sh fleet              one server on PostgreSQL, and two of them behind HAProxy
#   bench/run.sh compare DIR …      builds of the server (folders with Pakhouse.Server.dll) and the floor, on KEYS keys
#
# Environment: KEYS=1000000  SIZES="10000 1000000 10000000"  ROUNDS=5  ROUND_SECONDS=10  WARM_SECONDS=15  WARM_REQUESTS=50000  LEAD_SECONDS=6
#              CONNECTIONS=32  FOLDER=${TMPDIR:-/tmp}/pakhouse-bench (seeded data; reused, never deleted unless CLEAN=1)
# What it prints can be pasted into bench/README.md as it is.
set -euo pipefail
cd "$(dirname "$0")/.."

mode=${1:-floor}
KEYS=${KEYS:-1000000}
SIZES=${SIZES:-10000 1000000 10000000}
ROUNDS=${ROUNDS:-5}
ROUND_SECONDS=${ROUND_SECONDS:-10}
WARM_SECONDS=${WARM_SECONDS:-15}
WARM_REQUESTS=${WARM_REQUESTS:-50000}
LEAD_SECONDS=${LEAD_SECONDS:-6}   # not counted, before every round: a round begins in the midst of work, flushes included
CONNECTIONS=${CONNECTIONS:-32}
FOLDER=${FOLDER:-${TMPDIR:-/tmp}/pakhouse-bench}
FLUSH_SECONDS=5                   # the server's default; between rounds it must have ended, so that nobody pays for the one before
BUILD=bench/Pakhouse.Bench/bin/Release/net10.0

fail() { echo "bench: $*" >&2; exit 1; }
[ "$(nproc)" -ge 2 ] || fail "two cores are needed, one for the server and one for wrk"
command -v wrk > /dev/null || { apt-get update && apt-get install -y wrk; } >&2

# Names, addresses, data folders and process ids of what is measured; ratios are to the first.
names=() addresses=() folders=() pids=() helpers=() stop_postgres=() postgres_folder=
mkdir -p "$FOLDER"
results=$(mktemp -d)
stop() {
  for pid in "${pids[@]}" "${helpers[@]}"; do kill "$pid" 2> /dev/null || true; done
  for pid in "${pids[@]}" "${helpers[@]}"; do wait "$pid" 2> /dev/null || true; done
  if [ -n "$postgres_folder" ]; then
    (cd / && "${stop_postgres[@]}") > /dev/null 2>&1 || true
    rm -rf "$postgres_folder"
  fi
  rm -rf "$results"
  if [ "${CLEAN:-0}" = 1 ]; then rm -rf "$FOLDER"; fi
}
trap stop EXIT
trap 'exit 130' INT TERM

free_port() {
  local port
  for port in $(shuf -i 20000-30000 -n 50); do
    if ! (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null; then echo "$port"; return; fi
  done
  fail "no free port"
}

seed() { # keys
  local folder=$FOLDER/$1
  if [ ! -f "$folder/keys.txt" ]; then
    rm -rf "$folder"
    dotnet "$BUILD/Pakhouse.Bench.dll" seed --folder "$folder" --keys "$1" >&2
  fi
}

start() { # name, data folder, address, command …
  local name=$1 folder=$2 address=$3 key answer
  shift 3
  DOTNET_PROCESSOR_COUNT=1 ASPNETCORE_ENVIRONMENT=Production taskset -c 0 "$@" > "$results/$name.log" 2>&1 &
  pids+=($!) names+=("$name") folders+=("$folder") addresses+=("$address")
  key=$(head -n 1 "$folder/keys.txt")
  answer=$(printf 'personalAccessKey=%s' "$key" | curl --silent --retry 60 --retry-delay 1 --retry-connrefused --data-binary @- "$address/auth/v3/token") || { cat "$results/$name.log" >&2; fail "$name does not answer"; }
  [[ $answer == *'"access_token":"ey'* ]] || fail "$name does not exchange: $answer"
  echo "$name: answers of ${#answer} bytes" >&2
}

start_server() { # name, data folder, folder of the build, setting …
  local name=$1 folder=$2 build=$3 address
  shift 3
  address=http://127.0.0.1:$(free_port)
  start "$name" "$folder" "$address" dotnet "$build/Pakhouse.Server.dll" --Pakhouse:DataFolder "$folder" --Pakhouse:Listen "$address" --Pakhouse:UsageFlushSeconds "$FLUSH_SECONDS" "$@"
}

start_floor() { # name, data folder, option …
  local name=$1 folder=$2 address
  shift 2
  address=http://127.0.0.1:$(free_port)
  start "$name" "$folder" "$address" dotnet "$BUILD/Pakhouse.Bench.dll" floor --folder "$folder" --listen "$address" "$@"
}

# A PostgreSQL of our own on core 1, beside wrk, with a copy of the seeded data made by the program itself. Sets $postgres.
start_postgres() { # data folder
  local bin port user=()
  bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1) || fail "PostgreSQL is missing: apt-get install postgresql"
  port=$(free_port)
  postgres_folder=$(mktemp -d)
  if [ "$(id -u)" = 0 ]; then chown postgres "$postgres_folder"; user=(runuser -u postgres --); fi
  stop_postgres=("${user[@]}" "$bin/pg_ctl" -D "$postgres_folder/data" -m immediate stop)
  (cd / && "${user[@]}" "$bin/initdb" -D "$postgres_folder/data" -U pakhouse -A trust -E UTF8 &&
    taskset -c 1 "${user[@]}" "$bin/pg_ctl" -D "$postgres_folder/data" -l "$postgres_folder/log" -w start \
      -o "-p $port -k $postgres_folder -c listen_addresses=127.0.0.1 -c shared_buffers=1GB -c max_wal_size=8GB") >&2
  postgres="Host=127.0.0.1;Port=$port;Database=postgres;Username=pakhouse"
  dotnet "$BUILD/Pakhouse.Server.dll" storage copy --from sqlite --to postgres --Pakhouse:DataFolder "$1" --Pakhouse:PostgresConnection "$postgres" >&2
  "$bin/psql" -h 127.0.0.1 -p "$port" -U pakhouse postgres -q -c "VACUUM ANALYZE" >&2
}

# Two servers and HAProxy, as docs/operations.md has them; all three share core 0, so it is latency that is compared, not rate.
start_fleet() { # data folder
  local port address first=${#pids[@]}
  start_server one "$1" "$BUILD" --Pakhouse:PostgresConnection "$postgres"
  start_server other "$1" "$BUILD" --Pakhouse:PostgresConnection "$postgres"
  port=$(free_port) address=http://127.0.0.1:$port
  cat > "$results/haproxy.cfg" <<HAPROXY
defaults
  mode http
  timeout connect 2s
  timeout client 30s
  timeout server 30s
frontend front
  bind 127.0.0.1:$port
  default_backend servers
backend servers
  balance roundrobin
  option httpchk GET /health/ready
  server one ${addresses[$first]#http://} check
  server other ${addresses[$((first + 1))]#http://} check
HAPROXY
  # Two of the three are not loaded by themselves.
  names=("${names[@]:0:first}") addresses=("${addresses[@]:0:first}") folders=("${folders[@]:0:first}")
  helpers+=("${pids[@]:first}") pids=("${pids[@]:0:first}")
  start fleet "$1" "$address" haproxy -db -f "$results/haproxy.cfg"
}

load() { # index, seconds, round
  KEYS_FILE=${folders[$1]}/keys.txt ROUND=$3 taskset -c 1 \
    wrk -t1 "-c$CONNECTIONS" "-d${2}s" --latency -s bench/exchange.lua "${addresses[$1]}/auth/v3/token" > "$results/wrk.txt"
  local result
  result=$(grep '^RESULT ' "$results/wrk.txt") || { cat "$results/wrk.txt" >&2; fail "wrk gave no result"; }
  read -r _ rate p50 p99 p999 requests refused broken <<< "$result"
  # Round 0 is the warm-up: wrk gives up after 2 s, and 32 first connections to a PostgreSQL that shares wrk's core take longer.
  [ "$refused" = 0 ] && { [ "$broken" = 0 ] || [ "$3" = 0 ]; } || fail "${names[$1]}: $refused answers were not 2xx, $broken connections failed"
}

cpu() { # index: microseconds of processor time that the process has used
  awk -v tick="$(getconf CLK_TCK)" '{ sub(/^.*\) /, ""); printf "%.0f", ($12 + $13) * 1e6 / tick }' "/proc/${pids[$1]}/stat"
}

dotnet build --configuration Release --verbosity quiet --nologo bench/Pakhouse.Bench/Pakhouse.Bench.csproj >&2
case $mode in
  floor)
    seed "$KEYS"
    start_floor floor "$FOLDER/$KEYS"
    start_floor floor-same-read "$FOLDER/$KEYS" --read exchange
    start_server server "$FOLDER/$KEYS" "$BUILD"
    ;;
  scale)
    for size in $SIZES; do seed "$size"; done
    for size in $SIZES; do start_server "$size" "$FOLDER/$size" "$BUILD"; done
    ;;
  postgres)
    seed "$KEYS"
    start_postgres "$FOLDER/$KEYS"
    start_floor floor-same-read "$FOLDER/$KEYS" --read exchange --postgres "$postgres"
    start_floor floor "$FOLDER/$KEYS" --postgres "$postgres"
    start_server server "$FOLDER/$KEYS" "$BUILD" --Pakhouse:PostgresConnection "$postgres"
    ;;
  fleet)
    seed "$KEYS"
    start_postgres "$FOLDER/$KEYS"
    start_server server "$FOLDER/$KEYS" "$BUILD" --Pakhouse:PostgresConnection "$postgres"
    start_fleet "$FOLDER/$KEYS"
    ;;
  compare)
    [ $# -ge 2 ] || fail "compare DIR …"
    seed "$KEYS"
    start_floor floor "$FOLDER/$KEYS"
    # A copy for each: the schema may be another, and counts of use grow.
    for build in "${@:2}"; do
      copy=$results/$(basename "$build")
      cp -r "$FOLDER/$KEYS" "$copy"
      start_server "$(basename "$build")" "$copy" "$build"
    done
    ;;
  *) fail "unknown: $mode (nothing, scale, postgres, fleet or compare DIR …)" ;;
esac

for i in "${!names[@]}"; do
  # By requests too: on a busy machine the compiler is not done after any number of seconds.
  warm=0
  while load "$i" "$WARM_SECONDS" 0; do
    warm=$((warm + requests))
    [ "$warm" -lt "$WARM_REQUESTS" ] || break
  done
  sleep "$FLUSH_SECONDS"
done
for ((round = 1; round <= ROUNDS; round++)); do
  line="round $round"
  for i in "${!names[@]}"; do
    before=$(cpu "$i")
    load "$i" "$LEAD_SECONDS" "$((1000 + round))"
    lead=$requests
    load "$i" "$ROUND_SECONDS" "$round"
    if [[ ${names[$i]} = floor* ]]; then sleep 1; else sleep "$((FLUSH_SECONDS + 1))"; fi
    cost=$(awk -v used="$(($(cpu "$i") - before))" -v n="$((lead + requests))" 'BEGIN { printf "%.1f", used / n }')
    echo "$round $i $rate $p50 $p99 $cost $p999" >> "$results/rounds"
    line+="  ${names[$i]} $rate/s, $cost µs"
  done
  echo "$line" >&2
done

echo "$(date -u +%F), commit $(git rev-parse --short HEAD)$(git diff --quiet HEAD -- src bench || echo ' with changes'), mode \`$mode\`, $(if [ "$mode" = scale ]; then echo "$SIZES"; else echo "$KEYS"; fi) keys; $ROUNDS rounds of ${ROUND_SECONDS} s in turns, $CONNECTIONS connections; medians."
echo
# Processor time: of the whole process, flushes included. Where others use the machine too it is the steadier of the two.
echo "| | requests/s | p50 ms | p99 ms | p99.9 ms | ratio to ${names[0]}, median of the rounds (lowest–highest)" \
  "| processor µs a request | ratio of those |"
echo "|---|---:|---:|---:|---:|---:|---:|---:|"
for i in "${!names[@]}"; do
  awk -v wanted="$i" -v name="${names[$i]}" '
    function median(list, n,    i, j, t) {
      for (i = 2; i <= n; i++) for (j = i; j > 1 && list[j-1] > list[j]; j--) { t = list[j]; list[j] = list[j-1]; list[j-1] = t }
      return n % 2 ? list[(n+1)/2] : (list[n/2] + list[n/2+1]) / 2
    }
    $2 == 0 { first[$1] = $3; firstcost[$1] = $6 }
    $2 == wanted { n++; rate[n] = $3; p50[n] = $4 / 1000; p99[n] = $5 / 1000; p999[n] = $7 / 1000; ratio[n] = $3 / first[$1]; cost[n] = $6; costratio[n] = firstcost[$1] / $6 }
    END {
      middle = median(ratio, n)
      printf "| %s | %.0f | %.2f | %.2f | %.2f | %.3f (%.3f–%.3f) | %.0f | %.3f |\n", name, median(rate, n), median(p50, n), median(p99, n), median(p999, n), middle, ratio[1], ratio[n], median(cost, n), median(costratio, n)
    }
  ' "$results/rounds"
done
echo
echo "Machine: $(nproc) × $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(awk '/MemTotal/ { printf "%.0f GB", $2 / 1e6 }' /proc/meminfo), Linux $(uname -r), .NET $(dotnet --list-runtimes | awk '/NETCore.App 10\./ { v = $2 } END { print v }'), load average before the end $(cut -d ' ' -f 1 /proc/loadavg)."
