#!/usr/bin/env bash
# record.sh [NAME...]: records test/validation/packs anew, or those named: the example's service in a memory cgroup of its own, once for each of the four cases, with the collector as it ships. Six
# minutes; needs root, gcc, perf and a memory hierarchy of cgroup v1. Only what belongs to the recording is to be seen in a pack (test/corpus/view.sh).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
memory=/sys/fs/cgroup/memory
build=$(mktemp -d)
id=$$
service='' load=''

finish() {
  [ -z "$load" ] || kill "$load" 2>/dev/null || true
  [ -z "$service" ] || kill "$service" 2>/dev/null || true
  wait 2>/dev/null || true
  rmdir "$memory/incident-$id" 2>/dev/null || true
  rm -rf "$build"
}
trap finish EXIT

wanted=" $* "
# name, release of the library, requests per second
record() {
  [ "$wanted" = "  " ] || [[ "$wanted" = *" $1 "* ]] || return 0
  local name=$1 release=$2 rps=$3 file=$build/$1.tar.zst
  make -s -C "$root/examples/thumbnail-service" LIBRARY_VERSION="$release" OUT="$build/$release" all
  mkdir -p "$memory/incident-$id" "$build/hold"
  echo $((512 * 1024 * 1024)) >"$memory/incident-$id/memory.limit_in_bytes"
  PORT=18090 sh -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$memory/incident-$id" "$build/$release/bin/thumbnail-svc" >"$build/service.log" 2>&1 &
  service=$!
  sleep 1
  if [ "$rps" -gt 0 ]; then
    "$build/$release/bin/loadgen" --url http://127.0.0.1:18090 --rps "$rps" --large-share=0.3 --corrupt-share=0.5 --mb=4 --duration 0 >"$build/load.log" 2>&1 &
    load=$!
  fi
  # Every worker has seen every size of image by then.
  sleep 12
  # Its exit code tells of the verdict; whether the pack is whole is asked below.
  nice -n 19 unshare --mount "$here/../corpus/view.sh" "$build/hold" "$memory" "incident-$id" -- \
    node "$root/src/cli/main.ts" pack --cgroup "/incident-$id" --interval 5s --duration 75s --profile --file "$file" >"$build/pack.log" 2>&1 || true
  [ -z "$load" ] || kill "$load"
  kill "$service"
  wait 2>/dev/null || true
  service='' load=''
  rmdir "$memory/incident-$id"
  zstd -tq "$file"
  tar --zstd -tf "$file" | grep -q profile-0001 || { echo "$name: no profile was taken; record it again"; tail -n 3 "$build/pack.log"; exit 1; }
  chmod 644 "$file"
  mv "$file" "$here/packs/$name.tar.zst"
  echo "$name: $(stat -c %s "$here/packs/$name.tar.zst") bytes"
}

mkdir -p "$here/packs"
record leaky 1.1.0 7
record mended 1.0.0 7
record unused 1.0.0 0
record less-load 1.1.0 4
