// SPDX-License-Identifier: GPL-2.0
/*
 * What Rust cannot call or name: inline functions, macros, and the async_tx
 * calls with their on-stack control blocks. No policy here.
 */
#include <linux/async_tx.h>
#include <linux/bio.h>
#include <linux/crc32c.h>
#include <linux/debugfs.h>
#include <linux/highmem.h>
#include <linux/kthread.h>
#include <linux/log2.h>
#include <linux/moduleparam.h>
#include <linux/raid/pq.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/sched/stat.h>
#include <linux/seq_file.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <linux/sysfs.h>
#include <linux/version.h>
#include "raid5c_bindings.h"
#include "raid5c_trace.h"

/* A page is a row everywhere here, and a row is 4 KiB on disk. */
static_assert(PAGE_SIZE == 4096);

/*
 * Here, as a parameter of Rust is no bool that the administrator can change. As
 * with raid456 it counts for arrays that are started from then on.
 */
static bool devices_handle_discard_safely;
module_param(devices_handle_discard_safely, bool, 0644);
MODULE_PARM_DESC(devices_handle_discard_safely,
		 "Y: discards are passed on, as all members of all arrays read as zeroes where they were discarded");

/* bits */

bool raid5c_test_bit(unsigned long nr, const unsigned long *addr)
{
	return test_bit(nr, addr);
}

bool raid5c_test_and_set_bit(unsigned long nr, unsigned long *addr)
{
	return test_and_set_bit(nr, addr);
}

bool raid5c_test_and_clear_bit(unsigned long nr, unsigned long *addr)
{
	return test_and_clear_bit(nr, addr);
}

void raid5c_set_mask_bits(unsigned long *addr, unsigned long bits)
{
	set_mask_bits(addr, 0UL, bits);
}

struct module *raid5c_this_module(void)
{
	return THIS_MODULE;
}

/* What a personality tells the bitmap since 7.3. */
void raid5c_set_bitmap_hooks(struct md_personality *pers,
	void (*map)(struct mddev *, sector_t *, unsigned long *, bool),
	sector_t (*member_sectors)(struct mddev *, bool),
	sector_t (*array_sectors)(struct mddev *, bool))
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 3, 0)
	pers->bitmap_sector_map = map;
	pers->bitmap_sync_size = member_sectors;
	pers->bitmap_array_sectors = array_sectors;
#endif
}

/* tasks */

bool raid5c_cpu_wanted(void)
{
	return need_resched() || !single_task_running();
}

void raid5c_cond_resched(void)
{
	cond_resched();
}

void raid5c_cpu_relax(void)
{
	cpu_relax();
}

/* memory */

unsigned int raid5c_noio_save(void)
{
	return memalloc_noio_save();
}

void raid5c_noio_restore(unsigned int flags)
{
	memalloc_noio_restore(flags);
}

void raid5c_get_page(struct page *page)
{
	get_page(page);
}

void raid5c_put_page(struct page *page)
{
	put_page(page);
}

bool raid5c_page_is_shared(struct page *page)
{
	return page_count(page) != 1;
}

void *raid5c_page_address(struct page *page)
{
	return page_address(page);
}

u32 raid5c_crc32c(u32 seed, const void *data, size_t len)
{
	return crc32c(seed, data, len);
}

struct workqueue_struct *raid5c_alloc_workqueue(const char *name, bool near)
{
	return alloc_workqueue("%s", WQ_MEM_RECLAIM |
			       (near ? WQ_PERCPU : WQ_UNBOUND), 0, name);
}

/* bios */

unsigned int raid5c_bio_op(struct bio *bio)
{
	return bio_op(bio);
}

/* Ends the request, as far as one owner is concerned: the array does not do this. */
void raid5c_bio_unsupported(struct bio *bio)
{
	bio->bi_status = BLK_STS_NOTSUPP;
	bio_endio(bio);
}

