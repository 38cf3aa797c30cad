/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Trace events of the write journal. What they mean is in
 * Documentation/admin-guide.rst; rust/lib/trace.rs is what the module calls.
 *
 * Blocks are of 4 KiB, from the start of the journal's data area; sectors are
 * of 512 bytes, from the start of a member's.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM raid5c

#if !defined(_RAID5C_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _RAID5C_TRACE_H

#include <linux/types.h>
#include <linux/kdev_t.h>
#include <linux/tracepoint.h>
#include "raid5c_trace_enums.h"

#define RAID5C_KINDS						\
	EM(RAID5C_KIND_LOGGED, "logged")			\
	EM(RAID5C_KIND_CACHED, "cached")			\
	EM(RAID5C_KIND_CACHED_AGAIN, "cached_again")		\
	EMe(RAID5C_KIND_WRITTEN_OUT, "written_out")

/* The names are those of debugfs: write_outs_*. */
#define RAID5C_WHYS						\
	EM(RAID5C_WHY_LEAVING, "leaving")			\
	EM(RAID5C_WHY_WAITED_FOR, "waited_for")			\
	EM(RAID5C_WHY_JOURNAL_CRITICAL, "journal_critical")	\
	EM(RAID5C_WHY_JOURNAL_TIGHT, "journal_tight")		\
	EM(RAID5C_WHY_MEMORY_URGENT, "memory_urgent")		\
	EM(RAID5C_WHY_MEMORY, "memory")				\
	EM(RAID5C_WHY_FULL_STRIPES, "full_stripes")		\
	EM(RAID5C_WHY_AGE, "age")				\
	EMe(RAID5C_WHY_EMPTIED, "emptied")

#define RAID5C_ENDS						\
	EM(RAID5C_END_OF_LOG, "end_of_log")			\
	EM(RAID5C_END_TORN, "torn")				\
	EMe(RAID5C_END_CORRUPT, "corrupt")

/* For who reads the formats: the numbers behind the names. */
#undef EM
#undef EMe
#define EM(number, name) TRACE_DEFINE_ENUM(number);
#define EMe(number, name) TRACE_DEFINE_ENUM(number);

RAID5C_KINDS
RAID5C_WHYS
RAID5C_ENDS

#undef EM
#undef EMe
#define EM(number, name) { number, name },
#define EMe(number, name) { number, name }

/* A row's pages were put into a unit. */
TRACE_EVENT(raid5c_append,
	TP_PROTO(dev_t dev, u64 seq, u64 sector, u32 data, u32 parity, u8 kind),
	TP_ARGS(dev, seq, sector, data, parity, kind),
	TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(u64, seq)
		__field(u64, sector)
		__field(u32, data)
		__field(u32, parity)
		__field(u8, kind)
	),
	TP_fast_assign(
		__entry->dev = dev;
		__entry->seq = seq;
		__entry->sector = sector;
		__entry->data = data;
		__entry->parity = parity;
		__entry->kind = kind;
	),
	TP_printk("%d,%d seq=%llu sector=%llu data=%u parity=%u kind=%s",
		  MAJOR(__entry->dev), MINOR(__entry->dev),
		  __entry->seq, __entry->sector, __entry->data,
		  __entry->parity,
		  __print_symbolic(__entry->kind, RAID5C_KINDS))
);

/* A unit's write has ended. */
TRACE_EVENT(raid5c_unit_written,
	TP_PROTO(dev_t dev, u64 seq, u64 start, u32 blocks, bool ok),
	TP_ARGS(dev, seq, start, blocks, ok),
	TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(u64, seq)
		__field(u64, start)
		__field(u32, blocks)
		__field(bool, ok)
	),
	TP_fast_assign(
		__entry->dev = dev;
		__entry->seq = seq;
		__entry->start = start;
		__entry->blocks = blocks;
		__entry->ok = ok;
	),
	TP_printk("%d,%d seq=%llu start=%llu blocks=%u ok=%d",
		  MAJOR(__entry->dev), MINOR(__entry->dev),
		  __entry->seq, __entry->start, __entry->blocks, __entry->ok)
);

/* A unit's fate is known, and its rows are told; in the order of sequences. */
TRACE_EVENT(raid5c_unit_stable,
	TP_PROTO(dev_t dev, u64 seq, u32 rows, bool ok),
	TP_ARGS(dev, seq, rows, ok),
	TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(u64, seq)
		__field(u32, rows)
		__field(bool, ok)
	),
	TP_fast_assign(
		__entry->dev = dev;
		__entry->seq = seq;
		__entry->rows = rows;
		__entry->ok = ok;
	),
	TP_printk("%d,%d seq=%llu rows=%u ok=%d",
		  MAJOR(__entry->dev), MINOR(__entry->dev),
		  __entry->seq, __entry->rows, __entry->ok)
);

