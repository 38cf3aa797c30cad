// SPDX-License-Identifier: GPL-2.0
/*
 * ackwriter: a random writer that remembers what was acknowledged, and the
 * checker that holds a device to it after a power cut.
 *
 *   ackwriter write --dev DEV --log LOG --seed N [options]
 *   ackwriter check --dev DEV --log LOG [options]
 *
 * Every 512-byte sector that is written names its writer, the number of the
 * write and its own place, and ends in a checksum. The span is cut, by the
 * seed, into extents of 1 to 128 sectors (some longer), each of which belongs
 * to one thread: writers share rows, chunks and stripes, but no sector.
 *
 * LOG is a device or file of its own. Before a write is issued its record is
 * there; after its completion, the record says "acknowledged", in the same
 * 512-byte write that announces the thread's next one. Records are only ever
 * appended, so whatever moment the machine dies at, LOG tells for each sector
 * which write it must show at least, and which later ones it may show.
 *
 * Exit status: 0 all right; 1 the device broke its word; 2 usage, or an I/O
 * error.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <linux/fs.h>
#include <time.h>
#include <unistd.h>

#define SECTOR 512u
#define STAMP_MAGIC 0x726f746365733563ull
#define SLOT_MAGIC 0x746f6c736b636135ull
#define HEADER_MAGIC 0x7265746972776b63ull
#define RECS 19
#define MAX_THREADS 64
#define SMALL_EXTENT 128u
#define UNKNOWN UINT32_MAX

/* ENDED: completed, and a cache may still lose it. */
enum state { STARTED = 1, ACKED = 2, FAILED = 3, ENDED = 4 };
/* Of a record: how it was written, and that it is the thread's first in this
 * life of the machine.
 */
enum { FUA = 1, FSYNC = 2, FIRST = 4 };

struct stamp {
	uint64_t magic, seed;
	uint32_t thread, op;
	uint64_t sector;
	uint64_t fill[59];
	uint64_t sum;
};

struct rec {
	uint32_t op, state;
	uint64_t sector;
	uint32_t nsect, flags;
};

struct slot {
	uint64_t magic, run;
	uint32_t thread, index, count, pad;
	struct rec rec[RECS];
	uint64_t pad2[2];
	uint64_t sum;
};

struct header {
	/* `run` tells this log's slots from what was on the device before. */
	uint64_t magic, seed, run, span, slots;
	uint32_t threads, max_extent, big, align;
	uint64_t pad[56];
	uint64_t sum;
};

_Static_assert(sizeof(struct stamp) == SECTOR, "a stamp is a sector");
_Static_assert(sizeof(struct slot) == SECTOR, "a slot is a sector");
_Static_assert(sizeof(struct header) == SECTOR, "a header is a sector");

struct extent {
	uint64_t start;
	uint32_t len;
};

struct thread {
	pthread_t id;
	uint32_t number, op;
	uint64_t rng;
	struct extent *extents;
	size_t nextents;
	struct slot *slot;
	bool dirty, first;
	size_t unflushed;	/* in open_recs: where its ENDED ones begin */
	uint8_t *buf;
};

static struct header head;
static struct thread threads[MAX_THREADS];
static uint32_t *last;		/* per sector: the newest acknowledged write */
static uint8_t *owner;		/* per sector: its thread */
static int dev, logfd;
static atomic_ulong ops_done, bytes_done, reads_done, errors_seen;
static atomic_bool stop, broken;

static struct {
	const char *dev, *log;
	uint64_t seed, span, max_io, offset, ops;
	unsigned int threads, seconds, fua, fsync, read, big, align, report;
	bool resume, errors_ok, buffered, any_initial, durable;
} opt = {
	.threads = 8, .max_io = 1 << 20, .big = 5, .align = 1, .report = 10,
};

static void __attribute__((noreturn, format(printf, 1, 2)))
die(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fputs("ackwriter: ", stdout);
	vprintf(fmt, args);
	putchar('\n');
	fflush(stdout);
	va_end(args);
	_exit(2);
}