/* The request cannot be done without waiting; who ends it does so elsewhere. */
void raid5c_bio_again(struct bio *bio)
{
	bio_set_flag(bio, BIO_QUIET);
	bio->bi_status = BLK_STS_AGAIN;
}

bool raid5c_bio_is_again(struct bio *bio)
{
	return bio->bi_status == BLK_STS_AGAIN;
}

void raid5c_bio_inc_remaining(struct bio *bio)
{
	bio_inc_remaining(bio);
}

/*
 * Copies between a page and the part of @bio that @iter stands at, and moves
 * @iter on. Returns the bytes copied, fewer than @len only at the bio's end.
 */
unsigned int raid5c_bio_copy(struct bio *bio, struct bvec_iter *iter,
			     struct page *page, unsigned int offset,
			     unsigned int len, bool to_page)
{
	void *kaddr = kmap_local_page(page);
	unsigned int done = 0;

	while (done < len && iter->bi_size) {
		struct bio_vec bv = bio_iter_iovec(bio, *iter);
		unsigned int n = min(bv.bv_len, len - done);
		void *data;

		bv.bv_len = n;
		data = bvec_kmap_local(&bv);
		if (to_page)
			memcpy(kaddr + offset + done, data, n);
		else
			memcpy(data, kaddr + offset + done, n);
		kunmap_local(data);
		if (!to_page)
			flush_dcache_page(bv.bv_page);
		bio_advance_iter_single(bio, iter, n);
		done += n;
	}
	kunmap_local(kaddr);
	return done;
}

void raid5c_bio_advance_iter(struct bio *bio, struct bvec_iter *iter,
			     unsigned int bytes)
{
	bio_advance_iter(bio, iter, min(bytes, iter->bi_size));
}

static bool raid5c_is_on_member(struct mddev *mddev, struct bio *bio)
{
	struct md_rdev *rdev;
	bool found = false;

	rcu_read_lock();
	rdev_for_each_rcu(rdev, mddev) {
		if (rdev->bdev && rdev->bdev->bd_disk == bio->bi_bdev->bd_disk) {
			found = true;
			break;
		}
	}
	rcu_read_unlock();
	return found;
}

/*
 * While a stacked device takes a bio, what it submits waits until it returns.
 * Submits what waits for devices of the array.
 */
void raid5c_issue_held(struct mddev *mddev)
{
	struct bio_list *held = current->bio_list, out;
	struct bio *bio;

	if (!held)
		return;
	out = held[0];
	bio_list_init(&held[0]);
	current->bio_list = NULL;
	while ((bio = bio_list_pop(&out))) {
		if (raid5c_is_on_member(mddev, bio))
			submit_bio_noacct(bio);
		else
			bio_list_add(&held[0], bio);
	}
	current->bio_list = held;
}

/* Drops the page references that a member bio holds. */
void raid5c_bio_put_pages(struct bio *bio)
{
	struct bvec_iter_all all;
	struct bio_vec *bv;

	bio_for_each_segment_all(bv, bio, all)
		put_page(bv->bv_page);
}

/*
 * Whether the device discards just this: of what does not agree with its
 * granularity it may leave a part as it is.
 */
bool raid5c_bdev_discards(struct block_device *bdev, sector_t sector,
			  unsigned int sectors)
{
	unsigned int unit = bdev_discard_granularity(bdev) >> SECTOR_SHIFT;
	unsigned int first = bdev_discard_alignment(bdev) >> SECTOR_SHIFT;
	u64 start = sector;

	if (!bdev_max_discard_sectors(bdev) || sector < first)
		return false;
	start -= first;
	return !unit || (!do_div(start, unit) && sectors % unit == 0);
}

/* The longest request that the device takes without waiting, in sectors. */
unsigned int raid5c_bdev_nowait_sectors(struct block_device *bdev)
{
	return bdev_nowait(bdev) ?
		queue_max_sectors(bdev_get_queue(bdev)) : 0;
}

