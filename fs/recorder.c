#include "fs/recorder.h"

#include "catalog/base/buf.h"
#include "catalog/base/clock.h"
#include "catalog/base/io.h"
#include "catalog/base/log.h"
#include "catalog/base/pool.h"
#include "catalog/lineage.h"
#include "fs/drain.h"
#include "fs/intern.h"
#include "fs/journal.h"
#include "fs/process.h"
#include "fs/run_facts.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SLOTS (64u << 10)
#define TEXT_BYTES (8u << 20)
#define SEGMENTS 4u
#define SEGMENTS_LIMIT 64u
#define FULL_WAIT_MS 10000
#define DRAIN_WAIT_MS 60000
#define TIDY_MS 3600000
#define MORE_MS 1000 /* until more old reads are pruned */
#define GATHER_MS 2000      /* the writer lets records gather this long, or until a segment is full: opens of one file become one row's change */
#define PREPARE_EVERY 8192u /* records, after which the writer looks whether pages and a segment are ready for those to come */
#define RETRY_MS 500        /* and waits this long after a failure */
#define CONTEXT_MAX (8u << 10)
#define CONTEXTS 16384u     /* and processes that one segment can name */
#define CALLERS 1024u       /* power of two */
#define CALLER_FRESH_MS 100 /* how long a thread's number is believed to mean the same process and program */

struct segment {
	struct journal *j;
	uint32_t position; /* drained; the writer's */
	uint64_t lost;     /* of its gap, in the database */
};

/* A caller's process as the journal keeps it.  Numbers of threads come around again, but not within CALLER_FRESH_MS. */
struct caller {
	pid_t tid;
	int64_t seen_ms;
	char *text;
	size_t len;
	uint64_t serial; /* of the segment that `ref` belongs to */
	uint32_t ref;
};

/* What an open handle adds when it closes, perhaps segments later. */
struct open_record {
	int64_t when_ns;
	size_t context_len, name_len;
	char bytes[]; /* context, name */
};

struct recorder {
	struct recorder_config config;
	char *db_path, *folder;
	char owner[PROCESS_OWNER_MAX];

	pthread_mutex_t lock; /* guards all below but `db`, `runs` */
	pthread_cond_t wake;  /* the writer: something to do */
	pthread_cond_t moved; /* the others: room, or progress */
	struct segment segments[SEGMENTS_LIMIT]; /* oldest first; the last one is appended to */
	uint32_t segment_count;
	uint64_t serial;       /* of the current segment */
	struct intern *intern; /* its texts */
	struct journal *spare;
	struct caller callers[CALLERS];
	uint64_t appended, drained; /* records, of all segments so far */
	uint64_t tidy_ns;           /* when to tidy up next; the writer's */
	uint64_t recorded, refused, unrecorded;
	bool idle;    /* the writer sleeps until there is something */
	bool hurry;   /* somebody waits for the writer */
	bool stuck;   /* the journal was full until a deadline passed: fail fast until the writer moves */
	bool stop;
	struct err error; /* why the writer fails, while it does */

	struct lineage *db; /* the writer's */
	pthread_mutex_t runs_lock;
	struct lineage *runs; /* for runs; guarded by runs_lock */
	pthread_t writer;
	bool writing;
};

/* -- appending ------------------------------------------------------------------------------- */

static struct journal *current_locked(struct recorder *r)
{
	return r->segments[r->segment_count - 1].j;
}

static void wake_writer_locked(struct recorder *r)
{
	r->hurry = true;
	pthread_cond_signal(&r->wake);
}

static void push_locked(struct recorder *r, struct journal *j)
{
	r->segments[r->segment_count++] = (struct segment){ .j = j };
	r->serial++;
	intern_reset(r->intern, j);
}

/* Goes on in a new segment.  -ENOSPC when all that may be are waiting for the database. */
static int rotate_locked(struct recorder *r)
{
	if (r->segment_count == r->config.segments_max)
		return -ENOSPC;
	struct journal *next = r->spare;
	r->spare = NULL;
	if (!next) {
		struct journal_size size = { r->config.slots, r->config.text_bytes };
		int code = journal_create(r->folder, &size, &next, &r->error);
		if (code)
			return -ENOSPC;
	}
	journal_seal(current_locked(r));
	push_locked(r, next);
	wake_writer_locked(r);
	return 0;
}

