#!/bin/sh
# Installs Debian packages where it may (as root, or with a sudo that asks for no password) and starts nothing:
# no service, now or at the next boot, and no PostgreSQL cluster. Fails quietly where it may not.
# Usage: sh scripts/lib/apt.sh PACKAGE...
set -eu

policy=/usr/sbin/policy-rc.d
kept=$policy.before-simcourier
clusters=/etc/postgresql-common/createcluster.conf
units="rabbitmq-server.service epmd.service epmd.socket postgresql.service prometheus.service"

main() {
    command -v apt-get >/dev/null || exit 1
    if [ "$(id -u)" != 0 ]; then
        sudo -n true 2>/dev/null || exit 1
        exec sudo -n sh "$0" "$@"
    fi
    trap 'exit 1' HUP INT TERM
    trap restore EXIT
    restore # what a run that was killed left behind
    forbid_starting
    new_units=$(for unit in $units; do has_unit "$unit" || echo "$unit"; done)
    install "$@"
    for unit in $new_units; do
        if has_unit "$unit"; then
            dont_start_at_boot "$unit"
        fi
    done
}

install() {
    log=$(mktemp)
    # The first try may fail only because the machine has no package lists yet, or old ones.
    if apt_get "$@" >"$log" 2>&1 || { apt-get -qq update >"$log" 2>&1 && apt_get "$@" >"$log" 2>&1; }; then
        rm -f "$log"
        return
    fi
    cat "$log" >&2
    rm -f "$log"
    return 1
}

apt_get() {
    DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1 \
        apt-get -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 install -y --no-install-recommends "$@" </dev/null
}

has_unit() {
    [ -e "/lib/systemd/system/$1" ] || [ -e "/usr/lib/systemd/system/$1" ]
}

# What `systemctl disable` does, on a machine without a running systemd too; and the same for System V's init.
dont_start_at_boot() {
    rm -f /etc/systemd/system/*.wants/"$1"
    if [ -e "/etc/init.d/${1%.service}" ]; then
        update-rc.d "${1%.service}" disable >/dev/null 2>&1 || true
    fi
}

# https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt: 101 forbids the action.
forbid_starting() {
    if [ -e "$policy" ]; then
        mv "$policy" "$kept"
    fi
    printf '#!/bin/sh\n# For a moment, by SimCourier: packages are being installed for its tests.\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    if [ ! -e "$clusters" ]; then
        mkdir -p "${clusters%/*}"
        printf '# For a moment, by SimCourier.\ncreate_main_cluster = false\n' >"$clusters"
    fi
}

restore() {
    if grep -qs 'by SimCourier' "$policy"; then
        rm -f "$policy"
    fi
    if [ -e "$kept" ]; then
        mv "$kept" "$policy"
    fi
    if grep -qs 'by SimCourier' "$clusters"; then
        # The file as the package has it, or none where the package did not come.
        cp /usr/share/postgresql-common/createcluster.conf "$clusters" 2>/dev/null || rm -f "$clusters"
    fi
    rmdir "${clusters%/*}" 2>/dev/null || true
}

main "$@"