bool raid5c_bdev_write_cache(struct block_device *bdev)
{
	return bdev_write_cache(bdev);
}

bool raid5c_md_write_cache(struct mddev *mddev)
{
	return mddev->gendisk && bdev_write_cache(mddev->gendisk->part0);
}

bool raid5c_have_bio_list(void)
{
	return current->bio_list != NULL;
}

/* md */

void raid5c_rdev_get(struct md_rdev *rdev)
{
	atomic_inc(&rdev->nr_pending);
}

void raid5c_rdev_put(struct md_rdev *rdev)
{
	rdev_dec_pending(rdev, rdev->mddev);
}

int raid5c_rdev_pending(struct md_rdev *rdev)
{
	return atomic_read(&rdev->nr_pending);
}

void raid5c_rdev_corrected(struct md_rdev *rdev, int sectors)
{
	atomic_add(sectors, &rdev->corrected_errors);
}

/* The number of sectors is an int in some kernels, and a sector_t in others. */

bool raid5c_rdev_has_badblock(struct md_rdev *rdev, sector_t s, int sectors)
{
	return rdev_has_badblock(rdev, s, sectors) != 0;
}

bool raid5c_rdev_any_badblock(struct md_rdev *rdev)
{
	return READ_ONCE(rdev->badblocks.count) > 0;
}

/*
 * Whether a role had a working device when the superblock was read or last
 * written; true where that cannot be told.
 */
bool raid5c_rdev_knows_role(struct md_rdev *rdev, unsigned int role)
{
	const struct mdp_superblock_1 *sb;
	unsigned int i, n;

	if (!rdev->sb_page || rdev->mddev->external ||
	    rdev->mddev->major_version != 1)
		return true;
	sb = page_address(rdev->sb_page);
	n = min_t(unsigned int, le32_to_cpu(sb->max_dev),
		  (PAGE_SIZE - offsetof(struct mdp_superblock_1, dev_roles)) /
		  sizeof(sb->dev_roles[0]));
	for (i = 0; i < n; i++)
		if (le16_to_cpu(sb->dev_roles[i]) == role)
			return true;
	return false;
}

/* Whether that can take so many more; with some left for others at the same time. */
bool raid5c_rdev_takes_badblocks(struct md_rdev *rdev, int n)
{
	struct badblocks *bb = &rdev->badblocks;

	return bb->page && bb->shift >= 0 &&
	       READ_ONCE(bb->count) + n <= MAX_BADBLOCKS - 64;
}

/* Bad blocks that whoever keeps external metadata has not recorded yet. */
bool raid5c_rdev_unacked(struct md_rdev *rdev)
{
	return rdev->mddev->external && !test_bit(Faulty, &rdev->flags) &&
	       READ_ONCE(rdev->badblocks.unacked_exist);
}

bool raid5c_rdev_set_badblocks(struct md_rdev *rdev, sector_t s, int sectors)
{
	return rdev_set_badblocks(rdev, s, sectors, 0);
}

void raid5c_rdev_clear_badblocks(struct md_rdev *rdev, sector_t s, int sectors)
{
	rdev_clear_badblocks(rdev, s, sectors, 0);
}

sector_t raid5c_rdev_recovery_offset(struct md_rdev *rdev)
{
	return READ_ONCE(rdev->recovery_offset);
}

sector_t raid5c_rdev_journal_tail(struct md_rdev *rdev)
{
	return READ_ONCE(rdev->journal_tail);
}

void raid5c_rdev_set_journal_tail(struct md_rdev *rdev, sector_t tail)
{
	WRITE_ONCE(rdev->journal_tail, tail);
}

bool raid5c_rdev_blocked(struct md_rdev *rdev)
{
	return rdev_blocked(rdev);
}

void raid5c_rdev_notify_state(struct md_rdev *rdev)
{
	sysfs_notify_dirent_safe(rdev->sysfs_state);
}