/* One record with its texts, all in the current segment.  -ENOSPC when they do not fit there any more. */
struct entry {
	enum record_kind kind;
	int64_t when_ns;
	const char *context, *name;
	size_t context_len, name_len;
	const char *view_text;
	struct caller *caller; /* or NULL */
	uint64_t amount;
};

static int add_view_locked(struct recorder *r, const struct entry *in, uint32_t context)
{
	size_t len = in->view_text ? strlen(in->view_text) + 1 : 0;
	if (!len || len > JOURNAL_TEXT_MAX)
		return 0;
	struct journal_record record = { .kind = RECORD_VIEW, .when_ns = in->when_ns, .context = context };
	int code = journal_add_text(current_locked(r), in->view_text, len, &record.name);
	if (!code)
		code = journal_append(current_locked(r), &record);
	r->appended += !code;
	return code;
}

static int try_locked(struct recorder *r, const struct entry *in)
{
	struct journal_record record = { .kind = in->kind, .when_ns = in->when_ns, .amount = in->amount };
	bool is_new;
	int code = intern(r->intern, in->context, in->context_len, &record.context, &is_new);
	if (!code && is_new)
		code = add_view_locked(r, in, record.context);
	if (!code)
		code = intern_name(r->intern, in->name, in->name_len, &record.name);
	struct caller *c = in->caller;
	if (!code && c && c->text) {
		if (c->serial != r->serial) {
			code = intern(r->intern, c->text, c->len, &c->ref, &is_new);
			c->serial = code ? 0 : r->serial;
		}
		record.process = c->ref;
	}
	if (!code)
		code = journal_append(current_locked(r), &record);
	if (code)
		return code;
	r->appended++;
	if (r->idle || r->appended % PREPARE_EVERY == 0) {
		r->idle = false;
		pthread_cond_signal(&r->wake);
	}
	return 0;
}

static int append_locked(struct recorder *r, const struct entry *in)
{
	int code = try_locked(r, in);
	if (code == -ENOSPC && !rotate_locked(r))
		code = try_locked(r, in);
	return code;
}

/* -- callers --------------------------------------------------------------------------------- */

static struct caller *caller_slot(struct recorder *r, pid_t tid)
{
	return &r->callers[((uint32_t)tid * 2654435761u >> 16) & (CALLERS - 1)];
}

static int64_t coarse_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* A text as drain.c reads it: pid, start, exe, command. */
static char *caller_text(pid_t tid, size_t *ret_len)
{
	struct process_facts *p = malloc(sizeof *p);
	struct buf b = BUF_INIT;
	if (!p)
		return NULL;
	process_look(tid, p);
	int64_t numbers[2] = { p->pid, p->started_ns };
	buf_add(&b, numbers, sizeof numbers);
	buf_add(&b, p->exe, strlen(p->exe) + 1);
	buf_add(&b, p->command, strlen(p->command) + 1);
	free(p);
	*ret_len = b.len;
	char *text = buf_take(&b);
	if (!text)
		buf_free(&b);
	return text;
}

/* The caller's slot, fresh.  Looking into /proc happens without the lock. */
static struct caller *caller_locked(struct recorder *r, pid_t tid)
{
	struct caller *c = caller_slot(r, tid);
	int64_t now_ms = coarse_ms();
	if (c->tid == tid && now_ms - c->seen_ms < CALLER_FRESH_MS)
		return c;
	pthread_mutex_unlock(&r->lock);
	size_t len = 0;
	char *text = caller_text(tid, &len);
	pthread_mutex_lock(&r->lock);
	if (c->tid == tid && text && c->text && c->len == len && !memcmp(c->text, text, len)) {
		free(text);
	} else {
		free(c->text);
		*c = (struct caller){ .tid = tid, .text = text, .len = len };
	}
	c->seen_ms = now_ms;
	return c;
}

/* The journal is full: waits for the writer, up to the deadline; once that has passed others fail at once, until it moves again. */
static int wait_and_append_locked(struct recorder *r, struct entry *in, pid_t tid)
{
	struct timespec until;
	clock_deadline(CLOCK_MONOTONIC, r->config.full_wait_ms, &until);
	int code = -ENOSPC;
	while (code == -ENOSPC && !r->stuck && !r->stop) {
		wake_writer_locked(r);
		bool late = pthread_cond_timedwait(&r->moved, &r->lock, &until) == ETIMEDOUT;
		in->caller = caller_locked(r, tid); /* its slot may have been given to another meanwhile */
		code = append_locked(r, in);
		if (code == -ENOSPC && late && !r->stuck) {
			r->stuck = true;
			log_error("lineage: the journal is full and %s cannot be written (%s): opens fail until it can", r->db_path,
				  r->error.code ? r->error.text : "no progress");
		}
	}
	return code;
}

