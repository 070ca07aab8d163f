#!/usr/bin/env bash
# Runs the three releases under the same load, one after the other, and compares the growth of RssAnon. Fails unless 1.1.0 leaks at the
# rate that its bug predicts and the other two stand still. SECONDS_EACH and PORT may be set.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${SECONDS_EACH:-40} port=${PORT:-18080} failed=0
# 10 requests a second: what one of three pods gets of 30. Growth is counted after the first 10 s, when every worker has seen every size.
rps=10 warmup=10

service=
trap '[ -z "$service" ] || kill "$service" 2>/dev/null || true' EXIT
rss_anon() { awk '/^RssAnon:/ {print $2}' "/proc/$1/status"; }

for version in 1.0.0 1.1.0 1.1.1; do
  make -s LIBRARY_VERSION="$version"
  PORT=$port "build/$version/bin/thumbnail-svc" >"build/$version/service.log" & service=$!
  sleep 0.5
  kill -0 "$service" || { echo "thumbnail-svc did not start; is port $port free? Set PORT to another one."; exit 1; }
  "build/$version/bin/loadgen" --url "http://127.0.0.1:$port" --rps $rps --duration $((seconds + warmup)) >"build/$version/load.log" & load=$!
  sleep "$warmup"; before=$(rss_anon "$service")
  wait "$load"; after=$(rss_anon "$service")
  kill "$service"; wait "$service" || true; service=
  rate=$(((after - before) / seconds))
  if grep -q 'failed [1-9]' "build/$version/load.log"; then echo "$version: requests failed; see build/$version/load.log"; failed=1; fi
  case $version in
    # 10/s x 0.3 large x 0.5 corrupt x 1 MiB = 1536 KiB/s; half of it is far beyond noise.
    1.1.0) wanted="at least 768"; [ "$rate" -ge 768 ] || failed=1 ;;
    *) wanted="at most 100"; [ "$rate" -le 100 ] || failed=1 ;;
  esac
  echo "$version: RssAnon $before -> $after KiB in $seconds s, $rate KiB/s ($wanted)"
done
[ "$failed" -eq 0 ] || { echo "FAILED"; exit 1; }
echo "ok"
