#!/bin/sh
# Rescues nodes one after another through ssh as root, and stops at the first that is not well afterwards. Their audits
# are brought to the directory `audits`.
#
# usage: sh scripts/nodes.sh OPERATOR TICKET HOST...     RESCUE_FLAGS='--ca renew' adds flags to `run`
# shellcheck disable=SC2029 # What is sent is put together here, as is meant.
set -eu
if [ $# -lt 3 ]; then
	sed -n 's/^# usage: //p' "$0" >&2
	exit 2
fi
kit=$(cd "$(dirname "$0")/.." && pwd)
operator=$1 ticket=$2
shift 2
quoted() { printf "'%s'" "$(printf %s "$1" | sed "s/'/'\\\\''/g")"; }
mkdir -p audits
for host; do
	echo "== $host" >&2
	# A place of its own on a disk that lets programs run.
	dir=$(ssh "root@$host" 'mktemp -d "$HOME/rescue-kit.XXXXXX"')
	scp -q "$kit/rescue-kit" "root@$host:$dir/rescue-kit"
	ssh "root@$host" "chmod 700 $dir/rescue-kit && $dir/rescue-kit run --yes --no-input \
		--operator $(quoted "$operator") --ticket $(quoted "$ticket") ${RESCUE_FLAGS:-} && $dir/rescue-kit verify"
	ssh "root@$host" "cat \"\$($dir/rescue-kit audit show | sed -n 's/^audit  //p')\"" >"audits/$host.tar.gz" || {
		rm "audits/$host.tar.gz"
		echo "nodes: $host has no audit: nothing was run there" >&2
	}
	ssh "root@$host" "rm -r $dir"
done