/* -- opens ----------------------------------------------------------------------------------- */

/* One byte of outcome, then run, version, view, policy, rules, each with its NUL (drain.c reads it). */
static size_t context_of(const struct read_facts *f, char *ret)
{
	const char *parts[] = { f->run, f->version, f->view, f->policy, f->rules };
	size_t len = 0;
	ret[len++] = (char)f->outcome;
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		size_t n = parts[i] ? strlen(parts[i]) : 0;
		if (n > CONTEXT_MAX - 16 - len)
			n = CONTEXT_MAX - 16 - len;
		if (n)
			memcpy(ret + len, parts[i], n);
		len += n;
		ret[len++] = '\0';
	}
	return len;
}

static struct open_record *remember(const struct entry *in)
{
	struct open_record *o = malloc(sizeof *o + in->context_len + in->name_len);
	if (!o)
		return NULL;
	o->when_ns = in->when_ns;
	o->context_len = in->context_len;
	o->name_len = in->name_len;
	memcpy(o->bytes, in->context, in->context_len);
	memcpy(o->bytes + in->context_len, in->name, in->name_len);
	return o;
}

int recorder_open_record(struct recorder *r, const struct read_facts *facts, uint64_t *ret_record)
{
	char context[CONTEXT_MAX];
	struct entry in = { .kind = RECORD_OPEN, .when_ns = clock_now_ns(), .context = context, .name = facts->file,
			    .name_len = strlen(facts->file), .view_text = facts->view_text };
	in.context_len = context_of(facts, context);
	struct open_record *o = facts->outcome == READ_SERVED ? remember(&in) : NULL;
	pthread_mutex_lock(&r->lock);
	in.caller = caller_locked(r, facts->pid);
	int code = append_locked(r, &in);
	if (code == -ENOSPC && r->config.on_full == LINEAGE_FULL_SERVE) {
		journal_lose(current_locked(r), in.when_ns);
		if (!r->unrecorded++)
			log_error("lineage: the journal is full and %s cannot be written; opens are served without a record (lineage.on_full: serve)",
				  r->db_path);
		wake_writer_locked(r);
		code = 0;
	} else if (code == -ENOSPC) {
		code = wait_and_append_locked(r, &in, facts->pid);
	}
	if (code)
		r->refused++;
	else
		r->recorded++;
	pthread_mutex_unlock(&r->lock);
	if (code) {
		free(o);
		return -EIO;
	}
	*ret_record = (uint64_t)(uintptr_t)o;
	return 0;
}

void recorder_close_record(struct recorder *r, uint64_t record, uint64_t bytes_fetched)
{
	struct open_record *o = (struct open_record *)(uintptr_t)record;
	if (!o)
		return;
	if (bytes_fetched) {
		struct entry in = { .kind = RECORD_BYTES, .when_ns = o->when_ns, .context = o->bytes, .context_len = o->context_len,
				    .name = o->bytes + o->context_len, .name_len = o->name_len, .amount = bytes_fetched };
		pthread_mutex_lock(&r->lock);
		append_locked(r, &in); /* an extra: not worth a wait */
		pthread_mutex_unlock(&r->lock);
	}
	free(o);
}

/* -- the writer ------------------------------------------------------------------------------ */

/* Somebody deleted the file of a segment that is appended to: what it holds is still mapped and gets written, but would not survive a kill.  The next open begins
 * another one. */
static void leave_deleted(struct recorder *r, struct segment *s)
{
	if (journal_sealed(s->j) || !journal_gone(s->j))
		return;
	log_error("lineage: somebody deleted %s, which this mount was writing; it goes on in another file", journal_path(s->j));
	journal_seal(s->j);
	struct err e = ERR_INIT;
	if (io_make_folders(r->folder, 0700, &e))
		log_error("lineage: %s", e.text);
}