/* Sebastiano Vigna's splitmix64. */
static uint64_t next(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static uint64_t below(uint64_t *state, uint64_t n)
{
	return next(state) % n;
}

/* A checksum of a sector without its last word. */
static uint64_t sum_of(const void *sector)
{
	const uint64_t *word = sector;
	uint64_t h = 0xcbf29ce484222325ull;

	for (int i = 0; i < 63; i++) {
		h = (h ^ word[i]) * 0x9e3779b97f4a7c15ull;
		h ^= h >> 29;
	}
	return h;
}

static void make_stamp(struct stamp *s, uint32_t thread, uint32_t op,
		       uint64_t sector)
{
	uint64_t x = head.seed ^ ((uint64_t)thread << 56) ^
		     ((uint64_t)op << 24) ^ sector;

	s->magic = STAMP_MAGIC;
	s->seed = head.seed;
	s->thread = thread;
	s->op = op;
	s->sector = sector;
	for (int i = 0; i < 59; i++) {
		x = x * 6364136223846793005ull + 1442695040888963407ull;
		s->fill[i] = x;
	}
	s->sum = sum_of(s);
}

static bool is_zero(const void *sector)
{
	const uint64_t *word = sector;

	for (int i = 0; i < 64; i++)
		if (word[i])
			return false;
	return true;
}

static void *aligned(size_t size)
{
	void *p = NULL;

	if (posix_memalign(&p, 4096, size))
		die("out of memory");
	memset(p, 0, size);
	return p;
}

static bool transfer(int fd, bool writing, void *buf, size_t len,
		     uint64_t off, int flags)
{
	while (len) {
		struct iovec v = { buf, len };
		ssize_t n = writing ? pwritev2(fd, &v, 1, off, flags) :
				      preadv2(fd, &v, 1, off, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			if (!n)
				errno = EIO;
			return false;
		}
		buf = (char *)buf + n;
		len -= n;
		off += n;
	}
	return true;
}

static uint64_t size_of(int fd, const char *name)
{
	struct stat st;
	uint64_t bytes = 0;

	if (fstat(fd, &st))
		die("%s: %s", name, strerror(errno));
	if (S_ISREG(st.st_mode))
		return st.st_size;
	if (ioctl(fd, BLKGETSIZE64, &bytes))
		die("%s: %s", name, strerror(errno));
	return bytes;
}

static uint64_t dev_byte(uint64_t sector)
{
	return opt.offset + sector * SECTOR;
}

/* Cut the span into extents and give them to the threads. */
static void partition(void)
{
	uint64_t rng = head.seed ^ 0x7061727469746eull;
	uint64_t pos = 0;

	owner = malloc(head.span);
	last = calloc(head.span, sizeof(*last));
	if (!owner || !last)
		die("out of memory");
	while (pos < head.span) {
		uint32_t most = SMALL_EXTENT, least = 1, len;
		struct thread *t = &threads[below(&rng, head.threads)];

		if (head.max_extent > SMALL_EXTENT && below(&rng, 100) < head.big) {
			least = SMALL_EXTENT;
			most = head.max_extent;
		} else if (most > head.max_extent) {
			most = head.max_extent;
		}
		len = least + below(&rng, most - least + 1);
		len = (len + head.align - 1) / head.align * head.align;
		if (len > head.span - pos)
			len = head.span - pos;
		if (!(t->nextents & (t->nextents + 1)))
			t->extents = realloc(t->extents, (t->nextents + 1) * 2 *
					     sizeof(*t->extents));
		if (!t->extents)
			die("out of memory");
		t->extents[t->nextents++] = (struct extent){ pos, len };
		memset(owner + pos, t - threads, len);
		pos += len;
	}
}

/* ---- the log ---- */

static uint64_t slot_byte(uint32_t thread, uint64_t index)
{
	return (1 + thread * head.slots + index) * SECTOR;
}

static void write_slot(struct thread *t)
{
	if (!t->dirty)
		return;
	t->slot->sum = sum_of(t->slot);
	if (!transfer(logfd, true, t->slot, SECTOR,
		      slot_byte(t->number, t->slot->index), 0))
		die("writing the log: %s", strerror(errno));
	t->dirty = false;
}

/* Put the start of a write down; false if the log is full. */
static bool log_start(struct thread *t, const struct rec *rec)
{
	struct slot *s = t->slot;

	if (s->count == RECS) {
		if (s->index + 1 >= head.slots)
			return false;
		write_slot(t);
		s->index++;
		s->count = 0;
		memset(s->rec, 0, sizeof(s->rec));
	}
	s->rec[s->count++] = *rec;
	t->dirty = true;
	write_slot(t);
	return true;
}

static void log_end(struct thread *t, enum state state)
{
	t->slot->rec[t->slot->count - 1].state = state;
	t->dirty = true;
}

static void write_header(uint64_t log_bytes)
{
	struct header *h = aligned(SECTOR);
	struct slot *empty = aligned(SECTOR);
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	head = (struct header){
		.magic = HEADER_MAGIC, .seed = opt.seed,
		.run = t.tv_sec * 1000000000ull + t.tv_nsec,
		.span = opt.span / SECTOR, .threads = opt.threads,
		.max_extent = opt.max_io / SECTOR, .big = opt.big,
		.align = opt.align,
		.slots = (log_bytes / SECTOR - 1) / opt.threads,
	};
	*h = head;
	h->sum = sum_of(h);
	if (head.slots < 2)
		die("the log is too small");
	for (uint32_t t = 0; t < head.threads; t++)
		if (!transfer(logfd, true, empty, SECTOR, slot_byte(t, 0), 0))
			die("writing the log: %s", strerror(errno));
	if (!transfer(logfd, true, h, SECTOR, 0, 0))
		die("writing the log: %s", strerror(errno));
	free(h);
	free(empty);
}

static void read_header(void)
{
	struct header *h = aligned(SECTOR);

	if (!transfer(logfd, false, h, SECTOR, 0, 0))
		die("reading the log: %s", strerror(errno));
	if (h->magic != HEADER_MAGIC || h->sum != sum_of(h) ||
	    !h->threads || h->threads > MAX_THREADS)
		die("%s holds no log", opt.log);
	head = *h;
	free(h);
}

/* What was not acknowledged, in all runs. */
static struct rec *open_recs;
static uint8_t *open_thread;
static size_t nopen, nopen_acked;
static uint64_t nacked, nopen_sectors;

static void add_open(uint32_t thread, const struct rec *r)
{
	if (!(nopen & (nopen + 1))) {
		open_recs = realloc(open_recs, (nopen + 1) * 2 * sizeof(*r));
		open_thread = realloc(open_thread, (nopen + 1) * 2);
	}
	if (!open_recs || !open_thread)
		die("out of memory");
	open_recs[nopen] = *r;
	open_thread[nopen++] = thread;
	nopen_sectors += r->nsect;
}

static void acknowledged(const struct rec *r)
{
	nacked++;
	for (uint32_t i = 0; i < r->nsect; i++)
		if (last[r->sector + i] < r->op)
			last[r->sector + i] = r->op;
}

/* A flush covers what the thread had completed before, in the same life. */
static void flushed(struct thread *t)
{
	for (size_t i = t->unflushed; i < nopen; i++) {
		if (open_recs[i].state != ENDED)
			continue;
		acknowledged(&open_recs[i]);
		open_recs[i].state = ACKED;
		nopen_acked++;
	}
	t->unflushed = nopen;
}

static void read_rec(struct thread *t, const struct rec *r)
{
	if (r->op != t->op + 1 || r->sector + r->nsect > head.span)
		die("the log of thread %u is damaged at write %u", t->number,
		    r->op);
	t->op = r->op;
	if (r->flags & FIRST)
		t->unflushed = nopen;
	if (r->state != ACKED) {
		add_open(t->number, r);
		return;
	}
	acknowledged(r);
	if (r->flags & FSYNC)
		flushed(t);
}

static void read_log_of(struct thread *t)
{
	struct slot *s = t->slot;

	for (uint64_t i = 0; i < head.slots; i++) {
		struct slot *copy = aligned(SECTOR);

		if (!transfer(logfd, false, copy, SECTOR,
			      slot_byte(t->number, i), 0))
			die("reading the log: %s", strerror(errno));
		if (copy->magic != SLOT_MAGIC || copy->run != head.run ||
		    copy->index != i) {
			free(copy);
			return;
		}
		if (copy->sum != sum_of(copy) || copy->count > RECS)
			die("the log of thread %u is damaged in slot %llu",
			    t->number, (unsigned long long)i);
		for (uint32_t k = 0; k < copy->count; k++)
			read_rec(t, &copy->rec[k]);
		*s = *copy;
		free(copy);
	}
}

static void make_threads(bool from_log)
{
	partition();
	for (uint32_t i = 0; i < head.threads; i++) {
		struct thread *t = &threads[i];

		t->number = i;
		t->slot = aligned(SECTOR);
		t->slot->magic = SLOT_MAGIC;
		t->slot->run = head.run;
		t->slot->thread = i;
		t->first = true;
		t->unflushed = nopen;
		if (from_log)
			read_log_of(t);
		t->rng = head.seed * 0x100000001b3ull + i * 0x9e3779b9ull + t->op;
	}
}

/* ---- judging a sector ---- */

/* Whether write `op` of `thread` was under way when a machine died. */
static bool was_open(uint32_t thread, uint32_t op, uint64_t sector)
{
	for (size_t i = 0; i < nopen; i++)
		if (open_thread[i] == thread && open_recs[i].op == op &&
		    sector >= open_recs[i].sector &&
		    sector < open_recs[i].sector + open_recs[i].nsect)
			return true;
	return false;
}

enum verdict { CURRENT, INFLIGHT, INITIAL, WRONG };

/* Compare a sector with what it must be; say in `why` what is wrong. */
static enum verdict judge(const void *data, uint64_t sector, char *why,
			  size_t size)
{
	const struct stamp *s = data;
	uint32_t want = last[sector];
	unsigned long long at = sector;

	if (!want && opt.any_initial)
		return INITIAL;
	if (is_zero(data)) {
		if (!want)
			return INITIAL;
		snprintf(why, size, "sector %llu: acknowledged write %u is lost: the sector is all zeroes",
			 at, want);
		return WRONG;
	}
	if (s->magic != STAMP_MAGIC || s->sum != sum_of(s)) {
		snprintf(why, size, "sector %llu: %s (expected write %u of thread %u); it begins %016llx %016llx %016llx",
			 at, s->magic == STAMP_MAGIC ?
			 "torn: the checksum is wrong" : "garbage", want,
			 owner[sector], (unsigned long long)s->magic,
			 (unsigned long long)s->seed,
			 (unsigned long long)s->sector);
		return WRONG;
	}
	if (s->seed != head.seed || s->sector != sector ||
	    s->thread != owner[sector]) {
		snprintf(why, size, "sector %llu: holds data of another place: sector %llu, thread %u, write %u, seed %llu",
			 at, (unsigned long long)s->sector, s->thread, s->op,
			 (unsigned long long)s->seed);
		return WRONG;
	}
	if (s->op == want)
		return CURRENT;
	if (s->op > want && was_open(s->thread, s->op, sector))
		return INFLIGHT;
	snprintf(why, size, "sector %llu: acknowledged write %u of thread %u is lost: the sector holds the %s write %u",
		 at, want, s->thread, s->op < want ? "older" : "unknown",
		 s->op);
	return WRONG;
}

/* ---- write ---- */

static bool read_back(struct thread *t, const struct extent *e)
{
	char why[256];

	if (!transfer(dev, false, t->buf, e->len * SECTOR,
		      dev_byte(e->start), 0)) {
		printf("ackwriter: read of %u sectors at %llu: %s\n", e->len,
		       (unsigned long long)e->start, strerror(errno));
		errors_seen++;
		return opt.errors_ok;
	}
	for (uint32_t i = 0; i < e->len; i++) {
		if (last[e->start + i] == UNKNOWN)
			continue;
		if (judge(t->buf + i * SECTOR, e->start + i, why,
			  sizeof(why)) != WRONG)
			continue;
		printf("ackwriter: read while writing: %s\n", why);
		broken = true;
		return false;
	}
	reads_done++;
	return true;
}

/* Some part of one of the thread's extents, often all of it. */
static struct extent choose(struct thread *t)
{
	struct extent e = t->extents[below(&t->rng, t->nextents)];
	uint32_t units = e.len / head.align, from, n;

	if (e.len > head.max_extent || (units > 1 && below(&t->rng, 2))) {
		from = below(&t->rng, units ? units : 1);
		n = 1 + below(&t->rng, units - from);
		if (n * head.align > head.max_extent)
			n = head.max_extent / head.align;
		e.start += (uint64_t)from * head.align;
		e.len = n * head.align;
	}
	return e;
}

static bool write_one(struct thread *t)
{
	struct extent e = choose(t);
	struct rec rec = { t->op + 1, STARTED, e.start, e.len, 0 };
	bool fua = below(&t->rng, 100) < opt.fua;
	bool flush = below(&t->rng, 100) < opt.fsync;
	bool good;

	for (uint32_t i = 0; i < e.len; i++)
		make_stamp((struct stamp *)(t->buf + i * SECTOR), t->number,
			   rec.op, e.start + i);
	rec.flags = (fua ? FUA : 0) | (flush ? FSYNC : 0) |
		    (t->first ? FIRST : 0);
	t->first = false;
	if (!log_start(t, &rec)) {
		printf("ackwriter: thread %u: the log is full\n", t->number);
		return false;
	}
	t->op = rec.op;
	good = transfer(dev, true, t->buf, e.len * SECTOR, dev_byte(e.start),
			fua ? RWF_DSYNC : 0);
	if (good && flush)
		good = !fdatasync(dev);
	if (!good) {
		printf("ackwriter: write of %u sectors at %llu: %s\n", e.len,
		       (unsigned long long)e.start, strerror(errno));
		errors_seen++;
		log_end(t, FAILED);
		for (uint32_t i = 0; i < e.len; i++)
			last[e.start + i] = UNKNOWN;
		return opt.errors_ok;
	}
	log_end(t, fua || flush || !opt.durable ? ACKED : ENDED);
	for (uint32_t i = 0; i < e.len; i++)
		last[e.start + i] = rec.op;
	ops_done++;
	bytes_done += e.len * SECTOR;
	return true;
}

static void *work(void *arg)
{
	struct thread *t = arg;

	if (!t->nextents)
		return NULL;
	t->buf = aligned((size_t)(head.max_extent + head.align) * SECTOR);
	while (!stop && (!opt.ops || ops_done < opt.ops)) {
		if (below(&t->rng, 100) < opt.read) {
			struct extent e = choose(t);

			write_slot(t);
			if (!read_back(t, &e))
				stop = true;
		} else if (!write_one(t)) {
			stop = true;
		}
	}
	write_slot(t);
	return NULL;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void *stopper(void *unused)
{
	struct timespec t = { opt.seconds, 0 };

	nanosleep(&t, NULL);
	stop = true;
	return unused;
}

static int do_write(void)
{
	uint64_t log_bytes = size_of(logfd, opt.log);
	double begin;
	pthread_t id;

	if (opt.resume) {
		read_header();
	} else {
		uint64_t most = size_of(dev, opt.dev) - opt.offset;

		if (!opt.span || opt.span > most)
			opt.span = most / SECTOR * SECTOR;
		write_header(log_bytes);
	}
	make_threads(opt.resume);
	for (size_t i = 0; i < nopen; i++)
		for (uint32_t k = 0; k < open_recs[i].nsect; k++)
			if (last[open_recs[i].sector + k] < open_recs[i].op)
				last[open_recs[i].sector + k] = UNKNOWN;
	printf("ackwriter: writing: seed %llu, %u threads, %llu sectors\n",
	       (unsigned long long)head.seed, head.threads,
	       (unsigned long long)head.span);
	fflush(stdout);
	begin = now();
	if (opt.seconds && pthread_create(&id, NULL, stopper, NULL))
		die("no thread");
	for (uint32_t i = 0; i < head.threads; i++)
		if (pthread_create(&threads[i].id, NULL, work, &threads[i]))
			die("no thread");
	for (uint32_t i = 0; i < head.threads; i++)
		pthread_join(threads[i].id, NULL);
	printf("ackwriter: %lu writes, %lu MiB, %lu reads checked, %lu errors in %.1f s\n",
	       ops_done, bytes_done >> 20, reads_done, errors_seen,
	       now() - begin);
	if (broken)
		return 1;
	return errors_seen && !opt.errors_ok ? 2 : 0;
}

/* ---- check ---- */

static int do_check(void)
{
	uint64_t count[4] = { 0 }, chunk = 2048, read_errors = 0;
	uint8_t *buf = aligned(chunk * SECTOR);
	char why[256];

	read_header();
	make_threads(true);
	for (uint64_t at = 0; at < head.span; at += chunk) {
		uint64_t n = head.span - at < chunk ? head.span - at : chunk;

		if (!transfer(dev, false, buf, n * SECTOR, dev_byte(at), 0)) {
			printf("ackwriter: reading %llu sectors at %llu: %s\n",
			       (unsigned long long)n, (unsigned long long)at,
			       strerror(errno));
			read_errors++;
			continue;
		}
		for (uint64_t i = 0; i < n; i++) {
			enum verdict v = judge(buf + i * SECTOR, at + i, why,
					       sizeof(why));

			if (v == WRONG && count[WRONG] < opt.report)
				printf("ackwriter: %s\n", why);
			count[v]++;
		}
	}
	printf("ackwriter: %llu acknowledged writes, %zu in flight; sectors: %llu as acknowledged, %llu of writes in flight, %llu never written, %llu WRONG\n",
	       (unsigned long long)nacked, nopen - nopen_acked,
	       (unsigned long long)count[CURRENT],
	       (unsigned long long)count[INFLIGHT],
	       (unsigned long long)count[INITIAL],
	       (unsigned long long)count[WRONG]);
	if (read_errors)
		return 2;
	return count[WRONG] ? 1 : 0;
}

/* ---- command line ---- */

static uint64_t size_arg(const char *text)
{
	char *end;
	uint64_t n = strtoull(text, &end, 0);

	switch (*end) {
	case 'G':
		return n << 30;
	case 'M':
		return n << 20;
	case 'K':
		return n << 10;
	case 0:
		return n;
	}
	die("not a number: %s", text);
}

static const struct option options[] = {
	{ "dev", 1, 0, 'd' },	   { "log", 1, 0, 'l' },
	{ "seed", 1, 0, 's' },	   { "threads", 1, 0, 't' },
	{ "max-io", 1, 0, 'm' },   { "span", 1, 0, 'n' },
	{ "offset", 1, 0, 'o' },   { "ops", 1, 0, 'c' },
	{ "seconds", 1, 0, 'T' },  { "fua", 1, 0, 'f' },
	{ "fsync", 1, 0, 'y' },	   { "read", 1, 0, 'r' },
	{ "big", 1, 0, 'b' },	   { "align", 1, 0, 'a' },
	{ "report", 1, 0, 'p' },   { "resume", 0, 0, 'R' },
	{ "errors-ok", 0, 0, 'e' }, { "buffered", 0, 0, 'B' },
	{ "any-initial", 0, 0, 'i' }, { "durable", 0, 0, 'D' },
	{ 0 },
};

static void usage(void)
{
	die("usage: ackwriter write|check --dev DEV --log LOG\n"
	    "  write: --seed N --threads N --ops N --seconds N --span BYTES --offset BYTES\n"
	    "         --max-io BYTES --big PERCENT (of long extents) --align SECTORS\n"
	    "         --fua PERCENT --fsync PERCENT --read PERCENT --resume --errors-ok\n"
	    "         --durable (only FUA and fsync acknowledge, the latter\n"
	    "                    also what the thread wrote before)\n"
	    "  check: --report N (violations to print) --any-initial\n"
	    "  both:  --buffered (no O_DIRECT)");
}

static void parse(int argc, char **argv)
{
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'd': opt.dev = optarg; break;
		case 'l': opt.log = optarg; break;
		case 's': opt.seed = size_arg(optarg); break;
		case 't': opt.threads = size_arg(optarg); break;
		case 'm': opt.max_io = size_arg(optarg); break;
		case 'n': opt.span = size_arg(optarg); break;
		case 'o': opt.offset = size_arg(optarg); break;
		case 'c': opt.ops = size_arg(optarg); break;
		case 'T': opt.seconds = size_arg(optarg); break;
		case 'f': opt.fua = size_arg(optarg); break;
		case 'y': opt.fsync = size_arg(optarg); break;
		case 'r': opt.read = size_arg(optarg); break;
		case 'b': opt.big = size_arg(optarg); break;
		case 'a': opt.align = size_arg(optarg); break;
		case 'p': opt.report = size_arg(optarg); break;
		case 'R': opt.resume = true; break;
		case 'e': opt.errors_ok = true; break;
		case 'B': opt.buffered = true; break;
		case 'D': opt.durable = true; break;
		case 'i': opt.any_initial = true; break;
		default: usage();
		}
	}
	if (!opt.dev || !opt.log || !opt.threads ||
	    opt.threads > MAX_THREADS || !opt.align ||
	    opt.max_io < opt.align * SECTOR || opt.read >= 100)
		usage();
}

int main(int argc, char **argv)
{
	bool writing;
	int flags;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc < 2)
		usage();
	writing = !strcmp(argv[1], "write");
	if (!writing && strcmp(argv[1], "check"))
		usage();
	parse(argc - 1, argv + 1);
	flags = opt.buffered ? 0 : O_DIRECT;
	dev = open(opt.dev, (writing ? O_RDWR : O_RDONLY) | flags);
	if (dev < 0)
		die("%s: %s", opt.dev, strerror(errno));
	logfd = open(opt.log, (writing ? O_RDWR : O_RDONLY) | flags);
	if (logfd < 0)
		die("%s: %s", opt.log, strerror(errno));
	return writing ? do_write() : do_check();
}