/* Stripes were asked to write out what they have cached. */
TRACE_EVENT(raid5c_write_out,
	TP_PROTO(dev_t dev, u8 why, u64 stripes),
	TP_ARGS(dev, why, stripes),
	TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(u8, why)
		__field(u64, stripes)
	),
	TP_fast_assign(
		__entry->dev = dev;
		__entry->why = why;
		__entry->stripes = stripes;
	),
	TP_printk("%d,%d why=%s stripes=%llu",
		  MAJOR(__entry->dev), MINOR(__entry->dev),
		  __print_symbolic(__entry->why, RAID5C_WHYS),
		  __entry->stripes)
);

/* The tail has moved; the superblock has it. */
TRACE_EVENT(raid5c_tail_move,
	TP_PROTO(dev_t dev, u64 from, u64 to, u64 seq, u64 freed),
	TP_ARGS(dev, from, to, seq, freed),
	TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(u64, from)
		__field(u64, to)
		__field(u64, seq)
		__field(u64, freed)
	),
	TP_fast_assign(
		__entry->dev = dev;
		__entry->from = from;
		__entry->to = to;
		__entry->seq = seq;
		__entry->freed = freed;
	),
	TP_printk("%d,%d from=%llu to=%llu seq=%llu freed=%llu",
		  MAJOR(__entry->dev), MINOR(__entry->dev),
		  __entry->from, __entry->to, __entry->seq, __entry->freed)
);

/* Recovery has done what a unit says. */
TRACE_EVENT(raid5c_replay_unit,
	TP_PROTO(dev_t dev, u64 seq, u64 start, u64 blocks, u64 data,
		 u64 parity, u64 replayed, u64 dropped),
	TP_ARGS(dev, seq, start, blocks, data, parity, replayed, dropped),
	TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(u64, seq)
		__field(u64, start)
		__field(u64, blocks)
		__field(u64, data)
		__field(u64, parity)
		__field(u64, replayed)
		__field(u64, dropped)
	),
	TP_fast_assign(
		__entry->dev = dev;
		__entry->seq = seq;
		__entry->start = start;
		__entry->blocks = blocks;
		__entry->data = data;
		__entry->parity = parity;
		__entry->replayed = replayed;
		__entry->dropped = dropped;
	),
	TP_printk("%d,%d seq=%llu start=%llu blocks=%llu data=%llu parity=%llu replayed=%llu dropped=%llu",
		  MAJOR(__entry->dev), MINOR(__entry->dev),
		  __entry->seq, __entry->start, __entry->blocks,
		  __entry->data, __entry->parity, __entry->replayed,
		  __entry->dropped)
);

/* Recovery has come to the end of the log. */
TRACE_EVENT(raid5c_replay_scanned,
	TP_PROTO(dev_t dev, u64 units, u64 replayed, u64 dropped, u64 pending,
		 u64 block, u64 seq, u8 end),
	TP_ARGS(dev, units, replayed, dropped, pending, block, seq, end),
	TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(u64, units)
		__field(u64, replayed)
		__field(u64, dropped)
		__field(u64, pending)
		__field(u64, block)
		__field(u64, seq)
		__field(u8, end)
	),
	TP_fast_assign(
		__entry->dev = dev;
		__entry->units = units;
		__entry->replayed = replayed;
		__entry->dropped = dropped;
		__entry->pending = pending;
		__entry->block = block;
		__entry->seq = seq;
		__entry->end = end;
	),
	TP_printk("%d,%d units=%llu replayed=%llu dropped=%llu pending=%llu block=%llu seq=%llu end=%s",
		  MAJOR(__entry->dev), MINOR(__entry->dev),
		  __entry->units, __entry->replayed, __entry->dropped,
		  __entry->pending, __entry->block, __entry->seq,
		  __print_symbolic(__entry->end, RAID5C_ENDS))
);

/* Recovery has made a row's parity, and the row is on the members. */
TRACE_EVENT(raid5c_replay_finish,
	TP_PROTO(dev_t dev, u64 sector, u32 data, bool logged),
	TP_ARGS(dev, sector, data, logged),
	TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(u64, sector)
		__field(u32, data)
		__field(bool, logged)
	),
	TP_fast_assign(
		__entry->dev = dev;
		__entry->sector = sector;
		__entry->data = data;
		__entry->logged = logged;
	),
	TP_printk("%d,%d sector=%llu data=%u logged=%d",
		  MAJOR(__entry->dev), MINOR(__entry->dev),
		  __entry->sector, __entry->data, __entry->logged)
);

#endif

/* Found through the include path, where Kbuild puts this directory. */
#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE raid5c_trace
#include <trace/define_trace.h>
