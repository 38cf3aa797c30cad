/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What trace events have a number for. Apart from raid5c_trace.h, as Rust has
 * these too (rust/lib/trace.rs), and bindgen is to make nothing of the rest.
 */
#ifndef _RAID5C_TRACE_ENUMS_H
#define _RAID5C_TRACE_ENUMS_H

/* As what a row was appended to the journal. */
enum {
	RAID5C_KIND_LOGGED,
	RAID5C_KIND_CACHED,
	RAID5C_KIND_CACHED_AGAIN,
	RAID5C_KIND_WRITTEN_OUT,
};

/* Why cached rows are written out. */
enum {
	RAID5C_WHY_LEAVING,
	RAID5C_WHY_WAITED_FOR,
	RAID5C_WHY_JOURNAL_CRITICAL,
	RAID5C_WHY_JOURNAL_TIGHT,
	RAID5C_WHY_MEMORY_URGENT,
	RAID5C_WHY_MEMORY,
	RAID5C_WHY_FULL_STRIPES,
	RAID5C_WHY_AGE,
	RAID5C_WHY_EMPTIED,
};

/* What the scan of a journal came to. */
enum {
	RAID5C_END_OF_LOG,
	RAID5C_END_TORN,
	RAID5C_END_CORRUPT,
};

#endif
