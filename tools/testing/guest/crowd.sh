#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Many writers and a small journal: no write may take longer than 5 seconds,
# and afterwards everything is as it should be. Four of the writers are checked.
# Settings: MODE, SECONDS_LONG.
# Disks: four members, the journal, the writer's log.

. /lab/guest/lib.sh
LOG=${DISK[-1]}
JOURNAL=${DISK[4]}
WRITERS=28
CHECKED=4
SPAN=$((16 << 20))

crowd()
{
	local bytes writer out=/lab/crowd.json
	PATIENCE=$((SECONDS_LONG + 60))
	must mdadm --create $MD --run --level=5 --raid-devices=4 --size=$((60 << 10)) \
		--chunk=64 --assume-clean "${DISK[@]:0:4}" --write-journal "$JOURNAL"
	echo "$MODE" > $SYS/journal_mode || fail "$MODE is refused"
	bytes=$((($(blockdev --getsize64 $MD) - SPAN) / WRITERS / 65536 * 65536))
	$ACK write --dev $MD --log "$LOG" --seed "${SEED:-1}" --span 16M \
		--threads $CHECKED --seconds "$SECONDS_LONG" > /tmp/writer 2>&1 &
	writer=$!
	must fio --name=crowd --filename=$MD --direct=1 --ioengine=libaio \
		--thread --numjobs=$WRITERS --offset=$SPAN \
		--offset_increment=$bytes --size=$bytes --rw=randwrite --bsrange=4k-64k --iodepth=4 \
		--time_based --runtime="$SECONDS_LONG" --max_latency=5s \
		--group_reporting --output-format=json --output=$out
	python3 - "$out" "$MODE" <<-'END'
		import json, sys
		write = json.load(open(sys.argv[1]))["jobs"][0]["write"]
		print(f"CROWD {sys.argv[2]}: {write['iops']:.0f} writes/s, "
		      f"{write['bw_bytes'] / 2**20:.1f} MiB/s, longest "
		      f"{write['clat_ns']['max'] / 1e9:.2f} s, "
		      f"in {write['runtime'] / 1000:.0f} s")
	END
	cat "/sys/kernel/debug/raid5c/${MD#/dev/}" 2> /dev/null
	wait $writer || fail "the checked writers ended with $?: $(cat /tmp/writer)"
	cat /tmp/writer
	verify "after the crowd"
	no_mismatch "after the crowd"
	stop_md
	must mdadm --assemble $MD "${DISK[@]:0:4}" "$JOURNAL"
	verify "after assembly"
	clean_up
}

use "$MODULE"
have_journal || skip "no journal"
try "crowd-$MODE" crowd
finish
