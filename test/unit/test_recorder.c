#include "catalog/base/clock.h"
#include "catalog/base/io.h"
#include "catalog/base/pool.h"
#include "catalog/base/text.h"
#include "catalog/db.h"
#include "catalog/lineage.h"
#include "catalog/lineage_seal.h"
#include "fs/drain.h"
#include "fs/journal.h"
#include "fs/recorder.h"
#include "test/unit/check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64], db_path[96];

static void fresh(void)
{
	strcpy(folder, "/tmp/meshfs-recorder-XXXXXX");
	if (!mkdtemp(folder))
		abort();
	snprintf(db_path, sizeof db_path, "%s/lineage.db", folder);
}

static void clean(void)
{
	io_remove_tree(folder, NULL);
}

static int64_t ask(const char *sql)
{
	struct lineage *l;
	struct db_stmt *s;
	int64_t value = -1;
	if (lineage_open(db_path, &l, NULL))
		return -1;
	if (!db_prepare(lineage_db(l), sql, &s, NULL)) {
		if (db_step(s, NULL) == DB_ROW)
			value = db_int(s, 0);
		db_finalize(s);
	}
	lineage_close(l);
	return value;
}

static int journals_left(void)
{
	char *path = drain_folder_path(db_path);
	DIR *d = opendir(path);
	int n = 0;
	for (struct dirent *e; d && (e = readdir(d));)
		n += text_ends(e->d_name, JOURNAL_SUFFIX);
	if (d)
		closedir(d);
	free(path);
	return n;
}

static struct run_facts run_facts(const char *name)
{
	return (struct run_facts){ .name = name, .user = "ana", .uid = 1000, .purpose = "training", .host = "h" };
}

static struct read_facts read_facts(const char *run, const char *file)
{
	return (struct read_facts){ .run = run, .address = "", .version = "sales/orders/1.2.0", .file = file, .view = "", .policy = "p",
				    .rules = "", .outcome = READ_SERVED, .pid = getpid() };
}

/* -- journal --------------------------------------------------------------------------------- */

TEST(journal_holds_what_was_appended)
{
	struct err e = ERR_INIT;
	struct journal_size size = { 100, 4096 };
	struct journal *j, *k;
	uint32_t offset;
	fresh();
	CHECK_OK(journal_create(folder, &size, &j, &e), &e);
	CHECK_INT(journal_add_text(j, "hello", 5, &offset), 0);
	for (int i = 0; i < 100; i++) {
		struct journal_record r = { RECORD_OPEN, i, offset, offset, 0, 7 };
		CHECK_INT(journal_append(j, &r), 0);
	}
	struct journal_record r = { .kind = RECORD_OPEN };
	CHECK_INT(journal_append(j, &r), -ENOSPC);
	CHECK_OK(journal_open(journal_path(j), &k, &e), &e);
	CHECK(!journal_adopt(k));
	CHECK_INT(journal_count(k), 100);
	for (int i = 0; i < 100; i++) {
		const char *text;
		size_t len;
		CHECK_INT(journal_read(k, (uint32_t)i, journal_count(k), &r), 0);
		CHECK_INT(r.when_ns, i);
		CHECK_INT(r.amount, 7);
		CHECK_INT(journal_text(k, r.name, &text, &len), 0);
		CHECK_INT(len, 5);
		CHECK(!memcmp(text, "hello", 5));
	}
	CHECK_INT(journal_read(k, 100, journal_count(k), &r), -ENODATA);
	journal_close(j);
	CHECK(journal_adopt(k));
	journal_close(k);
	clean();
}

TEST(journal_text_region_has_an_end)
{
	struct err e = ERR_INIT;
	struct journal_size size = { 4, 128 };
	struct journal *j;
	uint32_t offset;
	fresh();
	CHECK_OK(journal_create(folder, &size, &j, &e), &e);
	int n = 0;
	while (!journal_add_text(j, "0123456789abcdef", 16, &offset))
		n++;
	CHECK_INT(n, (128 - 8) / 24);
	CHECK_INT(journal_add_text(j, "", JOURNAL_TEXT_MAX + 1, &offset), -E2BIG);
	journal_close(j);
	clean();
}