const char *raid5c_rdev_name(struct md_rdev *rdev)
{
	return rdev->bdev && rdev->bdev->bd_disk ?
		rdev->bdev->bd_disk->disk_name : "unknown";
}

const char *raid5c_mddev_name(struct mddev *mddev)
{
	return mdname(mddev);
}

struct md_rdev *raid5c_first_rdev(struct mddev *mddev)
{
	return list_first_entry_or_null(&mddev->disks, struct md_rdev, same_set);
}

struct md_rdev *raid5c_next_rdev(struct mddev *mddev, struct md_rdev *rdev)
{
	if (list_is_last(&rdev->same_set, &mddev->disks))
		return NULL;
	return list_next_entry(rdev, same_set);
}

void raid5c_add_mismatches(struct mddev *mddev, u64 sectors)
{
	atomic64_add(sectors, &mddev->resync_mismatches);
}

/*
 * As md_write_start(), but false where that would wait, or has something to
 * write first. As there, the array does not become clean once the write is
 * counted and neither in_sync nor sync_checkers is set.
 */
bool raid5c_write_start_nowait(struct mddev *mddev)
{
	bool ok;

	rcu_read_lock();
	percpu_ref_get(&mddev->writes_pending);
	smp_mb(); /* Match smp_mb in set_in_sync() */
	if (mddev->safemode == 1)
		mddev->safemode = 0;
	ok = mddev->ro == MD_RDWR && !READ_ONCE(mddev->in_sync) &&
	     !READ_ONCE(mddev->sync_checkers) &&
	     !test_bit(MD_SB_CHANGE_PENDING, &mddev->sb_flags);
	rcu_read_unlock();
	if (!ok)
		md_write_end(mddev);
	return ok;
}

void raid5c_wait_sb_written(struct mddev *mddev)
{
	wait_event(mddev->sb_wait,
		   !test_bit(MD_SB_CHANGE_PENDING, &mddev->sb_flags));
}

bool raid5c_mddev_trylock(struct mddev *mddev)
{
	return mddev_trylock(mddev);
}

int raid5c_mddev_lock(struct mddev *mddev)
{
	return mddev_lock(mddev);
}

/* Waits until all I/O has ended; then none begins until it is resumed. */
int raid5c_mddev_suspend_and_lock(struct mddev *mddev)
{
	return mddev_suspend_and_lock(mddev);
}

void raid5c_mddev_unlock_and_resume(struct mddev *mddev)
{
	mddev_unlock_and_resume(mddev);
}

bool raid5c_has_journal_device(struct mddev *mddev)
{
	struct md_rdev *rdev;

	rdev_for_each(rdev, mddev)
		if (test_bit(Journal, &rdev->flags))
			return true;
	return false;
}

bool raid5c_in_sync_thread(struct mddev *mddev)
{
	struct md_thread *thread;
	bool in;

	rcu_read_lock();
	thread = rcu_dereference(mddev->sync_thread);
	in = thread && thread->tsk == current;
	rcu_read_unlock();
	return in;
}

/*
 * Counts a part of a discard, to which @bio is made; the request itself stays
 * as it is. To the bitmap it is a write: a lockless one takes a discard of the
 * first part of a bit's range for one of all, and would have none of it rebuilt.
 */
void raid5c_account_discard(struct mddev *mddev, struct bio **bio,
			    sector_t sector, unsigned int sectors)
{
	struct bio *whole = *bio;
	struct bvec_iter iter = whole->bi_iter;
	blk_opf_t opf = whole->bi_opf;

	whole->bi_iter.bi_sector = sector;
	whole->bi_iter.bi_size = sectors << SECTOR_SHIFT;
	whole->bi_opf = (opf & ~(blk_opf_t)REQ_OP_MASK) | REQ_OP_WRITE;
	md_account_bio(mddev, bio);
	whole->bi_iter = iter;
	whole->bi_opf = opf;
	/* Not all of it: some of the clone's flags are its own. */
	(*bio)->bi_opf &= ~(blk_opf_t)REQ_OP_MASK;
	(*bio)->bi_opf |= REQ_OP_DISCARD;
}

