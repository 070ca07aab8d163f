# shellcheck shell=bash
# What all scripts of the test cluster share: where things are, how steps are announced, how processes are started and stopped.
# shellcheck disable=SC2034 # The scripts that source this file use the names.

KUBERNETES_VERSION=v1.36.2
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CACHE=${OOMSCOPE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/oomscope}
BIN=$CACHE/bin/$KUBERNETES_VERSION
IMAGES=$CACHE/images
# Clusters side by side have numbers: 0, the usual one, up to 99. Nothing is shared but the machine, the binaries and the images.
NUMBER=${OOMSCOPE_CLUSTER_NUMBER:-0}
[[ $NUMBER =~ ^(0|[1-9][0-9]?)$ ]] || { echo "error: OOMSCOPE_CLUSTER_NUMBER is 0 to 99, not $NUMBER" >&2; exit 1; }
SUFFIX=${NUMBER#0}
STATE=${OOMSCOPE_CLUSTER_DIR:-/var/lib/oomscope-cluster${SUFFIX:+-$SUFFIX}}
RUN=$STATE/run
LOG=$STATE/log
PKI=$STATE/pki
KUBECONFIG_FILE=$STATE/kubeconfig

NETNS=oomscope${SUFFIX:+-$SUFFIX}
VETH=oomscope$NUMBER
HOST_IP=10.211.$NUMBER.1
NODE_IP=10.211.$NUMBER.2
POD_CIDR=10.244.$NUMBER.0/24
SERVICE_CIDR=10.$((96 + NUMBER)).0.0/16
API_SERVICE_IP=10.$((96 + NUMBER)).0.1
NODE=oomscope-node
# A kubelet takes away whatever it does not know below its cgroup root: each cluster has its own.
CGROUP_ROOT=/${SUFFIX:+oomscope-$SUFFIX}
CONTAINERD_SOCKET=$RUN/containerd.sock

STARTED_AT=$SECONDS

# Packages of Debian that the cluster is made of and that the end-to-end tests compare with: the command that proves each, and its package.
PACKAGES="containerd:containerd runc:runc buildah:buildah mmdebstrap:mmdebstrap nft:nftables conntrack:conntrack ip:iproute2 openssl:openssl iptables:iptables sysctl:procps pmap:procps smem:smem gcc:gcc"

say() { printf '[%3ds] %s\n' "$((SECONDS - STARTED_AT))" "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

need_root() { [ "$(id -u)" = 0 ] || die "the test cluster needs root: it makes a network namespace, mounts and cgroups. Run it with sudo."; }

# Installs what is missing, saying so; where it cannot, says what is missing and how to get it.
need_packages() {
  local missing=() entry
  for entry in $PACKAGES; do
    command -v "${entry%%:*}" >/dev/null || missing+=("${entry##*:}")
  done
  [ -x /usr/lib/cni/bridge ] || missing+=(containernetworking-plugins)
  [ -f /usr/include/stdlib.h ] || missing+=(libc6-dev)
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || die "missing: ${missing[*]}. Install them with your distribution's package manager."
  say "Installing Debian packages: ${missing[*]}"
  apt-get update -qq >/dev/null 2>&1 || true
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >"$CACHE/apt.log" 2>&1 ||
    die "apt-get could not install ${missing[*]}; see $CACHE/apt.log"
}

in_netns() { nsenter --net="/run/netns/$NETNS" "$@"; }

pid_of() { cat "$RUN/$1.pid" 2>/dev/null || true; }

# Whether the recorded process still runs, and is what we started: a pid may have been given to somebody else.
is_running() {
  local pid program=
  pid=$(pid_of "$1")
  [ -n "$pid" ] && { read -r -d '' program <"/proc/$pid/cmdline"; } 2>/dev/null && [ "${program##*/}" = "$1" ]
}

# One script at a time changes the cluster; the others wait. Started processes do not inherit the lock (see start).
lock() {
  mkdir -p "$CACHE"
  exec 9>"$CACHE/cluster-$NUMBER.lock"
  flock --nonblock 9 && return 0
  say "Waiting for another script that changes the cluster"
  flock 9
}

# start NAME COMMAND...: in the cluster's network, in a session of its own, so that it outlives this shell.
start() {
  local name=$1; shift
  is_running "$name" && return 0
  printf '%q ' "$@" >"$RUN/$name.cmd"
  setsid nsenter --net="/run/netns/$NETNS" "$@" >>"$LOG/$name.log" 2>&1 </dev/null 9>&- &
  echo $! >"$RUN/$name.pid"
  disown
  # Until the new process has become what it is meant to be, its command line is still this shell's.
  for _ in $(seq 100); do is_running "$name" && return 0; sleep 0.05; done
  failed "$name"
}

# stop NAME [SECONDS]: asks, waits, then forces.
stop() {
  local name=$1 patience=${2:-10} pid
  pid=$(pid_of "$name")
  if is_running "$name"; then
    kill -CONT "$pid" 2>/dev/null || true
    kill -TERM "$pid" 2>/dev/null || true
    for _ in $(seq $((patience * 10))); do is_running "$name" || break; sleep 0.1; done
    ! is_running "$name" || kill -KILL "$pid" 2>/dev/null || true
  fi
  rm -f "$RUN/$name.pid"
}

failed() {
  printf 'error: %s did not come up. The end of %s:\n' "$1" "$LOG/$1.log" >&2
  tail -n 20 "$LOG/$1.log" >&2 || true
  exit 1
}

# await NAME SECONDS COMMAND...: until the command succeeds; gives up when the component has died or time is over.
await() {
  local name=$1 limit=$((SECONDS + $2)); shift 2
  until "$@" >/dev/null 2>&1; do
    { [ -f "$RUN/$name.pid" ] && ! is_running "$name"; } && failed "$name"
    [ $SECONDS -lt $limit ] || failed "$name"
    sleep 0.2
  done
}

kubectl() { "$BIN/kubectl" --kubeconfig "$KUBECONFIG_FILE" "$@"; }