/* Every byte of slots and texts damaged in turn: never a record that was not written. */
TEST(journal_detects_every_damaged_byte)
{
	struct err e = ERR_INIT;
	struct journal_size size = { 4, 64 };
	struct journal *j, *k;
	struct journal_record r = { RECORD_OPEN, 42, 0, 0, 0, 9 };
	fresh();
	CHECK_OK(journal_create(folder, &size, &j, &e), &e);
	CHECK_INT(journal_add_text(j, "abc", 3, &r.name), 0);
	for (int i = 0; i < 4; i++)
		CHECK_INT(journal_append(j, &r), 0);
	char *path = strdup(journal_path(j));
	journal_close(j);
	int fd = open(path, O_RDWR);
	for (off_t at = 4096; at < 4096 + 4 * 64 + 8 + 11; at++) {
		unsigned char byte, other;
		CHECK_INT(pread(fd, &byte, 1, at), 1);
		other = byte ^ 0x10;
		CHECK_INT(pwrite(fd, &other, 1, at), 1);
		CHECK_OK(journal_open(path, &k, &e), &e);
		CHECK(journal_adopt(k));
		int whole = 0, torn = 0;
		for (uint32_t i = 0; i < 4; i++) {
			struct journal_record got;
			const char *text;
			size_t len;
			int c = journal_read(k, i, journal_count(k), &got);
			torn += c == -EBADMSG;
			if (c)
				continue;
			CHECK(got.when_ns == 42 && got.amount == 9 && got.name == r.name);
			whole += !journal_text(k, got.name, &text, &len) && len == 3 && !memcmp(text, "abc", 3);
		}
		if (at < 4096 + 4 * 64)
			CHECK(torn == 1 && whole == 3);
		else if (at >= 4096 + 4 * 64 + 8)
			CHECK(torn == 0 && whole == 0);
		journal_close(k);
		CHECK_INT(pwrite(fd, &byte, 1, at), 1);
	}
	close(fd);
	free(path);
	clean();
}

TEST(journal_header_is_checked)
{
	struct err e = ERR_INIT;
	struct journal_size size = { 4, 64 };
	struct journal *j, *k;
	fresh();
	CHECK_OK(journal_create(folder, &size, &j, &e), &e);
	char *path = strdup(journal_path(j));
	journal_close(j);
	int fd = open(path, O_RDWR);
	for (off_t at = 0; at < 48; at++) {
		unsigned char byte, other;
		CHECK_INT(pread(fd, &byte, 1, at), 1);
		other = byte ^ 1;
		CHECK_INT(pwrite(fd, &other, 1, at), 1);
		CHECK_INT(journal_open(path, &k, &e), -EBADMSG);
		CHECK_INT(pwrite(fd, &byte, 1, at), 1);
	}
	CHECK_INT(ftruncate(fd, 4096 + 100), 0);
	CHECK_INT(journal_open(path, &k, &e), -EBADMSG);
	close(fd);
	free(path);
	clean();
}

/* -- folding --------------------------------------------------------------------------------- */