bool raid5c_bitmap_enabled(struct mddev *mddev)
{
	return md_bitmap_enabled(mddev, false);
}

/* Makes sure that the bits of started writes are on disk before the data. */
void raid5c_bitmap_unplug(struct mddev *mddev)
{
	if (md_bitmap_enabled(mddev, true))
		mddev->bitmap_ops->unplug(mddev, current->bio_list == NULL);
}

/*
 * Whether the bitmap knows that nothing of [@sector, @end) of the members has
 * parity that was never made. Only the lockless one can tell; @chunk is how
 * finely it is asked.
 */
bool raid5c_bitmap_synced(struct mddev *mddev, sector_t sector, sector_t end,
			  unsigned int chunk)
{
	if (!md_bitmap_enabled(mddev, false) ||
	    !mddev->bitmap_ops->blocks_synced)
		return true;
	for (; sector < end; sector += chunk)
		if (!mddev->bitmap_ops->blocks_synced(mddev, sector))
			return false;
	return true;
}

bool raid5c_bitmap_start_sync(struct mddev *mddev, sector_t sector,
			      sector_t *blocks, bool degraded)
{
	return md_bitmap_start_sync(mddev, sector, blocks, degraded);
}

void raid5c_bitmap_end_sync(struct mddev *mddev, sector_t sector)
{
	sector_t blocks;

	md_bitmap_end_sync(mddev, sector, &blocks);
}

void raid5c_bitmap_cond_end_sync(struct mddev *mddev, sector_t sector)
{
	if (md_bitmap_enabled(mddev, false))
		mddev->bitmap_ops->cond_end_sync(mddev, sector, false);
}

void raid5c_bitmap_close_sync(struct mddev *mddev)
{
	if (md_bitmap_enabled(mddev, false))
		mddev->bitmap_ops->close_sync(mddev);
}

int raid5c_bitmap_resize(struct mddev *mddev, sector_t sectors)
{
	if (!md_bitmap_enabled(mddev, false))
		return 0;
	return mddev->bitmap_ops->resize(mddev, sectors, 0);
}

void raid5c_seq_puts(struct seq_file *seq, const char *data, size_t len)
{
	seq_write(seq, data, len);
}

/* In sectors, if a row of chunks is no longer. */
#define LARGEST_REQUEST (1u << (20 - SECTOR_SHIFT))

/*
 * Queue limits as a parity array wants them; all in bytes. The members' own
 * limits are stacked on top. @discards: whether discards are passed on. As with
 * raid456 the queue says so in any case, and they fail if not.
 */
int raid5c_set_limits(struct mddev *mddev, unsigned int chunk,
		      unsigned int data_disks, bool *discards)
{
	unsigned int row = roundup_pow_of_two(chunk * data_disks);
	struct queue_limits lim;
	struct md_rdev *rdev;

	*discards = false;
	if (mddev_is_dm(mddev))
		return 0;
	md_init_stacking_limits(&lim);
	lim.logical_block_size = mddev->logical_block_size;
	lim.io_min = chunk;
	lim.io_opt = chunk * data_disks;
	lim.chunk_sectors = lim.io_opt >> SECTOR_SHIFT;
	/* Members take NOWAIT back that do not have it. */
	lim.features |= BLK_FEAT_RAID_PARTIAL_STRIPES_EXPENSIVE |
			BLK_FEAT_NOWAIT;
	lim.discard_granularity = row;
	mddev_stack_rdev_limits(mddev, &lim, 0);
	rdev_for_each(rdev, mddev)
		queue_limits_stack_bdev(&lim, rdev->bdev, rdev->new_data_offset,
					mddev->gendisk->disk_name);
	lim.max_write_zeroes_sectors = 0;
	lim.max_hw_wzeroes_unmap_sectors = 0;
	*discards = READ_ONCE(devices_handle_discard_safely) &&
		    lim.max_discard_sectors >= row >> SECTOR_SHIFT &&
		    lim.discard_granularity >= row;
	lim.max_hw_discard_sectors = UINT_MAX;
	/* As raid456: the members' bios are our own, of any size. */
	lim.max_hw_sectors = max(LARGEST_REQUEST, lim.io_opt >> SECTOR_SHIFT);
	lim.max_segments = USHRT_MAX;
	return queue_limits_set(mddev->gendisk->queue, &lim);
}

