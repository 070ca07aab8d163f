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

# Folders that containerd, CNI and the kubelet make at fixed places.
FIXED_FOLDERS="/opt/containerd /usr/libexec/kubernetes /var/lib/cni /var/log/pods /var/log/containers /run/containerd"

# Remembers which of them are this cluster's doing.
note_folders() {
  [ -f "$STATE/folders" ] && return 0
  local folder
  for folder in $FIXED_FOLDERS; do [ -e "$folder" ] || echo "$folder"; done >"$STATE/folders"
}

# Takes back links to logs that are gone, and folders that this cluster made, if nobody has put anything into them.
remove_folders() {
  find /var/log/containers -lname "$STATE/*" -delete 2>/dev/null || true
  [ -f "$STATE/folders" ] || return 0
  local folder
  while read -r folder; do
    find "$folder" -depth -type d -empty -delete 2>/dev/null || true
  done <"$STATE/folders"
}

# A network of its own: nothing of the host's changes but one veth and two routes over it.
make_network() {
  # Every step may be there already: an earlier run may have been cut off between any two of them.
  [ -e "/run/netns/$NETNS" ] || ip netns add "$NETNS"
  ip link show "$VETH" >/dev/null 2>&1 || ip link add "$VETH" type veth peer name oomscope1 netns "$NETNS"
  ip addr replace "$HOST_IP/24" dev "$VETH"
  ip link set "$VETH" up
  in_netns ip link set lo up
  in_netns ip addr replace "$NODE_IP/24" dev oomscope1
  in_netns ip link set oomscope1 up
  # kube-proxy catches addresses of services only if they are routed at all.
  in_netns ip route replace "$SERVICE_CIDR" dev oomscope1
  ip route replace "$POD_CIDR" via "$NODE_IP"
  ip route replace "$SERVICE_CIDR" via "$NODE_IP"
  in_netns sysctl -q -w net.ipv4.ip_forward=1
}

remove_network() {
  ip link del "$VETH" 2>/dev/null || true
  ip netns del "$NETNS" 2>/dev/null || true
}

make_state() {
  # Only a folder that bears this mark is ever removed. The cluster's own folder begins empty.
  if [ ! -f "$STATE/.oomscope-cluster" ]; then
    [ -z "$(ls -A "$STATE" 2>/dev/null)" ] || die "$STATE holds something else: empty it, or set OOMSCOPE_CLUSTER_DIR to another folder"
    mkdir -p "$STATE"
    touch "$STATE/.oomscope-cluster"
  fi
  # Mounts of pods must be seen by the kubelet and its containers, on machines whose root is not shared as well.
  mountpoint -q "$STATE" || mount --bind "$STATE" "$STATE"
  mount --make-rshared "$STATE"
  mkdir -p "$RUN" "$LOG" "$STATE"/{etcd,kubelet,containerd,cni,audit}
}

mounts_of_state() { awk -v s="$STATE" '$2 == s || index($2, s "/") == 1 {print $2}' /proc/mounts | tac; }

remove_state() {
  [ -f "$STATE/.oomscope-cluster" ] || return 0
  local target
  mounts_of_state | while read -r target; do
    umount -l "$(printf '%b' "$target")" 2>/dev/null || true
  done
  # A pod's hostPath may be mounted below: removing files through it would remove the machine's own.
  [ -z "$(mounts_of_state)" ] || die "still mounted, so $STATE is left as it is: $(mounts_of_state | tr '\n' ' ')"
  rm -rf --one-file-system "$STATE"
}

cgroup_hierarchies() { if [ "$(cgroup_version)" = v2 ]; then echo /sys/fs/cgroup; else printf '%s\n' /sys/fs/cgroup/*; fi; }

make_cgroups() {
  [ "$CGROUP_ROOT" != / ] || return 0
  local hierarchy
  for hierarchy in $(cgroup_hierarchies); do
    [ -L "$hierarchy" ] || mkdir -p "$hierarchy$CGROUP_ROOT"
    # A cpuset of v1 takes no process before it is told its processors and memory nodes.
    [ ! -f "$hierarchy$CGROUP_ROOT/cgroup.clone_children" ] || [ ! -f "$hierarchy/cpuset.cpus" ] || {
      cat "$hierarchy/cpuset.cpus" >"$hierarchy$CGROUP_ROOT/cpuset.cpus"
      cat "$hierarchy/cpuset.mems" >"$hierarchy$CGROUP_ROOT/cpuset.mems"
    }
  done
}

# Cgroups that the kubelet made, deepest first; only ever below kubepods, and only those that hold no process.
remove_cgroups() {
  [ -f "$STATE/.oomscope-cluster" ] || return 0
  local hierarchy top
  for hierarchy in $(cgroup_hierarchies); do
    top=$hierarchy/kubepods
    [ "$CGROUP_ROOT" = / ] || top=$hierarchy$CGROUP_ROOT
    [ ! -d "$top" ] || find "$top" -depth -type d -exec rmdir {} + 2>/dev/null || true
  done
}

# v1: memory is a v1 hierarchy (also when an empty v2 one lies beside it). v2: the kernel's memory controller is the unified one.
cgroup_version() { [ -f /sys/fs/cgroup/cgroup.controllers ] && echo v2 || echo v1; }