TEST(opens_fold_into_one_row)
{
	struct err e = ERR_INIT;
	struct recorder *r;
	struct recorder_config config = { .db_path = db_path };
	char run[RUN_ID_SIZE] = "";
	struct run_facts facts = run_facts("epochs");
	uint64_t record;
	fresh();
	CHECK_OK(recorder_start_with(&config, &r, &e), &e);
	CHECK_OK(recorder_begin_run(r, &facts, run, &e), &e);
	for (int epoch = 0; epoch < 10; epoch++) {
		for (int i = 0; i < 100; i++) {
			char file[32];
			snprintf(file, sizeof file, "part-%d.csv", i);
			struct read_facts read = read_facts(run, file);
			CHECK_INT(recorder_open_record(r, &read, &record), 0);
			recorder_close_record(r, record, epoch ? 0 : 1000);
		}
		if (epoch == 4)
			CHECK_OK(recorder_drain(r, &e), &e);
	}
	struct read_facts denied = read_facts(run, "part-7.csv");
	denied.outcome = READ_DENIED;
	denied.rules = "pii/no";
	CHECK_INT(recorder_open_record(r, &denied, &record), 0);
	CHECK_INT(record, 0);
	struct read_facts viewed = read_facts(run, "part-7.csv");
	viewed.view = "aa";
	viewed.view_text = "drop email";
	CHECK_INT(recorder_open_record(r, &viewed, &record), 0);
	recorder_close_record(r, record, 0);
	CHECK_OK(recorder_end_run(r, run, 0, &e), &e);
	CHECK_OK(recorder_stop(r, &e), &e);
	CHECK_INT(journals_left(), 0);
	CHECK_INT(ask("SELECT count(*) FROM reads"), 102);
	CHECK_INT(ask("SELECT sum(opens) FROM mesh_reads WHERE outcome = 'served' AND view = ''"), 1000);
	CHECK_INT(ask("SELECT min(opens) = 10 AND max(opens) = 10 FROM mesh_reads WHERE outcome = 'served' AND view = ''"), 1);
	CHECK_INT(ask("SELECT sum(bytes) FROM reads"), 100000);
	CHECK_INT(ask("SELECT count(*) FROM reads WHERE first_ns > last_ns OR first_ns = 0"), 0);
	CHECK_INT(ask("SELECT count(*) FROM mesh_reads WHERE outcome = 'denied' AND rules = 'pii/no' AND file = 'part-7.csv'"), 1);
	CHECK_INT(ask("SELECT count(*) FROM transforms WHERE view = 'aa' AND text = 'drop email'"), 1);
	CHECK_INT(ask("SELECT files FROM mesh_inputs WHERE outcome = 'served' AND view = ''"), 100);
	CHECK_INT(ask("SELECT sum(opens) FROM mesh_inputs"), 1002);
	CHECK_INT(ask("SELECT reads FROM mesh_runs WHERE name = 'epochs' AND ended IS NOT NULL AND exit = 0"), 1002);
	char sql[128];
	snprintf(sql, sizeof sql, "SELECT count(*) FROM processes WHERE pid = %d AND exe LIKE '%%test_recorder'", (int)getpid());
	CHECK_INT(ask(sql), 1);
	clean();
}

static int open_passes(struct recorder *r, const char *run, int files, int passes)
{
	int failed = 0;
	for (int i = 0; i < files * passes; i++) {
		char file[32];
		uint64_t record;
		snprintf(file, sizeof file, "part-%d.csv", i % files);
		struct read_facts read = read_facts(run, file);
		failed += recorder_open_record(r, &read, &record) != 0;
		recorder_close_record(r, record, 0);
	}
	return failed;
}

TEST(records_gather_before_they_are_written)
{
	struct err e = ERR_INIT;
	struct recorder *r;
	struct recorder_config config = { .db_path = db_path };
	struct recorder_stats stats;
	char run[RUN_ID_SIZE] = "";
	struct run_facts facts = run_facts("gather");
	fresh();
	CHECK_OK(recorder_start_with(&config, &r, &e), &e);
	CHECK_OK(recorder_begin_run(r, &facts, run, &e), &e);
	int64_t start = clock_mono_ns();
	CHECK_INT(open_passes(r, run, 500, 40), 0);
	recorder_stats(r, &stats);
	if (clock_mono_ns() - start < NS_PER_S) /* else the machine was too busy to tell */
		CHECK_INT(stats.waiting, 20000);
	CHECK_OK(recorder_drain(r, &e), &e); /* whoever asks does not wait for more to gather */
	recorder_stats(r, &stats);
	CHECK_INT(stats.waiting, 0);
	CHECK_INT(ask("SELECT sum(opens = 40) = 500 AND count(*) = 500 FROM reads"), 1);
	CHECK_OK(recorder_stop(r, &e), &e);
	clean();
}

TEST(a_name_that_stands_in_a_segment_twice_is_one_file)
{
	struct err e = ERR_INIT;
	struct recorder *r;
	struct recorder_config config = { .db_path = db_path };
	char run[RUN_ID_SIZE] = "";
	struct run_facts facts = run_facts("twice");
	fresh();
	CHECK_OK(recorder_start_with(&config, &r, &e), &e);
	CHECK_OK(recorder_begin_run(r, &facts, run, &e), &e);
	CHECK_INT(open_passes(r, run, 12000, 3), 0); /* more than are remembered */
	CHECK_OK(recorder_stop(r, &e), &e);
	CHECK_INT(ask("SELECT sum(opens = 3) = 12000 AND count(*) = 12000 FROM reads"), 1);
	CHECK_INT(ask("SELECT files = 12000 AND opens = 36000 FROM mesh_inputs"), 1);
	clean();
}