void raid5c_set_disk_ro(struct mddev *mddev)
{
	mddev->ro = MD_RDONLY;
	if (mddev->gendisk)
		set_disk_ro(mddev->gendisk, 1);
}

/* Reads n pages, at most BIO_MAX_VECS, from sector on into pages, and waits. */
int raid5c_read_pages(struct block_device *bdev, sector_t sector,
		      struct page **pages, unsigned int n)
{
	struct bio *bio = bio_alloc(bdev, n, REQ_OP_READ | REQ_SYNC, GFP_NOIO);
	unsigned int i;
	int err;

	bio->bi_iter.bi_sector = sector;
	for (i = 0; i < n; i++)
		__bio_add_page(bio, pages[i], PAGE_SIZE, 0);
	err = submit_bio_wait(bio);
	bio_put(bio);
	return err;
}

int raid5c_flush_bdev(struct block_device *bdev)
{
	return blkdev_issue_flush(bdev);
}

int raid5c_discard_bdev(struct block_device *bdev, sector_t start, sector_t n)
{
	if (!bdev_max_discard_sectors(bdev))
		return 0;
	/* May be skipped; the room that it is about may be what memory waits for. */
	return blkdev_issue_discard(bdev, start, n, GFP_NOWAIT | __GFP_NOWARN);
}

/* parity */

/*
 * @zero_dst: srcs[0..n] xored make dest. Else srcs[0] is dest itself, and the
 * others are xored into it. Waits for the engine if one does the work.
 */
void raid5c_xor(struct page *dest, struct page **srcs, int n, bool zero_dst,
		void *scribble)
{
	struct dma_async_tx_descriptor *tx;
	struct async_submit_ctl submit;

	init_async_submit(&submit, zero_dst ? ASYNC_TX_XOR_ZERO_DST :
			  ASYNC_TX_XOR_DROP_DST, NULL, NULL, NULL, scribble);
	if (n == 1) {
		submit.flags = 0;
		tx = async_memcpy(dest, srcs[0], 0, 0, PAGE_SIZE, &submit);
	} else {
		tx = async_xor(dest, srcs, 0, n, PAGE_SIZE, &submit);
	}
	async_tx_quiesce(&tx);
}

/* Whether srcs[0] is the xor of the n - 1 others; destroys srcs[0]. */
bool raid5c_xor_check(struct page **srcs, int n, void *scribble)
{
	struct dma_async_tx_descriptor *tx;
	struct async_submit_ctl submit;
	enum sum_check_flags result = 0;

	init_async_submit(&submit, 0, NULL, NULL, NULL, scribble);
	tx = async_xor_val_offs(srcs[0], 0, srcs, NULL, n, PAGE_SIZE, &result,
				&submit);
	async_tx_quiesce(&tx);
	return !(result & SUM_CHECK_P_RESULT);
}

/*
 * P and Q of @blocks: data in the order of its coefficients, NULL for zeroes,
 * then P and Q, of which one may be NULL. @add: the data is added to what P and
 * Q are. @offsets: @disks zeroes.
 */
