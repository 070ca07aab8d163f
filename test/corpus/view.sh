#!/bin/sh
# view.sh HOLD MEMORY CGROUP... -- COMMAND...: runs COMMAND where only the named memory cgroups are to be seen, and the kernel's release without its
# vendor's suffix. What else lives on the machine of a recording is nobody's business. Needs `unshare --mount` around it.
set -eu
hold=$1 memory=$2
shift 2
mount --make-rprivate /
mount -t tmpfs none "$hold"
touch "$hold/memory.stat" "$hold/release"
mount --bind "$memory/memory.stat" "$hold/memory.stat"
while [ "$1" != -- ]; do
  mkdir "$hold/$1"
  mount --bind "$memory/$1" "$hold/$1"
  shift
done
shift
uname -r | sed 's/-.*//' >"$hold/release"
mount --bind "$hold/release" /proc/sys/kernel/osrelease
rm -f "$hold/release" 2>/dev/null || true
mount --rbind "$hold" "$memory"
exec "$@"
