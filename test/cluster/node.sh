# shellcheck shell=bash
# The machine's side of the cluster: network namespace, mounts, sysctls; made by `up`, taken back by `down`.

# The kubelet and kube-proxy set these for the whole machine.
SYSCTLS="vm.overcommit_memory kernel.panic kernel.panic_on_oops"

save_sysctls() {
  [ -f "$STATE/sysctls" ] && return 0
  local name
  for name in $SYSCTLS; do printf '%s=%s\n' "$name" "$(sysctl -n "$name")"; done >"$STATE/sysctls"
}

restore_sysctls() {
  [ -f "$STATE/sysctls" ] || return 0
  local line
  while read -r line; do sysctl -q -w "$line" || true; done <"$STATE/sysctls"
  rm -f "$STATE/sysctls"
}

# A network of its own: nothing of the host's changes but one veth and two routes over it.
make_network() {
  ip netns list | grep -qw "$NETNS" || ip netns add "$NETNS"
  if ! ip link show oomscope0 >/dev/null 2>&1; then
    ip link add oomscope0 type veth peer name oomscope1 netns "$NETNS"
    ip addr add "$HOST_IP/24" dev oomscope0
    ip link set oomscope0 up
    in_netns ip link set lo up
    in_netns ip addr add "$NODE_IP/24" dev oomscope1
    in_netns ip link set oomscope1 up
    # kube-proxy catches addresses of services only if they are routed at all.
    in_netns ip route replace "$SERVICE_CIDR" dev oomscope1
    ip route replace "$POD_CIDR" via "$NODE_IP"
    ip route replace "$SERVICE_CIDR" via "$NODE_IP"
  fi
  in_netns sysctl -q -w net.ipv4.ip_forward=1
}

remove_network() {
  ip link del oomscope0 2>/dev/null || true
  ip netns del "$NETNS" 2>/dev/null || true
}

make_state() {
  mkdir -p "$STATE"
  # Mounts of pods must be seen by the kubelet and its containers, on machines whose root is not shared as well.
  mountpoint -q "$STATE" || mount --bind "$STATE" "$STATE"
  mount --make-rshared "$STATE"
  mkdir -p "$RUN" "$LOG" "$STATE"/{etcd,kubelet,containerd,cni,audit}
}

remove_state() {
  local target
  awk -v s="$STATE" '$2 == s || index($2, s "/") == 1 {print $2}' /proc/mounts | tac | while read -r target; do
    umount -l "$(printf '%b' "$target")" 2>/dev/null || true
  done
  rm -rf "$STATE"
}

# Cgroups that the kubelet made, deepest first. Only ever below kubepods.
remove_cgroups() {
  local root dir
  for root in /sys/fs/cgroup/*/ /sys/fs/cgroup/; do
    for dir in "${root}kubepods" "${root}kubepods.slice"; do
      [ -d "$dir" ] || continue
      find "$dir" -depth -type d -exec rmdir {} + 2>/dev/null || true
    done
  done
}

# v1: memory is a v1 hierarchy (also when an empty v2 one lies beside it). v2: the kernel's memory controller is the unified one.
cgroup_version() { [ -f /sys/fs/cgroup/cgroup.controllers ] && echo v2 || echo v1; }
