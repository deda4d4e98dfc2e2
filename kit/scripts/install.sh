#!/bin/sh
# Checks the binary of this kit against SHA256SUMS, copies it to a directory of this host and lets it check the kit.
#
# usage: sh scripts/install.sh [DIR]     DIR is /usr/local/sbin unless it is named
set -eu
kit=$(cd "$(dirname "$0")/.." && pwd)
dir=${1:-/usr/local/sbin}
cd "$kit"
grep '  rescue-kit$' SHA256SUMS | sha256sum -c - >/dev/null || {
	echo "install: rescue-kit is not what SHA256SUMS says: take another stick" >&2
	exit 1
}
mkdir -p "$dir"
# By another name and renamed: a copy that is running cannot be written to, and no half of it is left.
cp rescue-kit "$dir/.rescue-kit.new"
chmod 755 "$dir/.rescue-kit.new"
mv "$dir/.rescue-kit.new" "$dir/rescue-kit"
"$dir/rescue-kit" kit verify "$kit"
case :$PATH: in
*:"$dir":*) echo "next    type: rescue-kit" ;;
*) echo "next    type: $dir/rescue-kit" ;;
esac