/* Moves what segment number `i` holds into the database.  The segments that the writer looks at stay where they are: it alone removes. */
static int write_segment(struct recorder *r, struct segment *s, struct err *e)
{
	uint32_t position = s->position;
	leave_deleted(r, s);
	for (;;) {
		struct journal_gap gap;
		journal_prepare(s->j);
		journal_gap(s->j, &gap);
		int code = drain_batch(r->db, s->j, DRAIN_BATCH, &position, e);
		if (code)
			return code;
		pthread_mutex_lock(&r->lock);
		s->lost = gap.lost;
		bool more = position != s->position;
		r->drained += position - s->position;
		s->position = position;
		if (more || r->stuck) {
			r->stuck = false;
			pthread_cond_broadcast(&r->moved);
		}
		pthread_mutex_unlock(&r->lock);
		if (!more)
			return 0;
	}
}

static bool segment_done(const struct segment *s)
{
	struct journal_gap gap;
	journal_gap(s->j, &gap);
	return s->position == journal_count(s->j) && s->lost == gap.lost;
}

/* Deletes segments that are sealed and wholly drained; oldest first, so the rest moves down. */
static void drop_done(struct recorder *r)
{
	pthread_mutex_lock(&r->lock);
	while (r->segment_count > 1 && segment_done(&r->segments[0])) {
		struct journal *j = r->segments[0].j;
		memmove(r->segments, r->segments + 1, --r->segment_count * sizeof *r->segments);
		pthread_mutex_unlock(&r->lock);
		journal_unlink(j);
		journal_close(j);
		pthread_mutex_lock(&r->lock);
		r->stuck = false;
		pthread_cond_broadcast(&r->moved);
	}
	pthread_mutex_unlock(&r->lock);
}

/* A segment in reserve, so that nobody's open waits for the disk's allocation. */
static void make_spare(struct recorder *r)
{
	pthread_mutex_lock(&r->lock);
	bool wanted = !r->spare && r->segment_count < r->config.segments_max &&
		      journal_count(current_locked(r)) > r->config.slots / 4;
	pthread_mutex_unlock(&r->lock);
	struct journal *j;
	struct journal_size size = { r->config.slots, r->config.text_bytes };
	if (!wanted || journal_create(r->folder, &size, &j, NULL))
		return;
	pthread_mutex_lock(&r->lock);
	r->spare = j;
	pthread_mutex_unlock(&r->lock);
}

static int write_all(struct recorder *r, struct err *e)
{
	int code = 0;
	make_spare(r);
	for (uint32_t i = 0; !code; i++) {
		pthread_mutex_lock(&r->lock);
		struct segment *s = i < r->segment_count ? &r->segments[i] : NULL;
		pthread_mutex_unlock(&r->lock);
		if (!s)
			break;
		code = write_segment(r, s, e);
	}
	drop_done(r);
	return code;
}

static void note_result(struct recorder *r, int code, const struct err *e)
{
	pthread_mutex_lock(&r->lock);
	bool first = code && !r->error.code;
	bool mended = !code && r->error.code;
	if (code)
		r->error = *e;
	else
		err_clear(&r->error);
	pthread_mutex_unlock(&r->lock);
	if (first)
		log_warn("lineage: %s; reads stay in the journal and are tried again", e->text);
	else if (mended)
		log_info("lineage: %s is written again", r->db_path);
}

/* Now and then; whoever asks the database does the same, but a mount may serve for months without being asked. */
static int tidy(struct recorder *r, struct err *e)
{
	uint64_t now = (uint64_t)clock_mono_ns();
	if (now < r->tidy_ns)
		return 0;
	r->tidy_ns = now + (uint64_t)r->config.tidy_ms * 1000000;
	bool more = false;
	int code = drain_tidy(r->db, r->config.keep_ms, &more, e);
	if (more)
		r->tidy_ns = now + MORE_MS * 1000000ull;
	return code;
}

/* For records to come, while those that are there gather.  The current segment stays: the writer alone removes. */
static void prepare_locked(struct recorder *r)
{
	struct journal *j = current_locked(r);
	pthread_mutex_unlock(&r->lock);
	journal_prepare(j);
	make_spare(r);
	pthread_mutex_lock(&r->lock);
}

