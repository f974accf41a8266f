#!/bin/sh
# Installs the Debian packages that weir needs, where it may; where it may not it says, on standard output, the one line to run. Quick when all is there,
# safe to repeat.
#   tests/packages.sh [build|demo|test|lint]      what for; build, demo and test each hold what those before it need; default: test
set -eu
what=${1:-test}
# Standard output is for that line alone.
exec 3>&1 >&2

packages="build-essential pkg-config libcurl4-openssl-dev libjson-c-dev libyaml-dev libgit2-dev libssh-dev libmicrohttpd-dev libarchive-dev libpcre2-dev
          libssl-dev zlib1g-dev"
case $what in
build) ;;
demo) packages="$packages ca-certificates git openssl" ;;
test) packages="$packages ca-certificates git openssl openssh-client openssh-server curl libcmocka-dev clang" ;;
lint) packages="$packages clang-format clang-tidy" ;;
*) echo "usage: tests/packages.sh [build|demo|test|lint]"; exit 2 ;;
esac

has() { command -v "$1" >/dev/null 2>&1; }
python_has() { python3 -c "import $1" >/dev/null 2>&1 || /usr/bin/python3 -c "import $1" >/dev/null 2>&1; }
# Go 1.21 and later fetch the version that tests/cluster/go.mod asks for.
go_will_do() { has go && go version | grep -Eq 'go1\.(2[1-9]|[3-9][0-9])'; }
libgit2_will_do() { pkg-config --atleast-version=1.8 libgit2 2>/dev/null; }
fuzzer_links() { echo 'int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return d && n > 9; }' | clang -x c -fsanitize=fuzzer,address -o /dev/null - 2>/dev/null; }

# The version of a package that apt would take, or nothing.
candidate() { apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: \([^(]\)/\1/p'; }

missing() {
        there=" $(dpkg-query -W -f '${Package}=${db:Status-Status} ' $packages 2>/dev/null || :)"
        for package in $packages; do
                case $there in
                *" $package=installed "*) ;;
                *) echo "$package" ;;
                esac
        done
        case $what in build | lint) return ;; esac
        python_has yaml || echo python3-yaml
        go_will_do || echo golang-go
        [ "$what" = test ] || return 0
        python_has pytest || echo python3-pytest
        # Beside clang itself, which brings no sanitizer library where recommended packages are left out.
        ! has clang || fuzzer_links || echo "libclang-rt-$(clang -dumpversion | cut -d. -f1)-dev"
}

if ! has dpkg-query; then
        pkg-config --atleast-version=1.8 libgit2 && exit 0
        echo "not a Debian system. Install what these Debian packages hold, libgit2 in version 1.8 or later, and Go 1.21 or later:" $packages >&3
        exit 1
fi

todo=$(missing)
if [ -z "$todo" ] && libgit2_will_do; then
        exit 0
fi
if [ "$(id -u)" != 0 ]; then
        echo "some packages are missing: as root, run '$(realpath "$0") $what', and then this again" >&3
        exit 1
fi
echo "weir: installing" $todo

backports=$(. /etc/os-release && echo "${VERSION_CODENAME:-}-backports")

# Adds the backports of this release, from the mirror that serves the release itself.
use_backports() {
        apt-get indextargets --format '$(RELEASE)' | grep -qx "$backports" && return
        site=$(apt-get indextargets --format '$(RELEASE) $(SITE)' | sed -n "s/^${backports%-backports} //p" | head -1)
        keyring=/usr/share/keyrings/debian-archive-keyring.gpg
        echo "deb [signed-by=$keyring] ${site:-http://deb.debian.org/debian} $backports main" >/etc/apt/sources.list.d/weir-backports.list
        apt-get update -q
}

install() {
        DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"
}

apt-get update -q
if ! libgit2_will_do; then
        if dpkg --compare-versions "$(candidate libgit2-dev)" lt 1.8; then
                use_backports
                install -t "$backports" libgit2-dev
        else
                install libgit2-dev
        fi
fi

# The tests start an ssh server of their own; the system's stays off if it was not there.
if echo "$todo" | grep -qx openssh-server && [ ! -e /usr/sbin/policy-rc.d ]; then
        trap 'rm -f /usr/sbin/policy-rc.d; systemctl disable ssh.service ssh.socket >/dev/null 2>&1 || :' EXIT
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
        chmod 755 /usr/sbin/policy-rc.d
fi

if echo "$todo" | grep -qx golang-go && dpkg --compare-versions "$(candidate golang-go)" lt 2:1.21; then
        use_backports
        install -t "$backports" golang-go
fi
todo=$(missing)
[ -z "$todo" ] || install $todo
# What clang lacks shows only once it is there.
todo=$(missing)
[ -z "$todo" ] || install $todo