void raid5c_syndrome(struct page **blocks, unsigned int *offsets, int disks,
		     bool add, void *scribble)
{
	struct dma_async_tx_descriptor *tx;
	struct async_submit_ctl submit;

	init_async_submit(&submit, add ? ASYNC_TX_PQ_XOR_DST : 0, NULL, NULL,
			  NULL, scribble);
	tx = async_gen_syndrome(blocks, offsets, disks, PAGE_SIZE, &submit);
	async_tx_quiesce(&tx);
}

/* Two data blocks from the others, P and Q: @a before @b. */
void raid5c_recover_2data(struct page **blocks, unsigned int *offsets,
			  int disks, int a, int b, void *scribble)
{
	struct dma_async_tx_descriptor *tx;
	struct async_submit_ctl submit;

	init_async_submit(&submit, 0, NULL, NULL, NULL, scribble);
	tx = async_raid6_2data_recov(disks, PAGE_SIZE, a, b, blocks, offsets,
				     &submit);
	async_tx_quiesce(&tx);
}

/* One data block and P from the others and Q. */
void raid5c_recover_datap(struct page **blocks, unsigned int *offsets,
			  int disks, int a, void *scribble)
{
	struct dma_async_tx_descriptor *tx;
	struct async_submit_ctl submit;

	init_async_submit(&submit, 0, NULL, NULL, NULL, scribble);
	tx = async_raid6_datap_recov(disks, PAGE_SIZE, a, blocks, offsets,
				     &submit);
	async_tx_quiesce(&tx);
}

bool raid5c_pages_equal(struct page *a, struct page *b)
{
	return !memcmp(page_address(a), page_address(b), PAGE_SIZE);
}

bool raid5c_can_add_syndrome(void)
{
	return raid6_can_xor_syndrome();
}

size_t raid5c_scribble_size(int disks)
{
	return sizeof(addr_conv_t) * (disks + 2);
}

/* more of bios */

/* The bio was made with room for all its pages. */
void raid5c_bio_add_page(struct bio *bio, struct page *page)
{
	WARN_ON_ONCE(bio_add_page(bio, page, PAGE_SIZE, 0) != PAGE_SIZE);
}

void raid5c_bio_fail(struct bio *bio)
{
	if (!bio->bi_status)
		bio->bi_status = BLK_STS_IOERR;
}

void raid5c_queue_work(struct workqueue_struct *wq, struct work_struct *work,
		       void (*fn)(struct work_struct *work))
{
	INIT_WORK(work, fn);
	queue_work(wq, work);
}

/* debugfs: a file's module stays as long as the file is open. */

struct raid5c_shown {
	void (*show)(struct seq_file *m, const void *data);
	const void *data;
};