/* Sleeps until there is something to write or it is time to tidy up, then a little longer for more to gather.  False: stop. */
static bool writer_wait(struct recorder *r, int failed)
{
	struct timespec until;
	pthread_mutex_lock(&r->lock);
	r->idle = true;
	clock_deadline(CLOCK_MONOTONIC, r->config.tidy_ms, &until);
	while (!r->stop && !r->hurry && r->appended == r->drained && !r->error.code)
		if (pthread_cond_timedwait(&r->wake, &r->lock, &until) == ETIMEDOUT)
			break;
	r->idle = false;
	clock_deadline(CLOCK_MONOTONIC, failed ? RETRY_MS : GATHER_MS, &until);
	while (!r->stop && (failed || !r->hurry) && pthread_cond_timedwait(&r->wake, &r->lock, &until) != ETIMEDOUT)
		prepare_locked(r);
	r->hurry = false;
	bool go = !r->stop;
	pthread_mutex_unlock(&r->lock);
	return go;
}

static void *writer(void *arg)
{
	struct recorder *r = arg;
	int code = 0;
	while (writer_wait(r, code)) {
		struct err e = ERR_INIT;
		code = write_all(r, &e);
		if (!code)
			code = tidy(r, &e);
		note_result(r, code, &e);
	}
	return NULL;
}

/* -- start and stop -------------------------------------------------------------------------- */

static void set_defaults(struct recorder_config *c)
{
	c->slots = c->slots ? c->slots : SLOTS;
	c->text_bytes = c->text_bytes ? c->text_bytes : TEXT_BYTES;
	c->segments_max = c->segments_max ? c->segments_max : SEGMENTS;
	c->segments_max = c->segments_max > SEGMENTS_LIMIT ? SEGMENTS_LIMIT : c->segments_max;
	c->full_wait_ms = c->full_wait_ms ? c->full_wait_ms : FULL_WAIT_MS;
	c->drain_wait_ms = c->drain_wait_ms ? c->drain_wait_ms : DRAIN_WAIT_MS;
	c->tidy_ms = c->tidy_ms ? c->tidy_ms : TIDY_MS;
}

static void recorder_free(struct recorder *r)
{
	for (uint32_t i = 0; i < r->segment_count; i++)
		journal_close(r->segments[i].j);
	if (r->spare)
		journal_unlink(r->spare);
	journal_close(r->spare);
	for (size_t i = 0; i < CALLERS; i++)
		free(r->callers[i].text);
	intern_free(r->intern);
	lineage_close(r->db);
	lineage_close(r->runs);
	pthread_cond_destroy(&r->wake);
	pthread_cond_destroy(&r->moved);
	pthread_mutex_destroy(&r->lock);
	pthread_mutex_destroy(&r->runs_lock);
	free(r->db_path);
	free(r->folder);
	free(r);
}

static int init(struct recorder *r, struct err *e)
{
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&r->wake, &attr);
	pthread_cond_init(&r->moved, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&r->lock, NULL);
	pthread_mutex_init(&r->runs_lock, NULL);
	process_owner(r->owner);
	r->db_path = strdup(r->config.db_path);
	r->folder = r->db_path ? drain_folder_path(r->db_path) : NULL;
	r->intern = intern_new(CONTEXTS);
	return r->folder && r->intern ? 0 : err_set(e, -ENOMEM, "no memory for the lineage recorder");
}

static int open_all(struct recorder *r, struct err *e)
{
	struct journal_size size = { r->config.slots, r->config.text_bytes };
	struct journal *first;
	int code = lineage_open(r->db_path, &r->db, e);
	if (!code)
		code = lineage_open(r->db_path, &r->runs, e);
	if (!code)
		code = io_make_folders(r->folder, 0700, e);
	if (!code)
		code = drain_folder(r->db, e);
	if (!code)
		code = journal_create(r->folder, &size, &first, e);
	if (code)
		return code;
	push_locked(r, first); /* no other thread yet */
	r->tidy_ns = (uint64_t)clock_mono_ns() + (r->config.keep_ms ? 0 : (uint64_t)r->config.tidy_ms * 1000000); /* it was sealed just now */
	return 0;
}

int recorder_start_with(const struct recorder_config *config, struct recorder **ret, struct err *e)
{
	struct recorder *r = calloc(1, sizeof *r);
	if (!r)
		return err_set(e, -ENOMEM, "no memory for the lineage recorder");
	r->config = *config;
	set_defaults(&r->config);
	int code = init(r, e);
	if (!code)
		code = open_all(r, e);
	if (!code) {
		code = thread_start(&r->writer, "lineage", writer, r);
		if (code)
			err_set(e, code, "cannot start the lineage writer: %s", strerror(-code));
	}
	if (code)
		recorder_free(r);
	else
		*ret = r;
	return code;
}

