/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What bindgen reads for rust/sys.rs: the headers of md core, which are private
 * to drivers/md. Types that the kernel crate's own bindings have (bio, page,
 * block_device, ...) are taken from there.
 */
#ifndef _RAID5C_BINDINGS_H
#define _RAID5C_BINDINGS_H

#include <linux/blkdev.h>
#include <linux/bio.h>
#include <linux/raid/md_p.h>
#include <linux/raid/md_u.h>
#include "md.h"
#include "md-bitmap.h"
#include "raid5c_trace_enums.h"

/* Request flags that are macros with a cast, which bindgen cannot evaluate. */
enum {
	RAID5C_REQ_SYNC = (1 << __REQ_SYNC),
	RAID5C_REQ_FUA = (1 << __REQ_FUA),
	RAID5C_REQ_PREFLUSH = (1 << __REQ_PREFLUSH),
	RAID5C_REQ_IDLE = (1 << __REQ_IDLE),
	RAID5C_REQ_NOWAIT = (1 << __REQ_NOWAIT),
	RAID5C_GFP_NOIO = (__force unsigned int)GFP_NOIO,
	RAID5C_GFP_KERNEL = (__force unsigned int)GFP_KERNEL,
	/* Neither waits nor touches what is kept for when memory is used up. */
	RAID5C_GFP_QUICK = (__force unsigned int)(GFP_NOWAIT | __GFP_NOWARN |
						  __GFP_NOMEMALLOC),
	/* The same, but looks once for what can be freed without I/O. */
	RAID5C_GFP_TRY = (__force unsigned int)(GFP_NOIO | __GFP_NORETRY |
						__GFP_NOWARN | __GFP_NOMEMALLOC),
};

#endif
