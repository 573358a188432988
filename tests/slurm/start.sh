#!/usr/bin/env bash
# A real SLURM on this one machine, for the tests marked `slurm`: controller, daemon and munge on the loopback.
# Idempotent. As root it installs Debian's packages where they are missing; a SLURM of the machine's own is left alone.
set -euo pipefail

config=/etc/slurm/slurm.conf
mark="# written by wsiparse's tests/slurm/start.sh"
state=/tmp/wsiparse-slurm

answers() { command -v sinfo >/dev/null && [ -n "$(timeout 10 sinfo --noheader --states=idle,mix,alloc 2>/dev/null)" ]; }

install_packages() {
  command -v slurmctld >/dev/null && command -v slurmd >/dev/null && command -v munged >/dev/null && return
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq slurm-wlm munge >/dev/null
}

start_munge() {
  if munge --no-input 2>/dev/null | unmunge >/dev/null 2>&1; then return; fi
  mkdir -p /etc/munge /run/munge /var/log/munge /var/lib/munge
  [ -s /etc/munge/munge.key ] || mungekey --create --keyfile /etc/munge/munge.key
  chown -R munge: /etc/munge /run/munge /var/log/munge /var/lib/munge
  chmod 755 /run/munge
  su munge -s /bin/sh -c "$(command -v munged)"
}

write_config() {
  if [ -e "$config" ] && ! grep -qF "$mark" "$config"; then
    echo "$config is not ours and its SLURM does not answer; start it or remove the file" >&2
    exit 1
  fi
  mkdir -p "$(dirname "$config")" "$state/ctld" "$state/d"
  # More processors than the machine may have: the tests are about order and survival, not about speed.
  cat >"$config" <<CONFIG
$mark
ClusterName=test
SlurmctldHost=$(hostname)(127.0.0.1)
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmctldPort=16817
SlurmdPort=16818
StateSaveLocation=$state/ctld
SlurmdSpoolDir=$state/d
SlurmctldPidFile=$state/slurmctld.pid
SlurmdPidFile=$state/slurmd.pid
SlurmctldLogFile=$state/slurmctld.log
SlurmdLogFile=$state/slurmd.log
SlurmUser=root
SlurmdParameters=config_overrides
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,bf_interval=2
KillWait=5
OverTimeLimit=0
MailProg=/bin/true
NodeName=$(hostname) NodeAddr=127.0.0.1 CPUs=8 RealMemory=1000 State=UNKNOWN
PartitionName=debug Nodes=$(hostname) Default=YES MaxTime=INFINITE State=UP
CONFIG
}

start_daemons() {
  pgrep -x slurmctld >/dev/null || slurmctld
  pgrep -x slurmd >/dev/null || slurmd
}

if answers; then exit 0; fi
if [ "$(id -u)" -ne 0 ]; then
  echo "no SLURM answers here and only root can start one; the tests marked slurm will be skipped" >&2
  exit 1
fi
install_packages
start_munge
write_config
start_daemons
for _ in $(seq 60); do
  if answers; then exit 0; fi
  sleep 0.5
done
echo "SLURM does not answer; see $state/slurmctld.log and $state/slurmd.log" >&2
exit 1