/* -- threads, small segments ----------------------------------------------------------------- */

struct opener {
	struct recorder *r;
	const char *run;
	int number, opens;
	int failed;
};

static void *open_many(void *arg)
{
	struct opener *o = arg;
	for (int i = 0; i < o->opens; i++) {
		char file[64];
		uint64_t record;
		snprintf(file, sizeof file, "thread-%d/part-%d", o->number, i % 97);
		struct read_facts read = read_facts(o->run, file);
		if (recorder_open_record(o->r, &read, &record))
			o->failed++;
		else
			recorder_close_record(o->r, record, 1);
	}
	return NULL;
}

TEST(threads_lose_and_invent_nothing)
{
	struct err e = ERR_INIT;
	struct recorder *r;
	struct recorder_config config = { .db_path = db_path, .slots = 500, .text_bytes = 16384, .segments_max = 5 };
	char run[RUN_ID_SIZE] = "";
	struct run_facts facts = run_facts("threads");
	enum { THREADS = 6, OPENS = 3000 };
	struct opener openers[THREADS];
	pthread_t threads[THREADS];
	fresh();
	CHECK_OK(recorder_start_with(&config, &r, &e), &e);
	CHECK_OK(recorder_begin_run(r, &facts, run, &e), &e);
	for (int i = 0; i < THREADS; i++) {
		openers[i] = (struct opener){ r, run, i, OPENS, 0 };
		CHECK_INT(thread_start(&threads[i], "opener", open_many, &openers[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		CHECK_INT(openers[i].failed, 0);
	}
	CHECK_OK(recorder_stop(r, &e), &e);
	CHECK_INT(ask("SELECT sum(opens) FROM reads"), THREADS * OPENS);
	CHECK_INT(ask("SELECT count(*) FROM reads"), THREADS * 97);
	CHECK_INT(journals_left(), 0);
	clean();
}

/* -- kill -9 --------------------------------------------------------------------------------- */

static void child_opens(const char *run, _Atomic int *answered)
{
	struct recorder *r;
	struct recorder_config config = { .db_path = db_path, .slots = 2000, .text_bytes = 1 << 16 };
	if (recorder_start_with(&config, &r, NULL))
		_exit(1);
	for (int i = 0;; i++) {
		char file[64];
		uint64_t record;
		snprintf(file, sizeof file, "part-%d", i % 500);
		struct read_facts read = read_facts(run, file);
		if (recorder_open_record(r, &read, &record))
			_exit(2);
		(*answered)++; /* what a reader was given */
		recorder_close_record(r, record, 0);
		if (i % 200 == 0)
			usleep(300);
	}
}

TEST(a_killed_process_loses_nothing)
{
	struct err e = ERR_INIT;
	_Atomic int *answered = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char run[RUN_ID_SIZE] = "";
	struct run_facts facts = run_facts("killed");
	struct recorder *r;
	struct lineage *l;
	struct recorder_config config = { .db_path = db_path };
	int kills = 12;
	fresh();
	CHECK(answered != MAP_FAILED);
	CHECK_OK(recorder_start_with(&config, &r, &e), &e);
	CHECK_OK(recorder_begin_run(r, &facts, run, &e), &e);
	CHECK_OK(recorder_stop(r, &e), &e);
	for (int i = 0; i < kills; i++) {
		pid_t pid = fork();
		if (!pid)
			child_opens(run, answered);
		usleep(20000 + (unsigned)i * 17001);
		kill(pid, SIGKILL);
		int status;
		waitpid(pid, &status, 0);
		CHECK(WIFSIGNALED(status));
	}
	CHECK_OK(lineage_open(db_path, &l, &e), &e);
	CHECK_OK(drain_folder(l, &e), &e);
	CHECK_OK(drain_folder(l, &e), &e); /* a second time adds nothing */
	lineage_close(l);
	int64_t opens = ask("SELECT sum(opens) FROM reads");
	CHECK(*answered > 1000);
	CHECK(opens >= *answered && opens <= *answered + kills); /* one more each: in the journal, not yet answered */
	CHECK_INT(journals_left(), 0);
	CHECK_INT(ask("SELECT count(*) FROM gaps"), 0);
	munmap((void *)answered, 4096);
	clean();
}

/* -- a database that cannot be written ------------------------------------------------------- */

static int fill(struct recorder *r, const char *run, int opens)
{
	int served = 0;
	for (int i = 0; i < opens; i++) {
		uint64_t record;
		struct read_facts read = read_facts(run, "f");
		if (!recorder_open_record(r, &read, &record)) {
			served++;
			recorder_close_record(r, record, 0);
		}
	}
	return served;
}

TEST(a_full_journal_fails_opens_until_the_database_is_back)
{
	struct err e = ERR_INIT;
	struct recorder *r;
	struct lineage *l;
	struct recorder_config config = { .db_path = db_path, .slots = 100, .text_bytes = 4096, .segments_max = 2, .full_wait_ms = 200 };
	char run[RUN_ID_SIZE] = "";
	struct run_facts facts = run_facts("full");
	fresh();
	CHECK_OK(recorder_start_with(&config, &r, &e), &e);
	CHECK_OK(recorder_begin_run(r, &facts, run, &e), &e);
	CHECK_OK(lineage_open(db_path, &l, &e), &e);
	CHECK_OK(lineage_begin(l, &e), &e); /* another process that holds the lock */
	int64_t before_ms = clock_mono_ms();
	int served = fill(r, run, 300);
	CHECK_INT(served, 200);
	int64_t waited_ms = clock_mono_ms() - before_ms;
	CHECK(waited_ms >= 190 && waited_ms < 5000); /* one wait, then fast */
	lineage_rollback(l);
	lineage_close(l);
	CHECK_OK(recorder_drain(r, &e), &e);
	served += fill(r, run, 50);
	CHECK_INT(served, 250);
	struct recorder_stats stats;
	recorder_stats(r, &stats);
	CHECK_INT(stats.refused, 100);
	CHECK_OK(recorder_stop(r, &e), &e);
	CHECK_INT(ask("SELECT sum(opens) FROM reads"), 250);
	clean();
}

TEST(serving_without_a_record_is_on_record)
{
	struct err e = ERR_INIT;
	struct recorder *r;
	struct lineage *l;
	struct recorder_config config = { .db_path = db_path, .slots = 100, .text_bytes = 4096, .segments_max = 2, .on_full = LINEAGE_FULL_SERVE };
	char run[RUN_ID_SIZE] = "";
	struct run_facts facts = run_facts("serve");
	fresh();
	CHECK_OK(recorder_start_with(&config, &r, &e), &e);
	CHECK_OK(recorder_begin_run(r, &facts, run, &e), &e);
	CHECK_OK(lineage_open(db_path, &l, &e), &e);
	CHECK_OK(lineage_begin(l, &e), &e);
	CHECK_INT(fill(r, run, 275), 275);
	lineage_rollback(l);
	lineage_close(l);
	CHECK_OK(recorder_stop(r, &e), &e);
	CHECK_INT(ask("SELECT sum(opens) FROM reads"), 200);
	CHECK_INT(ask("SELECT sum(lost) FROM mesh_gaps"), 75);
	clean();
}

TEST(runs_are_joined_and_ended_by_their_owner)
{
	struct err e = ERR_INIT;
	struct recorder *r;
	struct recorder_config config = { .db_path = db_path };
	char run[RUN_ID_SIZE] = "", other[RUN_ID_SIZE] = "", unknown[RUN_ID_SIZE] = "00000000-0000-7000-8000-000000000000";
	const char *params[] = { "lr=0.1", "lr=0.2", "note=a \"b\"" };
	struct run_facts facts = run_facts(NULL);
	facts.params = params;
	facts.param_count = 3;
	fresh();
	CHECK_OK(recorder_start_with(&config, &r, &e), &e);
	CHECK_OK(recorder_begin_run(r, &facts, run, &e), &e);
	strcpy(other, run);
	CHECK_OK(recorder_begin_run(r, &facts, other, &e), &e);
	CHECK_STR(other, run);
	CHECK_INT(recorder_begin_run(r, &facts, unknown, &e), -ENOENT);
	CHECK_OK(recorder_end_run(r, run, 3, &e), &e);
	CHECK_INT(recorder_begin_run(r, &facts, run, &e), -ESRCH);
	CHECK_OK(recorder_stop(r, &e), &e);
	CHECK_INT(ask("SELECT exit_status FROM runs"), 3);
	CHECK_INT(ask("SELECT params = '{\"lr\":\"0.2\",\"note\":\"a \\\"b\\\"\"}' AND name LIKE 'mount-ana-%' FROM runs"), 1);
	clean();
}

/* A run that began days ago, as the record has it: its old days are sealed by the mount that goes on serving, and pruned as lineage.keep has it. */
static void days_pass(int64_t keep_ms, int64_t seals, int64_t pruned, int64_t reads)
{
	struct err e = ERR_INIT;
	struct recorder *r;
	char id[RUN_ID_SIZE] = "", sql[256];
	const int64_t day = LINEAGE_PART_NS;
	fresh();
	struct recorder_config config = { .db_path = db_path, .keep_ms = keep_ms, .tidy_ms = 20 };
	struct run_facts facts = run_facts("long");
	CHECK_OK(recorder_start_with(&config, &r, &e), &e);
	CHECK_OK(recorder_begin_run(r, &facts, id, &e), &e);
	struct read_facts read = read_facts(id, "a");
	uint64_t record;
	CHECK_INT(recorder_open_record(r, &read, &record), 0);
	recorder_close_record(r, record, 1);
	CHECK_OK(recorder_drain(r, &e), &e);
	struct lineage *l;
	CHECK_OK(lineage_open(db_path, &l, &e), &e);
	snprintf(sql, sizeof sql, "UPDATE runs SET started_ns = started_ns - %lld; UPDATE reads SET first_ns = first_ns - %lld, last_ns = last_ns - %lld",
		 (long long)(5 * day), (long long)(5 * day), (long long)(5 * day));
	CHECK_OK(db_exec(lineage_db(l), sql, &e), &e);
	lineage_close(l);
	read = read_facts(id, "b");
	CHECK_INT(recorder_open_record(r, &read, &record), 0);
	recorder_close_record(r, record, 1);
	for (int i = 0; i < 200 && ask("SELECT count(*) FROM seals") < seals + pruned; i++)
		usleep(50000);
	CHECK_OK(recorder_drain(r, &e), &e);
	CHECK_INT(ask("SELECT count(*) FROM seals WHERE kind = 'reads'"), seals);
	CHECK_INT(ask("SELECT count(*) FROM seals WHERE kind = 'prune'"), pruned);
	CHECK_INT(ask("SELECT count(*) FROM reads"), reads);
	CHECK_OK(recorder_end_run(r, id, 0, &e), &e);
	CHECK_OK(recorder_stop(r, &e), &e);
	clean();
}

TEST(a_mount_seals_days_and_prunes_old_ones)
{
	days_pass(0, 1, 0, 2);
	days_pass(6 * 86400 * 1000LL, 1, 0, 2);
	days_pass(2 * 86400 * 1000LL, 1, 1, 1);
}

/* -- all at once ------------------------------------------------------------------------------- */

struct operator {
	atomic_bool stop;
	int asked, offences, failed;
};

static void count_offence(void *arg, enum lineage_finding kind, const char *what)
{
	if (kind == LINEAGE_CHANGED)
		fprintf(stderr, "%s\n", what);
	((struct operator *)arg)->offences += kind == LINEAGE_CHANGED;
}

/* What commands do beside mounts that serve: drain, prune whatever may be, verify. */
static void *operate(void *arg)
{
	struct operator *o = arg;
	while (!atomic_load(&o->stop)) {
		struct lineage *l;
		struct lineage_verified v;
		struct err e = ERR_INIT;
		struct lineage_prune p = { .before_ns = clock_now_ns(), .now_ns = clock_now_ns() };
		int r = lineage_open(db_path, &l, &e);
		if (r) {
			o->failed++;
			break;
		}
		r = drain_folder(l, &e);
		if (!r)
			r = lineage_prune(l, &p, &e);
		if (!r)
			r = lineage_verify(l, NULL, count_offence, o, &v, &e);
		if (r)
			fprintf(stderr, "%s\n", e.text);
		o->failed += r != 0;
		o->asked++;
		lineage_close(l);
	}
	return NULL;
}

/* The run began five days ago, and read something then. */
static void age(struct recorder *r, const char *run)
{
	struct err e = ERR_INIT;
	struct lineage *l;
	char sql[512];
	const long long days = 5 * LINEAGE_PART_NS;
	struct read_facts read = read_facts(run, "old");
	uint64_t record;
	CHECK_INT(recorder_open_record(r, &read, &record), 0);
	recorder_close_record(r, record, 1);
	CHECK_OK(recorder_drain(r, &e), &e);
	CHECK_OK(lineage_open(db_path, &l, &e), &e);
	snprintf(sql, sizeof sql, "BEGIN IMMEDIATE; UPDATE runs SET started_ns = started_ns - %lld WHERE uuid = '%s'; UPDATE reads SET first_ns = first_ns - %lld, last_ns = last_ns - %lld"
				  " WHERE run = (SELECT id FROM runs WHERE uuid = '%s'); COMMIT", days, run, days, days, run);
	CHECK_OK(db_exec(lineage_db(l), sql, &e), &e);
	lineage_close(l);
}

TEST(mounts_that_tidy_and_commands_beside_them_lose_nothing)
{
	enum { MOUNTS = 3, THREADS = 2, OPENS = 4000 };
	struct recorder *r[MOUNTS];
	char run[MOUNTS][RUN_ID_SIZE] = { "" };
	struct opener openers[MOUNTS * THREADS];
	pthread_t threads[MOUNTS * THREADS], asks;
	struct operator o = { 0 };
	struct err e = ERR_INIT;
	struct run_facts facts = run_facts("beside");
	fresh();
	for (int m = 0; m < MOUNTS; m++) {
		struct recorder_config config = { .db_path = db_path, .slots = 1000, .text_bytes = 32768, .tidy_ms = 5, .keep_ms = m ? 2 * 86400 * 1000LL : 0 };
		CHECK_OK(recorder_start_with(&config, &r[m], &e), &e);
		CHECK_OK(recorder_begin_run(r[m], &facts, run[m], &e), &e);
		age(r[m], run[m]);
	}
	CHECK_INT(thread_start(&asks, "operator", operate, &o), 0);
	for (int i = 0; i < MOUNTS * THREADS; i++) {
		openers[i] = (struct opener){ r[i % MOUNTS], run[i % MOUNTS], i, OPENS, 0 };
		CHECK_INT(thread_start(&threads[i], "opener", open_many, &openers[i]), 0);
	}
	for (int i = 0; i < MOUNTS * THREADS; i++) {
		pthread_join(threads[i], NULL);
		CHECK_INT(openers[i].failed, 0);
	}
	for (int m = 0; m < MOUNTS; m++) {
		CHECK_OK(recorder_end_run(r[m], run[m], 0, &e), &e);
		CHECK_OK(recorder_stop(r[m], &e), &e);
	}
	usleep(20000);
	atomic_store(&o.stop, true);
	pthread_join(asks, NULL);
	CHECK(o.asked > 0);
	CHECK_INT(o.failed, 0);
	CHECK_INT(o.offences, 0);
	CHECK_INT(ask("SELECT sum(opens) FROM inputs"), MOUNTS * (THREADS * OPENS + 1));
	CHECK_INT(ask("SELECT count(*) FROM seals WHERE kind = 'reads' AND part = 0"), MOUNTS);
	CHECK_INT(ask("SELECT count(*) FROM mesh_reads WHERE file = 'old'"), 0); /* pruned, by whoever was first */
	CHECK_INT(journals_left(), 0);
	clean();
}

TEST(network_file_systems_are_refused)
{
	struct err e = ERR_INIT;
	struct lineage *l;
	if (io_is_network("/sys/fs/fuse/connections") != 1)
		return; /* nothing to try it on here */
	CHECK_INT(lineage_open("/sys/fs/fuse/connections/lineage.db", &l, &e), -EOPNOTSUPP);
}

CHECK_MAIN()
