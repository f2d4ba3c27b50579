# SPDX-License-Identifier: Apache-2.0
# Unpacks a package of a newer Debian suite, and all that it needs, into a folder: sourced by the
# scripts that do that for one program. They set name (their own), suite, target (the folder) and
# package; afterwards root is the folder of the unpacked files, loader the dynamic loader in it,
# libraries the folders of its libraries, by colons.
#
# apt does the work, in a folder of its own: it resolves, downloads and verifies by Debian's
# signatures; the packages are unpacked and none of their scripts runs. So this needs neither root
# nor a chroot, and leaves no mount behind. Mirror and proxy are this machine's own.
#
# Exit status of those scripts: 0; 69 when this machine cannot have it (the last line on standard
# error says why); 1 when something is wrong; 2 for misuse.

say() { printf '%s: %s\n' "$name" "$*" >&2; }
unavailable() { say "$*"; exit 69; }
broken() { say "$*"; exit 1; }

# Reads SUITE [DIRECTORY]: sets suite and target, and lets one such script in there at a time.
read_suite() {
  suite="${1:-}"
  case "$suite" in
    '' | *[!a-z0-9-]*) say "usage: $name SUITE [DIRECTORY]"; exit 2 ;;
  esac
  target="${2:-$default/$suite}"
  mkdir -p "$target"
  target=$(cd "$target" && pwd)
  PATH="$PATH:/usr/sbin:/sbin"
  # The same folder twice at once: the second waits, then finds the work done.
  if command -v flock >/dev/null 2>&1; then
    exec 9>"$target/lock"
    flock 9
  fi
}

fetch() {
  if ! "$@" >"$apt/log" 2>&1; then
    sed "s/^/$name:   /" "$apt/log" >&2
    if grep -q NO_PUBKEY "$apt/log"; then
      unavailable "NOT VERIFIED, so not taken: $keyring lacks the key that signs $suite; upgrade debian-archive-keyring"
    fi
    unavailable "$suite cannot be had from $mirror: $(grep '^E: ' "$apt/log" | head -n 1)"
  fi
}

find_mirror() {
  for tool in apt-get apt-config dpkg-deb ldconfig; do
    command -v "$tool" >/dev/null 2>&1 || unavailable "no $tool here: this needs a Debian system"
  done

  # The one that this machine installs its own Debian from.
  codename=$(sed -n 's/^VERSION_CODENAME="\{0,1\}\([a-z]*\).*/\1/p' /etc/os-release)
  mirror=$(apt-get indextargets --no-release-info --format '$(RELEASE) $(REPO_URI)' \
    'Created-By: Packages' 'Component: main' 2>/dev/null |
    awk -v own="$codename" '$1 == own || $1 ~ /^(oldstable|stable|testing|unstable|sid)$/ { print $2 }' |
    grep -v '^cdrom:' | head -n 1) || true
  [ -n "$mirror" ] || unavailable "this machine's apt sources name no Debian mirror"

  keyring=""
  for file in /usr/share/keyrings/debian-archive-keyring.pgp /usr/share/keyrings/debian-archive-keyring.gpg; do
    if [ -r "$file" ]; then keyring="$file"; break; fi
  done
  # Without that package there is no key to verify by, and nothing unverified is taken.
  [ -n "$keyring" ] ||
    unavailable "no Debian keys here to verify $suite by: apt-get install debian-archive-keyring"
}

configure_apt() {
  apt="$target/apt"
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
  : >"$apt/status" # nothing is installed: every library comes from the suite
  cat >"$apt/debian.sources" <<END
Types: deb
URIs: $mirror
Suites: $suite
Components: main
Signed-By: $keyring
END

  # How this machine fetches (proxies, retries), but none of its hooks and pins, and never what is
  # not signed. Proxies may hold a password.
  rm -f "$apt/conf"
  (umask 077 && apt-config dump Acquire >"$apt/conf")
  cat >>"$apt/conf" <<END
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::sourcelist "$apt/debian.sources";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "$apt";
Dir::State::status "$apt/status";
Dir::Cache "$apt/cache";
Dir::Log "$apt";
APT::Architecture "$(dpkg --print-architecture)";
APT::Architectures { "$(dpkg --print-architecture)"; };
APT::Install-Recommends "false";
APT::Get::AllowUnauthenticated "false";
APT::Update::Error-Mode "any";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::Retries "3";
END
  # apt's own user often cannot enter a folder in somebody's home.
  [ "$(id -u)" -ne 0 ] || echo 'APT::Sandbox::User "root";' >>"$apt/conf"
  export APT_CONFIG="$apt/conf"
}

# Unpacks $package of $suite into $target/root.
unpack() {
  find_mirror
  configure_apt
  say "reading what $suite has at $mirror, verified by $keyring"
  fetch apt-get update
  say "downloading $package and what it needs"
  fetch apt-get autoclean
  fetch apt-get install --yes --download-only "$package"

  say "unpacking into $target/root"
  rm -rf "$target/root"
  mkdir "$target/root"
  for deb in "$apt"/cache/archives/*.deb; do
    dpkg-deb --extract "$deb" "$target/root"
  done

  # Libraries lie in lib/TRIPLET or usr/lib/TRIPLET. ldconfig makes the short names that programs find
  # them by, as it does after every installation.
  root="$target/root"
  libc=$(find "$root" -path '*/lib/*' -name libc.so.6 | head -n 1)
  loader=$(find "$root" -path '*/lib/*' \( -name 'ld-linux*.so.?' -o -name 'ld64.so.?' \) | head -n 1)
  [ -n "$libc" ] && [ -n "$loader" ] || broken "the packages of $suite hold no C library"
  triplet=$(basename "$(dirname "$libc")")
  for folder in "$root/lib/$triplet" "$root/usr/lib/$triplet"; do
    [ ! -d "$folder" ] || ldconfig -n "$folder"
  done
  libraries="$root/lib/$triplet:$root/usr/lib/$triplet"
}

# Refuses a program that would run on this machine's libraries.
need_own_libraries() {
  foreign=$("$loader" --inhibit-cache --library-path "$libraries" --list "$1" |
    grep ' => ' | grep -vF " => $root/") || true
  [ -z "$foreign" ] || broken "$package of $suite would not run on its own libraries: $foreign"
}