static int raid5c_shown_show(struct seq_file *m, void *unused)
{
	const struct raid5c_shown *shown = m->private;

	shown->show(m, shown->data);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(raid5c_shown);

void *raid5c_debugfs_dir(const char *name)
{
	return debugfs_create_dir(name, NULL);
}

void *raid5c_debugfs_file(const char *name, void *dir, void *shown)
{
	return debugfs_create_file(name, 0444, dir, shown, &raid5c_shown_fops);
}

/* Waits for who reads one of the files. */
void raid5c_debugfs_remove(void *entry)
{
	debugfs_remove(entry);
}

/*
 * Trace events. Who asks first whether an event is on computes nothing for one
 * that is off; without CONFIG_TRACEPOINTS none ever is.
 */

bool raid5c_append_is_on(void)
{
	return trace_raid5c_append_enabled();
}

void raid5c_trace_append(dev_t dev, u64 seq, u64 sector, u32 data, u32 parity,
			 u8 kind)
{
	trace_raid5c_append(dev, seq, sector, data, parity, kind);
}

bool raid5c_unit_written_is_on(void)
{
	return trace_raid5c_unit_written_enabled();
}

void raid5c_trace_unit_written(dev_t dev, u64 seq, u64 start, u32 blocks,
			       bool ok)
{
	trace_raid5c_unit_written(dev, seq, start, blocks, ok);
}

bool raid5c_unit_stable_is_on(void)
{
	return trace_raid5c_unit_stable_enabled();
}

void raid5c_trace_unit_stable(dev_t dev, u64 seq, u32 rows, bool ok)
{
	trace_raid5c_unit_stable(dev, seq, rows, ok);
}

bool raid5c_write_out_is_on(void)
{
	return trace_raid5c_write_out_enabled();
}

void raid5c_trace_write_out(dev_t dev, u8 why, u64 stripes)
{
	trace_raid5c_write_out(dev, why, stripes);
}

bool raid5c_tail_move_is_on(void)
{
	return trace_raid5c_tail_move_enabled();
}

void raid5c_trace_tail_move(dev_t dev, u64 from, u64 to, u64 seq, u64 freed)
{
	trace_raid5c_tail_move(dev, from, to, seq, freed);
}

bool raid5c_replay_unit_is_on(void)
{
	return trace_raid5c_replay_unit_enabled();
}

void raid5c_trace_replay_unit(dev_t dev, u64 seq, u64 start, u64 blocks,
			      u64 data, u64 parity, u64 replayed, u64 dropped)
{
	trace_raid5c_replay_unit(dev, seq, start, blocks, data, parity,
				 replayed, dropped);
}

bool raid5c_replay_scanned_is_on(void)
{
	return trace_raid5c_replay_scanned_enabled();
}

void raid5c_trace_replay_scanned(dev_t dev, u64 units, u64 replayed,
				 u64 dropped, u64 pending, u64 block, u64 seq,
				 u8 end)
{
	trace_raid5c_replay_scanned(dev, units, replayed, dropped, pending,
				    block, seq, end);
}

bool raid5c_replay_finish_is_on(void)
{
	return trace_raid5c_replay_finish_enabled();
}

void raid5c_trace_replay_finish(dev_t dev, u64 sector, u32 data, bool logged)
{
	trace_raid5c_replay_finish(dev, sector, data, logged);
}

/* ---- shrinkers ---- */

struct raid5c_shrinks {
	void *data;
	unsigned long (*count)(void *data);
	unsigned long (*scan)(void *data, unsigned long n);
};

static unsigned long raid5c_shrink_count(struct shrinker *shrinker,
					 struct shrink_control *sc)
{
	struct raid5c_shrinks *shrinks = shrinker->private_data;
	unsigned long n = shrinks->count(shrinks->data);

	return n ?: SHRINK_EMPTY;
}

static unsigned long raid5c_shrink_scan(struct shrinker *shrinker,
					struct shrink_control *sc)
{
	struct raid5c_shrinks *shrinks = shrinker->private_data;
	unsigned long n = shrinks->scan(shrinks->data, sc->nr_to_scan);

	return n ?: SHRINK_STOP;
}

void *raid5c_shrinker_new(void *data, unsigned long (*count)(void *data),
			  unsigned long (*scan)(void *data, unsigned long n))
{
	struct raid5c_shrinks *shrinks = kmalloc(sizeof(*shrinks), GFP_KERNEL);
	struct shrinker *shrinker;

	if (!shrinks)
		return NULL;
	shrinker = shrinker_alloc(0, "raid5c");
	if (!shrinker) {
		kfree(shrinks);
		return NULL;
	}
	shrinks->data = data;
	shrinks->count = count;
	shrinks->scan = scan;
	shrinker->count_objects = raid5c_shrink_count;
	shrinker->scan_objects = raid5c_shrink_scan;
	shrinker->seeks = DEFAULT_SEEKS;
	shrinker->private_data = shrinks;
	shrinker_register(shrinker);
	return shrinker;
}

/* Waits until nobody calls it any more. */
void raid5c_shrinker_free(void *ptr)
{
	struct shrinker *shrinker = ptr;
	void *shrinks = shrinker->private_data;

	shrinker_free(shrinker);
	kfree(shrinks);
}