int recorder_start(const struct mesh_config *mesh, struct recorder **ret, struct err *e)
{
	struct recorder_config config = { .db_path = mesh->lineage_db, .on_full = mesh->lineage_on_full, .keep_ms = mesh->lineage_keep_ms };
	return recorder_start_with(&config, ret, e);
}

int recorder_drain(struct recorder *r, struct err *e)
{
	struct timespec until;
	clock_deadline(CLOCK_MONOTONIC, r->config.drain_wait_ms, &until);
	int code = 0;
	pthread_mutex_lock(&r->lock);
	uint64_t target = r->appended;
	while (r->drained < target && !code) {
		wake_writer_locked(r);
		code = -pthread_cond_timedwait(&r->moved, &r->lock, &until);
	}
	if (r->drained >= target)
		code = 0;
	else
		code = err_set(e, -ETIMEDOUT, "%s: %llu reads could not be written yet (%s); they stay in %s and the next meshfs command writes them",
			       r->db_path, (unsigned long long)(target - r->drained), r->error.code ? r->error.text : "it is busy", r->folder);
	pthread_mutex_unlock(&r->lock);
	return code;
}

int recorder_stop(struct recorder *r, struct err *e)
{
	if (!r)
		return 0;
	int code = recorder_drain(r, e);
	pthread_mutex_lock(&r->lock);
	r->stop = true;
	pthread_cond_broadcast(&r->wake);
	pthread_cond_broadcast(&r->moved);
	pthread_mutex_unlock(&r->lock);
	pthread_join(r->writer, NULL);
	for (uint32_t i = 0; i < r->segment_count; i++)
		if (!code && segment_done(&r->segments[i]))
			journal_unlink(r->segments[i].j);
	recorder_free(r);
	return code;
}

void recorder_stats(struct recorder *r, struct recorder_stats *ret)
{
	pthread_mutex_lock(&r->lock);
	*ret = (struct recorder_stats){ r->recorded, r->appended - r->drained, r->refused, r->unrecorded };
	pthread_mutex_unlock(&r->lock);
}

/* -- runs ------------------------------------------------------------------------------------ */

static int insert_run(struct recorder *r, const struct run_facts *facts, char id[RUN_ID_SIZE], struct err *e)
{
	struct buf params = BUF_INIT, groups = BUF_INIT;
	char name[RUN_NAME_MAX];
	run_id_new(id);
	run_params_json(facts, &params);
	run_groups_json(facts, &groups);
	if (!facts->name)
		run_name_make(facts, id, name);
	struct lineage_run run = {
		.id = id, .name = facts->name ? facts->name : name, .user = facts->user, .purpose = facts->purpose, .command = facts->command,
		.parent = facts->parent, .git_commit = facts->git_commit, .host = facts->host, .mount = facts->mount, .uid = facts->uid,
		.params = buf_text(&params), .owner = r->owner, .groups = facts->groups ? buf_text(&groups) : NULL, .started_ns = clock_now_ns(),
	};
	int code = buf_check(&params) ? buf_check(&params) : buf_check(&groups);
	if (code)
		err_set(e, code, "no memory for what describes the run");
	else
		code = lineage_run_insert(r->runs, &run, e);
	buf_free(&params);
	buf_free(&groups);
	return code;
}

int recorder_begin_run(struct recorder *r, const struct run_facts *facts, char id[RUN_ID_SIZE], struct err *e)
{
	pthread_mutex_lock(&r->runs_lock);
	int code = id[0] ? lineage_run_open(r->runs, id, NULL, e) : insert_run(r, facts, id, e);
	pthread_mutex_unlock(&r->runs_lock);
	return code;
}

int recorder_end_run(struct recorder *r, const char *id, int exit_status, struct err *e)
{
	int code = recorder_drain(r, e);
	if (code)
		return code;
	char *owner = NULL;
	pthread_mutex_lock(&r->runs_lock);
	code = lineage_run_open(r->runs, id, &owner, e);
	if (!code && !strcmp(owner, r->owner))
		code = lineage_run_finish(r->runs, id, exit_status, clock_now_ns(), e);
	pthread_mutex_unlock(&r->runs_lock);
	free(owner);
	return code;
}
